//! `[release]`: which scanner images count as ours.

use std::time::Duration;

use signer_actors::domain::digest::ImageDigest;

use super::error::Problem;
use super::files::{self, PublicFile};
use super::layers::Layers;
use super::reader::{Section, key, required};
use super::registries::{self, PrivateNetwork, RegistryCredential};
use super::{net, parse, pem};

/// How a scanner's image is verified (contract §6).
#[derive(Clone, Debug)]
pub struct Release {
    /// Repositories as `host[:port]/name`, in the order in which they are asked; at least one.
    pub repositories: Vec<String>,
    /// Whether the token must name the image.
    pub binding: Binding,
    /// Release keys: public, PEM.
    pub keys: Vec<PublicFile>,
    /// Release identities in certificates.
    pub identities: Vec<ReleaseIdentity>,
    /// Roots of the certificates, PEM, where an identity has none of its own. Empty: those of the Fulcio backend.
    pub roots: Option<PublicFile>,
    /// Keys or identities that must have signed.
    pub threshold: usize,
    /// Images that are never trusted, whoever signed them.
    pub revoked: Vec<ImageDigest>,
    /// Signed or digest-bound annotation or label that holds the calendar tag.
    pub tag_annotation: String,
    /// How long a verdict is believed.
    pub cache_ttl: Duration,
    /// How long untrusted, unsigned and absent are believed.
    pub negative_ttl: Duration,
    /// Verdicts remembered.
    pub cache_capacity: usize,
    /// Time for all questions to all registries about one image.
    pub timeout: Duration,
    /// Roots in PEM of the registries' own certificates, beside the system's.
    pub tls_roots: Option<PublicFile>,
    /// `host[:port]` that is spoken to without TLS.
    pub plain_http: Vec<String>,
    /// Destinations allowed though their address is not public.
    pub private_networks: Vec<PrivateNetwork>,
    /// `host[:port]` of token services and blob stores that registries may send us to, beside their own host.
    pub extra_hosts: Vec<String>,
    /// Credentials by registry or repository.
    pub credentials: Vec<RegistryCredential>,
    /// Lookups a tenant may make through `GET /verify/referrers`, per second.
    pub verify_qps: u32,
    /// Lookups at once after a pause.
    pub verify_burst: u32,
}

/// Whether the token must name the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Claim `scanner_image` must match when present.
    WhenPresent,
    /// Claim `scanner_image` must be present.
    Required,
}

/// Who may sign releases with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseIdentity {
    /// OIDC issuer in the certificate, equal character by character.
    pub issuer: String,
    /// Subject alternative name in the certificate, equal character by character.
    pub subject: String,
    /// Roots of its certificates, PEM; `None`: those of the section.
    pub roots: Option<PublicFile>,
}

const DOC: &str =
    "Which scanner images are releases: looked up in these repositories only, by their signatures.";
const IDENTITIES_DOC: &str =
    "Who may sign releases with a certificate: issuer and subject must both be equal.";

pub(crate) fn section(root: &mut Section<'_>) -> Option<Release> {
    root.section("release", DOC, read)
}

fn read(s: &mut Section<'_>) -> Option<Release> {
    let places = registries::read(s);
    let policy = read_policy(s);
    let times = read_times(s);
    let credentials = registries::read_credentials(s);
    let identities = s.tables("identities", IDENTITIES_DOC, 64, &[], read_identity);
    if let (Some(policy), Some(identities)) = (&policy, &identities) {
        check_signers(s, policy, identities);
    }
    if let (Some(places), Some(credentials)) = (&places, &credentials) {
        registries::check(s, places, credentials);
    }
    let (places, policy, times) = (places?, policy?, times?);
    Some(Release {
        repositories: places.repositories,
        binding: policy.binding,
        keys: policy.keys,
        identities: identities?,
        roots: policy.roots,
        threshold: policy.threshold,
        revoked: policy.revoked,
        tag_annotation: policy.tag_annotation,
        cache_ttl: times.cache_ttl,
        negative_ttl: times.negative_ttl,
        cache_capacity: times.cache_capacity,
        timeout: times.timeout,
        tls_roots: places.tls_roots,
        plain_http: places.plain_http,
        private_networks: places.private_networks,
        extra_hosts: places.extra_hosts,
        credentials: credentials?,
        verify_qps: times.verify_qps,
        verify_burst: times.verify_burst,
    })
}

/// Who is believed.
struct Policy {
    binding: Binding,
    keys: Vec<PublicFile>,
    roots: Option<PublicFile>,
    threshold: usize,
    revoked: Vec<ImageDigest>,
    tag_annotation: String,
}

