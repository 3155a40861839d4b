//! What a verifier trusts: public keys, published keys with their states, or certificate authorities.

use chrono::{DateTime, Utc};
use openssl::x509::X509;
use serde::Deserialize;
use serde_json::value::RawValue;
use signer_actors::domain::signing::KeyState;

use crate::bundle::envelope::decode_base64;
use crate::bundle::trusted_root::{
    CertificateAuthority, MEDIA_TYPE, PublishedKey, PublishedKeys, TimeRange, TrustedRoot,
};
use crate::crypto::{PublicKey, parse_public_pem};
use crate::timestamp;
use crate::x509::{Authorities, MAX_CERTIFICATES, parse_der};

/// The longest trust file, in bytes.
pub const MAX_TRUST_BYTES: usize = 4 * 1024 * 1024;
/// The most keys or authorities in one.
const MAX_ENTRIES: usize = 256;

/// Trust in keys and authorities.
#[derive(Debug, Default)]
pub struct Trust {
    pub(super) keys: Vec<TrustedKey>,
    pub(super) authorities: Vec<TrustedAuthority>,
    pub(super) timestamp_authorities: Vec<TrustedTimestamps>,
    /// Issuer and subject of the certificates that count; empty: all of the authorities.
    pub(super) identities: Vec<(String, String)>,
}

/// A key with what limits its trust.
#[derive(Debug)]
pub(super) struct TrustedKey {
    /// How reports name it.
    pub(super) name: String,
    /// The key, once for each algorithm it may have been used with.
    pub(super) keys: Vec<PublicKey>,
    pub(super) state: KeyState,
    pub(super) valid_for: TimeRange,
    pub(super) revoked_from: Option<DateTime<Utc>>,
}

/// An authority with the time it is trusted for.
#[derive(Debug)]
pub(super) struct TrustedAuthority {
    pub(super) authorities: Authorities,
    pub(super) valid_for: TimeRange,
}

/// A timestamp authority with the time it is trusted for.
#[derive(Debug)]
pub(super) struct TrustedTimestamps {
    pub(super) authorities: timestamp::Authorities,
    pub(super) valid_for: TimeRange,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    media_type: Option<String>,
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
}

impl Trust {
    /// Reads a trust file: a public key or certificate authorities in PEM, a TrustedRoot, or published keys.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut trust = Self::default();
        trust.add(text)?;
        Ok(trust)
    }

    /// Reads another trust file, of the same forms.
    pub fn add(&mut self, text: &[u8]) -> Result<(), String> {
        if text.len() > MAX_TRUST_BYTES {
            return Err(format!("the trust file is longer than {MAX_TRUST_BYTES} bytes"));
        }
        if text.trim_ascii_start().starts_with(b"{") {
            self.add_json(text)
        } else if text.windows(17).any(|w| w == b"BEGIN CERTIFICATE") {
            self.add_authorities(Authorities::from_pem(text)?, TimeRange::default());
            Ok(())
        } else {
            self.add_public_key(text)
        }
    }

    /// Adds a TrustedRoot or a list of published keys.
    ///
    /// # Errors
    /// It is neither, or not usable.
    pub fn add_json(&mut self, text: &[u8]) -> Result<(), String> {
        let members: Members<'_> =
            serde_json::from_slice(text).map_err(|_| "the trust file is not strict JSON")?;
        if members.keys.is_some() {
            let keys: PublishedKeys =
                serde_json::from_slice(text).map_err(|_| "the trust file is no list of published keys")?;
            return self.add_published(&keys);
        }
        if members.media_type.as_deref() == Some(MEDIA_TYPE) {
            let root: TrustedRoot =
                serde_json::from_slice(text).map_err(|_| "the trust file is no valid TrustedRoot")?;
            return self.add_root(&root);
        }
        Err(format!(
            "the trust file is neither a TrustedRoot ({MEDIA_TYPE}) nor a list of published keys"
        ))
    }

    /// Trusts a public key in PEM, without limit of time. RSA keys are tried with both paddings.
    pub fn add_public_key(&mut self, pem: &[u8]) -> Result<(), String> {
        let keys = PublicKey::every_pin(&parse_public_pem(pem)?)?;
        if keys.is_empty() {
            return Err("the public key's kind, curve or size is not supported".into());
        }
        self.keys.push(TrustedKey {
            name: "the public key given".into(),
            keys,
            state: KeyState::Active,
            valid_for: TimeRange::default(),
            revoked_from: None,
        });
        Ok(())
    }

    /// Trusts published keys within their states.
    pub fn add_published(&mut self, published: &PublishedKeys) -> Result<(), String> {
        if published.keys.is_empty() || published.keys.len() > MAX_ENTRIES {
            return Err(format!("there must be 1 to {MAX_ENTRIES} published keys"));
        }
        for key in &published.keys {
            self.add_published_key(key)?;
        }
        Ok(())
    }

    fn add_published_key(&mut self, key: &PublishedKey) -> Result<(), String> {
        self.keys.push(TrustedKey {
            name: format!("key {}", key.id),
            keys: vec![PublicKey::from_pem(key.public_key.as_bytes(), key.algorithm)?],
            state: key.state,
            valid_for: TimeRange {
                start: key.not_before,
                end: key.not_after,
            },
            revoked_from: key.revoked_from,
        });
        Ok(())
    }

    /// Trusts a TrustedRoot's certificate authorities and timestamp authorities.
    pub fn add_root(&mut self, root: &TrustedRoot) -> Result<(), String> {
        let (certificates, timestamps) = (&root.certificate_authorities, &root.timestamp_authorities);
        if !(1..=MAX_ENTRIES).contains(&certificates.len().saturating_add(timestamps.len())) {
            return Err(format!(
                "a TrustedRoot must name 1 to {MAX_ENTRIES} certificate or timestamp authorities"
            ));
        }
        for authority in &root.certificate_authorities {
            let certificates = decode_chain(authority)?;
            self.add_authorities(Authorities::new(certificates)?, authority.valid_for);
        }
        for authority in timestamps {
            self.timestamp_authorities.push(TrustedTimestamps {
                authorities: timestamp::Authorities::new(decode_chain(authority)?)?,
                valid_for: authority.valid_for,
            });
        }
        Ok(())
    }

    /// Of the authorities' certificates only those of this identity count, and of others that are added likewise.
    pub fn add_identity(&mut self, issuer: &str, subject: &str) {
        self.identities.push((issuer.to_owned(), subject.to_owned()));
    }

    /// Trusts certificate authorities for a time.
    pub fn add_authorities(&mut self, authorities: Authorities, valid_for: TimeRange) {
        self.authorities.push(TrustedAuthority {
            authorities,
            valid_for,
        });
    }
}

fn decode_chain(authority: &CertificateAuthority) -> Result<Vec<X509>, String> {
    let certificates = &authority.cert_chain.certificates;
    if certificates.len() > MAX_CERTIFICATES {
        return Err(format!(
            "an authority of the TrustedRoot has more than {MAX_CERTIFICATES} certificates"
        ));
    }
    let decode = |raw: &str| parse_der(&decode_base64(raw)?).ok();
    let decoded: Option<Vec<X509>> = certificates.iter().map(|c| decode(&c.raw_bytes)).collect();
    decoded.ok_or_else(|| "a certificate of the TrustedRoot cannot be read".to_owned())
}
