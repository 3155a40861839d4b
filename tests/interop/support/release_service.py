#!/usr/bin/env python3
"""Makes a configuration for `signer serve` out of that of a running `signer dev`: same neighbours, other releases.

    release_service.py DEV.toml OUT.toml FOLDER RELEASE.json

RELEASE.json is the section `[release]`. The service gets a free port and keeps its state and audit trail in FOLDER.
"""

import json
import socket
import sys
import tomllib


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def lines_of(table: dict, path: str = ""):
    """TOML of a table: its values, its tables, its arrays of tables. Strings of JSON are strings of TOML."""
    is_tables = lambda value: isinstance(value, list) and value and isinstance(value[0], dict)
    for name, value in table.items():
        if not isinstance(value, dict) and not is_tables(value):
            yield f"{name} = {json.dumps(value)}"
    for name, value in table.items():
        if isinstance(value, dict):
            yield f"[{path}{name}]"
            yield from lines_of(value, f"{path}{name}.")
        elif is_tables(value):
            for entry in value:
                yield f"[[{path}{name}]]"
                yield from lines_of(entry, f"{path}{name}.")


def main(dev: str, out: str, folder: str, release: str) -> None:
    with open(dev, "rb") as file:
        config = tomllib.load(file)
    with open(release, encoding="utf-8") as file:
        config["release"] = json.load(file)
    listen = f"127.0.0.1:{free_port()}"
    config["server"] |= {"listen": listen, "public_origin": f"http://{listen}"}
    config["state"]["directory"] = f"{folder}/state"
    config["audit"]["directory"] = f"{folder}/audit"
    with open(out, "w", encoding="utf-8") as file:
        file.write("\n".join(lines_of(config)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
