//! `[release]`, the part about registries: which are asked, what they may be at, and how to log in.

use ipnet::IpNet;

use super::error::Problem;
use super::files::PublicFile;
use super::layers::Layers;
use super::reader::{Section, key, required};
use super::secret::{Secret, Use};
use super::{net, parse, pem};
use crate::urls::is_loopback;

/// A destination that may have a private address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrivateNetwork {
    /// This host, whatever its address.
    Host(String),
    /// Any host with an address in this range.
    Range(IpNet),
}

/// What credentials are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialScope {
    /// `host[:port]`: every repository there that has none of its own.
    Host(String),
    /// `host[:port]/name`: this repository alone.
    Repository(String),
}

impl CredentialScope {
    /// True for repositories, `host[:port]/name`, that these credentials are for.
    pub fn covers(&self, repository: &str) -> bool {
        match self {
            Self::Host(host) => repository.split_once('/').is_some_and(|(of, _)| of == host),
            Self::Repository(name) => name == repository,
        }
    }
}

/// How to log in to one registry, or to one repository in it.
#[derive(Clone, Debug, PartialEq)]
pub struct RegistryCredential {
    /// What they are for: as in `repositories`.
    pub scope: CredentialScope,
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: Secret,
}

const CREDENTIALS_DOC: &str = "How to log in to a registry, by host or by repository: the entry of the repository wins; without one it is asked \
     anonymously.";

/// Where is looked.
pub(super) struct Places {
    pub(super) repositories: Vec<String>,
    pub(super) tls_roots: Option<PublicFile>,
    pub(super) plain_http: Vec<String>,
    pub(super) private_networks: Vec<PrivateNetwork>,
    pub(super) extra_hosts: Vec<String>,
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Places> {
    let none = Vec::<String>::new;
    let repositories = s.list(
        required(
            "repositories",
            vec!["registry.example/stellaops/scanner"],
            "Repositories with scanner images, host[:port]/name, all asked at once. No other is ever asked.",
        ),
        64,
        net::repository,
    );
    if repositories.as_ref().is_some_and(Vec::is_empty) {
        s.refuse(
            "repositories",
            "is empty, so no image would pass",
            "name the repository of your scanner images",
        );
    }
    let tls_roots = s.optional(
        key(
            "tls_roots",
            "",
            "Roots in PEM of the registries' own TLS certificates, beside the system's.",
        ),
        pem::certificates_file,
    );
    let plain_http = s.list(
        key(
            "plain_http",
            none(),
            "Registries, host[:port], that are spoken to without TLS.",
        ),
        64,
        net::host_port,
    );
    let private_networks = s.list(
        key(
            "private_networks",
            none(),
            "Hosts or address ranges allowed though the address is not public. Loopback counts as not public.",
        ),
        64,
        private_network,
    );
    let extra_hosts = s.list(
        key(
            "extra_hosts",
            none(),
            "Hosts of token services and blob stores, host[:port], that a registry may send us to, beside its own host.",
        ),
        64,
        net::host_port,
    );
    Some(Places {
        repositories: repositories?,
        tls_roots: tls_roots?,
        plain_http: plain_http?,
        private_networks: private_networks?,
        extra_hosts: extra_hosts?,
    })
}

fn private_network(text: &str, layers: &Layers) -> Result<PrivateNetwork, Problem> {
    let range = || net::cidr(text, layers).map(PrivateNetwork::Range);
    range().or_else(|_| {
        let host = net::host_port(text, layers).map(PrivateNetwork::Host);
        host.map_err(|_| {
            let problem = format!("{text:?} is neither a host nor an address range");
            Problem::new(problem, "write \"registry.internal\" or \"10.0.0.0/8\"")
        })
    })
}

pub(super) fn read_credentials(s: &mut Section<'_>) -> Option<Vec<RegistryCredential>> {
    s.tables("credentials", CREDENTIALS_DOC, 64, &[], read_credential)
}

fn read_credential(s: &mut Section<'_>) -> Option<RegistryCredential> {
    let host = s.optional(
        key(
            "host",
            "",
            "Registry as host[:port]: for all its repositories. Either this",
        ),
        net::host_port,
    );
    let repository = s.optional(
        key(
            "repository",
            "",
            "or one repository as host[:port]/name, as in repositories.",
        ),
        net::repository,
    );
    let username = s.text(required("username", "signer", "User name."), |text, _| {
        parse::visible(text, 255)
    });
    let password = s.needed_secret(
        required(
            "password",
            "file:registry.password",
            "Password or token, by reference.",
        ),
        Use::Text,
    );
    let scope = match (host?, repository?) {
        (Some(host), None) => CredentialScope::Host(host),
        (None, Some(repository)) => CredentialScope::Repository(repository),
        _ => {
            s.refuse(
                "host",
                "and repository: exactly one of the two must be given",
                "write host for a whole registry, or repository for one repository",
            );
            return None;
        }
    };
    Some(RegistryCredential {
        scope,
        username: username?,
        password: password?,
    })
}

/// What is written twice, or for a registry that is not asked, is a mistake; secrets without TLS are a risk.
pub(super) fn check(s: &mut Section<'_>, places: &Places, credentials: &[RegistryCredential]) {
    for (index, credential) in credentials.iter().enumerate() {
        let earlier = credentials.get(..index).unwrap_or_default();
        let twice = earlier.iter().any(|other| other.scope == credential.scope);
        check_credential(s, places, index, &credential.scope, twice);
    }
    for plain in &places.plain_http {
        let repositories = places.repositories.iter().map(|name| host_of(name));
        let mut hosts = repositories.chain(places.extra_hosts.iter().map(String::as_str));
        if !hosts.any(|host| covers(plain, host)) {
            s.warn(
                "plain_http",
                format!("{plain} is the host of no repository"),
                "remove it, or correct it",
            );
        }
    }
}

fn check_credential(
    s: &mut Section<'_>,
    places: &Places,
    index: usize,
    scope: &CredentialScope,
    twice: bool,
) {
    let mut repositories = places.repositories.iter();
    let (name, value, known) = match scope {
        CredentialScope::Host(host) => ("host", host, repositories.any(|name| host_of(name) == host)),
        CredentialScope::Repository(own) => ("repository", own, repositories.any(|name| name == own)),
    };
    let at = format!("credentials[{index}].{name}");
    if !known {
        let problem = format!("{value} is not asked for any image");
        s.refuse(&at, problem, "write it as in release.repositories");
    }
    if twice {
        s.refuse(&at, "has credentials already", "remove one of the entries");
    }
    let host = host_of(value);
    if !is_local(host) && places.plain_http.iter().any(|plain| covers(plain, host)) {
        let remedy = "give the registry a certificate and take it out of release.plain_http";
        s.warn(&at, format!("{host} gets these credentials without TLS"), remedy);
    }
}

/// True when an entry of `plain_http`, with its port or for any, is about this host.
fn covers(plain: &str, host: &str) -> bool {
    plain == host || plain == host_name(host)
}

/// `host[:port]` of `host[:port]/name`.
fn host_of(repository: &str) -> &str {
    repository.split_once('/').map_or(repository, |(host, _)| host)
}

/// The host without its port.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_local(host: &str) -> bool {
    let parsed = url::Url::parse(&format!("http://{host}/")).ok();
    parsed.is_some_and(|url| url.host().as_ref().is_some_and(is_loopback))
}
