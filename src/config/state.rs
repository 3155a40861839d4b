//! `[state]`: where quotas and spent proofs are kept.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::error::Problem;
use super::files::{self, PublicFile};
use super::layers::Layers;
use super::reader::{Section, key};
use super::secret::{Secret, Use};
use super::{parse, pem};
use crate::urls::is_loopback;

/// Where quotas, spent proofs and idempotency keys are kept.
#[derive(Clone, Debug)]
pub struct State {
    /// Shared by replicas, or `None`: in this process.
    pub shared: Option<SharedStore>,
    /// Folder of what must outlive a restart: answers to requests with an idempotency key, the version of the licence file.
    pub directory: PathBuf,
    /// How long an answer is kept for retries with the same `Idempotency-Key`.
    pub idempotency_ttl: Duration,
    /// Most idempotency keys that are kept.
    pub idempotency_capacity: u64,
    /// Threads that replay ids and quotas are spread over, by tenant.
    pub shards: usize,
}

/// Redis or Valkey.
#[derive(Clone, Debug)]
pub struct SharedStore {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Number of the database.
    pub database: i64,
    /// User of an ACL.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The only roots to trust; `None`: the system's.
    pub roots: Option<PublicFile>,
    /// What every key begins with.
    pub prefix: String,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// How long a unit of concurrency lives unless renewed.
    pub lease_ttl: Duration,
}

const DOC: &str = "What replicas share, or one replica keeps to itself: quotas and spent proofs.";

/// Default port of Redis and Valkey.
const PORT: u16 = 6379;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Memory,
    Redis,
}

pub(crate) fn section(root: &mut Section<'_>) -> Option<State> {
    root.section("state", DOC, |s| {
        let store = s.choice(
            key(
                "store",
                "memory",
                "memory: of this process, for one replica. redis: in Redis 7 or Valkey 8, shared by all replicas.",
            ),
            &[("memory", Store::Memory), ("redis", Store::Redis)],
        );
        let shared = shared(s);
        let directory = s.text(
            key(
                "directory",
                "state",
                "Folder for what must outlive a restart: with store = \"memory\" the answers to requests with an Idempotency-Key, in \
                 entitlement mode offline the version of the licence file. One process has it.",
            ),
            files::resolve,
        );
        let idempotency_ttl = s.duration(
            key(
                "idempotency_ttl",
                "24h",
                "How long an answer is kept for a retry with the same Idempotency-Key.",
            ),
            Duration::from_secs(60)..=Duration::from_secs(7 * 86_400),
        );
        let idempotency_capacity = s.integer(
            key(
                "idempotency_capacity",
                1_000_000,
                "Idempotency keys kept at once, each in 1 to 5 KB of the file or the shared store; one tenant may hold as many as \
                 are left free. Full answers 503 to new keys.",
            ),
            1000..=100_000_000,
        );
        let shards = s.integer(
            key(
                "shards",
                1,
                "Threads that replay ids, entitlements and quotas are spread over. Raise it when the actors auth or quota keep \
                 a core busy. Each tenant lives in one shard and holds at most an eighth of its part of replay_capacity.",
            ),
            1..=8,
        );
        let shared = match (store?, shared?) {
            (Store::Memory, None) => None,
            (Store::Redis, Some(shared)) => Some(shared),
            (Store::Memory, Some(_)) => {
                s.refuse("url", "is set, and store is memory", "set store = \"redis\", or leave url empty");
                return None;
            }
            (Store::Redis, None) => {
                s.refuse(
                    "url",
                    "is empty, and store is redis",
                    "write the address: \"rediss://redis.example:6379/0\"",
                );
                return None;
            }
        };
        Some(State {
            shared,
            directory: directory?,
            idempotency_ttl: idempotency_ttl?,
            idempotency_capacity: idempotency_capacity?,
            shards: shards?,
        })
    })
}

