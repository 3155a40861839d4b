//! A timestamp authority over HTTP (RFC 3161): digest in, signed time out.

use std::io;
use std::sync::Arc;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rand::rand_bytes;
use openssl::sha::sha256;
use openssl::sign::Signer;
use openssl::x509::X509;

use super::ca::{timestamp_authority, timestamp_root};
use super::listener::{Bound, Running};
use crate::x509::der::{
    BOOLEAN, CONTEXT_0, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, only,
    unsigned_integer,
};

/// A policy of nobody's, under a documentation arc: 2.999.1 (X.660 §A.4).
const POLICY: &[u8] = &[0x88, 0x37, 0x01];
/// `id-signedData` (RFC 5652 §5.1) and `id-ct-TSTInfo` (RFC 3161 §2.4.2).
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
/// `id-contentType`, `id-messageDigest` (RFC 5652 §11), `id-aa-signingCertificateV2` (RFC 5035 §3).
const CONTENT_TYPE_ATTRIBUTE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];
/// `id-sha256` (RFC 5754 §2.2) and `ecdsa-with-SHA256` (RFC 5758 §3.2).
const SHA_256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const ECDSA_SHA_256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];

/// `TimeStampResp` of a request that cannot be read: rejection, badDataFormat (RFC 3161 §2.4.2).
const REJECTION: &[u8] = &[0x30, 0x09, 0x30, 0x07, 0x02, 0x01, 0x02, 0x03, 0x02, 0x02, 0x04];

/// The running authority.
#[derive(Debug)]
pub struct TimestampAuthority {
    /// Where it listens, at `/`.
    pub running: Running,
    /// Its certificate and its root, PEM.
    pub chain_pem: String,
}

/// Starts an authority on a free loopback port, with a fresh root.
///
/// # Errors
/// OpenSSL's, and those of the listener.
pub async fn start() -> io::Result<TimestampAuthority> {
    let stamper = Arc::new(Stamper::generate()?);
    let chain_pem = stamper.chain_pem()?;
    let running = Bound::any_port()?.serve(move |routes| {
        routes
            .app_data(web::Data::new(Arc::clone(&stamper)))
            .route("/", web::post().to(stamp));
    })?;
    Ok(TimestampAuthority { running, chain_pem })
}

async fn stamp(stamper: web::Data<Arc<Stamper>>, request: HttpRequest, query: web::Bytes) -> HttpResponse {
    let media_type = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if media_type != Some("application/timestamp-query") {
        return HttpResponse::UnsupportedMediaType().finish();
    }
    let answer = stamper.answer(&query, Utc::now());
    HttpResponse::Ok()
        .content_type("application/timestamp-reply")
        .body(answer.unwrap_or_else(|| REJECTION.to_vec()))
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `messageImprint`, whole.
    pub(crate) imprint: Vec<u8>,
    /// Content of the nonce.
    pub(crate) nonce: Option<Vec<u8>>,
    pub(crate) certificates: bool,
}

/// `TimeStampReq` (RFC 3161 §2.4.1), without policy and extensions.
pub(crate) fn read(query: &[u8]) -> Option<Asked> {
    let mut parts = Reader::new(only(query, SEQUENCE)?);
    if parts.expect(INTEGER)? != [1] {
        return None;
    }
    let imprint = parts.whole(SEQUENCE)?.to_vec();
    let nonce = match parts.optional(INTEGER)? {
        Some(content) => {
            unsigned_integer(content)?;
            Some(content.to_vec())
        }
        None => None,
    };
    let certificates = parts.optional(BOOLEAN)?.is_some_and(|wanted| wanted == [0xff]);
    parts.is_empty().then_some(Asked {
        imprint,
        nonce,
        certificates,
    })
}

/// A key that signs times.
pub(crate) struct Stamper {
    key: PKey<Private>,
    certificate: X509,
    root: X509,
}

impl Stamper {
    pub(crate) fn generate() -> io::Result<Self> {
        let (root_key, root) = timestamp_root()?;
        Self::under(&root_key, root)
    }

    fn under(root_key: &PKey<Private>, root: X509) -> io::Result<Self> {
        let (key, certificate) = timestamp_authority(root_key, &root)?;
        Ok(Self {
            key,
            certificate,
            root,
        })
    }

    /// Two authorities under one root.
    #[cfg(test)]
    pub(crate) fn siblings() -> io::Result<[Self; 2]> {
        let (root_key, root) = timestamp_root()?;
        Ok([
            Self::under(&root_key, root.clone())?,
            Self::under(&root_key, root)?,
        ])
    }

    pub(crate) fn chain_pem(&self) -> io::Result<String> {
        let pem = [self.certificate.to_pem()?, self.root.to_pem()?].concat();
        String::from_utf8(pem).map_err(io::Error::other)
    }

    #[cfg(test)]
    pub(crate) fn key(&self) -> &PKey<Private> {
        &self.key
    }

    /// The root alone, PEM.
    #[cfg(test)]
    pub(crate) fn root_pem(&self) -> Vec<u8> {
        self.root.to_pem().unwrap_or_default()
    }

