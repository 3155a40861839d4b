//! Credentials of the service at its backends, read anew for each use: whoever renews one replaces the file.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// The longest, in bytes.
const MAX_CREDENTIAL: usize = 16 * 1024;

/// Where a credential comes from: a token, or the secret that gets one.
#[derive(Clone)]
pub enum CredentialSource {
    /// A file, read at each use: whoever renews the token replaces the file.
    File(PathBuf),
    /// An environment variable, by name.
    Env(String),
    /// The credential itself: for tests and embedded neighbours.
    Static(Zeroizing<String>),
}

impl fmt::Debug for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::Static(_) => f.write_str("Static(…)"),
        }
    }
}

impl CredentialSource {
    /// The credential, without surrounding white space. `what` names it in errors, which never show it.
    pub(super) async fn read(&self, what: &'static str) -> Result<Zeroizing<String>, String> {
        let text = self.read_text(what).await?;
        let text = text.trim();
        let shaped = (1..=MAX_CREDENTIAL).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if !shaped {
            return Err(format!(
                "the {what} must be one line of 1 to {MAX_CREDENTIAL} visible characters"
            ));
        }
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// As [`Self::read`], of what may have several lines: everything as it is.
    pub(super) async fn read_text(&self, what: &'static str) -> Result<Zeroizing<String>, String> {
        match self {
            Self::Static(text) => Ok(text.clone()),
            Self::Env(name) => std::env::var(name)
                .map(Zeroizing::new)
                .map_err(|_| format!("the {what}'s variable {name} is not set")),
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path, what));
                read.await
                    .unwrap_or_else(|_| Err(format!("the {what}'s file cannot be read")))
            }
        }
    }
}

fn read_file(path: &Path, what: &str) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let problem = |error: std::io::Error| format!("the {what} {shown} cannot be read: {}", error.kind());
    let file = std::fs::File::open(path).map_err(problem)?;
    let mut text = Zeroizing::new(String::with_capacity(MAX_CREDENTIAL + 2));
    // One byte more than allowed, so that a longer file shows as too long.
    file.take(MAX_CREDENTIAL as u64 + 2)
        .read_to_string(&mut text)
        .map_err(problem)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_read_anew_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity.jwt");
        let source = CredentialSource::File(path.clone());
        assert!(source.read("token").await.is_err());
        for token in ["a.b.c", "d.e.f"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(source.read("token").await.unwrap().as_str(), token);
        }
        for bad in ["", "\n", "a b", "a\nb", &"x".repeat(MAX_CREDENTIAL + 1)] {
            std::fs::write(&path, bad).unwrap();
            assert!(source.read("token").await.is_err());
        }
    }

    #[tokio::test]
    async fn an_unset_variable_is_named_and_a_token_never_shown() {
        let missing = CredentialSource::Env("SIGNER_TEST_NO_SUCH_VARIABLE".into());
        let text = missing.read("identity token").await.unwrap_err();
        assert!(text.contains("SIGNER_TEST_NO_SUCH_VARIABLE"));
        let token = CredentialSource::Static(Zeroizing::new("secret.secret.secret".into()));
        assert!(!format!("{token:?}").contains("secret"));
    }
}
