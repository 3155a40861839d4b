#!/usr/bin/env python3
"""A caller that is not ours: obtains a token with requests-oauth2client, and signs with it through the service.

    dpop_client.py ISSUER CLIENT_ID CLIENT_SECRET RESOURCE SERVICE REQUEST.json RESPONSE.json CA.pem ALG

Proofs and nonces, of the authority and of the service, are the library's work. ALG is that of its key. Prints one line:
what each server answered. Exit code 0: signed, 1: not.
"""

import sys

import requests
from requests_oauth2client import ClientSecretBasic, DPoPKey, OAuth2Client


def main(issuer: str, client: str, secret: str, resource: str, service: str, request: str, response: str, ca: str,
         alg: str) -> int:
    seen = {"authority": [], "service": []}

    class Counting(requests.adapters.HTTPAdapter):
        def send(self, request, **kwargs):
            answer = super().send(request, **kwargs)
            if request.method == "POST":
                seen["service" if request.url.startswith(service) else "authority"].append(answer.status_code)
            return answer

    session = requests.Session()
    session.verify = ca
    session.trust_env = False  # a bundle named in the environment would win over the CA
    for scheme in ("http://", "https://"):
        session.mount(scheme, Counting())
    metadata = session.get(f"{issuer}/.well-known/openid-configuration", timeout=10).json()
    # `testing` accepts plain HTTP, which here is loopback.
    authority = OAuth2Client(metadata["token_endpoint"], issuer=issuer, auth=ClientSecretBasic(client, secret),
                             session=session, dpop_bound_access_tokens=True, testing=True)
    asked = {"scope": "signer.sign signer.verify"} | ({"resource": resource} if resource else {})
    token = authority.client_credentials(dpop_key=DPoPKey.generate(alg), **asked)
    with open(request, "rb") as file:
        answer = session.post(f"{service}/api/v1/signer/sign/dsse", data=file.read(), auth=token,
                              headers={"Content-Type": "application/json"}, timeout=10)
    problem = "" if answer.ok else f" {answer.json()['code']}: {answer.json()['detail']}"
    print(f"authority {seen['authority']} service {seen['service']}{problem}")
    if not answer.ok:
        return 1
    with open(response, "wb") as file:
        file.write(answer.content)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
