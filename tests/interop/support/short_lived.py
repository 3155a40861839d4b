#!/usr/bin/env python3
"""Issues a certificate as Fulcio does, but for seconds: Fulcio's own live ten minutes.

    short_lived.py CHAIN.pem KEY.pem PASSWORD ISSUER SUBJECT SECONDS OUT

CHAIN begins with the certificate that issues. Writes OUT.pem and OUT.key (PKCS #8); prints when the certificate ends.
"""

import sys
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

# fulcio docs/oid-info.md: the issuer as it is, and as a UTF8String.
ISSUER, ISSUER_V2 = (x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}") for number in (1, 8))


def utf8_string(text: str) -> bytes:
    content = text.encode()
    if len(content) > 127:
        sys.exit("the issuer is too long for a short length")
    return bytes([0x0C, len(content)]) + content


def main(chain: str, key: str, password: str, issuer: str, subject: str, seconds: str, out: str) -> None:
    with open(chain, "rb") as file:
        authority = x509.load_pem_x509_certificates(file.read())[0]
    with open(key, "rb") as file:
        authority_key = serialization.load_pem_private_key(file.read(), password.encode())
    own = ec.generate_private_key(ec.SECP256R1())
    begins = datetime.now(timezone.utc).replace(microsecond=0)
    ends = begins + timedelta(seconds=int(seconds))
    usage = dict.fromkeys(
        "content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign encipher_only "
        "decipher_only".split(),
        False,
    )
    extensions = [
        (x509.KeyUsage(digital_signature=True, **usage), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False),
        (x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), False),
        (x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject)]), True),
        (x509.UnrecognizedExtension(ISSUER, issuer.encode()), False),
        (x509.UnrecognizedExtension(ISSUER_V2, utf8_string(issuer)), False),
    ]
    made = (
        x509.CertificateBuilder(extensions=[x509.Extension(e.oid, critical, e) for e, critical in extensions])
        .subject_name(x509.Name([]))
        .issuer_name(authority.subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .sign(authority_key, hashes.SHA256())
    )
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    with open(out + ".pem", "wb") as file:
        file.write(made.public_bytes(pem))
    with open(out + ".key", "wb") as file:
        file.write(own.private_bytes(pem, pkcs8, plain))
    print(int(ends.timestamp()))


if __name__ == "__main__":
    main(*sys.argv[1:])
