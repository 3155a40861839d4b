#!/usr/bin/env python3
"""A Fulcio that goes away under load, in real time, and what callers of the service notice.

    outage.py SIGNER short|long|renewal FOLDER -- FULCIO COMMAND…    (PORT in it stands for Fulcio's)

FOLDER has fulcio.json as service.py takes it (without url), dev.toml and dev-credentials.json. One line says how it went: `ok …` or
`FAILED …`. Certificates of Fulcio live for 10 minutes, so `short` takes 7 minutes and `long` nearly 10.

short    away for 3 minutes in which the certificate is due for renewal: no request fails, and Fulcio is asked again by itself
long     away until after the end of the certificate: requests are good to its last minute and refused from then on, with
         `Retry-After`, readiness says so; once Fulcio is back, all is well again without anyone's help
renewal  there all the time, each certificate for 30 s, the least there is: no request fails, and none is signed by an older one
"""

import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from load import Answer, Load, certificates, codes  # noqa: E402
from service import free_port  # noqa: E402

RATE, CALLERS = 20.0, 4
# Contract: a certificate is not used in its last minute.
LAST = 60.0
# Around the end of a certificate a request may be answered either way.
EDGE = 1.0


def until(what: str, holds, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} did not come about in {seconds} s"
        time.sleep(0.05)


def status_of(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)


class Process:
    running: list["Process"] = []

    def __init__(self, name: str, command: list[str], folder: pathlib.Path) -> None:
        self.name, self.command, self.folder = name, command, folder
        self.start()

    def start(self) -> None:
        with open(self.folder / f"{self.name}.out", "ab") as out, open(self.folder / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
        self.running.append(self)

    def stop(self) -> None:
        self.running.remove(self)
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def said(self) -> str:
        return (self.folder / f"{self.name}.out").read_text(encoding="utf-8")


class Scene:
    """A Fulcio and a service of its own."""

    # Removed at the very end, when nothing writes there any more.
    memories: list[tempfile.TemporaryDirectory] = []

    def __init__(self, signer: str, folder: pathlib.Path, command: list[str], **changes) -> None:
        self.folder, port = folder, free_port()
        self.fulcio_url = f"http://127.0.0.1:{port}"
        command = [re.sub(r"^PORT$", str(port), re.sub(r"^FREE_PORT$", str(free_port()), word)) for word in command]
        self.fulcio = Process("fulcio", command, folder)
        until("Fulcio's answer", self.fulcio_answers)
        table = json.loads((folder / "fulcio.json").read_text(encoding="utf-8"))
        (folder / "table.json").write_text(json.dumps({**table, **changes, "url": self.fulcio_url}), encoding="utf-8")
        # A busy disk is not what is judged here.
        shared = "/dev/shm"
        self.memories.append(tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None))
        memory = self.memories[-1].name
        self.service = subprocess.run(
            [sys.executable, str(pathlib.Path(__file__).parent / "service.py"), str(folder / "dev.toml"),
             str(folder / "dev-credentials.json"), str(folder), str(folder / "table.json"), "--alone", memory],
            capture_output=True, check=True, text=True).stdout.strip()
        self.signer = Process("signer", [signer, "serve", "--config", str(folder / "signer.toml")], folder)
        until("readiness", lambda: '"ready":true' in self.signer.said())
        self.load = Load(signer, folder / "credentials.json", RATE, CALLERS)
        until("a signature", lambda: self.load.answers)

    def fulcio_answers(self) -> bool:
        assert self.fulcio.process.poll() is None, "Fulcio ended: " + self.fulcio.said()[-500:]
        return status_of(self.fulcio_url + "/api/v2/configuration")[0] == 200

    def stop_fulcio(self) -> float:
        self.fulcio.stop()
        return time.time()

    def start_fulcio(self) -> float:
        """When it answered. It leaves a socket behind that it does not find fit for use."""
        (self.folder / "socket").unlink(missing_ok=True)
        self.fulcio.start()
        until("Fulcio's answer", self.fulcio_answers)
        return time.time()

    def readiness(self) -> tuple[int, str]:
        """What callers are told, with the reasons that operators are told."""
        status, text = status_of(self.service + "/readyz")
        return status, text + status_of(self.metrics("/readyz"))[1]

    def metrics(self, path: str) -> str:
        return "http://" + json.loads(self.signer.said().splitlines()[-1])["metrics"] + path

    def failed_openings(self) -> int:
        text = status_of(self.metrics("/metrics"))[1]
        found = re.findall(r'^signer_backend_errors_total\{[^}]*operation="open"[^}]*\} (\d+)', text, re.MULTILINE)
        return sum(map(int, found))

    def end(self) -> list[Answer]:
        answers = self.load.stop()
        with open(self.folder / "answers.json", "w", encoding="utf-8") as file:
            json.dump(answers, file)
        return answers


