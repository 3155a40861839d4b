//! `kind = "gcp-kms"`

use url::Url;

use super::super::error::Problem;
use super::super::files::PublicFile;
use super::super::reader::{Section, key, required};
use super::super::secret::{Secret, Use};
use super::super::{net, pem};

/// A key in Google Cloud KMS.
#[derive(Clone, Debug, PartialEq)]
pub struct Gcp {
    /// Resource name of the key version.
    pub key: String,
    /// Where Cloud KMS is.
    pub endpoint: Url,
    /// The only roots trusted for TLS; `None`: the system's.
    pub roots: Option<PublicFile>,
    /// How to sign in.
    pub login: GcpLogin,
}

/// How to sign in.
#[derive(Clone, Debug, PartialEq)]
pub enum GcpLogin {
    /// With a service account's key.
    AccountKey(Secret),
    /// As what the metadata service says.
    Metadata,
    /// With a token that somebody else renews.
    Token(Secret),
}

#[derive(Clone, Copy)]
enum Way {
    AccountKey,
    Metadata,
    Token,
}

/// What the parts of a resource name are called, in their order.
const PARTS: [&str; 5] = [
    "projects",
    "locations",
    "keyRings",
    "cryptoKeys",
    "cryptoKeyVersions",
];

pub(super) fn read(s: &mut Section<'_>) -> Option<Gcp> {
    let name = s.text(
        required(
            "key",
            "projects/example/locations/europe-west1/keyRings/signer/cryptoKeys/release/cryptoKeyVersions/1",
            "Resource name of the key version.",
        ),
        |text, _| name(text),
    );
    let endpoint = s.text(
        key(
            "endpoint",
            "https://cloudkms.googleapis.com",
            "Address of Cloud KMS.",
        ),
        net::origin,
    );
    let roots = s.optional(
        key(
            "roots",
            "",
            "The only roots trusted for TLS of Cloud KMS and of the token endpoint, in PEM; empty: the system's.",
        ),
        pem::certificates_file,
    );
    let login = read_login(s);
    Some(Gcp {
        key: name?,
        endpoint: endpoint?,
        roots: roots?,
        login: login?,
    })
}

fn read_login(s: &mut Section<'_>) -> Option<GcpLogin> {
    let way = s.choice(
        key(
            "credentials",
            "metadata",
            "metadata: the metadata service of machine or cluster; account-key: a service account's key; token.",
        ),
        &[
            ("metadata", Way::Metadata),
            ("account-key", Way::AccountKey),
            ("token", Way::Token),
        ],
    );
    let account = s.secret(
        key(
            "account_key",
            "",
            "For account-key: the key in JSON, by reference. Files are read again at each opening.",
        ),
        Use::PrivateKey,
    );
    let token = s.secret(
        key(
            "token",
            "",
            "For token: an access token that somebody else renews, by reference.",
        ),
        Use::Text,
    );
    match (way?, account?, token?) {
        (Way::AccountKey, Some(key), None) => Some(GcpLogin::AccountKey(key)),
        (Way::Token, None, Some(token)) => Some(GcpLogin::Token(token)),
        (Way::Metadata, None, None) => Some(GcpLogin::Metadata),
        (way, ..) => {
            let remedy = match way {
                Way::AccountKey => "give account_key, and no token",
                Way::Token => "give token, and no account_key",
                Way::Metadata => "give neither account_key nor token",
            };
            s.refuse("credentials", "does not go with the keys that are set", remedy);
            None
        }
    }
}

/// <https://cloud.google.com/kms/docs/resource-hierarchy#retrieve_resource_id>
fn name(text: &str) -> Result<String, Problem> {
    let parts: Vec<&str> = text.split('/').collect();
    let (pairs, rest) = parts.as_chunks::<2>();
    // A project may be of a domain: `example.com:project`.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
    let id =
        |id: &str| (1..=128).contains(&id.len()) && id.bytes().all(plain) && !id.bytes().all(|b| b == b'.');
    let good = rest.is_empty()
        && pairs.len() == PARTS.len()
        && pairs
            .iter()
            .zip(PARTS)
            .all(|([name, value], part)| *name == part && id(value));
    good.then(|| text.to_owned()).ok_or_else(|| {
        Problem::new(
            format!("{text:?} is not a key version"),
            "write projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/N",
        )
    })
}
