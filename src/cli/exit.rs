//! Exit codes (contract §9).

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Refused or not verified; the service ended because of a fault of its own.
    Refused,
    /// Usage or configuration.
    Usage,
    /// Authentication.
    Authentication,
    /// Not found.
    NotFound,
    /// It may work later.
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

    /// The process's exit code.
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

    /// The exit of this code; codes that are none of ours count as refused.
    pub fn from_code(code: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|exit| exit.code() == code)
            .unwrap_or(Self::Refused)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
