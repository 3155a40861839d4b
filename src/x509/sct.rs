//! Signed certificate timestamps: the promises of certificate transparency logs that Fulcio puts into its certificates, or
//! passes on beside them (RFC 6962 §3.2, §3.3). One that holds says that the certificate is public, so that whoever owns
//! the identity can see it; it tells no time of signing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use openssl::x509::X509;
use serde::Deserialize;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::signing::Algorithm;

use super::fields::Fields;
use super::precertificate::Precertificate;
use crate::crypto::{PublicKey, parse_public_pem};

/// Most promises of one certificate; Fulcio's has one.
const MAX_PROMISES: usize = 8;

/// How far ahead of our clock a log's may be.
const MAX_AHEAD: TimeDelta = TimeDelta::seconds(30);

/// `SignatureAndHashAlgorithm` of TLS 1.2 (RFC 5246 §7.4.1.4.1), SHA-256 with each. Logs use no others (RFC 6962 §2.1.4).
const RSA: [u8; 2] = [4, 1];
const ECDSA: [u8; 2] = [4, 3];

/// Certificate transparency logs that are believed.
#[derive(Debug)]
pub struct CtLogs(Vec<CtLog>);

/// One log.
#[derive(Debug)]
pub struct CtLog {
    key: PublicKey,
    not_before: Option<DateTime<Utc>>,
    not_after: Option<DateTime<Utc>>,
}

/// One promise (RFC 6962 §3.2, `SignedCertificateTimestamp` of version 1).
#[derive(Debug, PartialEq, Eq)]
struct Promise<'a> {
    log: &'a [u8],
    /// Milliseconds since 1970.
    millis: u64,
    extensions: &'a [u8],
    scheme: [u8; 2],
    signature: &'a [u8],
}

/// What a log has seen (RFC 6962 §3.1, `LogEntryType`).
enum Entry<'a> {
    /// The certificate as it is: the promise came after it.
    Certificate(&'a [u8]),
    /// The key that signs the certificate, and what of it was there before the promise.
    Precertificate { issuer: Sha256Digest, tbs: &'a [u8] },
}

impl CtLog {
    /// The key in PEM: P-256, or RSA from 2048 bits (RFC 6962 §2.1.4). It counts for promises from `not_before` to
    /// `not_after`, both included.
    ///
    /// # Errors
    /// A text for the configuration report.
    pub fn new(
        pem: &[u8],
        not_before: Option<DateTime<Utc>>,
        not_after: Option<DateTime<Utc>>,
    ) -> Result<Self, String> {
        let key =
            parse_public_pem(pem).map_err(|problem| format!("a certificate transparency log: {problem}"))?;
        let key = PublicKey::new(key.clone(), Algorithm::EcdsaP256Sha256)
            .or_else(|_| PublicKey::new(key, Algorithm::RsaPkcs1Sha256))
            .map_err(
                |_| "the key of a certificate transparency log must be P-256, or RSA of 2048 to 4096 bits",
            )?;
        Ok(Self {
            key,
            not_before,
            not_after,
        })
    }

    /// The log's key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    fn check(&self, promise: &Promise<'_>, entry: &Entry<'_>, now: DateTime<Utc>) -> Result<(), String> {
        let scheme = match self.key.algorithm() {
            Algorithm::RsaPkcs1Sha256 => RSA,
            _ => ECDSA,
        };
        let signed = promise.signed(entry);
        let held = signed.is_some_and(|signed| self.key.verify(signed.as_slice(), promise.signature));
        if promise.scheme != scheme || !held {
            return Err("the certificate's signed certificate timestamp does not hold".into());
        }
        let time = i64::try_from(promise.millis)
            .ok()
            .and_then(DateTime::from_timestamp_millis);
        let time = time.ok_or("the certificate's signed certificate timestamp is out of range")?;
        // RFC 6962 §5.2.
        if time > now + MAX_AHEAD {
            return Err("the certificate's signed certificate timestamp lies in the future".into());
        }
        if self.not_before.is_some_and(|start| time < start) || self.not_after.is_some_and(|end| time > end) {
            return Err(
                "the certificate's signed certificate timestamp is outside the life of the log's key".into(),
            );
        }
        Ok(())
    }
}

impl CtLogs {
    /// These logs.
    pub fn new(logs: Vec<CtLog>) -> Self {
        Self(logs)
    }

    /// The logs, as given.
    pub fn logs(&self) -> &[CtLog] {
        &self.0
    }