/// The keys of a shared store; `Some(None)` without an address.
fn shared(s: &mut Section<'_>) -> Option<Option<SharedStore>> {
    let url = s.optional(
        key(
            "url",
            "",
            "Address of the shared store's primary, rediss://HOST[:PORT][/DATABASE]; redis:// without TLS on loopback only.",
        ),
        address,
    );
    let username = s.optional(
        key(
            "username",
            "",
            "User of the store's ACL; empty: the default user.",
        ),
        |text, _| parse::visible(text, 255),
    );
    let password = s.secret(key("password", "", "Its password, by reference."), Use::Text);
    let roots = s.optional(
        key(
            "roots",
            "",
            "CA certificates in PEM, the only ones to trust for the store; empty: the system's.",
        ),
        files::public,
    );
    let prefix = s.text(
        key(
            "prefix",
            "signer",
            "What every key in the store begins with: one per deployment.",
        ),
        prefix,
    );
    let timeout = s.duration(
        key(
            "timeout",
            "250ms",
            "Longest time for one answer of the store; then 503 state_unavailable.",
        ),
        Duration::from_millis(10)..=Duration::from_secs(5),
    );
    let lease_ttl = s.duration(
        key(
            "lease_ttl",
            "10s",
            "How long a unit of concurrency outlives the replica that holds it. The same for all replicas, and no shorter than \
             server.request_timeout.",
        ),
        Duration::from_secs(1)..=Duration::from_secs(300),
    );
    if let Some(Some(file)) = &roots
        && let Err(problem) = pem::certificates(file)
    {
        s.refuse("roots", problem.problem, problem.remedy);
    }
    if username.as_ref().is_some_and(Option::is_some) && password.as_ref().is_some_and(Option::is_none) {
        s.refuse(
            "password",
            "is empty, and username is set",
            "write \"file:PATH\" or \"env:NAME\"",
        );
    }
    if timeout
        .zip(lease_ttl)
        .is_some_and(|(timeout, life)| timeout * 4 > life)
    {
        s.refuse(
            "timeout",
            "is more than a quarter of lease_ttl",
            "shorten it: leases must be renewed in time even when an answer is missing",
        );
    }
    let (username, password, roots) = (username?, password?, roots?);
    let (prefix, timeout, lease_ttl) = (prefix?, timeout?, lease_ttl?);
    Some(url?.map(|(host, port, tls, database)| SharedStore {
        host,
        port,
        tls,
        database,
        username,
        password,
        roots,
        prefix,
        timeout,
        lease_ttl,
    }))
}

/// Host, port, TLS, database.
fn address(text: &str, _: &Layers) -> Result<(String, u16, bool, i64), Problem> {
    let example = "write \"rediss://redis.example:6379/0\"";
    // A URL with credentials in it must not be repeated.
    let wrong = |why: &str, remedy: &str| Err(Problem::new(why.to_owned(), remedy.to_owned()));
    let clean = text.len() <= 2048 && text.bytes().all(|byte| byte.is_ascii_graphic());
    // With a scheme that the URL standard knows, hosts are read as everywhere else: Redis' own schemes leave them opaque.
    let known = text.strip_prefix("rediss://").map(|rest| (rest, true));
    let known = known.or_else(|| text.strip_prefix("redis://").map(|rest| (rest, false)));
    let Some((rest, tls)) = known.filter(|_| clean) else {
        return wrong("is no rediss:// or redis:// address", example);
    };
    let Ok(url) = Url::parse(&format!("https://{rest}")) else {
        return wrong("is not a URL", example);
    };
    if !url.username().is_empty() || url.password().is_some() || rest.contains('@') {
        return wrong(
            "has credentials in it",
            "take them out: state.username and state.password are for them",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return wrong("has a query or fragment", example);
    }
    let Some(host) = url.host() else {
        return wrong("has no host", example);
    };
    if !tls && !is_loopback(&host) {
        return wrong(
            "is redis:// to a host that is not loopback",
            "use rediss://, which is Redis over TLS",
        );
    }
    // `https` hides its own port.
    let port = if rest.contains(":443") {
        url.port_or_known_default()
    } else {
        url.port()
    };
    let database = match url.path() {
        "" | "/" => Some(0),
        path => path.strip_prefix('/').and_then(|path| path.parse::<u8>().ok()),
    };
    let Some(database) = database else {
        return wrong("has a path that is no number of a database", example);
    };
    let host = match host {
        url::Host::Ipv6(address) => address.to_string(),
        other => other.to_string(),
    };
    Ok((host, port.unwrap_or(PORT), tls, i64::from(database)))
}

/// Without braces, which would end the keys' hash tag.
fn prefix(text: &str, _: &Layers) -> Result<String, Problem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        let remedy = "choose 1 to 64 letters, digits, dots, dashes and underscores";
        Err(Problem::new(format!("{text:?} is no prefix"), remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tls_or_loopback() {
        for (text, expected) in [
            ("rediss://redis.example", ("redis.example", 6379, true, 0)),
            ("rediss://redis.example:6380/3", ("redis.example", 6380, true, 3)),
            ("rediss://redis.example:443/", ("redis.example", 443, true, 0)),
            ("redis://127.0.0.1:1", ("127.0.0.1", 1, false, 0)),
            ("redis://[::1]:7/15", ("::1", 7, false, 15)),
            ("redis://localhost", ("localhost", 6379, false, 0)),
        ] {
            let (host, port, tls, database) = expected;
            let found = address(text, &Layers::default()).expect(text);
            assert_eq!(found, (host.to_owned(), port, tls, database), "{text}");
        }
        for bad in [
            "",
            "redis.example:6379",
            "http://127.0.0.1:6379",
            "redis://redis.example",
            "redis://10.0.0.1",
            "redis://127.0.0.1.evil.example",
            "rediss://user:secret@redis.example",
            "rediss://@redis.example",
            "rediss://redis.example/x",
            "rediss://redis.example/256",
            "rediss://redis.example/0?timeout=1",
            "rediss://redis.example/0#x",
            "rediss://",
            "rediss://redis example",
        ] {
            let problem = address(bad, &Layers::default()).expect_err(bad);
            assert!(!problem.problem.contains("secret"));
        }
    }
}
