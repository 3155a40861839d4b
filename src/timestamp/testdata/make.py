#!/usr/bin/env python3
"""Makes the vectors of this folder anew: certificates by Python's `cryptography`, tokens by the openssl program.

`openssl ts` refuses to sign with a certificate that is not for timestamps, so the bad ones are made by `openssl cms`
around a TSTInfo of the good one. Run it in an empty folder; needs OpenSSL 3.0 and cryptography 41 or later.
"""

import datetime
import pathlib
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Use
from cryptography.x509.oid import NameOID

NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
DAY = datetime.timedelta(days=1)
CNF = """
[tsa]
default_tsa = the
[the]
serial = serial
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512, sha1
accuracy = secs:1, millisecs:500
ess_cert_id_alg = ESS
signer_digest = sha256
ess_cert_id_chain = no
"""


def p256():
    return ec.generate_private_key(ec.SECP256R1())


def certify(name, key, issuer=None, ca=False, uses=(Use.TIME_STAMPING,), critical=True, start=-DAY, end=3650 * DAY, serial=None):
    """A certificate by `issuer` (certificate and key), or a root."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    by, by_key = (issuer[0].subject, issuer[1]) if issuer else (subject, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(NOW + start)
        .not_valid_after(NOW + end)
        .add_extension(x509.BasicConstraints(ca, None), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by_key.public_key()), False)
        .add_extension(
            x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False), True
        )
    )
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(list(uses)), critical)
    return builder.sign(by_key, hashes.SHA256()), key


def write(name, pair):
    pathlib.Path(f"{name}.crt").write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    pathlib.Path(f"{name}.key").write_bytes(
        pair[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def stamp(out, signer, *query, ess="sha256", chain=True):
    """An answer of `openssl ts` over message.bin."""
    pathlib.Path("ts.cnf").write_text(CNF.replace("ESS", ess))
    run("openssl", "ts", "-query", "-data", "message.bin", *query, "-out", "query.tsq")
    chain = ("-chain", "intermediate.crt") if chain else ()
    run(
        "openssl", "ts", "-reply", "-config", "ts.cnf", "-queryfile", "query.tsq", "-signer", f"{signer}.crt",
        "-inkey", f"{signer}.key", *chain, "-out", f"{out}.tsr",
    )


def sign(out, *signers, options=("-cades",)):
    """An answer around the TSTInfo of the good one, signed by `openssl cms`."""
    by = [part for name in signers for part in ("-signer", f"{name}.crt", "-inkey", f"{name}.key")]
    run(
        "openssl", "cms", "-sign", "-binary", "-nodetach", "-econtent_type", "1.2.840.113549.1.9.16.1.4",
        "-in", "tst.der", "-outform", "DER", "-out", "token.der", "-md", "sha256", "-certfile", "intermediate.crt",
        *options, *by,
    )
    # TimeStampResp ::= SEQUENCE { PKIStatusInfo { granted }, token }: `openssl ts` takes only what it would have made.
    content = bytes.fromhex("3003020100") + pathlib.Path("token.der").read_bytes()
    length = len(content).to_bytes(2, "big")
    pathlib.Path(f"{out}.tsr").write_bytes(b"\x30\x82" + length + content)


def main():
    pathlib.Path("message.bin").write_bytes(b"the bytes of a signature")
    root = certify("test TSA root", p256(), ca=True, uses=())
    intermediate = certify("test TSA intermediate", p256(), root, ca=True, uses=())
    write("root", root)
    write("intermediate", intermediate)
    write("other-root", certify("test TSA root", p256(), ca=True, uses=()))
    pair = certify("p256", p256(), intermediate)
    write("p256", pair)
    # Another certificate of the same key, name and serial number: the signer is the one that the token names.
    write("twin", certify("p256", pair[1], intermediate, serial=pair[0].serial_number, end=9 * DAY))
    write("p384", certify("p384", ec.generate_private_key(ec.SECP384R1()), intermediate))
    write("rsa", certify("rsa", rsa.generate_private_key(65537, 2048), intermediate))
    write("expired", certify("expired", p256(), intermediate, start=-9 * DAY, end=-DAY))
    write("no-usage", certify("no usage", p256(), intermediate, uses=()))
    write("not-critical", certify("not critical", p256(), intermediate, critical=False))
    write("two-uses", certify("two uses", p256(), intermediate, uses=(Use.TIME_STAMPING, Use.CODE_SIGNING)))
    write("code", certify("code signing", p256(), intermediate, uses=(Use.CODE_SIGNING,)))
    foreign = certify("for servers", p256(), root, ca=True, uses=(Use.SERVER_AUTH,))
    write("foreign", certify("below for servers", p256(), foreign))
    write("for-servers", foreign)

    stamp("good", "p256", "-sha256", "-cert")
    stamp("sha384", "p384", "-sha384", "-cert", "-no_nonce")
    stamp("sha512-rsa", "rsa", "-sha512", "-cert")
    stamp("no-certificates", "p256", "-sha256", chain=False)
    stamp("ess-v1", "p256", "-sha256", "-cert", ess="sha1")
    stamp("sha1", "p256", "-sha1", "-cert")
    stamp("not-granted", "p256", "-sha256", "-cert", "-tspolicy", "1.2.3.4.99")

    run("openssl", "ts", "-reply", "-in", "good.tsr", "-token_out", "-out", "token.der")
    run("openssl", "cms", "-verify", "-noverify", "-inform", "DER", "-in", "token.der", "-out", "tst.der")
    sign("cms", "p256")
    sign("cms-key-id", "p256", options=("-cades", "-keyid"))
    for name in ("expired", "no-usage", "not-critical", "two-uses", "code"):
        sign(name, name)
    sign("foreign", "foreign", options=("-cades", "-certfile", "for-servers.crt"))
    sign("twin", "p256", options=("-cades", "-nocerts", "-certfile", "twin.crt"))
    sign("no-signing-certificate", "p256", options=())
    sign("two-signers", "p256", "rsa")
    keep = {"message.bin", "root.crt", "intermediate.crt", "p256.crt", "other-root.crt", "make.py", "README.md"}
    for path in pathlib.Path().iterdir():
        if path.name not in keep and path.suffix != ".tsr" and path.is_file():
            path.unlink()


main()
