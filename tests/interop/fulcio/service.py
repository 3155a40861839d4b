#!/usr/bin/env python3
"""Makes a configuration for `signer serve` out of that of a running `signer dev`: the same neighbours, another Fulcio.

    service.py DEV.toml CREDENTIALS.json FOLDER FULCIO.json [--alone MEMORY]

FULCIO.json is the backend of kind `fulcio`, without kind and id. FOLDER gets signer.toml, credentials.json, and what the
service keeps. Prints the service's address. With --alone it asks no timestamp authority, needs Licensing
once, and keeps its state and trail in MEMORY.
"""

import json
import os
import pathlib
import sys
import tomllib

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "support"))
from release_service import free_port, lines_of  # noqa: E402


def main(dev: str, credentials: str, folder: str, fulcio: str, _alone: str = "", memory: str = "") -> None:
    config = tomllib.loads(pathlib.Path(dev).read_text(encoding="utf-8"))
    table = json.loads(pathlib.Path(fulcio).read_text(encoding="utf-8"))
    others = [backend for backend in config["signing"]["backends"] if backend["kind"] != "fulcio"]
    config["signing"]["backends"] = [{"kind": "fulcio", "id": "keyless", **table}, *others]
    listen = f"127.0.0.1:{free_port()}"
    config["server"] |= {"listen": listen, "public_origin": f"http://{listen}"}
    config["state"]["directory"] = f"{memory or folder}/state"
    config["audit"]["directory"] = f"{memory or folder}/audit"
    if memory:
        # What is counted is not to depend on how soon neighbours and the disk answer on a busy machine.
        del config["timestamp"]
        config["entitlement"] |= {"positive_ttl": "120s", "grace": "1h", "timeout": "5s"}
    pathlib.Path(folder, "signer.toml").write_text("\n".join(lines_of(config)) + "\n", encoding="utf-8")
    origin = f"http://{listen}"
    known = json.loads(pathlib.Path(credentials).read_text(encoding="utf-8"))
    known |= {"baseUrl": origin, "trustUrl": f"{origin}/api/v1/signer/trust"}
    with os.fdopen(os.open(f"{folder}/credentials.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(known, file)
    print(origin)


if __name__ == "__main__":
    main(*sys.argv[1:])
