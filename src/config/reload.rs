//! What a running service can take from another reading of its configuration, and what takes a restart.

use std::collections::{BTreeMap, BTreeSet};

use signer_actors::domain::digest::Sha256Digest;

use super::release::Release;
use super::{Settings, Signing};

/// Keys that a reload applies. All else takes a restart.
const RELOADED: [&str; 15] = [
    "log.level",
    "release.identities",
    "release.keys",
    "release.logs",
    "release.require",
    "release.revoked",
    "release.revoked_keys",
    "release.roots",
    "release.signers",
    "release.tag_annotation",
    "release.threshold",
    "release.timestamp_roots",
    "signing.backends",
    "signing.default_key",
    "signing.default_mode",
];

/// Every key that was set, with a digest of its value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written(pub(crate) BTreeMap<String, Sha256Digest>);

impl Written {
    /// Keys that differ and take a restart.
    pub(crate) fn needs_restart(&self, other: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differ = |key: &&String| self.0.get(*key) != other.0.get(*key);
        let differing = names.into_iter().filter(differ);
        let late = differing.filter(|key| !RELOADED.contains(&key.as_str()));
        late.cloned().collect()
    }
}

impl Signing {
    /// Whether requests are signed by the same keys as with the other.
    pub(crate) fn signs_alike(&self, other: &Self) -> bool {
        self.backends == other.backends
            && self.default_mode == other.default_mode
            && self.default_key == other.default_key
    }
}

impl Release {
    /// Whether images are judged as with the other.
    pub(crate) fn judges_alike(&self, other: &Self) -> bool {
        self.keys == other.keys
            && self.signers == other.signers
            && self.identities == other.identities
            && self.roots == other.roots
            && self.threshold == other.threshold
            && self.revoked == other.revoked
            && self.revoked_keys == other.revoked_keys
            && self.timestamp_roots == other.timestamp_roots
            && self.logs == other.logs
            && self.require == other.require
            && self.tag_annotation == other.tag_annotation
    }
}

impl Settings {
    /// These settings with what a reload applies taken from others: everything else is as the service was started with.
    pub(crate) fn reloaded(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.log.level = other.log.level;
        all.signing.backends.clone_from(&other.signing.backends);
        all.signing.default_mode = other.signing.default_mode;
        all.signing.default_key.clone_from(&other.signing.default_key);
        let (to, from) = (&mut all.release, &other.release);
        to.keys.clone_from(&from.keys);
        to.signers.clone_from(&from.signers);
        to.identities.clone_from(&from.identities);
        to.roots.clone_from(&from.roots);
        to.threshold = from.threshold;
        to.revoked.clone_from(&from.revoked);
        to.revoked_keys.clone_from(&from.revoked_keys);
        to.timestamp_roots.clone_from(&from.timestamp_roots);
        to.logs.clone_from(&from.logs);
        to.require.clone_from(&from.require);
        to.tag_annotation.clone_from(&from.tag_annotation);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(keys: &[(&str, &str)]) -> Written {
        let digest = |(key, value): &(&str, &str)| ((*key).to_owned(), Sha256Digest::of(value.as_bytes()));
        Written(keys.iter().map(digest).collect())
    }

    #[test]
    fn what_takes_a_restart_is_named() {
        let before = written(&[
            ("server.listen", "a"),
            ("log.level", "info"),
            ("log.format", "json"),
        ]);
        let after = written(&[
            ("server.listen", "b"),
            ("log.level", "debug"),
            ("state.shards", "2"),
        ]);
        assert_eq!(
            before.needs_restart(&after),
            ["log.format", "server.listen", "state.shards"],
            "changed, gone and new"
        );
        assert!(before.needs_restart(&before).is_empty());
    }

    /// None of them is misspelt.
    #[test]
    fn what_is_reloaded_exists() {
        let reference = crate::config::reference();
        for key in RELOADED {
            let (section, name) = key.split_once('.').expect("a section");
            let table = format!("[[{key}]]");
            let known = reference.contains(&table)
                || reference.contains(&format!("\n{name} = "))
                || reference.contains(&format!("\n# {name} = "));
            assert!(known && reference.contains(&format!("[{section}]")), "{key}");
        }
    }
}
