//! What is behind the address: a server that can be trusted with what must not be forgotten, or none.

use std::fmt;

use chrono::Utc;
use redis::FromRedisValue;
use redis::aio::MultiplexedConnection;

use super::MAX_CLOCK_DIFFERENCE;
use super::failure::{Failure, sound};

/// Oldest usable version: scripts write by their effects, and `INFO` may be asked in one.
const OLDEST: u64 = 7;

/// A server that was looked at and may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    version: String,
    /// Its clock less ours, in ms.
    ahead: i64,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, primary, evicts nothing, clock {:+} ms",
            self.version, self.ahead
        )
    }
}

impl Server {
    pub(super) async fn look_at(connection: &mut MultiplexedConnection) -> Result<Self, Failure> {
        let answer = connection.send_packed_command(&redis::cmd("INFO")).await?;
        let info = String::from_redis_value(sound(answer)?)
            .map_err(|_| Failure::Answer("INFO is no text".into()))?;
        Self::of(&info)
    }

    fn of(info: &str) -> Result<Self, Failure> {
        let field = |name: &str| {
            let mut fields = info.lines().filter_map(|line| line.split_once(':'));
            fields
                .find(|(key, _)| *key == name)
                .map_or("", |(_, value)| value.trim())
        };
        let refused = |why: &str| Err(Failure::Refused(why.to_owned()));
        if field("loading") != "0" {
            return refused("it is loading its data");
        }
        if field("role") != "master" {
            return refused("it is a replica: the address must lead to the primary");
        }
        if field("cluster_enabled") != "0" {
            return refused("it is a node of a cluster, which this version does not speak to");
        }
        // What is evicted can be used again.
        if field("maxmemory_policy") != "noeviction" && field("maxmemory") != "0" {
            return refused("it evicts keys: set maxmemory-policy noeviction");
        }
        let major = field("redis_version")
            .split('.')
            .next()
            .and_then(|major| major.parse::<u64>().ok());
        if major.is_none_or(|major| major < OLDEST) {
            return refused("it is older than Redis 7");
        }
        let version = match (field("valkey_version"), field("redis_version")) {
            ("", redis) => format!("Redis {redis}"),
            (valkey, _) => format!("Valkey {valkey}"),
        };
        Ok(Self { version, ahead: 0 })
    }

    /// Whose clock says this, in µs since 1970.
    pub(super) fn at(self, micros: u64) -> Self {
        let theirs = i64::try_from(micros / 1000).unwrap_or(i64::MAX);
        let ahead = theirs.saturating_sub(Utc::now().timestamp_millis());
        Self { ahead, ..self }
    }

    /// True when its clock and ours agree well enough for proofs to be judged.
    pub(super) fn is_in_time(&self) -> bool {
        i64::try_from(MAX_CLOCK_DIFFERENCE.as_millis()).is_ok_and(|most| self.ahead.abs() <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\nloading:0\r\nmaxmemory:1048576\r\nmaxmemory_policy:noeviction\r\nrole:master\r\ncluster_enabled:0\r\n";

    #[test]
    fn only_a_primary_that_forgets_nothing_is_used() {
        let server = Server::of(GOOD).expect("usable");
        assert_eq!(
            server.to_string(),
            "Redis 7.0.15, primary, evicts nothing, clock +0 ms"
        );
        let valkey = GOOD.replace(
            "redis_version:7.0.15",
            "redis_version:7.2.4\r\nvalkey_version:8.1.1",
        );
        assert!(
            Server::of(&valkey)
                .expect("usable")
                .to_string()
                .starts_with("Valkey 8.1.1,")
        );
        assert!(Server::of(&GOOD.replace("noeviction", "allkeys-lru").replace("1048576", "0")).is_ok());
        for (from, to, why) in [
            ("role:master", "role:slave", "replica"),
            ("role:master", "", "replica"),
            ("loading:0", "loading:1", "loading"),
            ("noeviction", "allkeys-lru", "evicts"),
            ("noeviction", "volatile-ttl", "evicts"),
            ("cluster_enabled:0", "cluster_enabled:1", "cluster"),
            ("7.0.15", "6.2.14", "older"),
            ("7.0.15", "x", "older"),
        ] {
            let refused = Server::of(&GOOD.replace(from, to)).expect_err(to).to_string();
            assert!(refused.contains(why), "{to}: {refused}");
        }
    }

    #[test]
    fn clocks_are_compared() {
        let at = |offset: i64| {
            let micros = (Utc::now().timestamp_millis() + offset) * 1000;
            let server = Server::of(GOOD).expect("usable");
            server.at(u64::try_from(micros).expect("after 1970")).is_in_time()
        };
        assert!(at(29_000) && at(-29_000) && !at(31_000) && !at(-31_000));
    }
}
