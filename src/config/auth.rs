//! `[auth]`: operational tokens and their sender binding.

use std::time::Duration;

use signer_actors::domain::jws::JwsAlgorithm;
use url::Url;

use super::files::{self, PublicFile};
use super::reader::{Section, key, required};
use super::secret::{Secret, Use};
use super::{net, parse, pem};

/// How tokens of the Authority are verified.
#[derive(Clone, Debug)]
pub struct Auth {
    /// The Authority: `iss` must equal it character by character.
    pub issuer: String,
    /// What `aud` must contain.
    pub audience: String,
    /// Where the Authority's keys are.
    pub keys: AuthorityKeys,
    /// Header `typ`, compared without regard to case; each of them also holds with the prefix `application/`.
    pub token_types: Vec<String>,
    /// Allowed `alg`, of tokens and proofs.
    pub algorithms: Vec<JwsAlgorithm>,
    /// Longest `exp` − `iat`.
    pub max_token_lifetime: Duration,
    /// Allowed difference of clocks, at most 30 s.
    pub clock_skew: Duration,
    /// Time for one fetch of discovery document or key set.
    pub timeout: Duration,
    /// Age at which a key set is fetched anew.
    pub jwks_refresh: Duration,
    /// Age past which a key set that could not be renewed is used no more; then 503.
    pub jwks_max_stale: Duration,
    /// Verified tokens remembered by all workers together; 0: none.
    pub remembered_tokens: usize,
    /// DPoP.
    pub dpop: Dpop,
}

/// Where the Authority's keys are.
#[derive(Clone, Debug)]
pub enum AuthorityKeys {
    /// OIDC discovery at the issuer.
    Discovery,
    /// A JWK set at this address.
    Uri(Url),
    /// A JWK set in this file.
    File(PublicFile),
}

/// DPoP (RFC 9449).
#[derive(Clone, Debug)]
pub struct Dpop {
    /// Server nonces (RFC 9449 §8).
    pub nonce: NoncePolicy,
    /// The key of the nonces, shared by replicas; `None`: random, of this process.
    pub nonce_key: Option<Secret>,
    /// Whether proofs must carry `body_sha256`.
    pub body_hash: BodyHashPolicy,
    /// Proof ids remembered at once; full is 503, never eviction.
    pub replay_capacity: usize,
}

/// Server nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoncePolicy {
    /// Not offered; one that a proof carries is ignored.
    Off,
    /// Offered; one that a proof carries must be good.
    Optional,
    /// A proof without a good one is refused with `use_dpop_nonce`.
    Required,
}

/// The proof claim `body_sha256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyHashPolicy {
    /// Must match when present.
    Optional,
    /// Must be present.
    Required,
}

const DOC: &str = "Who may call: operational tokens (OpTok) of the Authority.";
/// Fewest characters of a key of nonces: 128 bits in hex digits.
const MIN_NONCE_KEY: usize = 32;
const DPOP_DOC: &str = "Proof of possession by DPoP (RFC 9449).";

pub(crate) fn section(root: &mut Section<'_>) -> Option<Auth> {
    root.section("auth", DOC, read)
}

/// The algorithms of tokens by name.
pub(crate) fn algorithm(text: &str) -> Result<JwsAlgorithm, super::error::Problem> {
    let all = JwsAlgorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm));
    parse::choice(text, &all)
}