def figures(answers: list[Answer]) -> str:
    seconds = answers[-1].begun - answers[0].begun
    slowest = max(answer.took for answer in answers)
    return f"{len(answers)} requests in {seconds:.0f} s, slowest {slowest:.2f} s"


def none_failed(answers: list[Answer]) -> None:
    assert codes(answers) == {"200 ok": len(answers)}, f"answers: {codes(answers)}"


def enough(answers: list[Answer], seconds: float) -> None:
    assert len(answers) > RATE * seconds / 2, f"only {len(answers)} requests in {seconds:.0f} s"


def short(scene: Scene) -> str:
    issued = scene.load.answers[0].not_before
    # Renewal is due after `certificate_reuse`, 5 minutes: in the middle of the outage.
    time.sleep(max(0.0, issued + 210 - time.time()))
    away, before = scene.stop_fulcio(), scene.failed_openings()
    time.sleep(180)
    tried, ready = scene.failed_openings() - before, scene.readiness()
    back = scene.start_fulcio()
    time.sleep(15)
    answers = scene.end()
    none_failed(answers)
    enough(answers, 400)
    assert ready[0] == 200, f"readiness while away: {ready}"
    assert tried > 10, f"Fulcio was asked {tried} times while it was away: no renewal was due"
    assert len(certificates(answers)) == 2, f"certificates: {len(certificates(answers))}"
    renewed = next(answer for answer in answers if answer.certificate != answers[0].certificate)
    assert renewed.begun > away + 180, "renewed while Fulcio was away"
    away_for = [answer for answer in answers if away < answer.begun < back]
    return (f"{len(away_for)} requests while away, 0 failed; {figures(answers)}; "
            f"renewal tried {tried} times, then done {renewed.ended - back:.1f} s after Fulcio was back")


def long(scene: Scene) -> str:
    end = scene.load.answers[0].not_after - LAST
    time.sleep(5)
    scene.stop_fulcio()
    time.sleep(max(0.0, end + 20 - time.time()))
    ready = scene.readiness()
    back = scene.start_fulcio()
    until("readiness", lambda: scene.readiness()[0] == 200)
    ready_again = time.time()
    time.sleep(10)
    answers = scene.end()
    enough(answers, 540)
    good = [answer for answer in answers if answer.ended < end - EDGE]
    none_failed(good)
    refused = [answer for answer in answers if end + EDGE < answer.begun and answer.ended < back]
    wanted = {"503 signing_backend_unavailable": len(refused)}
    assert refused and codes(refused) == wanted, f"after the certificate: {codes(refused)}"
    silent = [answer for answer in refused if not answer.retry_after.isdecimal()]
    assert not silent, f"{len(silent)} refusals without Retry-After"
    assert ready[0] == 503 and "no open key" in ready[1], f"readiness without a certificate: {ready}"
    recovered = next(answer for answer in answers if answer.begun > back and answer.status == 200)
    none_failed([answer for answer in answers if answer.begun > recovered.ended])
    assert all(answer.ended < answer.not_after for answer in answers if answer.status == 200), "signed after its end"
    slowest = max(answer.took for answer in refused)
    return (f"{len(good)} requests by the last certificate, 0 failed; then {len(refused)} refused in {slowest:.2f} s at most; "
            f"good again {recovered.ended - back:.1f} s after Fulcio was back, ready after {ready_again - back:.1f} s")


def renewal(scene: Scene) -> str:
    time.sleep(100)
    answers = scene.end()
    none_failed(answers)
    enough(answers, 100)
    used = certificates(answers)
    assert len(used) == 4, f"certificates in 100 s: {len(used)}"
    ages = [answer.begun - answer.not_before for answer in answers]
    # Certificates begin at a full second, and the service looks every second whether one is due.
    assert max(ages) < 35, f"signed by a certificate of {max(ages):.1f} s"
    return f"{len(used)} certificates, none older than {max(ages):.1f} s; {figures(answers)}, 0 failed"


def main(signer: str, what: str, place: str, _dashes: str, *command: str) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = pathlib.Path(place)
    act, changes = {
        "short": (short, {}), "long": (long, {}), "renewal": (renewal, {"certificate_reuse": "30s"}),
    }[what]
    try:
        print(f"ok {what}: {act(Scene(signer, folder, list(command), **changes))}")
        return 0
    except Exception as error:  # whatever it was, the lane shows it
        traceback.print_exc()
        print(f"FAILED {what}: {error}")
        for log in folder.glob("*.log"):
            print(f"{log.name}: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
        return 1
    finally:
        for process in list(Process.running):
            process.stop()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
