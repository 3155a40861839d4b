//! What the adapter is told: parsed values, no configuration syntax.

use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use oci_client::Reference;
use signer_actors::domain::digest::{ImageDigest, Sha256Digest};
use zeroize::Zeroizing;

use super::trust::{CertificateLog, Identity, Requirement, SignerKey, TransparencyLog};

/// One repository to look images up in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `host` or `host:port` of the registry, as the service connects to it.
    pub host: String,
    /// Repository name inside the registry, `stellaops/scanner`.
    pub name: String,
}

impl Repository {
    /// Reads `host[:port]/name` by the grammar of the OCI distribution specification; no tag, no digest, and no
    /// Docker Hub short forms, so that what is written is what is asked.
    ///
    /// # Errors
    /// A text for the configuration report: what is wrong and what to write instead.
    pub fn parse(value: &str) -> Result<Self, String> {
        let wrong = || format!("{value:?} is not a repository, write host/name without tag or digest");
        let reference: Reference = value.parse().map_err(|_| wrong())?;
        let (host, name) = value.split_once('/').ok_or_else(wrong)?;
        let plain = reference.registry() == host && reference.repository() == name;
        if !plain || reference.digest().is_some() {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.name)
    }
}

/// Credentials of one registry, or of one repository in it.
#[derive(Clone)]
pub struct Credentials {
    /// `host[:port]` of the repositories they belong to.
    pub host: String,
    /// The one repository of that host they belong to; `None`: all that have none of their own.
    pub name: Option<String>,
    /// User name.
    pub username: String,
    /// Password or access token.
    pub password: Zeroizing<String>,
}

impl Credentials {
    /// Those of a repository: its own before its host's.
    pub(super) fn of<'a>(all: &'a [Self], repository: &Repository) -> Option<&'a Self> {
        let mut own = all
            .iter()
            .filter(|c| c.host.eq_ignore_ascii_case(&repository.host))
            .filter(|c| c.name.as_ref().is_none_or(|name| *name == repository.name))
            .collect::<Vec<_>>();
        own.sort_by_key(|credentials| credentials.name.is_none());
        own.first().copied()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("host", &self.host)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// An entry of `release.private_networks`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateNetwork {
    /// This host may resolve to any address.
    Host(String),
    /// Any host may resolve into this network.
    Network(IpNet),
}

impl PrivateNetwork {
    /// Reads a CIDR, an address, or else takes the value as `host` or `host:port`.
    pub fn parse(value: &str) -> Self {
        if let Ok(network) = value.parse::<IpNet>() {
            return Self::Network(network);
        }
        match value.parse::<std::net::IpAddr>() {
            Ok(address) => Self::Network(IpNet::from(address)),
            Err(_) => Self::Host(value.to_ascii_lowercase()),
        }
    }
}

/// Everything the adapter needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where images are looked up, in order; at least one.
    pub repositories: Vec<Repository>,
    /// Release keys: SPKI in PEM, one each.
    pub keys: Vec<Vec<u8>>,
    /// Release keys with a life of their own.
    pub signers: Vec<SignerKey>,
    /// Release identities; they need `roots`, or their own.
    pub identities: Vec<Identity>,
    /// SHA-256 of the SPKI of keys that never count again, whoever vouches for them.
    pub revoked_keys: Vec<Sha256Digest>,
    /// PEM certificates of timestamp authorities: self-signed ones are anchors. `None`: no timestamp is believed.
    pub timestamp_roots: Option<Vec<u8>>,
    /// Transparency logs. None: no entry is believed.
    pub logs: Vec<TransparencyLog>,
    /// Certificate transparency logs, one of which must have promised each certificate. None: promises are not looked at.
    pub ct_logs: Vec<CertificateLog>,
    /// What every signature must carry to count.
    pub require: Vec<Requirement>,
    /// PEM certificates that identities chain to: self-signed ones are anchors, the others intermediates.
    pub roots: Option<Vec<u8>>,
    /// How many distinct keys or identities must have signed; at least 1 and no more than are configured.
    pub threshold: usize,
    /// Name of the signed or digest-bound annotation that holds the calendar tag; empty for none.
    pub tag_annotation: String,
    /// Images that are never trusted again, whatever their signatures.
    pub revoked: Vec<ImageDigest>,
    /// Longest time for a whole check, over all repositories.
    pub timeout: Duration,
    /// Longest time for one registry call, its body included.
    pub call_timeout: Duration,
    /// `host` (any port) or `host:port` that may be asked without TLS and at any address.
    pub plain_http: Vec<String>,
    /// Hosts and networks that are allowed though not public.
    pub private_networks: Vec<PrivateNetwork>,
    /// Further `host[:port]` that a registry may name as token realm or blob storage, beside its own. They may get its
    /// credentials; the hosts of other repositories never do.
    pub trusted_hosts: Vec<String>,
    /// Credentials, at most one for each host and for each repository; without any the registry is asked anonymously.
    pub credentials: Vec<Credentials>,
    /// PEM certificates trusted for TLS besides the system's.
    pub tls_roots: Option<Vec<u8>>,
}