fn read_policy(s: &mut Section<'_>) -> Option<Policy> {
    let none = Vec::<String>::new;
    let binding = s.choice(
        key(
            "binding",
            "when-present",
            "when-present: the token's claim scanner_image must match if there is one; required: there must be one.",
        ),
        &[("when-present", Binding::WhenPresent), ("required", Binding::Required)],
    );
    let keys = s.list(
        key("keys", none(), "Release keys: files with a public key in PEM."),
        64,
        |text, layers| {
            let file = files::public(text, layers)?;
            pem::public_key(&file).map(|_| file)
        },
    );
    let roots = s.optional(
        key(
            "roots",
            "",
            "Roots in PEM for release.identities; empty: the roots of the Fulcio backend.",
        ),
        certificates,
    );
    let threshold = s.integer(
        key(
            "threshold",
            1,
            "How many different keys or identities must have signed an image.",
        ),
        1..=16,
    );
    let revoked = s.list(
        key(
            "revoked",
            none(),
            "Image digests, sha256:…, that are never trusted, whoever signed them.",
        ),
        4096,
        |text, _| {
            ImageDigest::parse(text).ok_or_else(|| {
                let problem = format!("{text:?} is not an image digest");
                Problem::new(problem, "write \"sha256:\" and 64 lower-case hex digits")
            })
        },
    );
    let tag_annotation = s.text(
        key(
            "tag_annotation",
            "org.opencontainers.image.version",
            "Signed or digest-bound annotation that holds the calendar tag of the release.",
        ),
        |text, _| parse::visible(text, 255),
    );
    Some(Policy {
        binding: binding?,
        keys: keys?,
        roots: roots?,
        threshold: threshold?,
        revoked: revoked?,
        tag_annotation: tag_annotation?,
    })
}

pub(super) fn certificates(text: &str, layers: &Layers) -> Result<PublicFile, Problem> {
    let file = files::public(text, layers)?;
    pem::certificates(&file).map(|_| file)
}

/// For how long, and how much.
struct Times {
    cache_ttl: Duration,
    negative_ttl: Duration,
    cache_capacity: usize,
    timeout: Duration,
    verify_qps: u32,
    verify_burst: u32,
}

fn read_times(s: &mut Section<'_>) -> Option<Times> {
    let seconds = Duration::from_secs;
    let cache_ttl = s.duration(
        key("cache_ttl", "10m", "How long the verdict trusted is believed."),
        seconds(0)..=seconds(3600),
    );
    let negative_ttl = s.duration(
        key(
            "negative_ttl",
            "10s",
            "How long the verdicts untrusted, unsigned and absent are believed.",
        ),
        seconds(0)..=seconds(60),
    );
    let cache_capacity = s.integer(
        key(
            "cache_capacity",
            10_000,
            "Verdicts remembered; the least recently used goes first.",
        ),
        1..=1_000_000,
    );
    let timeout = s.duration(
        key("timeout", "5s", "Time for all questions about one image."),
        Duration::from_millis(100)..=seconds(60),
    );
    let verify_qps = s.integer(
        key(
            "verify_qps",
            10,
            "GET /verify/referrers: lookups per second and tenant.",
        ),
        1..=100_000,
    );
    let verify_burst = s.integer(
        key(
            "verify_burst",
            20,
            "GET /verify/referrers: lookups at once after a pause.",
        ),
        1..=100_000,
    );
    Some(Times {
        cache_ttl: cache_ttl?,
        negative_ttl: negative_ttl?,
        cache_capacity: cache_capacity?,
        timeout: timeout?,
        verify_qps: verify_qps?,
        verify_burst: verify_burst?,
    })
}

fn read_identity(s: &mut Section<'_>) -> Option<ReleaseIdentity> {
    let issuer = s.text(
        required(
            "issuer",
            "https://authority.example",
            "OIDC issuer in the certificate.",
        ),
        net::issuer,
    );
    let subject = s.text(
        required(
            "subject",
            "https://stellaops.example/release",
            "Subject alternative name in the certificate: URI or e-mail address.",
        ),
        |text, _| parse::visible(text, 1024),
    );
    let roots = s.optional(
        key(
            "roots",
            "",
            "Roots in PEM of this identity's certificates; empty: release.roots.",
        ),
        certificates,
    );
    Some(ReleaseIdentity {
        issuer: issuer?,
        subject: subject?,
        roots: roots?,
    })
}

fn check_signers(s: &mut Section<'_>, policy: &Policy, identities: &[ReleaseIdentity]) {
    let signers = policy.keys.len() + identities.len();
    if signers == 0 {
        let remedy = "name at least one release key or identity";
        s.refuse(
            "keys",
            "and release.identities are both empty, so no image would pass",
            remedy,
        );
    } else if policy.threshold > signers {
        let problem = format!(
            "is {}, but only {signers} keys and identities are configured",
            policy.threshold
        );
        s.refuse(
            "threshold",
            problem,
            "lower it, or add release keys or identities",
        );
    }
}
