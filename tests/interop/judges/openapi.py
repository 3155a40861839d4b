#!/usr/bin/env python3
"""Holds a running service to its description: each exchange below is validated, body and fields, with `jsonschema`.

    openapi.py OPENAPI.json CREDENTIALS.json METRICS_URL

What the service takes must be as described, and what it refuses for its shape must not be. Prints one line. Exit code 0:
every exchange is as described, 1: one is not.
"""

import base64
import hashlib
import json
import sys
import time
import uuid

import requests
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import best_match
from jwskate import Jwk, Jwt
from referencing import Registry
from referencing.jsonschema import DRAFT202012

API = "/api/v1/signer"


class Service:
    def __init__(self, document: dict, credentials: dict, metrics: str) -> None:
        self.document, self.credentials, self.metrics = document, credentials, metrics
        self.key = Jwk(credentials["dpopPrivateJwk"])
        self.registry = Registry().with_resource("urn:api", DRAFT202012.create_resource(document))
        self.exchanges = 0
        self.session = requests.Session()
        self.session.trust_env = False

    def proof(self, method: str, url: str, token: str) -> str:
        ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()
        claims = {"htm": method, "htu": url, "iat": int(time.time()), "jti": str(uuid.uuid4()), "ath": ath}
        public = dict(self.key.public_jwk().minimize())
        return str(Jwt.sign(claims, self.key, alg="ES256", typ="dpop+jwt", extra_headers={"jwk": public}))

    def ask(self, method: str, path: str, status: int, body=None, template: str = "", query: str = "", fields=None,
            code: str = "", described=None):
        """One exchange. `described`: whether the body is as described; as a rule if it is answered 200."""
        base = self.credentials["baseUrl"] if path != "/metrics" else self.metrics.removesuffix("/metrics")
        operation = self.document["paths"][template or path][method.lower()]
        sent = {}
        if operation["security"] and fields is None:
            token = self.credentials["accessToken"]
            sent = {"Authorization": f"DPoP {token}", "DPoP": self.proof(method, base + path, token)}
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        if data is not None:
            sent["Content-Type"] = "application/json"
        answer = self.session.request(method, base + path + query, data=data, headers=sent | (fields or {}), timeout=10)
        at = f"{method} {path}{query} {answer.status_code}"
        assert answer.status_code == status, f"{at}, not {status}: {answer.text}"
        pointer = ["paths", template or path, method.lower(), "responses", str(status)]
        response = self.reached(pointer)
        for name, header in self.at(response)["headers"].items() if "headers" in self.at(response) else ():
            if name in answer.headers:
                where = self.reached([*response, "headers", name])
                schema = self.at(where)["schema"]
                value = answer.headers[name]
                self.validate([*where, "schema"], int(value) if schema.get("type") == "integer" else value, f"{at} {name}")
        media = answer.headers["Content-Type"].split(";")[0]
        assert media in self.at(response)["content"], f"{at} is {media}, which is not described"
        said = answer.json() if media.endswith("json") else answer.text
        self.validate([*response, "content", media, "schema"], said, at)
        if code:
            assert said["code"] == code, f"{at}: {said}"
        if body is not None and not isinstance(body, bytes):
            where = [*pointer[:3], "requestBody", "content", "application/json", "schema"]
            wrong = list(self.errors(where, body))
            if described is None:
                described = status == 200
            assert described or wrong, f"{at}: a body is refused, and as described"
            assert not described or not wrong, f"{at}: the body is not as described: {wrong[0].message[:200]}"
        self.exchanges += 1
        return said

    def at(self, path: list):
        value = self.document
        for name in path:
            value = value[name]
        return value

    def reached(self, path: list) -> list:
        """Where a reference leads."""
        value = self.at(path)
        return value["$ref"].removeprefix("#/").split("/") if "$ref" in value else path

    def errors(self, path: list, value):
        pointer = "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)
        schema = {"$ref": "urn:api#" + pointer.replace("{", "%7B").replace("}", "%7D")}
        return Draft202012Validator(schema, registry=self.registry, format_checker=FormatChecker()).iter_errors(value)

    def validate(self, path: list, value, at: str) -> None:
        error = best_match(self.errors(path, value))
        assert error is None, f"{at} is not as described, {error.json_path}: {error.message[:200]}"


def request_of(credentials: dict, **options) -> dict:
    body = {
        "subject": [{"name": "app", "digest": {"sha256": "ab" * 32}, "annotations": {"x": [1]}}],
        "predicateType": "https://stella.ops/policy@v1",
        "predicate": {"findings": []},
        "scannerImageDigest": credentials["scannerImageDigest"],
        "poe": {"format": "jwt", "value": credentials["poe"]},
    }
    return body | ({"options": options} if options else {})


