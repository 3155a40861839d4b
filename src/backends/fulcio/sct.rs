//! Promises of certificate logs (RFC 6962): what Fulcio issues is in a log that others watch.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use openssl::x509::X509Ref;
use serde::Deserialize;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::signing::Algorithm;

use crate::crypto::{PublicKey, parse_public_pem};
use crate::x509::der::{CONTEXT_0, OCTET_STRING, OID, Reader, SEQUENCE, only};

/// The extension of embedded promises, 1.3.6.1.4.1.11129.2.4.2 (RFC 6962 §3.3).
const OID_SCTS: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];
/// `[3]`, extensions of a TBSCertificate (RFC 5280 §4.1).
const EXTENSIONS: u8 = CONTEXT_0 + 3;
/// The most promises that are looked at.
const MAX_SCTS: usize = 8;
/// How far a promise may be ahead of our clock.
const CLOCK_LAG: TimeDelta = TimeDelta::seconds(10);

/// `sct_version` v1, `signature_type` certificate_timestamp, `LogEntryType`s (RFC 6962 §3.1, §3.2).
const V1: u8 = 0;
const CERTIFICATE_TIMESTAMP: u8 = 0;
const X509_ENTRY: u16 = 0;
const PRECERT_ENTRY: u16 = 1;
/// `HashAlgorithm` sha256, `SignatureAlgorithm`s (RFC 5246 §7.4.1.4.1), which RFC 6962 §2.1.4 allows.
const SHA256: u8 = 4;
const RSA: u8 = 1;
const ECDSA: u8 = 3;

/// Certificate logs that are believed.
pub struct CtLogs {
    logs: Vec<PublicKey>,
    required: bool,
}

impl fmt::Debug for CtLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CtLogs")
            .field("logs", &self.logs.len())
            .field("required", &self.required)
            .finish()
    }
}

/// One promise, taken apart (RFC 6962 §3.2).
#[derive(Debug, PartialEq, Eq)]
struct Sct {
    log: [u8; 32],
    /// Milliseconds since 1970.
    timestamp: u64,
    extensions: Vec<u8>,
    algorithm: (u8, u8),
    signature: Vec<u8>,
}

impl CtLogs {
    /// Keys of the logs in PEM: P-256, or RSA from 2048 bits (RFC 6962 §2.1.4). `required`: certificates without a
    /// promise of one of them are refused.
    ///
    /// # Errors
    /// A text for the configuration report.
    pub fn new(keys: &[Vec<u8>], required: bool) -> Result<Self, String> {
        if required && keys.is_empty() {
            return Err(
                "require_sct needs ct_keys: the keys of the certificate logs that are believed".into(),
            );
        }
        let read = |pem: &Vec<u8>| {
            let key = parse_public_pem(pem)?;
            PublicKey::new(key.clone(), Algorithm::EcdsaP256Sha256)
                .or_else(|_| PublicKey::new(key, Algorithm::RsaPkcs1Sha256))
                .map_err(|_| {
                    "a key of a certificate log must be P-256 or RSA of 2048 to 4096 bits".to_owned()
                })
        };
        Ok(Self {
            logs: keys.iter().map(read).collect::<Result<_, _>>()?,
            required,
        })
    }

    /// The logs' keys.
    pub fn keys(&self) -> &[PublicKey] {
        &self.logs
    }

