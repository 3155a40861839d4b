//! What an entry is about: the log keeps the digest of what was signed, the signature, and the key or certificate. All
//! three must be those at hand, or the entry is of another signature.
//!
//! Types of Rekor 1 (`pkg/types/{hashedrekord,dsse}/v0.0.1`, `intoto/v0.0.2`) and 2 (`api/proto/rekor/v2`).

use openssl::hash::{MessageDigest, hash};
use openssl::pkey::PKey;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::keys::ReleaseKey;
use super::super::{Maker, Signature, decode_base64, shown};
use crate::x509::{parse_chain_pem, parse_der};

/// The longest body that is read, in bytes; `intoto` entries hold a whole payload.
const MAX_BODY: usize = 2 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body {
    api_version: String,
    kind: String,
    spec: Box<RawValue>,
}

/// What an entry says, whatever its type.
struct Claims {
    signature: Vec<u8>,
    /// PEM or DER of a certificate or a public key.
    verifier: Vec<u8>,
    /// True if the digest is of the payload inside of what was signed.
    of_payload: bool,
    algorithm: String,
    digest: Vec<u8>,
}

/// Checks that a body is about this signature by this key.
pub(super) fn check(
    body: &[u8],
    kind: Option<&(String, String)>,
    signature: &Signature<'_>,
    maker: &Maker<'_>,
) -> Result<(), String> {
    if body.len() > MAX_BODY {
        return Err(format!("the log entry is longer than {MAX_BODY} bytes"));
    }
    let body: Body = serde_json::from_slice(body).map_err(|_| "the log entry is malformed")?;
    let claimed = kind.is_none_or(|(kind, version)| *kind == body.kind && *version == body.api_version);
    if !claimed {
        return Err("the log entry is of another type than the bundle says".into());
    }
    let claims = read(&body)?;
    if claims.signature != signature.bytes {
        return Err("the log entry is of another signature".into());
    }
    let signed = if claims.of_payload {
        signature.payload
    } else {
        Some(signature.message)
    };
    let signed = signed.ok_or("the log entry is of an envelope, and the signature is not")?;
    if digest_of(&claims.algorithm, signed).as_ref() != Some(&claims.digest) {
        return Err("the log entry is over something else".into());
    }
    if is_maker(&claims.verifier, maker) {
        Ok(())
    } else {
        Err("the log entry is of another key or certificate".into())
    }
}