def sign(service: Service) -> dict:
    known = service.credentials
    path = f"{API}/sign/dsse"
    signed = service.ask("POST", path, 200, request_of(known, signingMode="kms", returnBundle="sigstore"))
    service.ask("POST", path, 200, request_of(known, signingMode="keyless", expirySeconds=60, timestamp=True))
    service.ask("POST", path, 200, request_of(known, dryRun=True))
    for change, status, code in [
        ({"extra": 1}, 400, "invalid_request"),
        ({"options": {"signingMode": "other"}}, 400, "invalid_request"),
        ({"options": {"expirySeconds": 601}}, 400, "invalid_request"),
        ({"scannerImageDigest": "sha256:AB"}, 400, "invalid_digest"),
        ({"subject": []}, 422, "invalid_subject"),
        ({"subject": [{"name": "app"}]}, 422, "invalid_subject"),
        ({"predicate": {}}, 422, "invalid_predicate"),
        ({"predicate": []}, 422, "invalid_predicate"),
    ]:
        service.ask("POST", path, status, request_of(known) | change, code=code)
    for change, status, code in [
        ({"predicateType": "https://example.com/none"}, 403, "predicate_not_allowed"),
        ({"options": {"keyId": "none", "signingMode": "kms"}}, 400, "invalid_request"),
        ({"poe": {"format": "jwt", "value": "x"}}, 403, "entitlement_invalid"),
    ]:
        service.ask("POST", path, status, request_of(known) | change, code=code, described=True)
    without = request_of(known)
    del without["poe"]
    service.ask("POST", path, 403, without, code="entitlement_required", described=True)
    service.ask("POST", path, 400, b'{"subject":1,"subject":2}', code="invalid_json")
    service.ask("POST", path, 401, request_of(known), fields={}, code="invalid_token", described=True)
    batch = {name: value for name, value in request_of(known).items() if name in ("scannerImageDigest", "poe")}
    item = {name: value for name, value in request_of(known).items() if name not in batch}
    service.ask("POST", f"{path}/batch", 200, batch | {"items": [item, item]})
    # An item that is not as described fails alone.
    service.ask("POST", f"{path}/batch", 200, batch | {"items": [item, item | {"subject": []}]}, described=False)
    service.ask("POST", f"{path}/batch", 400, batch | {"items": []}, code="invalid_request")
    return signed


def others(service: Service, signed: dict) -> None:
    digest = service.credentials["scannerImageDigest"]
    service.ask("GET", f"{API}/verify/referrers", 200, query=f"?digest={digest}")
    service.ask("GET", f"{API}/verify/referrers", 400, query="?digest=x", code="invalid_digest")
    bundle = signed["bundle"]
    path = f"{API}/verify/dsse"
    subject = {"subjectDigest": "sha256:" + "ab" * 32}
    assert service.ask("POST", path, 200, {"dsse": bundle["dsse"]} | subject)["verified"]
    assert service.ask("POST", path, 200, {"sigstoreBundle": bundle["sigstoreBundle"]})["verified"]
    foreign = bundle["dsse"] | {"payload": "e30=", "other": 1}
    assert not service.ask("POST", path, 200, {"dsse": foreign})["verified"]
    both = {"dsse": bundle["dsse"], "sigstoreBundle": bundle["sigstoreBundle"]}
    service.ask("POST", path, 400, both, code="invalid_request")
    service.ask("POST", path, 400, {}, code="invalid_request")
    for path in (f"{API}/trust", f"{API}/trust/keys", "/livez", "/readyz", "/openapi.json", "/docs", "/metrics"):
        service.ask("GET", path, 200)
    path = f"{API}/audit/checkpoint"
    service.ask("GET", path, 200)
    service.ask("GET", path, 200, query="?from=1")
    service.ask("GET", path, 200, fields={"Accept": "text/plain"})
    service.ask("GET", path, 400, query="?from=x", code="invalid_request")
    path = f"{API}/audit/{{auditId}}"
    # `signer dev` gives nobody the scope for more.
    service.ask("GET", path.format(auditId=signed["auditId"]), 403, template=path, code="insufficient_scope")


def main(document: str, credentials: str, metrics: str) -> int:
    with open(document, encoding="utf-8") as api, open(credentials, encoding="utf-8") as known:
        service = Service(json.load(api), json.load(known), metrics)
    try:
        others(service, sign(service))
    except AssertionError as error:
        print(f"NOT AS DESCRIBED: {error}")
        return 1
    print(f"{service.exchanges} exchanges as described")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
