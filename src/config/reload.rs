//! What a running service can take from another reading of its configuration, and what takes a restart.

use std::collections::{BTreeMap, BTreeSet};

use signer_actors::domain::digest::Sha256Digest;

use super::release::Release;
use super::{Settings, Signing};

/// Keys that a reload applies. All else takes a restart.
const RELOADED: [&str; 16] = [
    "log.level",
    "release.ct_logs",
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
        *self == self.judging_as(other)
    }

    /// These settings with the trust of others. Taken apart as a whole: each new field is put on one side or the other.
    fn judging_as(&self, other: &Self) -> Self {
        let Self {
            keys,
            signers,
            identities,
            roots,
            threshold,
            revoked,
            revoked_keys,
            timestamp_roots,
            logs,
            ct_logs,
            require,
            tag_annotation,
            repositories: _,
            binding: _,
            cache_ttl: _,
            negative_ttl: _,
            cache_capacity: _,
            timeout: _,
            asking: _,
            tls_roots: _,
            plain_http: _,
            private_networks: _,
            extra_hosts: _,
            credentials: _,
            verify_qps: _,
            verify_burst: _,
        } = other.clone();
        Self {
            keys,
            signers,
            identities,
            roots,
            threshold,
            revoked,
            revoked_keys,
            timestamp_roots,
            logs,
            ct_logs,
            require,
            tag_annotation,
            ..self.clone()
        }
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
        all.release = self.release.judging_as(&other.release);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::files::PublicFile;
    use crate::config::release::{ReleaseCtLog, ReleaseLife};
    use crate::config::tests::{LOCAL, Site};

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

    /// Certificate logs belong to the identities that they witness for, and are no less part of the trust.
    #[test]
    fn trust_is_taken_as_a_whole_and_places_are_not() {
        let site = Site::new();
        let before = site.load(LOCAL).expect("the local example is valid");
        let mut after = before.clone();
        let key = PublicFile {
            path: "ct.pub".into(),
            bytes: Vec::new(),
        };
        after.release.ct_logs.push(ReleaseCtLog {
            key,
            life: ReleaseLife::default(),
        });
        after.release.repositories.clear();
        assert!(!before.release.judges_alike(&after.release));
        let reloaded = before.reloaded(&after);
        assert_eq!(reloaded.release.ct_logs, after.release.ct_logs);
        assert_eq!(reloaded.release.repositories, before.release.repositories);
        assert!(reloaded.release.judges_alike(&after.release));
    }

    /// The file may have given the old checkpoint key to signing; the running trail is still signed with it.
    #[test]
    fn keys_have_one_use_in_what_runs_on() {
        let site = Site::new();
        let before = site.load(LOCAL).expect("the local example is valid");
        site.private("next.pem", &before.audit.checkpoint_key);
        site.private(
            "audit.key",
            &openssl::pkey::PKey::generate_ed25519().expect("a key"),
        );
        let text = format!(
            "{}\n[[signing.backends]]\nkind = \"file\"\nid = \"next\"\nkey = \"file:next.pem\"\nalgorithm = \"ed25519\"",
            LOCAL.replacen("[signing]", "[signing]\ndefault_key = \"local\"", 1)
        );
        let after = site.load(&text).expect("nothing is wrong with the file");
        assert!(after.shared().is_empty() && before.shared().is_empty());
        assert_eq!(
            before.reloaded(&after).shared(),
            ["signing.backends[1].key: is the same key as one in audit.checkpoint_key"]
        );
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
