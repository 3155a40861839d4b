//! `[release]`: which scanner images count as ours.

mod asking;
mod policy;
mod tables;

use std::time::Duration;

use signer_actors::domain::digest::{ImageDigest, Sha256Digest};

use super::files::PublicFile;
use super::reader::{Section, key};
use super::registries::{self, PrivateNetwork, RegistryCredential};

pub use self::asking::Asking;
pub use self::tables::{ReleaseCtLog, ReleaseIdentity, ReleaseKey, ReleaseLife, ReleaseLog, ReleaseWitness};

/// How a scanner's image is verified (contract §6).
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Repositories as `host[:port]/name`, in the order in which they are asked; at least one.
    pub repositories: Vec<String>,
    /// Whether the token must name the image.
    pub binding: Binding,
    /// Release keys: public, PEM.
    pub keys: Vec<PublicFile>,
    /// Release keys with a life.
    pub signers: Vec<ReleaseKey>,
    /// Release identities in certificates.
    pub identities: Vec<ReleaseIdentity>,
    /// Roots of the certificates, PEM, where an identity has none of its own. Empty: those of the Fulcio backend.
    pub roots: Option<PublicFile>,
    /// Keys or identities that must have signed.
    pub threshold: usize,
    /// Images that are never trusted, whoever signed them.
    pub revoked: Vec<ImageDigest>,
    /// SHA-256 of keys (SubjectPublicKeyInfo) that never count, in certificates neither.
    pub revoked_keys: Vec<Sha256Digest>,
    /// Timestamp authorities, PEM.
    pub timestamp_roots: Option<PublicFile>,
    /// Transparency logs.
    pub logs: Vec<ReleaseLog>,
    /// Certificate transparency logs.
    pub ct_logs: Vec<ReleaseCtLog>,
    /// What every signature must carry.
    pub require: Vec<ReleaseWitness>,
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
    /// How registries are spared.
    pub asking: Asking,
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

const DOC: &str =
    "Which scanner images are releases: looked up in these repositories only, by their signatures.";

pub(crate) fn section(root: &mut Section<'_>) -> Option<Release> {
    root.section("release", DOC, read)
}

fn read(s: &mut Section<'_>) -> Option<Release> {
    let places = registries::read(s);
    let policy = policy::read(s);
    let times = read_times(s);
    let asking = asking::read(s);
    let credentials = registries::read_credentials(s);
    let tables = tables::read(s);
    if let (Some(policy), Some(tables)) = (&policy, &tables) {
        policy::check(s, policy, tables);
    }
    if let (Some(places), Some(credentials)) = (&places, &credentials) {
        registries::check(s, places, credentials);
    }
    let (places, policy, times, tables) = (places?, policy?, times?, tables?);
    Some(Release {
        repositories: places.repositories,
        binding: policy.binding,
        keys: policy.keys,
        signers: tables.signers,
        identities: tables.identities,
        roots: policy.roots,
        threshold: policy.threshold,
        revoked: policy.revoked,
        revoked_keys: policy.revoked_keys,
        timestamp_roots: policy.timestamp_roots,
        logs: tables.logs,
        ct_logs: tables.ct_logs,
        require: policy.require,
        tag_annotation: policy.tag_annotation,
        cache_ttl: times.cache_ttl,
        negative_ttl: times.negative_ttl,
        cache_capacity: times.cache_capacity,
        timeout: times.timeout,
        asking: asking?,
        tls_roots: places.tls_roots,
        plain_http: places.plain_http,
        private_networks: places.private_networks,
        extra_hosts: places.extra_hosts,
        credentials: credentials?,
        verify_qps: times.verify_qps,
        verify_burst: times.verify_burst,
    })
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
            "GET /verify/referrers and GET /audit/{auditId}, together: questions per second and tenant.",
        ),
        1..=100_000,
    );
    let verify_burst = s.integer(
        key(
            "verify_burst",
            20,
            "GET /verify/referrers and GET /audit/{auditId}, together: questions at once after a pause.",
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
