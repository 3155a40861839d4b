//! Signed certificate timestamps: the promises of certificate transparency logs that Fulcio puts into its certificates
//! (RFC 6962 §3.2, §3.3). One that holds says that the certificate is public, so that whoever owns the identity can see
//! it; it tells no time of signing.

use chrono::{DateTime, TimeDelta, Utc};
use openssl::x509::X509;
use signer_actors::domain::digest::Sha256Digest;

use super::super::settings::Settings;
use super::super::trust::Life;
use super::keys::ReleaseKey;
use crate::x509::fields::Fields;
use crate::x509::precertificate::Precertificate;

/// Most promises of one certificate; Fulcio's has one.
const MAX_PROMISES: usize = 8;

/// How far ahead of our clock a log's may be.
const MAX_AHEAD: TimeDelta = TimeDelta::seconds(30);

/// Codes of TLS 1.2 (RFC 5246 §7.4.1.4.1): SHA-256 with RSA, and with ECDSA. Logs use no others (RFC 6962 §2.1.4).
const SCHEMES: [[u8; 2]; 2] = [[4, 1], [4, 3]];

/// Certificate transparency logs that are believed; none: promises are not looked at.
#[derive(Debug)]
pub(super) struct CtLogs(Vec<CtLog>);

#[derive(Debug)]
struct CtLog {
    key: ReleaseKey,
    life: Life,
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

impl CtLogs {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let read = |log: &super::super::trust::CertificateLog| {
            let key = ReleaseKey::from_pem(&log.key)
                .map_err(|problem| format!("a certificate transparency log: {problem}"))?;
            Ok::<_, String>(CtLog { key, life: log.life })
        };
        settings
            .ct_logs
            .iter()
            .map(read)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// True if a log has this key: it must not vouch for its own signatures.
    pub(super) fn has_key(&self, key: &ReleaseKey) -> bool {
        self.0.iter().any(|log| log.key == *key)
    }

    /// True if a log's key is among these.
    pub(super) fn has_any(&self, keys: &[Sha256Digest]) -> bool {
        self.0.iter().any(|log| keys.contains(&log.key.fingerprint()))
    }

    /// Where logs are configured, one of them must have promised to publish the certificate (DER), which `issuer` has
    /// signed; none of them may have promised something else. Promises of other logs are not looked at.
    ///
    /// # Errors
    /// Why the certificate does not count.
    pub(super) fn check(&self, leaf: &[u8], issuer: Option<&X509>, now: DateTime<Utc>) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let precertificate = Precertificate::of(leaf)?.ok_or(
            "the certificate carries no signed certificate timestamp, which is required as certificate logs are configured",
        )?;
        let promises = read_list(precertificate.promises)
            .ok_or("the certificate's list of signed certificate timestamps is malformed (RFC 6962 §3.3)")?;
        let issuer = issuer.and_then(|issuer| issuer.to_der().ok());
        let issuer = issuer.ok_or("the certificate has no issuer that a log could name")?;
        let issuer = Fields::read(&issuer).ok_or("the issuer's certificate is not strict DER")?;
        let issuer = Sha256Digest::of(issuer.public_key);
        let mut held = false;
        for promise in &promises {
            let known = |log: &&CtLog| log.key.fingerprint().0 == *promise.log;
            if let Some(log) = self.0.iter().find(known) {
                log.check(promise, issuer, &precertificate.tbs, now)?;
                held = true;
            }
        }
        if held {
            return Ok(());
        }
        Err("the certificate's signed certificate timestamp is of a log that is not configured".into())
    }
}

impl CtLog {
    fn check(
        &self,
        promise: &Promise<'_>,
        issuer: Sha256Digest,
        tbs: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        let signed = promise.signed(issuer, tbs);
        let held = signed.is_some_and(|signed| self.key.verifies(&signed, promise.signature));
        if !SCHEMES.contains(&promise.scheme) || !held {
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
        if !self.life.contains(time) {
            return Err(
                "the certificate's signed certificate timestamp is outside the life of the log's key".into(),
            );
        }
        Ok(())
    }
}

impl Promise<'_> {
    /// What the log has signed (RFC 6962 §3.2): version 1, a certificate timestamp, of a precertificate.
    fn signed(&self, issuer: Sha256Digest, tbs: &[u8]) -> Option<Vec<u8>> {
        let length = u32::try_from(tbs.len()).ok()?.to_be_bytes();
        let extensions = u16::try_from(self.extensions.len()).ok()?.to_be_bytes();
        let [0, length @ ..] = length else { return None };
        Some(
            [
                &[0, 0][..],
                &self.millis.to_be_bytes(),
                &[0, 1],
                &issuer.0,
                &length,
                tbs,
                &extensions,
                self.extensions,
            ]
            .concat(),
        )
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
mod tests;
