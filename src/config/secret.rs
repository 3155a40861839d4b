//! Secrets: named by reference, never written into the configuration, never printed.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::error::Problem;
use super::files::{self, Exposure};
use super::layers::Layers;
use super::reader::{Key, Section};

/// Largest secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// Where a secret lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// `file:PATH`, resolved against the configuration's folder.
    File(PathBuf),
    /// `env:NAME`
    Environment(String),
    /// Made by the service itself (`signer dev`, tests).
    Memory,
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// A secret and where it came from. Wiped from memory when dropped; its debug print shows nothing of it.
#[derive(Clone)]
pub struct Secret {
    reference: SecretRef,
    value: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// A secret that never was in a file.
    pub fn in_memory(value: Vec<u8>) -> Self {
        Self {
            reference: SecretRef::Memory,
            value: Zeroizing::new(value),
        }
    }

    /// The secret's bytes as they are.
    pub fn expose(&self) -> &[u8] {
        &self.value
    }

    /// The secret as text without the line break that editors put at the end. Loading has made sure that secrets
    /// which are not keys are UTF-8.
    pub fn expose_text(&self) -> &str {
        let text = std::str::from_utf8(&self.value).unwrap_or_default();
        text.strip_suffix('\n')
            .map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
    }

    /// Where it lives.
    pub fn reference(&self) -> &SecretRef {
        &self.reference
    }

    /// Reads a file's secret again: tokens are rotated while the service runs. Others are as they were.
    ///
    /// # Errors
    /// Why the file cannot be read; names the file, holds nothing of its content.
    pub fn reread(&self) -> Result<Self, String> {
        match &self.reference {
            SecretRef::File(path) => from_file(path.clone())
                .map(|(secret, _)| secret)
                .map_err(|problem| problem.problem),
            SecretRef::Environment(_) | SecretRef::Memory => Ok(self.clone()),
        }
    }
}

/// The same reference with the same content, compared in constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.reference == other.reference
            && self.value.len() == other.value.len()
            && openssl::memcmp::eq(&self.value, &other.value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Follows `file:PATH` or `env:NAME`.
pub(crate) fn follow(text: &str, layers: &Layers) -> Result<(Secret, Exposure), Problem> {
    if let Some(path) = text.strip_prefix("file:") {
        from_file(files::resolve(path, layers)?)
    } else if let Some(name) = text.strip_prefix("env:") {
        from_environment(name, layers)
    } else {
        // The text may be the secret itself: it must not be repeated.
        Err(Problem::new(
            "is not a reference to a secret",
            "write \"file:PATH\" or \"env:NAME\"; secrets are never written into the configuration",
        ))
    }
}

fn from_file(path: PathBuf) -> Result<(Secret, Exposure), Problem> {
    let mut value = Zeroizing::new(Vec::new());
    let metadata = files::read(&path, MAX_SECRET_BYTES, &mut value)?;
    let secret = Secret {
        reference: SecretRef::File(path),
        value,
    };
    Ok((secret, files::exposure(&metadata)))
}

fn from_environment(name: &str, layers: &Layers) -> Result<(Secret, Exposure), Problem> {
    let value = layers.variables.get(name).filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| {
        let problem = format!("environment variable {name:?} is not set or empty");
        Problem::new(problem, "set the variable, or refer to a file with \"file:PATH\"")
    })?;
    let secret = Secret {
        reference: SecretRef::Environment(name.to_owned()),
        value: Zeroizing::new(value.clone().into_bytes()),
    };
    Ok((secret, Exposure::Private))
}

/// What a secret is for decides how strict its file's permissions must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// A private key: a file that others may read is refused.
    PrivateKey,
    /// A token or password, UTF-8: a file that others may read is worth a warning.
    Text,
}

impl Section<'_> {
    /// A reference to a secret; empty means none.
    pub(crate) fn secret(&mut self, key: Key, purpose: Use) -> Option<Option<Secret>> {
        let name = key.name;
        let mut exposed = None;
        let secret = self.optional(key, |text, layers| {
            let (secret, exposure) = follow(text, layers)?;
            match (exposure, purpose) {
                (Exposure::Private, _) => {}
                (Exposure::Exposed(mode), Use::Text) => exposed = Some(mode),
                (Exposure::Exposed(mode), Use::PrivateKey) => {
                    let problem = format!("{} may be used by others (mode {mode:04o})", secret.reference);
                    return Err(Problem::new(
                        problem,
                        "run chmod 600 on it, and replace the key if it was exposed",
                    ));
                }
            }
            if purpose == Use::Text && secret.expose_text().trim().is_empty() {
                let problem = format!("{} holds no text", secret.reference);
                return Err(Problem::new(problem, "put the token into it as UTF-8 text"));
            }
            Ok(secret)
        })?;
        if let (Some(mode), Some(secret)) = (exposed, &secret) {
            let problem = format!("{} may be read by others (mode {mode:04o})", secret.reference);
            self.warn(name, problem, "run chmod 600 on it");
        }
        Some(secret)
    }

    /// A reference to a secret that must be there.
    pub(crate) fn needed_secret(&mut self, key: Key, purpose: Use) -> Option<Secret> {
        let name = key.name;
        let secret = self.secret(key, purpose)?;
        if secret.is_none() {
            self.refuse(name, "is empty", "write \"file:PATH\" or \"env:NAME\"");
        }
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::in_memory(b"hunter2\n".to_vec());
        assert_eq!(format!("{secret:?}"), "[redacted]");
        assert_eq!(secret.expose(), b"hunter2\n");
        assert_eq!(secret.expose_text(), "hunter2");
    }

    #[test]
    fn a_literal_secret_is_refused_and_not_repeated() {
        let problem = follow("hunter2", &Layers::default()).expect_err("a literal");
        assert!(!format!("{problem:?}").contains("hunter2"));
    }

    #[test]
    fn a_rotated_file_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "old\r\n").expect("written");
        let (secret, _) = from_file(path.clone()).expect("readable");
        std::fs::write(&path, "new").expect("written");
        assert_eq!(secret.expose_text(), "old");
        assert_eq!(secret.reread().expect("readable").expose_text(), "new");
    }
}
