//! What certificates of release signatures need of certificate transparency logs.

use chrono::{DateTime, Utc};
use openssl::x509::X509;
use signer_actors::domain::digest::Sha256Digest;

use super::super::settings::Settings;
use super::keys::ReleaseKey;
use crate::x509::sct::{self, CtLog};

/// Certificate transparency logs that are believed; none: promises are not looked at.
#[derive(Debug)]
pub(super) struct CtLogs(sct::CtLogs);

impl CtLogs {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let logs = settings.ct_logs.iter();
        logs.map(|log| CtLog::new(&log.key, log.life.not_before, log.life.not_after))
            .collect::<Result<_, _>>()
            .map(|logs| Self(sct::CtLogs::new(logs)))
    }

    /// True if a log has this key: it must not vouch for its own signatures.
    pub(super) fn has_key(&self, key: &ReleaseKey) -> bool {
        self.has_any(&[key.fingerprint()])
    }

    /// True if a log's key is among these.
    pub(super) fn has_any(&self, keys: &[Sha256Digest]) -> bool {
        let mut logs = self.0.logs().iter();
        logs.any(|log| keys.contains(&log.key().fingerprint()))
    }

    /// Where logs are configured, one of them must have promised to publish the certificate (DER), which `issuer` has
    /// signed; none of them may have promised something else. Promises of other logs are not looked at.
    ///
    /// # Errors
    /// Why the certificate does not count.
    pub(super) fn check(&self, leaf: &[u8], issuer: Option<&X509>, now: DateTime<Utc>) -> Result<(), String> {
        if !self.0.is_any() || self.0.check(leaf, issuer, &[], now)? {
            return Ok(());
        }
        Err(
            "the certificate carries no signed certificate timestamp, which is required as certificate logs are configured"
                .into(),
        )
    }
}

#[cfg(test)]
#[path = "sct_tests.rs"]
mod tests;
