//! Which witnesses of a signature are believed, and what follows: when it was made at the latest.

use chrono::{DateTime, Utc};
use signer_actors::domain::digest::Sha256Digest;

use super::super::settings::Settings;
use super::super::trust::Requirement;
use super::evidence::Evidence;
use super::keys::ReleaseKey;
use super::rekor::Log;
use super::{Maker, Signature};
use crate::timestamp::{Authorities, Failure};

/// Timestamp authorities and logs that are believed.
#[derive(Debug)]
pub(super) struct Witnesses {
    authorities: Option<Authorities>,
    logs: Vec<Log>,
}

/// What witnesses said of one signature.
#[derive(Debug, Default)]
pub(super) struct Witnessed {
    times: Vec<DateTime<Utc>>,
    timestamp: bool,
    log: bool,
    inclusion: bool,
    /// Why a witness was not believed.
    ignored: Option<String>,
}

impl Witnesses {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let authorities = settings.timestamp_roots.as_deref().map(Authorities::from_pem);
        let authorities = authorities
            .transpose()
            .map_err(|problem| format!("release timestamp roots: {problem}"))?;
        let logs = settings.logs.iter().map(Log::new).collect::<Result<_, _>>()?;
        Ok(Self { authorities, logs })
    }

    /// True if what is required can be had.
    pub(super) fn can_meet(&self, requirement: Requirement) -> bool {
        match requirement {
            Requirement::Timestamp => self.authorities.is_some(),
            Requirement::Log | Requirement::Inclusion => !self.logs.is_empty(),
        }
    }

    /// True if a log's key is among these.
    pub(super) fn has_any(&self, keys: &[Sha256Digest]) -> bool {
        self.logs
            .iter()
            .any(|log| keys.contains(&log.key().fingerprint()))
    }

    /// True if a log has this key: it must not vouch for its own signatures.
    pub(super) fn has_key(&self, key: &ReleaseKey) -> bool {
        self.logs.iter().any(|log| log.key() == key)
    }

    /// Hears the witnesses of a signature that was verified with its maker's key.
    ///
    /// Nothing of this is signed together with the signature, so whoever carries it can leave it out: a witness that is
    /// not configured is no reason against a signature. One that is configured and does not hold is: somebody has altered
    /// it.
    ///
    /// # Errors
    /// Which evidence is false.
    pub(super) fn hear(
        &self,
        evidence: Evidence<'_>,
        signature: &Signature<'_>,
        maker: &Maker<'_>,
        now: DateTime<Utc>,
    ) -> Result<Witnessed, String> {
        let mut heard = Witnessed::default();
        if let Some(authorities) = &self.authorities {
            heard.timestamps(authorities, evidence, signature, now)?;
        }
        if !self.logs.is_empty() {
            self.log_entries(&mut heard, evidence, signature, maker, now)?;
        }
        Ok(heard)
    }

    fn log_entries(
        &self,
        heard: &mut Witnessed,
        evidence: Evidence<'_>,
        signature: &Signature<'_>,
        maker: &Maker<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        let entries = evidence.entries()?;
        // What timestamps said, and they alone: a log's promise is no help for another log.
        let at = heard.time().unwrap_or(now);
        for (position, entry) in entries.iter().enumerate() {
            let twice =
                |other: &super::evidence::Entry| other.log_id == entry.log_id && other.index == entry.index;
            if entries.iter().take(position).any(twice) {
                return Err("the signature has a log entry twice".into());
            }
            let Some(log) = self.logs.iter().find(|log| log.is_named_by(entry)) else {
                heard.ignored = Some("its log entry is of a log that is not configured".into());
                continue;
            };
            let vouched = log.verify(entry, signature, maker, now)?;
            // The key of a retired log may have leaked since, and a proof by it tells no time: somebody else has to.
            if vouched.time.is_none() && !log.lives_at(at) {
                let at = at.to_rfc3339();
                heard.ignored = Some(format!(
                    "its log entry tells no time, and the log's key is outside its life at {at}"
                ));
                continue;
            }
            heard.log = true;
            heard.inclusion |= vouched.included;
            heard.times.extend(vouched.time);
        }
        Ok(())
    }
}

impl Witnessed {
    fn timestamps(
        &mut self,
        authorities: &Authorities,
        evidence: Evidence<'_>,
        signature: &Signature<'_>,
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        for response in evidence.timestamps()? {
            match authorities.verify(&response, signature.bytes, now) {
                Ok(timestamp) => {
                    self.times.push(timestamp.time);
                    self.timestamp = true;
                }
                Err(Failure::Invalid(reason)) => return Err(reason),
                Err(Failure::Unacceptable(reason)) => self.ignored = Some(reason),
            }
        }
        Ok(())
    }

    /// When the signature existed: the earliest time that is believed, as later ones add nothing.
    pub(super) fn time(&self) -> Option<DateTime<Utc>> {
        self.times.iter().min().copied()
    }

    /// Why no time is believed, after a comma.
    pub(super) fn remark(&self) -> String {
        self.ignored
            .as_ref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default()
    }

    /// What is required must have been heard.
    pub(super) fn satisfies(&self, requirements: impl Iterator<Item = Requirement>) -> Result<(), String> {
        for requirement in requirements {
            let (met, lacking) = match requirement {
                Requirement::Timestamp => (self.timestamp, "a timestamp by a configured authority"),
                Requirement::Log => (self.log, "an entry of a configured log"),
                Requirement::Inclusion => (self.inclusion, "a proof of inclusion in a configured log"),
            };
            if !met {
                let remark = self.remark();
                return Err(format!(
                    "the signature lacks {lacking}, which is required{remark}"
                ));
            }
        }
        Ok(())
    }
}