    /// True if there is a log to believe.
    pub(crate) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// True if one of these logs has promised to publish the certificate (DER), which `issuer` has signed; false if it
    /// carries no promise at all. `beside`: what came beside the certificate, a log's answer to `add-chain` (RFC 6962
    /// §4.1); empty: nothing.
    ///
    /// # Errors
    /// A promise is malformed, one of these logs did not make it so, or all are of other logs. Beside one that holds,
    /// promises of other logs are not looked at.
    pub(crate) fn check(
        &self,
        leaf: &[u8],
        issuer: Option<&X509>,
        beside: &[u8],
        now: DateTime<Utc>,
    ) -> Result<bool, String> {
        let (mut carried, mut held) = (false, false);
        if let Some(precertificate) = Precertificate::of(leaf)? {
            let promises = read_list(precertificate.promises).ok_or(
                "the certificate's list of signed certificate timestamps is malformed (RFC 6962 §3.3)",
            )?;
            let issuer = issuer.and_then(|issuer| issuer.to_der().ok());
            let issuer = issuer.ok_or("the certificate has no issuer that a log could name")?;
            let issuer = Fields::read(&issuer).ok_or("the issuer's certificate is not strict DER")?;
            let entry = Entry::Precertificate {
                issuer: Sha256Digest::of(issuer.public_key),
                tbs: &precertificate.tbs,
            };
            carried = true;
            for promise in &promises {
                held |= self.check_one(promise, &entry, now)?;
            }
        }
        if !beside.is_empty() {
            let answer = AddChain::read(beside);
            let answer = answer.ok_or(
                "the signed certificate timestamp beside the certificate is malformed (RFC 6962 §4.1)",
            )?;
            let promise = answer.promise();
            let promise = promise.ok_or(
                "the signed certificate timestamp beside the certificate is malformed (RFC 6962 §4.1)",
            )?;
            carried = true;
            held |= self.check_one(&promise, &Entry::Certificate(leaf), now)?;
        }
        if carried && !held {
            return Err(
                "the certificate's signed certificate timestamp is of a log that is not configured".into(),
            );
        }
        Ok(held)
    }

    /// True if the promise is of a log of these.
    fn check_one(
        &self,
        promise: &Promise<'_>,
        entry: &Entry<'_>,
        now: DateTime<Utc>,
    ) -> Result<bool, String> {
        let known = |log: &&CtLog| log.key.fingerprint().0 == *promise.log;
        match self.0.iter().find(known) {
            Some(log) => log.check(promise, entry, now).map(|()| true),
            None => Ok(false),
        }
    }
}

impl Promise<'_> {
    /// What the log has signed (RFC 6962 §3.2): version 1, a certificate timestamp, of an entry.
    fn signed(&self, entry: &Entry<'_>) -> Option<Vec<u8>> {
        let (kind, issuer, seen) = match entry {
            Entry::Certificate(whole) => ([0, 0], &[][..], *whole),
            Entry::Precertificate { issuer, tbs } => ([0, 1], &issuer.0[..], *tbs),
        };
        let length = u32::try_from(seen.len()).ok()?.to_be_bytes();
        let extensions = u16::try_from(self.extensions.len()).ok()?.to_be_bytes();
        let [0, length @ ..] = length else { return None };
        Some(
            [
                &[0, 0][..],
                &self.millis.to_be_bytes(),
                &kind,
                issuer,
                &length,
                seen,
                &extensions,
                self.extensions,
            ]
            .concat(),
        )
    }
}

/// What a log answers `add-chain` with (RFC 6962 §4.1).
#[derive(Deserialize)]
struct AnswerJson {
    sct_version: u8,
    id: String,
    timestamp: u64,
    extensions: String,
    signature: String,
}

/// The same, decoded.
struct AddChain {
    log: Vec<u8>,
    millis: u64,
    extensions: Vec<u8>,
    signature: Vec<u8>,
}

impl AddChain {
    fn read(json: &[u8]) -> Option<Self> {
        let answer: AnswerJson = serde_json::from_slice(json).ok()?;
        let log = STANDARD.decode(answer.id).ok()?;
        (answer.sct_version == 0 && log.len() == 32).then_some(Self {
            log,
            millis: answer.timestamp,
            extensions: STANDARD.decode(answer.extensions).ok()?,
            signature: STANDARD.decode(answer.signature).ok()?,
        })
    }

    fn promise(&self) -> Option<Promise<'_>> {
        // `digitally-signed` (RFC 5246 §4.7).
        let mut rest = self.signature.as_slice();
        let scheme = take(&mut rest, 2)?.try_into().ok()?;
        let signature = take_vector(&mut rest)?;
        rest.is_empty().then_some(Promise {
            log: &self.log,
            millis: self.millis,
            extensions: &self.extensions,
            scheme,
            signature,
        })
    }
}

/// A list of promises, each of version 1 and nothing behind them.
fn read_list(list: &[u8]) -> Option<Vec<Promise<'_>>> {
    let mut all = list;
    let mut rest = take_vector(&mut all)?;
    let mut promises = Vec::new();
    while !rest.is_empty() {
        promises.push(read_promise(take_vector(&mut rest)?)?);
        if promises.len() > MAX_PROMISES {
            return None;
        }
    }
    (all.is_empty() && !promises.is_empty()).then_some(promises)
}

fn read_promise(mut bytes: &[u8]) -> Option<Promise<'_>> {
    let [0] = *take(&mut bytes, 1)? else { return None };
    let log = take(&mut bytes, 32)?;
    let millis = u64::from_be_bytes(take(&mut bytes, 8)?.try_into().ok()?);
    let extensions = take_vector(&mut bytes)?;
    let scheme = take(&mut bytes, 2)?.try_into().ok()?;
    let signature = take_vector(&mut bytes)?;
    bytes.is_empty().then_some(Promise {
        log,
        millis,
        extensions,
        scheme,
        signature,
    })
}

/// `opaque<0..2^16-1>` (RFC 5246 §4.3).
fn take_vector<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u16::from_be_bytes(take(bytes, 2)?.try_into().ok()?);
    take(bytes, usize::from(length))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
#[path = "sct_tests.rs"]
pub(crate) mod tests;
