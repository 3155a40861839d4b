//! Keys that a failed self-check has taken out of service. That is a property of the key, not of the actor that had it: a reload
//! may start another actor for the same key, of another table or under another id.

use std::collections::BTreeSet;

use tokio::sync::watch;

use crate::domain::digest::Sha256Digest;

/// Digests of the public keys (SubjectPublicKeyInfo, DER) that sign no more, for as long as the process lives. Clones share
/// them. There are never more than keys were configured.
#[derive(Clone, Debug, Default)]
pub struct DisabledKeys(watch::Sender<BTreeSet<Sha256Digest>>);

impl DisabledKeys {
    /// Whether this key is among them. Keys that are made anew for every certificate have no digest, and never are.
    pub fn has(&self, key: Option<Sha256Digest>) -> bool {
        key.is_some_and(|key| self.0.borrow().contains(&key))
    }

    pub(super) fn add(&self, key: Sha256Digest) {
        self.0.send_if_modified(|keys| keys.insert(key));
    }
}