    /// Every promise of a log that is known must hold, and there must be one if there are any at all. `detached` is what
    /// came beside the certificate; empty: nothing. Without known logs nothing is looked at.
    pub(super) fn check(
        &self,
        leaf: &X509Ref,
        issuer: &X509Ref,
        detached: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        if self.logs.is_empty() {
            return Ok(());
        }
        let unreadable = "a promise of a certificate log (SCT) cannot be read";
        let der = leaf.to_der().map_err(|_| "the certificate has no DER form")?;
        let (tbs, embedded) = split_tbs(&der).ok_or("the certificate is not strict DER")?;
        let mut found = Vec::new();
        if let Some(list) = embedded {
            let issuer = issuer.public_key().and_then(|key| key.public_key_to_der());
            let issuer = issuer.map_err(|_| "the issuing certificate's key cannot be read")?;
            let entry = precert_entry(&Sha256Digest::of(&issuer).0, &tbs).ok_or(unreadable)?;
            let scts = read_list(list).ok_or(unreadable)?;
            found.extend(scts.into_iter().map(|sct| (sct, entry.clone())));
        }
        if !detached.is_empty() {
            let entry = x509_entry(&der).ok_or(unreadable)?;
            found.push((read_detached(detached).ok_or(unreadable)?, entry));
        }
        if found.is_empty() && !self.required {
            return Ok(());
        }
        let mut held = false;
        for (sct, entry) in &found {
            if let Some(log) = self.log(&sct.log) {
                sct.verify(log, entry, now)?;
                held = true;
            }
        }
        if held {
            return Ok(());
        }
        Err(if found.is_empty() {
            "the certificate has no promise of a certificate log (SCT), and require_sct wants one".into()
        } else {
            "no promise (SCT) of the certificate is of a log in ct_keys: add the key of the log that Fulcio writes to".into()
        })
    }

    fn log(&self, id: &[u8; 32]) -> Option<&PublicKey> {
        self.logs.iter().find(|log| log.fingerprint().0 == *id)
    }
}

impl Sct {
    fn verify(&self, log: &PublicKey, entry: &[u8], now: DateTime<Utc>) -> Result<(), String> {
        let kind = match log.algorithm() {
            Algorithm::RsaPkcs1Sha256 => RSA,
            _ => ECDSA,
        };
        let signed = signed_data(self.timestamp, entry, &self.extensions);
        let holds = self.algorithm == (SHA256, kind)
            && signed.is_some_and(|signed| log.verify(signed.as_slice(), &self.signature));
        if !holds {
            return Err("a promise of a certificate log (SCT) does not verify".into());
        }
        // RFC 6962 §5.2: a promise in the future is none.
        let at = i64::try_from(self.timestamp)
            .ok()
            .and_then(DateTime::from_timestamp_millis);
        if at.is_none_or(|at| at - now > CLOCK_LAG) {
            return Err("a promise of a certificate log (SCT) is in the future".into());
        }
        Ok(())
    }
}

/// `digitally-signed` of RFC 6962 §3.2.
fn signed_data(timestamp: u64, entry: &[u8], extensions: &[u8]) -> Option<Vec<u8>> {
    let mut signed = vec![V1, CERTIFICATE_TIMESTAMP];
    signed.extend(timestamp.to_be_bytes());
    signed.extend(entry);
    signed.extend(u16::try_from(extensions.len()).ok()?.to_be_bytes());
    signed.extend(extensions);
    Some(signed)
}

/// `x509_entry`: the certificate as it is.
fn x509_entry(certificate: &[u8]) -> Option<Vec<u8>> {
    Some([&X509_ENTRY.to_be_bytes()[..], &vector24(certificate)?].concat())
}

/// `precert_entry`: hash of the issuer's key, and the TBSCertificate without promises, which had none when the log saw it.
fn precert_entry(issuer_key_hash: &[u8; 32], tbs: &[u8]) -> Option<Vec<u8>> {
    Some([&PRECERT_ENTRY.to_be_bytes()[..], issuer_key_hash, &vector24(tbs)?].concat())
}

/// `opaque <1..2^24-1>` (RFC 5246 §4.3).
fn vector24(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|length| *length < 1 << 24)?;
    let [_, length @ ..] = length.to_be_bytes();
    Some([&length[..], bytes].concat())
}

