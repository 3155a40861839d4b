#!/usr/bin/env python3
"""Makes a configuration for `signer serve` out of that of a running `signer dev`: same neighbours, another registry.

    second_service.py DEV.toml OUT.toml FOLDER HOST:PORT REPOSITORY RELEASE_KEY.pem

The service gets a free port and keeps its state and audit trail in FOLDER.
"""

import json
import socket
import sys
import tomllib


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(dev: str, out: str, folder: str, registry: str, repository: str, release_key: str) -> None:
    with open(dev, encoding="utf-8") as file:
        text = file.read()
    config = tomllib.loads(text)
    listen = f"127.0.0.1:{free_port()}"
    replace = {
        config["server"]["listen"]: listen,
        config["server"]["public_origin"]: f"http://{listen}",
        config["release"]["repositories"][0]: f"{registry}/{repository}",
        config["release"]["plain_http"][0]: registry,
        config["release"]["keys"][0]: release_key,
        config["state"]["directory"]: f"{folder}/state",
        config["audit"]["directory"]: f"{folder}/audit",
    }
    for old, new in replace.items():
        if json.dumps(old) not in text:
            sys.exit(f"{dev}: {old} is not written as expected")
        text = text.replace(json.dumps(old), json.dumps(new))
    with open(out, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
