//! How a command ended.

use std::process::ExitCode;

/// Exit codes (contract §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: refused, not verified, or a check that failed.
    Refused,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: the caller could not be authenticated.
    Authentication,
    /// 4: not found.
    NotFound,
    /// 10: worth trying again.
    Retryable,
}

impl Exit {
    const ALL: [Self; 6] = [
        Self::Done,
        Self::Refused,
        Self::Usage,
        Self::Authentication,
        Self::NotFound,
        Self::Retryable,
    ];

    /// The exit of this number; numbers that are none of ours count as refused.
    pub fn from_code(code: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|exit| exit.code() == code)
            .unwrap_or(Self::Refused)
    }

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Authentication => 3,
            Self::NotFound => 4,
            Self::Retryable => 10,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
