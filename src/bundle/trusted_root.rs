//! What is published for verifiers: Sigstore's TrustedRoot v0.1 (`sigstore_trustroot.proto`), and our keyful keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use openssl::nid::Nid;
use openssl::x509::{X509, X509NameRef};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use signer_actors::domain::signing::{Algorithm, KeyLife, KeyState, SigningIdentity};

use super::sigstore::Certificate;
use crate::crypto::PublicKey;
use crate::x509::sct::{CtLog, CtLogs};
use crate::x509::{Authorities, to_utc};

/// Media type of trusted roots; sigstore-go refuses 0.2.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.trustedroot+json;version=0.1";

/// `GET /trust`: authorities that verifiers trust.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustedRoot {
    /// [`MEDIA_TYPE`]
    pub media_type: String,
    /// Transparency logs: none is ours.
    #[serde(default)]
    pub tlogs: Vec<Box<RawValue>>,
    /// Authorities of keyless certificates.
    #[serde(default)]
    pub certificate_authorities: Vec<CertificateAuthority>,
    /// Certificate logs that were configured.
    #[serde(default)]
    pub ctlogs: Vec<Box<RawValue>>,
    /// Timestamp authorities.
    #[serde(default)]
    pub timestamp_authorities: Vec<CertificateAuthority>,
}

/// One authority with its path.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateAuthority {
    /// Who it is.
    #[serde(default)]
    pub subject: DistinguishedName,
    /// Where it answers.
    #[serde(default)]
    pub uri: String,
    /// The issuing certificate first, the root last.
    pub cert_chain: CertificateChain,
    /// When it is or was trusted.
    #[serde(default)]
    pub valid_for: TimeRange,
}

/// Parts of a distinguished name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DistinguishedName {
    /// `O`
    #[serde(default)]
    pub organization: String,
    /// `CN`
    #[serde(default)]
    pub common_name: String,
}

/// Certificates in order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificateChain {
    /// Issuing certificate first, root last.
    pub certificates: Vec<Certificate>,
}

/// A range of time, open where a bound is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// First moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<DateTime<Utc>>,
    /// Last moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<DateTime<Utc>>,
}

impl TimeRange {
    /// True if the moment lies inside, bounds included.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.start.is_none_or(|start| start <= at) && self.end.is_none_or(|end| at <= end)
    }
}

impl Default for TrustedRoot {
    fn default() -> Self {
        Self {
            media_type: MEDIA_TYPE.to_owned(),
            tlogs: Vec::new(),
            certificate_authorities: Vec::new(),
            ctlogs: Vec::new(),
            timestamp_authorities: Vec::new(),
        }
    }
}

impl TrustedRoot {
    /// Adds the paths of a Fulcio's authorities. A bundle holds the leaf alone, so intermediates must be among them:
    /// configured beside the root, or learned from a certificate in use ([`Authorities::learn`]).
    pub fn add_fulcio(&mut self, uri: &str, authorities: &Authorities) -> Result<(), String> {
        for path in authorities.paths() {
            self.certificate_authorities
                .push(CertificateAuthority::new(uri, &path)?);
        }
        Ok(())
    }

    /// Adds certificate logs whose promises verifiers may look at (`TransparencyLogInstance`).
    pub fn add_ct_logs(&mut self, logs: &CtLogs) -> Result<(), String> {
        for key in logs.logs().iter().map(CtLog::key) {
            let log = json!({
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.der()),
                    "keyDetails": key_details(key),
                    "validFor": { "start": DateTime::UNIX_EPOCH },
                },
                "logId": { "keyId": STANDARD.encode(key.fingerprint().0) },
            });
            let log = to_raw_value(&log).map_err(|_| "a certificate log cannot be published")?;
            self.ctlogs.push(log);
        }
        Ok(())
    }
}

/// `PublicKeyDetails` (`sigstore_common.proto`) of a certificate log's key.
fn key_details(key: &PublicKey) -> &'static str {
    match (key.algorithm(), key.pkey().bits()) {
        (Algorithm::RsaPkcs1Sha256, 4096) => "PKIX_RSA_PKCS1V15_4096_SHA256",
        (Algorithm::RsaPkcs1Sha256, 3072) => "PKIX_RSA_PKCS1V15_3072_SHA256",
        (Algorithm::RsaPkcs1Sha256, _) => "PKIX_RSA_PKCS1V15_2048_SHA256",
        _ => "PKIX_ECDSA_P256_SHA_256",
    }
}

impl TrustedRoot {
    /// Adds the paths of a timestamp authority: its own certificate first, the root last.
    pub fn add_timestamp_authority(&mut self, uri: &str, paths: &[Vec<X509>]) -> Result<(), String> {
        for path in paths {
            self.timestamp_authorities
                .push(CertificateAuthority::new(uri, path)?);
        }
        Ok(())
    }
}