fn read(body: &Body) -> Result<Claims, String> {
    let spec = body.spec.get();
    let malformed = || "the log entry is malformed".to_owned();
    match (body.kind.as_str(), body.api_version.as_str()) {
        ("hashedrekord", "0.0.1") => hashedrekord1(spec),
        ("hashedrekord", "0.0.2") => hashedrekord2(spec),
        ("dsse", "0.0.1") => dsse1(spec),
        ("intoto", "0.0.2") => intoto2(spec),
        (kind, version) => {
            let (kind, version) = (shown(kind), shown(version));
            return Err(format!("a log entry of type \"{kind}\" {version} is not known"));
        }
    }
    .ok_or_else(malformed)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    decode_base64(text, "").ok()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HexDigest {
    algorithm: String,
    value: String,
}

fn hashedrekord1(spec: &str) -> Option<Claims> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Spec {
        data: Data,
        signature: Content,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Data {
        hash: HexDigest,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Content {
        content: String,
        public_key: Key,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Key {
        content: String,
    }
    let spec: Spec = serde_json::from_str(spec).ok()?;
    Some(Claims {
        signature: base64(&spec.signature.content)?,
        verifier: base64(&spec.signature.public_key.content)?,
        of_payload: false,
        digest: hex::decode(&spec.data.hash.value).ok()?,
        algorithm: spec.data.hash.algorithm,
    })
}

fn hashedrekord2(spec: &str) -> Option<Claims> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Spec {
        #[serde(rename = "hashedRekordV002")]
        entry: Entry,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        data: Data,
        signature: Content,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Data {
        algorithm: String,
        digest: String,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Content {
        content: String,
        verifier: Verifier,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Verifier {
        // Which algorithm the key has is known of the key.
        #[serde(rename = "keyDetails")]
        _key_details: String,
        x509_certificate: Option<Raw>,
        public_key: Option<Raw>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Raw {
        raw_bytes: String,
    }
    let entry = serde_json::from_str::<Spec>(spec).ok()?.entry;
    let verifier = match (
        entry.signature.verifier.x509_certificate,
        entry.signature.verifier.public_key,
    ) {
        (Some(raw), None) | (None, Some(raw)) => base64(&raw.raw_bytes)?,
        _ => return None,
    };
    Some(Claims {
        signature: base64(&entry.signature.content)?,
        verifier,
        of_payload: false,
        digest: base64(&entry.data.digest)?,
        algorithm: entry.data.algorithm,
    })
}

fn dsse1(spec: &str) -> Option<Claims> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Spec {
        // Of the envelope as it was spelt when it was logged.
        #[serde(rename = "envelopeHash")]
        _envelope_hash: HexDigest,
        payload_hash: HexDigest,
        signatures: Vec<One>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct One {
        signature: String,
        verifier: String,
    }
    let spec: Spec = serde_json::from_str(spec).ok()?;
    let [one] = spec.signatures.as_slice() else {
        return None;
    };
    Some(Claims {
        signature: base64(&one.signature)?,
        verifier: base64(&one.verifier)?,
        of_payload: true,
        digest: hex::decode(&spec.payload_hash.value).ok()?,
        algorithm: spec.payload_hash.algorithm,
    })
}

fn intoto2(spec: &str) -> Option<Claims> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Spec {
        content: Content,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Content {
        envelope: Envelope,
        #[serde(rename = "hash")]
        _hash: HexDigest,
        payload_hash: HexDigest,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Envelope {
        #[serde(rename = "payload")]
        _payload: Option<String>,
        #[serde(rename = "payloadType")]
        _payload_type: String,
        signatures: Vec<One>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct One {
        #[serde(rename = "keyid")]
        _keyid: Option<String>,
        public_key: String,
        sig: String,
    }
    let content = serde_json::from_str::<Spec>(spec).ok()?.content;
    let [one] = content.envelope.signatures.as_slice() else {
        return None;
    };
    // The base64 of an envelope's member, which is base64 itself.
    let signature = String::from_utf8(base64(&one.sig)?).ok()?;
    Some(Claims {
        signature: base64(&signature)?,
        verifier: base64(&one.public_key)?,
        of_payload: true,
        digest: hex::decode(&content.payload_hash.value).ok()?,
        algorithm: content.payload_hash.algorithm,
    })
}

fn digest_of(algorithm: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let digest = match algorithm {
        "sha256" | "SHA2_256" => MessageDigest::sha256(),
        "sha384" | "SHA2_384" => MessageDigest::sha384(),
        "sha512" | "SHA2_512" => MessageDigest::sha512(),
        _ => return None,
    };
    hash(digest, bytes).ok().map(|digest| digest.to_vec())
}

/// True if these bytes are the certificate that signed; or, for a key, the key or a certificate of it.
fn is_maker(verifier: &[u8], maker: &Maker<'_>) -> bool {
    let certificate = if verifier.starts_with(b"-----BEGIN CERTIFICATE-----") {
        parse_chain_pem(verifier)
            .ok()
            .and_then(|chain| <[_; 1]>::try_from(chain).ok())
            .map(|[one]| one)
    } else {
        parse_der(verifier).ok()
    };
    let key = match (&certificate, maker.certificate) {
        (Some(certificate), Some(expected)) => {
            return certificate.to_der().is_ok_and(|der| der == expected);
        }
        (None, Some(_)) => return false,
        (Some(certificate), None) => certificate
            .public_key()
            .ok()
            .and_then(|key| ReleaseKey::new(key).ok()),
        (None, None) if verifier.starts_with(b"-----BEGIN ") => ReleaseKey::from_pem(verifier).ok(),
        (None, None) => PKey::public_key_from_der(verifier)
            .ok()
            .and_then(|key| ReleaseKey::new(key).ok()),
    };
    crate::openssl_errors::forget();
    key.is_some_and(|key| key.der() == maker.key)
}
