//! Entries of Rekor logs: what they are about, and how a log vouches for them.
//!
//! A log of version 1 promises an entry by its signature over body, time, log and index (SET, "signed entry timestamp"),
//! which is the only thing that covers `integratedTime`; it also proves inclusion. A log of version 2 proves inclusion
//! only, so its entries tell no time: whether the log's key was alive is for the caller to see then.

mod body;
mod checkpoint;
mod merkle;
#[cfg(test)]
pub(super) mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use signer_actors::domain::digest::Sha256Digest;

use self::checkpoint::Checkpoint;
use super::super::trust::{Life, TransparencyLog};
use super::evidence::{Entry, Proof};
use super::keys::ReleaseKey;
use super::{Maker, Signature};

/// How far ahead of our clock a log's may be.
const MAX_AHEAD: TimeDelta = TimeDelta::seconds(30);

/// A log that is believed.
#[derive(Debug)]
pub(super) struct Log {
    key: ReleaseKey,
    /// What entries and checkpoints name it by: the hash of its key, and for Ed25519 also that of name and key.
    ids: Vec<[u8; 32]>,
    origin: Option<String>,
    life: Life,
}

/// What a log vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Vouched {
    /// When the log took the entry, if it signed that; inside the life of its key.
    pub(super) time: Option<DateTime<Utc>>,
    /// True when the entry was proven to be in the log.
    pub(super) included: bool,
}

impl Log {
    pub(super) fn new(log: &TransparencyLog) -> Result<Self, String> {
        let key =
            ReleaseKey::from_pem(&log.key).map_err(|problem| format!("a transparency log: {problem}"))?;
        let mut ids = vec![key.fingerprint().0];
        if let Some(raw) = key.ed25519() {
            if log.origin.is_empty() {
                return Err(
                    "a transparency log with an Ed25519 key needs its origin: its id is made of it".into(),
                );
            }
            // Key IDs of signed notes (C2SP signed-note.md, "Signatures"): name, line feed, algorithm 1, key.
            let named = [log.origin.as_bytes(), b"\n\x01", &raw].concat();
            ids.push(Sha256Digest::of(&named).0);
        }
        Ok(Self {
            key,
            ids,
            origin: (!log.origin.is_empty()).then(|| log.origin.clone()),
            life: log.life,
        })
    }

    /// The key's hash.
    pub(super) fn key(&self) -> &ReleaseKey {
        &self.key
    }

    /// True if an entry says that it is in this log.
    pub(super) fn is_named_by(&self, entry: &Entry) -> bool {
        self.ids.iter().any(|id| *id == *entry.log_id)
    }

    /// True if the log's key counts at this time: what has to hold where the log itself has told none.
    pub(super) fn lives_at(&self, at: DateTime<Utc>) -> bool {
        self.life.contains(at)
    }

    /// Verifies an entry of this log: it is about exactly this signature, and the log vouches for it.
    ///
    /// # Errors
    /// Why it proves nothing.
    pub(super) fn verify(
        &self,
        entry: &Entry,
        signature: &Signature<'_>,
        maker: &Maker<'_>,
        now: DateTime<Utc>,
    ) -> Result<Vouched, String> {
        body::check(&entry.body, entry.kind.as_ref(), signature, maker)?;
        let time = match &entry.promise {
            Some(promise) => Some(self.check_promise(entry, promise, now)?),
            None => None,
        };
        if let Some(proof) = &entry.proof {
            self.check_proof(&entry.body, proof)?;
        }
        let included = entry.proof.is_some();
        if time.is_none() && !included {
            return Err("the log entry has neither a signed promise nor a proof of inclusion".into());
        }
        Ok(Vouched { time, included })
    }

    /// The promise signs the canonical JSON (RFC 8785) of four members, whose values need no escapes (rekor
    /// `pkg/api/entries.go`, `signEntry`).
    fn check_promise(
        &self,
        entry: &Entry,
        promise: &[u8],
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, String> {
        let seconds = entry
            .integrated_time
            .filter(|seconds| *seconds > 0)
            .ok_or("the log entry has a signed promise and no time")?;
        let time = DateTime::from_timestamp(seconds, 0).ok_or("the log entry's time is out of range")?;
        let body = super::encode_base64(&entry.body);
        let (log, index) = (hex::encode(&entry.log_id), entry.index);
        let signed =
            format!(r#"{{"body":"{body}","integratedTime":{seconds},"logID":"{log}","logIndex":{index}}}"#);
        if !self.key.verifies(signed.as_bytes(), promise) {
            return Err("the log's promise (signed entry timestamp) does not hold".into());
        }
        if time > now + MAX_AHEAD {
            return Err("the log entry's time lies in the future".into());
        }
        if !self.life.contains(time) {
            return Err("the log entry's time is outside the life of the log's key".into());
        }
        Ok(time)
    }

    /// The entry is in the tree that the log's checkpoint signs.
    fn check_proof(&self, body: &[u8], proof: &Proof) -> Result<(), String> {
        let checkpoint = Checkpoint::parse(&proof.checkpoint)
            .ok_or("the checkpoint of the log entry is no signed tree head (C2SP tlog-checkpoint)")?;
        self.check_checkpoint(&checkpoint)?;
        if checkpoint.size != proof.tree_size || checkpoint.root[..] != proof.root {
            return Err("the log entry's proof is of another tree than its checkpoint".into());
        }
        let leaf = merkle::leaf(body);
        if merkle::root(&leaf, proof.index, proof.tree_size, &proof.path) != Some(checkpoint.root) {
            return Err("the log entry is not in the log: its proof of inclusion does not hold".into());
        }
        Ok(())
    }

    /// One of the signatures must be this log's, under its name. Witnesses' and foreign ones are not looked at.
    fn check_checkpoint(&self, checkpoint: &Checkpoint<'_>) -> Result<(), String> {
        if let Some(origin) = &self.origin {
            // Version 1 puts the number of the tree behind the name.
            let tree = checkpoint.origin.strip_prefix(origin.as_str());
            let numbered = |rest: &str| {
                let number = rest.strip_prefix(" - ");
                number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
            };
            if !tree.is_some_and(|rest| rest.is_empty() || numbered(rest)) {
                return Err("the checkpoint of the log entry has another origin than the log".into());
            }
        }
        let held = checkpoint.signatures.iter().any(|line| {
            let named = self.origin.as_ref().is_none_or(|origin| line.name == origin);
            let hinted = self.ids.iter().any(|id| id.starts_with(&line.hint));
            named && hinted && self.key.verifies(checkpoint.text.as_bytes(), &line.signature)
        });
        if held {
            Ok(())
        } else {
            Err("the checkpoint of the log entry is not signed by the log".into())
        }
    }
}
