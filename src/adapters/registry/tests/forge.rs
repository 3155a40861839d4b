//! Makes what a release process makes: keys, certificates, signatures, payloads and manifests. Signed with openssl
//! directly, so that nothing under test makes its own input.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Extension, X509NameBuilder};
use serde_json::{Value, json};
use sha256::of as sha256;
use tokio_native_tls::TlsAcceptor;

pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub(crate) const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub(crate) const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
pub(crate) const TAG: &str = "org.opencontainers.image.version";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

mod sha256 {
    /// `sha256:<hex>`, by openssl itself.
    pub(crate) fn of(bytes: &[u8]) -> String {
        format!(
            "sha256:{}",
            hex::encode(openssl::hash::hash(openssl::hash::MessageDigest::sha256(), bytes).unwrap())
        )
    }
}

pub(crate) fn digest_of(bytes: &[u8]) -> String {
    sha256(bytes)
}

pub(crate) fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn pem(key: &PKey<Private>) -> Vec<u8> {
    key.public_key_to_pem().unwrap()
}

/// ECDSA with SHA-256, DER, base64.
pub(crate) fn sign(key: &PKey<Private>, message: &[u8]) -> String {
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    STANDARD.encode(signer.sign_oneshot_to_vec(message).unwrap())
}

pub(crate) fn payload(image: &str, optional: Value) -> Value {
    json!({
        "critical": {
            "identity": { "docker-reference": "registry.example/stellaops/scanner" },
            "image": { "docker-manifest-digest": image },
            "type": "cosign container image signature",
        },
        "optional": optional,
    })
}

pub(crate) fn statement(image: &str, predicate_type: &str) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": image.strip_prefix("sha256:").unwrap_or(image) } }],
        "predicateType": predicate_type,
        "predicate": {},
    })
}

/// A bundle with a DSSE envelope; `material` is its verification material.
pub(crate) fn bundle(key: &PKey<Private>, material: Value, statement: &Value) -> Value {
    let payload = serde_json::to_vec(statement).unwrap();
    let kind = "application/vnd.in-toto+json";
    // secure-systems-lab/dsse protocol.md, written out here on purpose.
    let mut pae = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    pae.extend_from_slice(&payload);
    json!({
        "mediaType": BUNDLE,
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": STANDARD.encode(&payload),
            "payloadType": kind,
            "signatures": [{ "sig": sign(key, &pae) }],
        },
    })
}

/// cosign's annotation of a Rekor entry: a hashedrekord of a layer's signature, promised by `log` for `time` (rekor
/// `pkg/api/entries.go`, written out here on purpose).
pub(crate) fn promise(
    log: &PKey<Private>,
    payload: &[u8],
    signature: &str,
    certificate: &[u8],
    time: i64,
) -> Value {
    let digest = sha256(payload);
    let body = json!({
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": digest.strip_prefix("sha256:").unwrap() } },
            "signature": { "content": signature, "publicKey": { "content": STANDARD.encode(certificate) } },
        },
    });
    let body = STANDARD.encode(body.to_string());
    let id = sha256(&log.public_key_to_der().unwrap()).replace("sha256:", "");
    let signed = format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":3}}"#);
    json!({
        "SignedEntryTimestamp": sign(log, signed.as_bytes()),
        "Payload": { "body": body, "integratedTime": time, "logID": id, "logIndex": 3 },
    })
}

pub(crate) fn by_key() -> Value {
    json!({ "publicKey": { "hint": "any" } })
}

pub(crate) fn by_certificate(certificate: &X509) -> Value {
    json!({ "certificate": { "rawBytes": STANDARD.encode(certificate.to_der().unwrap()) } })
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": sha256(bytes), "size": bytes.len() })
}

pub(crate) fn manifest(layers: &[Value], subject: Option<&[u8]>) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": layers,
    });
    if let Some(subject) = subject {
        manifest["subject"] = descriptor(MANIFEST, subject);
    }
    manifest
}

pub(crate) fn index(manifests: &[&[u8]]) -> Value {
    let manifests: Vec<Value> = manifests
        .iter()
        .map(|bytes| descriptor(MANIFEST, bytes))
        .collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}

/// How a leaf is made, and what can be wrong with it.
pub(crate) struct Leaf {
    pub(crate) subjects: Vec<String>,
    /// Value of 1.3.6.1.4.1.57264.1.8, a DER UTF8String around this text.
    pub(crate) issuer: Option<String>,
    /// Value of 1.3.6.1.4.1.57264.1.1, raw.
    pub(crate) issuer_v1: Option<String>,
    pub(crate) code_signing: bool,
    pub(crate) days: u32,
    /// The certificate transparency log that promises it.
    pub(crate) ct_log: Option<PKey<Private>>,
}

impl Default for Leaf {
    fn default() -> Self {
        Self {
            subjects: vec!["https://stellaops.example/release".into()],
            issuer: Some("https://authority.example".into()),
            issuer_v1: None,
            code_signing: true,
            days: 1,
            ct_log: None,
        }
    }
}

