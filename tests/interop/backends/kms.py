#!/usr/bin/env python3
"""Makes keys in AWS KMS, a user and a role that may sign with them and no more, and does to them what befalls keys.

    kms.py make ENDPOINT FOLDER     FOLDER gets <key>.pub, access-key-id, secret-access-key, web-identity, backends.toml
    kms.py <disable|enable|deny|allow|revoke|replace|mistype|rotate> ENDPOINT FOLDER

By botocore, AWS's own client, as the account's root (test, test).
"""

import base64
import json
import pathlib
import sys
import time

import botocore.session
from botocore.exceptions import ClientError, EndpointConnectionError

REGION = "eu-central-1"
KEYS = {
    "p256": ("ECC_NIST_P256", "ecdsa-p256-sha256"),
    "p384": ("ECC_NIST_P384", "ecdsa-p384-sha384"),
    "ed25519": ("ECC_NIST_EDWARDS25519", "ed25519"),
    "pss": ("RSA_2048", "rsa-pss-sha256"),
    "pkcs1": ("RSA_3072", "rsa-pkcs1-sha256"),
}
ISSUER = "oidc.example"
USER, ROLE, POLICY = "signer", "signer", "sign"


class Aws:
    def __init__(self, endpoint: str, folder: str):
        self.endpoint, self.folder = endpoint, pathlib.Path(folder)

    def client(self, service: str):
        return botocore.session.get_session().create_client(
            service, region_name=REGION, endpoint_url=self.endpoint,
            aws_access_key_id="test", aws_secret_access_key="test",
        )

    def write(self, name: str, text: str) -> None:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_text(text)


def policy(effect: str = "Allow") -> str:
    allowed = {"Effect": effect, "Action": ["kms:GetPublicKey", "kms:Sign"], "Resource": f"arn:aws:kms:{REGION}:*:key/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})


def until_there(aws: Aws) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            aws.client("kms").list_keys()
            return
        except (EndpointConnectionError, ClientError):
            if time.monotonic() > end:
                raise


def make(aws: Aws) -> None:
    until_there(aws)
    iam = aws.client("iam")
    iam.create_user(UserName=USER)
    allow(aws)
    new_access_key(aws)
    provider = iam.create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=["sts.amazonaws.com"])
    trust = {
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": provider["OpenIDConnectProviderArn"]},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName=ROLE, PolicyName=POLICY, PolicyDocument=policy())
    aws.write("web-identity", web_identity())
    tables = [new_key(aws, name, name) for name in KEYS]
    by_role = f'role_arn = "{role}"\nweb_identity_token = "file:{aws.folder}/web-identity"\nsts_endpoint = "{aws.endpoint}"'
    tables.append(new_key(aws, "p256", "role", f'credentials = "web-identity"\n{by_role}'))
    (aws.folder / "backends.toml").write_text("\n".join(tables))


def web_identity() -> str:
    """A token as an OpenID provider gives it; the emulator does not verify its signature."""
    part = lambda it: base64.urlsafe_b64encode(json.dumps(it).encode()).rstrip(b"=").decode()
    claims = {
        "iss": f"https://{ISSUER}", "sub": "signer", "aud": "sts.amazonaws.com",
        "iat": int(time.time()), "exp": int(time.time()) + 3600,
    }
    return f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.c2ln"


def new_key(aws: Aws, kind: str, name: str, login: str = "") -> str:
    kms, (spec, algorithm) = aws.client("kms"), KEYS[kind]
    arn = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    der = kms.get_public_key(KeyId=arn)["PublicKey"]
    text = base64.encodebytes(der).decode()
    (aws.folder / f"{name}.pub").write_text(f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n")
    (aws.folder / f"{name}.arn").write_text(arn)
    login = login or (
        f'access_key_id = "file:{aws.folder}/access-key-id"\nsecret_access_key = "file:{aws.folder}/secret-access-key"'
    )
    return f"""
[[signing.backends]]
kind = "aws-kms"
id = "kms-{name}"
region = "{REGION}"
endpoint = "{aws.endpoint}"
key = "{arn}"
public_key = "{aws.folder}/{name}.pub"
algorithm = "{algorithm}"
timeout = "2s"
{login}
"""


def new_access_key(aws: Aws) -> None:
    key = aws.client("iam").create_access_key(UserName=USER)["AccessKey"]
    aws.write("access-key-id", key["AccessKeyId"])
    aws.write("secret-access-key", key["SecretAccessKey"])


def allow(aws: Aws, effect: str = "Allow") -> None:
    aws.client("iam").put_user_policy(UserName=USER, PolicyName=POLICY, PolicyDocument=policy(effect))


def revoke(aws: Aws) -> None:
    """Deletes the access key; the files keep it."""
    key = (aws.folder / "access-key-id").read_text()
    aws.client("iam").delete_access_key(UserName=USER, AccessKeyId=key)


def mistype(aws: Aws) -> None:
    """A new access key, whose secret is written down wrongly."""
    new_access_key(aws)
    secret = aws.folder / "secret-access-key"
    (aws.folder / "right-secret").write_text(secret.read_text())
    secret.write_text(secret.read_text()[::-1])


def replace(aws: Aws) -> None:
    """Corrects it."""
    (aws.folder / "secret-access-key").write_text((aws.folder / "right-secret").read_text())


def rotate(aws: Aws) -> None:
    """A new key beside the old one, in a table of its own: KMS does not rotate asymmetric keys."""
    with open(aws.folder / "backends.toml", "a", encoding="utf-8") as file:
        file.write(new_key(aws, "p256", "p256-2"))


def main(what: str, endpoint: str, folder: str) -> None:
    aws = Aws(endpoint, folder)
    key = {"KeyId": (aws.folder / "p256.arn").read_text()} if what in ("disable", "enable") else {}
    match what:
        case "make":
            make(aws)
        case "disable":
            aws.client("kms").disable_key(**key)
        case "enable":
            aws.client("kms").enable_key(**key)
        case "deny":
            allow(aws, "Deny")
        case "allow":
            allow(aws)
        case "revoke":
            revoke(aws)
        case "mistype":
            mistype(aws)
        case "replace":
            replace(aws)
        case "rotate":
            rotate(aws)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
