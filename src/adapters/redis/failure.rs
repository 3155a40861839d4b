//! Why the store gave no usable answer.

use std::fmt;

use redis::{RedisError, ServerError, Value};
use signer_actors::ports::StateUnavailable;

/// Why the store gave no usable answer. The texts are for the log; they hold no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection now: nobody was asked.
    Down,
    /// No answer in time: hung, too slow, or cut off.
    Timeout,
    /// The connection could not be made, or broke.
    Connection(String),
    /// The server does not do it: a replica, loading, without its primary, wrong credentials, missing rights, …
    Refused(String),
    /// The server's memory is full (`OOM`, policy `noeviction`).
    Memory,
    /// The server's clock and ours differ by more than can be tolerated.
    Clock,
    /// Leases from before the server's birth may be held for so many milliseconds more.
    Settling(u64),
    /// It answered something that this service does not understand.
    Answer(String),
}

impl Failure {
    /// For metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Timeout => "timeout",
            Self::Connection(_) => "connection",
            Self::Refused(_) => "refused",
            Self::Memory => "memory",
            Self::Clock => "clock",
            Self::Settling(_) => "settling",
            Self::Answer(_) => "answer",
        }
    }

    /// True when this connection should not be asked again: after a failover the name leads elsewhere, and after
    /// something strange nobody knows what comes next.
    pub(super) fn breaks_the_connection(&self) -> bool {
        match self {
            Self::Connection(_) | Self::Refused(_) | Self::Answer(_) => true,
            // Late is perhaps only late: the keeper finds out.
            Self::Timeout | Self::Down | Self::Memory | Self::Clock | Self::Settling(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Down => f.write_str("not connected"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Connection(why) | Self::Refused(why) | Self::Answer(why) => f.write_str(why),
            Self::Memory => f.write_str("its memory is full: raise maxmemory"),
            Self::Clock => f.write_str("its clock and ours differ by more than 30 s: keep both by NTP"),
            Self::Settling(left) => write!(
                f,
                "leases from before its last start may be held for {left} ms more"
            ),
        }
    }
}

impl From<Failure> for StateUnavailable {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}

/// A server's error begins with a word in capitals. The rest is left out: it may name keys, and with them tenants.
fn refused(code: &str) -> Failure {
    match code {
        "OOM" => Failure::Memory,
        code => Failure::Refused(format!("it answers {code:.32}")),
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        refused(error.code())
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some(code) => refused(code),
            None if error.is_io_error() => Self::Connection(error.to_string()),
            None => Self::Answer(error.category().to_owned()),
        }
    }
}

/// A server's error is an answer to the crate, and none to us.
pub(super) fn sound(answer: Value) -> Result<Value, Failure> {
    match answer {
        Value::ServerError(error) => Err(Failure::from(error)),
        answer => Ok(answer),
    }
}