/// The TBSCertificate without the extension of promises, and the value of that extension. DER has one encoding of each
/// (X.690 §10.1), so taking one out and writing the lengths anew gives what the log signed.
fn split_tbs(certificate: &[u8]) -> Option<(Vec<u8>, Option<&[u8]>)> {
    let mut tbs = Reader::new(Reader::new(only(certificate, SEQUENCE)?).expect(SEQUENCE)?);
    let mut fields: Vec<u8> = Vec::new();
    let mut promises = None;
    while let Some(tag) = tbs.peek() {
        if tag != EXTENSIONS {
            fields.extend(tbs.whole(tag)?);
            continue;
        }
        let mut list = Reader::new(only(tbs.expect(EXTENSIONS)?, SEQUENCE)?);
        let mut kept: Vec<u8> = Vec::new();
        while !list.is_empty() {
            let extension = list.whole(SEQUENCE)?;
            let mut parts = Reader::new(only(extension, SEQUENCE)?);
            if parts.expect(OID)? == OID_SCTS {
                // Not critical (RFC 6962 §3.3), so the value follows at once.
                promises = Some(parts.expect(OCTET_STRING)?);
            } else {
                kept.extend(extension);
            }
        }
        fields.extend(element(EXTENSIONS, &element(SEQUENCE, &kept)?)?);
    }
    Some((element(SEQUENCE, &fields)?, promises))
}

/// An element in DER (X.690 §8.1.3, §10.1).
fn element(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u32::try_from(content.len()).ok()?.to_be_bytes();
    let digits: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
    let head = match digits.as_slice() {
        [] => vec![tag, 0],
        [short @ ..0x80] => vec![tag, *short],
        long => [&[tag, 0x80 | u8::try_from(long.len()).ok()?], long].concat(),
    };
    Some([&head, content].concat())
}

/// `SignedCertificateTimestampList` (RFC 6962 §3.3) in the OCTET STRING that the extension's value is. Promises of other
/// versions are skipped.
fn read_list(value: &[u8]) -> Option<Vec<Sct>> {
    let mut outer = Tls(only(value, OCTET_STRING)?);
    let mut list = Tls(outer.vector16()?);
    let mut scts = Vec::new();
    let mut count = 0;
    while !list.0.is_empty() {
        count += 1;
        let serialised = list.vector16()?;
        if count > MAX_SCTS {
            return None;
        }
        if serialised.first() == Some(&V1) {
            scts.push(read_sct(serialised)?);
        }
    }
    (outer.0.is_empty() && count > 0).then_some(scts)
}

fn read_sct(serialised: &[u8]) -> Option<Sct> {
    let mut fields = Tls(serialised);
    let version = fields.take(1)?;
    let sct = Sct {
        log: fields.take(32)?.try_into().ok()?,
        timestamp: u64::from_be_bytes(fields.take(8)?.try_into().ok()?),
        extensions: fields.vector16()?.to_vec(),
        algorithm: fields.algorithm()?,
        signature: fields.vector16()?.to_vec(),
    };
    (version == [V1] && fields.0.is_empty()).then_some(sct)
}

/// What a log answers `add-chain` with (RFC 6962 §4.1): Fulcio passes it on beside a certificate that has none inside.
#[derive(Deserialize)]
struct AddChain {
    sct_version: u8,
    id: String,
    timestamp: u64,
    extensions: String,
    signature: String,
}

fn read_detached(json: &[u8]) -> Option<Sct> {
    let answer: AddChain = serde_json::from_slice(json).ok()?;
    let signature = STANDARD.decode(answer.signature).ok()?;
    let mut signed = Tls(&signature);
    let sct = Sct {
        log: STANDARD.decode(answer.id).ok()?.try_into().ok()?,
        timestamp: answer.timestamp,
        extensions: STANDARD.decode(answer.extensions).ok()?,
        algorithm: signed.algorithm()?,
        signature: signed.vector16()?.to_vec(),
    };
    (answer.sct_version == V1 && signed.0.is_empty()).then_some(sct)
}

/// Reads what TLS writes (RFC 5246 §4).
struct Tls<'a>(&'a [u8]);

impl<'a> Tls<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// `opaque <0..2^16-1>`
    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        self.take(usize::from(length))
    }

    /// `SignatureAndHashAlgorithm`: hash first.
    fn algorithm(&mut self) -> Option<(u8, u8)> {
        match self.take(2)? {
            [hash, signature] => Some((*hash, *signature)),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "sct_tests.rs"]
mod tests;