fn read(s: &mut Section<'_>) -> Option<Auth> {
    let seconds = Duration::from_secs;
    let issuer = s.text(
        required(
            "issuer",
            "https://authority.example",
            "The Authority. Claim iss must equal it character by character.",
        ),
        net::issuer,
    );
    let audience = s.text(
        key("audience", "signer", "What claim aud must contain."),
        |text, _| parse::visible(text, 255),
    );
    let jwks_uri = s.optional(
        key(
            "jwks_uri",
            "",
            "Address of the Authority's JWK set; empty means OIDC discovery at the issuer.",
        ),
        net::url,
    );
    let jwks_file = s.optional(
        key(
            "jwks_file",
            "",
            "File with the Authority's JWK set, for air-gapped sites; wins over jwks_uri.",
        ),
        files::public,
    );
    let token_types = s.list(
        key(
            "token_types",
            vec!["at+jwt"],
            "Accepted header typ, in any case, with or without the prefix application/ (RFC 9068 §2.1).",
        ),
        8,
        |text, _| parse::visible(text, 64),
    );
    let algorithms = s.list(
        key(
            "algorithms",
            vec!["ES256", "ES384", "EdDSA", "PS256"],
            "Accepted signature algorithms of tokens, proofs and proofs of entitlement.",
        ),
        4,
        |text, _| algorithm(text),
    );
    let max_token_lifetime = s.duration(
        key(
            "max_token_lifetime",
            "10m",
            "Longest time from iat to exp of a token.",
        ),
        seconds(10)..=seconds(86_400),
    );
    let clock_skew = s.duration(
        key(
            "clock_skew",
            "30s",
            "Allowed difference between our clock and the Authority's.",
        ),
        seconds(0)..=seconds(30),
    );
    let timeout = s.duration(
        key(
            "timeout",
            "5s",
            "Time for one fetch of discovery document or key set.",
        ),
        Duration::from_millis(100)..=seconds(30),
    );
    let jwks_refresh = s.duration(
        key(
            "jwks_refresh",
            "5m",
            "Age at which the key set is fetched anew in the background.",
        ),
        seconds(10)..=seconds(3600),
    );
    let jwks_max_stale = s.duration(
        key(
            "jwks_max_stale",
            "1h",
            "Age past which a key set that could not be renewed is used no more; then 503 authority_unavailable.",
        ),
        seconds(60)..=seconds(3600),
    );
    let remembered_tokens = s.integer(
        key(
            "remembered_tokens",
            100_000,
            "Verified tokens remembered at once, about 1 KiB each, shared out among the workers; 0 verifies every token \
             on every request.",
        ),
        0..=10_000_000,
    );
    let dpop = s.section("dpop", DPOP_DOC, read_dpop);
    for (name, empty) in [
        ("token_types", token_types.as_ref().is_some_and(Vec::is_empty)),
        ("algorithms", algorithms.as_ref().is_some_and(Vec::is_empty)),
    ] {
        if empty {
            s.refuse(
                name,
                "is empty, so no token would pass",
                "name at least one, or leave the key out",
            );
        }
    }
    if let (Some(refresh), Some(stale)) = (jwks_refresh, jwks_max_stale)
        && refresh > stale
    {
        s.refuse(
            "jwks_refresh",
            "is longer than jwks_max_stale",
            "refresh before the key set becomes too old",
        );
    }
    let keys = authority_keys(s, jwks_uri?, jwks_file?);
    Some(Auth {
        issuer: issuer?,
        audience: audience?,
        keys,
        token_types: token_types?,
        algorithms: algorithms?,
        max_token_lifetime: max_token_lifetime?,
        clock_skew: clock_skew?,
        timeout: timeout?,
        jwks_refresh: jwks_refresh?,
        jwks_max_stale: jwks_max_stale?,
        remembered_tokens: remembered_tokens?,
        dpop: dpop?,
    })
}

fn authority_keys(s: &mut Section<'_>, uri: Option<Url>, file: Option<PublicFile>) -> AuthorityKeys {
    if uri.is_some() && file.is_some() {
        s.warn(
            "jwks_uri",
            "is ignored because jwks_file is set",
            "remove one of the two",
        );
    }
    match (file, uri) {
        (Some(file), _) => {
            if let Err(problem) = pem::jwk_set(&file) {
                s.refuse("jwks_file", problem.problem, problem.remedy);
            }
            AuthorityKeys::File(file)
        }
        (None, Some(uri)) => AuthorityKeys::Uri(uri),
        (None, None) => AuthorityKeys::Discovery,
    }
}

fn read_dpop(s: &mut Section<'_>) -> Option<Dpop> {
    let nonce = s.choice(
        key(
            "nonce",
            "optional",
            "Server nonces: off, optional, required. Required also guards against proofs made in advance.",
        ),
        &[
            ("off", NoncePolicy::Off),
            ("optional", NoncePolicy::Optional),
            ("required", NoncePolicy::Required),
        ],
    );
    let nonce_key = s.secret(
        key(
            "nonce_key",
            "",
            "Key of the nonces, by reference, the same for all replicas: make one with openssl rand -hex 32. Only and always \
             with state.store redis, unless nonces are off.",
        ),
        Use::Text,
    );
    if let Some(Some(secret)) = &nonce_key
        && secret.expose_text().len() < MIN_NONCE_KEY
    {
        s.refuse(
            "nonce_key",
            "is shorter than 32 characters",
            "make one: openssl rand -hex 32",
        );
    }
    let body_hash = s.choice(
        key(
            "body_hash",
            "optional",
            "Claim body_sha256 of the proof: optional (must match if present) or required.",
        ),
        &[
            ("optional", BodyHashPolicy::Optional),
            ("required", BodyHashPolicy::Required),
        ],
    );
    let replay_capacity = s.integer(
        key(
            "replay_capacity",
            4_000_000,
            "Proof ids remembered at once, each for 92 s in about 64 bytes; one tenant may hold an eighth. Full answers 503.",
        ),
        1024..=100_000_000,
    );
    Some(Dpop {
        nonce: nonce?,
        nonce_key: nonce_key?,
        body_hash: body_hash?,
        replay_capacity: replay_capacity?,
    })
}