    /// `TimeStampResp` in DER; `None` for what is no request.
    pub(crate) fn answer(&self, query: &[u8], time: DateTime<Utc>) -> Option<Vec<u8>> {
        self.respond(&read(query)?, time)
    }

    /// Grants what is asked.
    pub(crate) fn respond(&self, asked: &Asked, time: DateTime<Utc>) -> Option<Vec<u8>> {
        let mut serial = [0; 8];
        rand_bytes(&mut serial).ok()?;
        let [first, ..] = &mut serial;
        *first = (*first & 0x7f) | 0x40;
        let info = sequence(&[
            tlv(INTEGER, &[1]),
            tlv(OID, POLICY),
            asked.imprint.clone(),
            tlv(INTEGER, &serial),
            tlv(
                GENERALIZED_TIME,
                time.format("%Y%m%d%H%M%SZ").to_string().as_bytes(),
            ),
            asked
                .nonce
                .as_ref()
                .map_or_else(Vec::new, |nonce| tlv(INTEGER, nonce)),
        ]);
        let token = self.signed(&info, asked.certificates)?;
        let granted = sequence(&[tlv(INTEGER, &[0])]);
        Some(sequence(&[granted, token]))
    }

    /// `SignedData` (RFC 5652 §5.1), version 3 as its content is no plain data.
    fn signed(&self, info: &[u8], with_certificate: bool) -> Option<Vec<u8>> {
        let certificate = self.certificate.to_der().ok()?;
        let digest_algorithm = sequence(&[tlv(OID, SHA_256)]);
        let attributes = attributes(info, &certificate);
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).ok()?;
        let signature = signer.sign_oneshot_to_vec(&tlv(SET, &attributes)).ok()?;
        let issuer = self.certificate.issuer_name().to_der().ok()?;
        let mut serial = self.certificate.serial_number().to_bn().ok()?.to_vec();
        if serial.first().is_none_or(|first| *first >= 0x80) {
            serial.insert(0, 0);
        }
        let signer_info = sequence(&[
            tlv(INTEGER, &[1]),
            sequence(&[issuer, tlv(INTEGER, &serial)]),
            digest_algorithm.clone(),
            tlv(CONTEXT_0, &attributes),
            sequence(&[tlv(OID, ECDSA_SHA_256)]),
            tlv(OCTET_STRING, &signature),
        ]);
        let content = sequence(&[tlv(OID, TST_INFO), tlv(CONTEXT_0, &tlv(OCTET_STRING, info))]);
        let certificates = if with_certificate {
            tlv(CONTEXT_0, &certificate)
        } else {
            Vec::new()
        };
        let data = sequence(&[
            tlv(INTEGER, &[3]),
            tlv(SET, &digest_algorithm),
            content,
            certificates,
            tlv(SET, &signer_info),
        ]);
        Some(sequence(&[tlv(OID, SIGNED_DATA), tlv(CONTEXT_0, &data)]))
    }
}

/// Content of the signed attributes, in the order of a SET OF (X.690 §11.6).
fn attributes(info: &[u8], certificate: &[u8]) -> Vec<u8> {
    // ESSCertIDv2 with its default hash, SHA-256 (RFC 5035 §4).
    let id = sequence(&[tlv(OCTET_STRING, &sha256(certificate))]);
    let named = sequence(&[sequence(&[id])]);
    let mut all = [
        (CONTENT_TYPE_ATTRIBUTE, tlv(OID, TST_INFO)),
        (MESSAGE_DIGEST, tlv(OCTET_STRING, &sha256(info))),
        (SIGNING_CERTIFICATE_V2, named),
    ]
    .map(|(kind, value)| sequence(&[tlv(OID, kind), tlv(SET, &value)]));
    all.sort();
    all.concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// An element in DER (X.690 §8.1.3), of at most 64 KiB.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let head = match (high, low) {
        (0, 0..0x80) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [&head[..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One question by `openssl ts -query -data abc -sha256 -cert`, and OpenSSL's verdict on the answer.
    #[test]
    fn openssl_takes_its_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let openssl = |arguments: &[&str]| {
            let ran = std::process::Command::new("openssl").args(arguments).output();
            let ran = ran.expect("openssl, which the lanes need too");
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        };
        std::fs::write(path("data"), "abc").unwrap();
        openssl(&[
            "ts",
            "-query",
            "-data",
            &path("data"),
            "-sha256",
            "-cert",
            "-out",
            &path("q"),
        ]);
        let stamper = Stamper::generate().unwrap();
        std::fs::write(path("root"), stamper.root_pem()).unwrap();
        let answer = stamper
            .answer(&std::fs::read(path("q")).unwrap(), Utc::now())
            .unwrap();
        std::fs::write(path("a"), answer).unwrap();
        openssl(&[
            "ts",
            "-verify",
            "-queryfile",
            &path("q"),
            "-in",
            &path("a"),
            "-CAfile",
            &path("root"),
        ]);
    }

    #[test]
    fn what_is_no_request_is_rejected() {
        let stamper = Stamper::generate().unwrap();
        for bad in [&b""[..], b"\x30\x00", b"\x30\x03\x02\x01\x02", b"GET / HTTP/1.1"] {
            assert!(stamper.answer(bad, Utc::now()).is_none());
        }
    }
}
