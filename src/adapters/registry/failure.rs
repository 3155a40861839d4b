//! Why a repository gave no verdict, in words for the log.

use std::fmt;

use reqwest::StatusCode;
use signer_actors::ports::ReleaseError;

/// Why a repository gave no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The registry's answer leaves a doubt.
    Doubt(String),
    /// The registry cannot be asked, or says that it cannot answer now.
    Unavailable(String),
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doubt(text) | Self::Unavailable(text) => f.write_str(text),
            Self::Timeout => f.write_str("no answer in time"),
        }
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self::Doubt(text)
    }
}

impl From<Failure> for ReleaseError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Doubt(text) => Self::Doubt(text),
            Failure::Unavailable(text) => Self::Unavailable(text),
            Failure::Timeout => Self::Timeout,
        }
    }
}

/// Shorthand for a doubt.
pub(super) fn doubt<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Doubt(text.into()))
}

/// The doubt that a status leaves, with the remedy.
pub(super) fn refused<T>(status: StatusCode, what: &str) -> Result<T, Failure> {
    let remedy = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ", check the registry's credentials",
        StatusCode::TOO_MANY_REQUESTS => ", the registry throttles",
        StatusCode::NOT_FOUND => ", the repository is incomplete",
        status if status.is_redirection() => ", redirects are followed for blobs only and once",
        _ => "",
    };
    let text = format!("the registry answers {} for {what}{remedy}", status.as_u16());
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(Failure::Unavailable(text));
    }
    doubt(text)
}

/// What became of a call that got no whole answer.
pub(super) fn failure(error: &reqwest::Error, what: &str) -> Failure {
    if error.is_timeout() {
        return Failure::Timeout;
    }
    Failure::Unavailable(format!("{what}: {}", cause(error)))
}

/// The innermost cause of a transport error: without the URL, which may carry a signed query.
fn cause(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    if std::ptr::addr_eq(innermost, error) {
        return "transport error".to_owned();
    }
    innermost.to_string()
}
