//! The service's own identity token, read anew for each certificate.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use signer_actors::ports::BackendError;
use zeroize::Zeroizing;

/// The longest identity token, in bytes.
const MAX_TOKEN: usize = 16 * 1024;

/// Where the service's identity token comes from. Its audience is Fulcio's client id.
#[derive(Clone)]
pub enum IdentityToken {
    /// A file, read at each use: whoever renews the token replaces the file.
    File(PathBuf),
    /// An environment variable, by name.
    Env(String),
    /// The token itself: for tests and embedded neighbours.
    Static(Zeroizing<String>),
}

impl fmt::Debug for IdentityToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Env(name) => f.debug_tuple("Env").field(name).finish(),
            Self::Static(_) => f.write_str("Static(…)"),
        }
    }
}

impl IdentityToken {
    /// The token, without surrounding white space.
    pub(super) async fn read(&self) -> Result<Zeroizing<String>, BackendError> {
        let text = match self {
            Self::Static(token) => Ok(token.clone()),
            Self::Env(name) => std::env::var(name)
                .map(Zeroizing::new)
                .map_err(|_| format!("the identity token's variable {name} is not set")),
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path));
                read.await
                    .unwrap_or_else(|_| Err("the identity token's file cannot be read".into()))
            }
        };
        let text = text.map_err(BackendError::Unavailable)?;
        let token = text.trim();
        let shaped = (1..=MAX_TOKEN).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        if !shaped {
            let problem =
                format!("the identity token must be one line of 1 to {MAX_TOKEN} visible characters");
            return Err(BackendError::Unavailable(problem));
        }
        Ok(Zeroizing::new(token.to_owned()))
    }
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, String> {
    let shown = path.display();
    let problem =
        |error: std::io::Error| format!("the identity token {shown} cannot be read: {}", error.kind());
    let file = std::fs::File::open(path).map_err(problem)?;
    let mut text = Zeroizing::new(String::with_capacity(MAX_TOKEN + 2));
    // One byte more than allowed, so that a longer file shows as too long.
    file.take(MAX_TOKEN as u64 + 2)
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
        let source = IdentityToken::File(path.clone());
        assert!(matches!(source.read().await, Err(BackendError::Unavailable(_))));
        for token in ["a.b.c", "d.e.f"] {
            std::fs::write(&path, format!("{token}\n")).unwrap();
            assert_eq!(source.read().await.unwrap().as_str(), token);
        }
        for bad in ["", "\n", "a b", "a\nb", &"x".repeat(MAX_TOKEN + 1)] {
            std::fs::write(&path, bad).unwrap();
            assert!(matches!(source.read().await, Err(BackendError::Unavailable(_))));
        }
    }

    #[tokio::test]
    async fn an_unset_variable_is_named_and_a_token_never_shown() {
        let missing = IdentityToken::Env("SIGNER_TEST_NO_SUCH_VARIABLE".into());
        let Err(BackendError::Unavailable(text)) = missing.read().await else {
            panic!("an unset variable has no token");
        };
        assert!(text.contains("SIGNER_TEST_NO_SUCH_VARIABLE"));
        let token = IdentityToken::Static(Zeroizing::new("secret.secret.secret".into()));
        assert!(!format!("{token:?}").contains("secret"));
    }
}
