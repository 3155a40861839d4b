//! What is wrong with a configuration, said so that an operator can put it right.

use std::fmt;
use std::path::PathBuf;

/// One thing wrong with the configuration. [`super::load`] returns all of them at once.
///
/// Never holds a secret: values of keys that refer to secrets are not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, dotted: `auth.dpop.nonce`, `signing.backends[1].key`. Empty for the file as a whole.
    pub key: String,
    /// Where the offending value was set.
    pub source: Source,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration file.
    File {
        /// Its path as given.
        path: PathBuf,
        /// The line of the key, from 1, where it is known.
        line: Option<usize>,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag of the command line.
    Flag {
        /// Its name, with dashes.
        flag: String,
    },
    /// Nowhere: the default holds, or the key is missing.
    Unset,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag { flag } => write!(f, "flag {flag}"),
            Self::Unset => f.write_str("not set"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = if self.key.is_empty() {
            "configuration"
        } else {
            &self.key
        };
        write!(f, "{key} ({}): {}; {}", self.source, self.problem, self.remedy)
    }
}

impl std::error::Error for ConfigError {}

/// Something that works but that an operator should know. Shown by `signer check` and logged at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key, dotted.
    pub key: String,
    /// What is unusual.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// What a parser of one value has to say; the reader adds key and source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) problem: String,
    pub(crate) remedy: String,
}

impl Problem {
    pub(crate) fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}
