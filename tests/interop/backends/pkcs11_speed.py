#!/usr/bin/env python3
"""How many signatures a token makes in a second, without the service: C_SignInit and C_Sign in a loop, by N threads with a
session each.

    pkcs11_speed.py MODULE TOKEN_LABEL PIN KEY_LABEL [THREADS] [SECONDS]     (ECDSA with SHA-256; SOFTHSM2_CONF is the module's)

Nothing but Python's own library. ctypes lets go of the interpreter's lock during each call, and takes some microseconds.
"""

import ctypes
import sys
import threading
import time

CKM_ECDSA, CKF_SERIAL_SESSION, CKU_USER = 0x1041, 4, 1
CKA_CLASS, CKA_LABEL, CKO_PRIVATE_KEY = 0, 3, 3
ULONG = ctypes.c_ulong


class Mechanism(ctypes.Structure):
    _fields_ = [("mechanism", ULONG), ("parameter", ctypes.c_void_p), ("length", ULONG)]


class Attribute(ctypes.Structure):
    _fields_ = [("kind", ULONG), ("value", ctypes.c_void_p), ("length", ULONG)]


def call(function, *arguments):
    answer = function(*arguments)
    assert answer == 0, f"{function.__name__}: {answer:#x}"


def slot_of(module, label: bytes) -> int:
    count = ULONG(64)
    slots = (ULONG * 64)()
    call(module.C_GetSlotList, 1, slots, ctypes.byref(count))
    for slot in slots[: count.value]:
        info = ctypes.create_string_buffer(256)
        call(module.C_GetTokenInfo, ULONG(slot), info)
        if info.raw[:32].rstrip() == label:
            return slot
    raise SystemExit(f"no token {label!r}")


def open_session(module, slot: int) -> ULONG:
    session = ULONG()
    call(module.C_OpenSession, ULONG(slot), ULONG(CKF_SERIAL_SESSION), None, None, ctypes.byref(session))
    return session


def find(module, session: ULONG, label: bytes) -> ULONG:
    kind = ULONG(CKO_PRIVATE_KEY)
    name = ctypes.create_string_buffer(label, len(label))
    template = (Attribute * 2)(
        Attribute(CKA_CLASS, ctypes.cast(ctypes.byref(kind), ctypes.c_void_p), ctypes.sizeof(kind)),
        Attribute(CKA_LABEL, ctypes.cast(name, ctypes.c_void_p), len(label)),
    )
    key, count = ULONG(), ULONG()
    call(module.C_FindObjectsInit, session, template, ULONG(2))
    call(module.C_FindObjects, session, ctypes.byref(key), ULONG(1), ctypes.byref(count))
    call(module.C_FindObjectsFinal, session)
    assert count.value == 1, f"no key {label!r}"
    return key


def sign_until(module, slot: int, key: ULONG, end: float, made: list[int]) -> None:
    session, count = open_session(module, slot), 0
    mechanism, digest = Mechanism(CKM_ECDSA, None, 0), bytes(range(32))
    signature, length = ctypes.create_string_buffer(256), ULONG()
    while time.monotonic() < end:
        call(module.C_SignInit, session, ctypes.byref(mechanism), key)
        length.value = 256
        call(module.C_Sign, session, digest, ULONG(32), signature, ctypes.byref(length))
        count += 1
    made.append(count)


def main(path: str, token: str, pin: str, label: str, threads: str = "1", seconds: str = "3") -> None:
    module = ctypes.CDLL(path)
    call(module.C_Initialize, None if threads == "1" else ctypes.byref((ctypes.c_ulong * 6)(0, 0, 0, 0, 2, 0)))
    slot = slot_of(module, token.encode())
    session = open_session(module, slot)
    call(module.C_Login, session, ULONG(CKU_USER), pin.encode(), ULONG(len(pin)))
    key = find(module, session, label.encode())
    made: list[int] = []
    end = time.monotonic() + float(seconds)
    workers = [threading.Thread(target=sign_until, args=(module, slot, key, end, made)) for _ in range(int(threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(f"{sum(made) / float(seconds):.0f} signatures/s, {threads} sessions")


if __name__ == "__main__":
    main(*sys.argv[1:])