impl Settings {
    /// Settings with the defaults of the reference configuration: no policy yet, five seconds.
    pub fn new(repositories: Vec<Repository>) -> Self {
        Self {
            repositories,
            keys: Vec::new(),
            signers: Vec::new(),
            identities: Vec::new(),
            revoked_keys: Vec::new(),
            timestamp_roots: None,
            logs: Vec::new(),
            ct_logs: Vec::new(),
            require: Vec::new(),
            roots: None,
            threshold: 1,
            tag_annotation: "org.opencontainers.image.version".to_owned(),
            revoked: Vec::new(),
            timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(3),
            plain_http: Vec::new(),
            private_networks: Vec::new(),
            trusted_hosts: Vec::new(),
            credentials: Vec::new(),
            tls_roots: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_host_and_name() {
        let parsed = Repository::parse("registry.example:5000/stellaops/scanner").unwrap();
        assert_eq!(parsed.host, "registry.example:5000");
        assert_eq!(parsed.name, "stellaops/scanner");
        assert_eq!(parsed.to_string(), "registry.example:5000/stellaops/scanner");
        for bad in [
            "",
            "scanner",
            "stellaops/scanner",
            "registry.example/",
            "registry.example/Scanner",
            "registry.example/scanner:latest",
            "https://registry.example/scanner",
            "registry.example/a/../b",
            "registry.example/scanner?x=y",
            "user@registry.example/scanner",
            &format!("registry.example/scanner@sha256:{}", "a".repeat(64)),
        ] {
            assert!(Repository::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn credentials_do_not_print_their_secret() {
        let credentials = Credentials {
            host: "registry.example".into(),
            name: None,
            username: "robot".into(),
            password: Zeroizing::new("hunter2".into()),
        };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }

    #[test]
    fn the_most_specific_credentials_win() {
        let of = |host: &str, name: Option<&str>, username: &str| Credentials {
            host: host.into(),
            name: name.map(str::to_owned),
            username: username.into(),
            password: Zeroizing::new("secret".into()),
        };
        let all = [
            of("registry.example", None, "host"),
            of("registry.example", Some("team/a"), "a"),
            of("registry.example:5000", Some("team/b"), "port"),
            of("other.example", Some("team/c"), "other"),
        ];
        let user = |repository: &str| {
            let repository = Repository::parse(repository).unwrap();
            Credentials::of(&all, &repository).map(|found| found.username.clone())
        };
        assert_eq!(user("registry.example/team/a").as_deref(), Some("a"));
        assert_eq!(user("registry.example/team/b").as_deref(), Some("host"));
        assert_eq!(user("registry.example/team/a/b").as_deref(), Some("host"));
        assert_eq!(user("registry.example:5000/team/b").as_deref(), Some("port"));
        assert_eq!(user("registry.example:5000/team/a"), None);
        assert_eq!(user("other.example/team/a"), None);
    }

    #[test]
    fn private_networks_are_networks_or_hosts() {
        assert_eq!(
            PrivateNetwork::parse("10.0.0.0/8"),
            PrivateNetwork::Network("10.0.0.0/8".parse().unwrap())
        );
        assert_eq!(
            PrivateNetwork::parse("fd00::1"),
            PrivateNetwork::Network("fd00::1/128".parse().unwrap())
        );
        assert_eq!(
            PrivateNetwork::parse("Registry.Local:5000"),
            PrivateNetwork::Host("registry.local:5000".into())
        );
    }
}