/// A certificate authority of one root.
pub(crate) struct Authority {
    key: PKey<Private>,
    pub(crate) root: X509,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = key();
        let mut builder = certificate("root", "root", &key, 3650);
        builder
            .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
            .unwrap();
        builder
            .append_extension(KeyUsage::new().critical().key_cert_sign().build().unwrap())
            .unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self {
            key,
            root: builder.build(),
        }
    }

    pub(crate) fn issue(&self, key: &PKey<Private>, leaf: &Leaf) -> X509 {
        let start = chrono::Utc::now().timestamp();
        let plain = self.issue_at(start, key, leaf, None);
        let Some(log) = &leaf.ct_log else { return plain };
        let list = promises(log, &self.root, &plain);
        self.issue_at(start, key, leaf, Some(&list))
    }

    fn issue_at(&self, start: i64, key: &PKey<Private>, leaf: &Leaf, promises: Option<&[u8]>) -> X509 {
        let mut builder = certificate("", "root", key, leaf.days);
        let end = start + i64::from(leaf.days) * 86_400;
        builder
            .set_not_before(&Asn1Time::from_unix(start).unwrap())
            .unwrap();
        builder.set_not_after(&Asn1Time::from_unix(end).unwrap()).unwrap();
        let mut names = SubjectAlternativeName::new();
        for subject in &leaf.subjects {
            names.uri(subject);
        }
        let names = names
            .critical()
            .build(&builder.x509v3_context(Some(&self.root), None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder
            .append_extension(KeyUsage::new().critical().digital_signature().build().unwrap())
            .unwrap();
        let usage = if leaf.code_signing {
            ExtendedKeyUsage::new().code_signing().build()
        } else {
            ExtendedKeyUsage::new().server_auth().build()
        };
        builder.append_extension(usage.unwrap()).unwrap();
        let mut extension = |oid: &str, value: &[u8]| {
            let oid = Asn1Object::from_str(oid).unwrap();
            let value = Asn1OctetString::new_from_bytes(value).unwrap();
            builder
                .append_extension(X509Extension::new_from_der(&oid, false, &value).unwrap())
                .unwrap();
        };
        if let Some(issuer) = &leaf.issuer {
            let der = [&[0x0c, issuer.len() as u8], issuer.as_bytes()].concat();
            extension("1.3.6.1.4.1.57264.1.8", &der);
        }
        if let Some(issuer) = &leaf.issuer_v1 {
            extension("1.3.6.1.4.1.57264.1.1", issuer.as_bytes());
        }
        if let Some(list) = promises {
            let length = (list.len() as u16).to_be_bytes();
            let wrapped = match length {
                [0, short @ 0..=0x7f] => [&[4, short], list].concat(),
                [0, long] => [&[4, 0x81, long], list].concat(),
                _ => unreachable!("one promise is short"),
            };
            extension("1.3.6.1.4.1.11129.2.4.2", &wrapped);
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        builder.build()
    }
}

/// A log's promise of a certificate, in a list (RFC 6962 §3.2, §3.3).
fn promises(log: &PKey<Private>, issuer: &X509, plain: &X509) -> Vec<u8> {
    let der = plain.to_der().unwrap();
    // Both SEQUENCEs are longer than 255 bytes: two octets of length each.
    let length = usize::from(u16::from_be_bytes([der[6], der[7]]));
    let tbs = &der[4..8 + length];
    let spki = issuer.public_key().unwrap().public_key_to_der().unwrap();
    let millis = (chrono::Utc::now().timestamp_millis() as u64).to_be_bytes();
    let head = [&[0, 0][..], &millis, &[0, 1], &openssl::sha::sha256(&spki)].concat();
    let signed = [&head[..], &(tbs.len() as u32).to_be_bytes()[1..], tbs, &[0, 0]].concat();
    let signature = STANDARD.decode(sign(log, &signed)).unwrap();
    let id = openssl::sha::sha256(&log.public_key_to_der().unwrap());
    let size = (signature.len() as u16).to_be_bytes();
    let promise = [&[0][..], &id, &millis, &[0, 0, 4, 3], &size, &signature].concat();
    let vector = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat();
    vector(&vector(&promise))
}

fn certificate(subject: &str, issuer: &str, key: &PKey<Private>, days: u32) -> X509Builder {
    let name = |common: &str| {
        let mut name = X509NameBuilder::new().unwrap();
        if !common.is_empty() {
            name.append_entry_by_nid(Nid::COMMONNAME, common).unwrap();
        }
        name.build()
    };
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(u32::from(subject.is_empty()) + 1)
        .unwrap()
        .to_asn1_integer()
        .unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder.set_issuer_name(&name(issuer)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(days).unwrap())
        .unwrap();
    builder
}

/// What a registry's own certificate says.
pub(crate) struct Host {
    /// Days from now: first and last of its validity.
    pub(crate) days: (i64, i64),
    /// Its address; `None`: a name.
    pub(crate) address: Option<&'static str>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            days: (-1, 1),
            address: Some("127.0.0.1"),
        }
    }
}

/// A certificate that is its own authority, and how a server ends TLS with it.
pub(crate) fn host(host: &Host) -> (X509, TlsAcceptor) {
    let key = key();
    let mut builder = certificate("host", "host", &key, 1);
    let now = chrono::Utc::now().timestamp();
    let at = |days: i64| Asn1Time::from_unix(now + days * 86_400).unwrap();
    builder.set_not_before(&at(host.days.0)).unwrap();
    builder.set_not_after(&at(host.days.1)).unwrap();
    builder
        .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
        .unwrap();
    let mut names = SubjectAlternativeName::new();
    match host.address {
        Some(address) => names.ip(address),
        None => names.dns("registry.example"),
    };
    let names = names.build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(names).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = builder.build();
    let identity = tokio_native_tls::native_tls::Identity::from_pkcs8(
        &certificate.to_pem().unwrap(),
        &key.private_key_to_pem_pkcs8().unwrap(),
    );
    let acceptor = tokio_native_tls::native_tls::TlsAcceptor::new(identity.unwrap()).unwrap();
    (certificate, acceptor.into())
}
