//! `kind = "vault-transit"`

use std::num::NonZeroU32;

use url::Url;

use super::super::error::Problem;
use super::super::files::PublicFile;
use super::super::reader::{Section, key, required};
use super::super::secret::{Secret, Use};
use super::super::{net, parse, pem};

/// A key in the transit engine of Vault or OpenBao.
#[derive(Clone, Debug, PartialEq)]
pub struct Vault {
    /// Address, without `/v1`.
    pub url: Url,
    /// The only roots trusted for TLS; `None`: the system's.
    pub roots: Option<PublicFile>,
    /// Namespace; empty: none.
    pub namespace: String,
    /// Where the transit engine is mounted.
    pub mount: String,
    /// The key's name.
    pub key: String,
    /// Its version; `None`: the one with the pinned public key.
    pub key_version: Option<NonZeroU32>,
    /// How to sign in.
    pub login: VaultLogin,
}

/// How to sign in.
#[derive(Clone, Debug, PartialEq)]
pub enum VaultLogin {
    /// With a token.
    Token(Secret),
    /// With an AppRole.
    AppRole {
        /// Where the method is mounted, below `auth/`.
        mount: String,
        /// The role.
        role_id: String,
        /// Its secret.
        secret_id: Secret,
    },
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Vault> {
    let url = s.text(
        required(
            "url",
            "https://vault.example:8200",
            "Address of Vault or OpenBao, without /v1.",
        ),
        net::url,
    );
    let roots = s.optional(
        key(
            "roots",
            "",
            "The only roots trusted for its TLS, in PEM; empty: the system's.",
        ),
        pem::certificates_file,
    );
    let namespace = s.optional(
        key("namespace", "", "Namespace, where the server has them."),
        |text, _| parse::visible(text, 256),
    );
    let mount = s.text(
        key("mount", "transit", "Where the transit engine is mounted."),
        |text, _| place(text),
    );
    let name = s.text(required("key", "release", "Name of the key there."), |text, _| {
        segment(text)
    });
    let version = s.integer(
        key(
            "key_version",
            0,
            "Version of the key; 0: the one that has public_key, which takes the permission to read the key.",
        ),
        0..=1_000_000,
    );
    let login = read_login(s);
    Some(Vault {
        url: url?,
        roots: roots?,
        namespace: namespace?.unwrap_or_default(),
        mount: mount?,
        key: name?,
        key_version: NonZeroU32::new(version?),
        login: login?,
    })
}

fn read_login(s: &mut Section<'_>) -> Option<VaultLogin> {
    let token = s.secret(
        key(
            "token",
            "",
            "Token, by reference, instead of an AppRole. A file is read again whenever the service signs in.",
        ),
        Use::Text,
    );
    let mount = s.text(
        key(
            "approle_mount",
            "approle",
            "Where the AppRole method is mounted, below auth/.",
        ),
        |text, _| place(text),
    );
    let role_id = s.optional(key("role_id", "", "The AppRole to sign in with."), |text, _| {
        parse::visible(text, 256)
    });
    let secret_id = s.secret(
        key(
            "secret_id",
            "",
            "The AppRole's secret, by reference. A file is read again whenever the service signs in.",
        ),
        Use::Text,
    );
    match (token?, role_id?, secret_id?) {
        (Some(token), None, None) => Some(VaultLogin::Token(token)),
        (None, Some(role_id), Some(secret_id)) => Some(VaultLogin::AppRole {
            mount: mount?,
            role_id,
            secret_id,
        }),
        (Some(_), _, _) => {
            s.refuse("token", "is set beside an AppRole", "keep one way to sign in");
            None
        }
        (None, _, _) => {
            s.refuse(
                "token",
                "is not set, nor are role_id and secret_id",
                "give a token, or the AppRole's role_id and secret_id",
            );
            None
        }
    }
}

/// A mount: segments with slashes between.
fn place(text: &str) -> Result<String, Problem> {
    let good = !text.is_empty() && text.len() <= 256 && text.split('/').all(is_segment);
    good.then(|| text.to_owned()).ok_or_else(|| {
        let problem = format!("{text:?} is not a mount");
        Problem::new(
            problem,
            "write it without slashes at its ends, such as \"transit\" or \"team/transit\"",
        )
    })
}

fn segment(text: &str) -> Result<String, Problem> {
    (is_segment(text) && text.len() <= 256)
        .then(|| text.to_owned())
        .ok_or_else(|| {
            let problem = format!("{text:?} is not the name of a key");
            Problem::new(problem, "use letters, digits, . _ and -")
        })
}

/// Never `.` or `..`, which lead elsewhere (RFC 3986 §5.2.4).
fn is_segment(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(plain) && !text.bytes().all(|b| b == b'.')
}