impl CertificateAuthority {
    /// From a path: issuing certificate first, root last.
    pub fn new(uri: &str, path: &[X509]) -> Result<Self, String> {
        let unusable = "an authority's certificate cannot be published";
        let (first, last) = (path.first().ok_or(unusable)?, path.last().ok_or(unusable)?);
        let encode = |certificate: &X509| {
            let der = certificate.to_der().map_err(|_| unusable)?;
            Ok::<_, &str>(Certificate {
                raw_bytes: STANDARD.encode(der),
            })
        };
        Ok(Self {
            subject: DistinguishedName {
                organization: entry(last.subject_name(), Nid::ORGANIZATIONNAME),
                common_name: entry(last.subject_name(), Nid::COMMONNAME),
            },
            uri: uri.to_owned(),
            cert_chain: CertificateChain {
                certificates: path.iter().map(encode).collect::<Result<_, _>>()?,
            },
            valid_for: TimeRange {
                start: Some(to_utc(first.not_before()).ok_or(unusable)?),
                end: None,
            },
        })
    }
}

fn entry(name: &X509NameRef, nid: Nid) -> String {
    let first = name.entries_by_nid(nid).next();
    first
        .and_then(|entry| entry.data().to_string().ok())
        .unwrap_or_default()
}

/// `GET /trust/keys`: our keyful keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedKeys {
    /// In the order of configuration.
    pub keys: Vec<PublishedKey>,
}

/// One keyful key (contract §2.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PublishedKey {
    /// The key's id.
    pub id: String,
    /// The pinned algorithm.
    pub algorithm: Algorithm,
    /// SubjectPublicKeyInfo, PEM.
    pub public_key: String,
    /// What it is good for.
    pub state: KeyState,
    /// Start of validity, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// End of validity, where there is one: for a retired key the moment from which it signs no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<DateTime<Utc>>,
    /// Nothing signed from here on is to be trusted; only for revoked keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_from: Option<DateTime<Utc>>,
}

impl PublishedKey {
    /// A key with its life.
    pub fn new(identity: &SigningIdentity, life: KeyLife) -> Self {
        Self {
            id: identity.key_id.as_str().to_owned(),
            algorithm: identity.algorithm,
            public_key: identity.public_key_pem.clone(),
            state: life.state,
            not_before: identity.not_before,
            not_after: life.retired_from.or(identity.not_after),
            revoked_from: life.revoked_from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::test_pki::TestCa;

    #[test]
    fn the_shape_is_the_protos() {
        let ca = TestCa::with_intermediate();
        let mut root = TrustedRoot::default();
        let authorities = Authorities::from_pem(&ca.chain_pem()).unwrap();
        root.add_fulcio("https://fulcio.example", &authorities).unwrap();
        let start = to_utc(ca.chain[0].not_before())
            .unwrap()
            .format("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        let raw: Vec<_> = ca
            .chain
            .iter()
            .map(|c| serde_json::json!({ "rawBytes": STANDARD.encode(c.to_der().unwrap()) }))
            .collect();
        let expected = serde_json::json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [],
            "certificateAuthorities": [{
                "subject": { "organization": "stellaops.example", "commonName": "test root" },
                "uri": "https://fulcio.example",
                "certChain": { "certificates": raw },
                "validFor": { "start": start },
            }],
            "ctlogs": [],
            "timestampAuthorities": [],
        });
        assert_eq!(serde_json::to_value(&root).unwrap(), expected);
    }

    /// The log of Sigstore's public instance, as its own trusted root has it (sigstore/root-signing, `trusted_root.json`),
    /// but for the time.
    #[test]
    fn certificate_logs_are_published_as_sigstore_does() {
        let raw = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiPSlFi0CmFTfEjCUqF9HuCEcYXNKAaYalIJmBZ8yyezPjTqhxrKBpMnaocVtLJBI1eM3uXnQzQGAJdJ4gs9Fyw==";
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{raw}\n-----END PUBLIC KEY-----\n");
        let logs = CtLogs::new(vec![CtLog::new(pem.as_bytes(), None, None).unwrap()]);
        let mut root = TrustedRoot::default();
        root.add_ct_logs(&logs).unwrap();
        let expected = json!([{
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": raw,
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": { "start": "1970-01-01T00:00:00Z" },
            },
            "logId": { "keyId": "3T0wasbHETJjGR4cmWc3AqJKXrjePK3/h4pygC8p7o4=" },
        }]);
        assert_eq!(serde_json::to_value(&root).unwrap()["ctlogs"], expected);
    }

    #[test]
    fn ranges_include_their_bounds() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let range = TimeRange {
            start: Some(at(10)),
            end: Some(at(20)),
        };
        let inside = [9, 10, 20, 21].map(|seconds| range.contains(at(seconds)));
        assert_eq!(inside, [false, true, true, false]);
        assert!(TimeRange::default().contains(at(0)));
    }
}
