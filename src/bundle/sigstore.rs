//! The Sigstore bundle v0.3 in JSON (sigstore/protobuf-specs, `sigstore_bundle.proto`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::x509::X509;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::signing::SigningIdentity;

use super::envelope::{self, Envelope, decode_base64, few};
use crate::x509::parse_der;

/// Media type of the bundles made here.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// The older spelling of the same version (`sigstore_bundle.proto`, `Bundle.media_type`).
const MEDIA_TYPE_OLD: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";

/// A bundle with a DSSE envelope. Unknown members are refused, as the other clients do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SigstoreBundle {
    /// [`MEDIA_TYPE`]
    pub media_type: String,
    /// What to verify with.
    pub verification_material: VerificationMaterial,
    /// What to verify.
    #[serde(deserialize_with = "envelope::strict")]
    pub dsse_envelope: Envelope,
}

/// Key or certificate, and what others witnessed. Exactly one of `public_key` and `certificate` is there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerificationMaterial {
    /// Keyful: which key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<KeyHint>,
    /// Keyless: the leaf alone; version 0.3 takes no chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Entries of transparency logs: none is made here, the Attestor adds them.
    #[serde(default, deserialize_with = "few")]
    pub tlog_entries: Vec<Box<RawValue>>,
    /// Timestamps (RFC 3161) over the signature's bytes; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_verification_data: Option<Timestamps>,
}

/// `PublicKeyIdentifier`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyHint {
    /// base64 SHA-256 of the key's SubjectPublicKeyInfo.
    pub hint: String,
}

/// `X509Certificate`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// base64 DER.
    pub raw_bytes: String,
}

/// `TimestampVerificationData`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timestamps {
    /// Answers of timestamp authorities.
    #[serde(default, deserialize_with = "few")]
    pub rfc3161_timestamps: Vec<SignedTimestamp>,
}

/// `RFC3161SignedTimestamp`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignedTimestamp {
    /// base64 of a TimeStampResp (RFC 3161 §2.4.2).
    pub signed_timestamp: String,
}

/// Who a bundle says has signed.
#[derive(Debug)]
pub enum BundleSigner {
    /// A key, by its hint. The hint is not signed.
    Key(String),
    /// A certificate; neither read further nor verified yet.
    Certificate(Box<X509>),
}

impl SigstoreBundle {
    /// Reads a bundle of version 0.3. Says nothing about its signature: [`Envelope::decode`] and [`Self::signer`] give
    /// what that needs.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let bundle: Self =
            serde_json::from_slice(text).map_err(|e| format!("the Sigstore bundle cannot be read: {e}"))?;
        bundle.check_media_type()?;
        Ok(bundle)
    }

    /// The one signer: a key or a certificate, never both or neither.
    pub fn signer(&self) -> Result<BundleSigner, String> {
        let material = &self.verification_material;
        match (&material.public_key, &material.certificate) {
            (Some(key), None) => Ok(BundleSigner::Key(key.hint.clone())),
            (None, Some(certificate)) => {
                let der = decode_base64(&certificate.raw_bytes);
                let leaf = der.and_then(|der| parse_der(&der).ok());
                let leaf = leaf.ok_or("the bundle's certificate cannot be read")?;
                Ok(BundleSigner::Certificate(Box::new(leaf)))
            }
            _ => Err("the bundle must have either a publicKey or a certificate".into()),
        }
    }

    /// Bundles an envelope with what its signer is; `timestamps` are TimeStampResp in DER.
    pub fn new(envelope: Envelope, identity: &SigningIdentity, timestamps: &[&[u8]]) -> Self {
        let certificate = identity.leaf_der.as_ref().map(|leaf| Certificate {
            raw_bytes: STANDARD.encode(leaf),
        });
        let public_key = certificate.is_none().then(|| KeyHint {
            hint: key_hint(&identity.public_key_der),
        });
        let rfc3161_timestamps: Vec<_> = timestamps
            .iter()
            .map(|response| SignedTimestamp {
                signed_timestamp: STANDARD.encode(response),
            })
            .collect();
        let verification_material = VerificationMaterial {
            public_key,
            certificate,
            tlog_entries: Vec::new(),
            timestamp_verification_data: (!timestamps.is_empty())
                .then_some(Timestamps { rfc3161_timestamps }),
        };
        Self {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material,
            dsse_envelope: envelope,
        }
    }

    /// The version must be 0.3, in either spelling.
    pub(super) fn check_media_type(&self) -> Result<(), String> {
        if [MEDIA_TYPE, MEDIA_TYPE_OLD].contains(&self.media_type.as_str()) {
            return Ok(());
        }
        Err(format!("the bundle's mediaType must be {MEDIA_TYPE}"))
    }
}

/// How a bundle names a public key: base64 SHA-256 of its SubjectPublicKeyInfo in DER.
pub fn key_hint(spki_der: &[u8]) -> String {
    STANDARD.encode(Sha256Digest::of(spki_der).0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use signer_actors::domain::ids::KeyId;
    use signer_actors::domain::signing::{Algorithm, Signature};

    use super::*;

    fn identity(leaf: Option<&[u8]>) -> SigningIdentity {
        SigningIdentity {
            leaf_der: leaf.map(<[u8]>::to_vec),
            ..SigningIdentity::keyful(KeyId::parse("k").unwrap(), Algorithm::EcdsaP256Sha256, b"abc", "")
        }
    }

    #[test]
    fn keyful_and_keyless_shapes() {
        let envelope = Envelope::new(b"{}", &Signature(vec![1]));
        let dsse = json!({
            "payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": [{ "sig": "AQ==" }],
        });
        let keyful = SigstoreBundle::new(envelope.clone(), &identity(None), &[]);
        // The hint: FIPS 180-2 appendix B.1's SHA-256("abc"), base64.
        let hint = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
        let expected = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": { "publicKey": { "hint": hint }, "tlogEntries": [] },
            "dsseEnvelope": dsse,
        });
        assert_eq!(serde_json::to_value(&keyful).unwrap(), expected);
        let keyless = SigstoreBundle::new(envelope, &identity(Some(b"leaf")), &[b"stamp"]);
        let expected = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {
                "certificate": { "rawBytes": "bGVhZg==" },
                "tlogEntries": [],
                "timestampVerificationData": { "rfc3161Timestamps": [{ "signedTimestamp": "c3RhbXA=" }] },
            },
            "dsseEnvelope": dsse,
        });
        assert_eq!(serde_json::to_value(&keyless).unwrap(), expected);
        let text = expected.to_string();
        assert!(
            serde_json::from_str::<SigstoreBundle>(&text)
                .unwrap()
                .check_media_type()
                .is_ok()
        );
        for unknown in [
            text.replace(r#""sig":"#, r#""x":1,"sig":"#),
            text.replace(r#""payload":"#, r#""x":1,"payload":"#),
            text.replace(r#""mediaType":"#, r#""x":1,"mediaType":"#),
        ] {
            assert!(unknown.contains(r#""x":1"#));
            assert!(SigstoreBundle::parse(unknown.as_bytes()).is_err(), "{unknown}");
        }
        let chain = text.replace(r#""certificate":"#, r#""x509CertificateChain":"#);
        assert!(serde_json::from_str::<SigstoreBundle>(&chain).is_err());
        let other = text.replace("bundle.v0.3", "bundle.v0.4");
        assert!(
            serde_json::from_str::<SigstoreBundle>(&other)
                .unwrap()
                .check_media_type()
                .is_err()
        );
    }
}
