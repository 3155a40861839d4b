#!/usr/bin/env python3
"""Takes an answer's signature and its timestamp out of it.

    take.py RESPONSE.json SIGNATURE TIMESTAMP.tsr
"""

import base64
import json
import sys


def main(response: str, signature: str, timestamp: str) -> None:
    with open(response, encoding="utf-8") as file:
        bundle = json.load(file)["bundle"]
    [stamp] = bundle["timestamps"]
    for path, text in ((signature, bundle["dsse"]["signatures"][0]["sig"]), (timestamp, stamp)):
        with open(path, "wb") as file:
            file.write(base64.b64decode(text))


if __name__ == "__main__":
    main(*sys.argv[1:])
