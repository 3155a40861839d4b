//! `kind = "azure-kv"`

use url::Url;

use super::super::error::Problem;
use super::super::files::PublicFile;
use super::super::reader::{Section, key, required};
use super::super::secret::{Secret, Use};
use super::super::{net, pem};

/// A key in Azure Key Vault or Managed HSM.
#[derive(Clone, Debug, PartialEq)]
pub struct Azure {
    /// The vault.
    pub vault: Url,
    /// The key's name.
    pub key: String,
    /// Its version.
    pub key_version: String,
    /// What tokens are asked for.
    pub resource: String,
    /// The only roots trusted for TLS; `None`: the system's.
    pub roots: Option<PublicFile>,
    /// How to sign in.
    pub login: AzureLogin,
}

/// How to sign in.
#[derive(Clone, Debug, PartialEq)]
pub enum AzureLogin {
    /// As an application of Entra, with a secret.
    Secret(AzureApplication, Secret),
    /// As an application of Entra, with a token of a federated OpenID provider.
    Federated(AzureApplication, Secret),
    /// As what the metadata service says; one of several identities.
    ManagedIdentity(Option<String>),
}

/// An application of Entra.
#[derive(Clone, Debug, PartialEq)]
pub struct AzureApplication {
    /// Entra.
    pub authority: Url,
    /// The tenant.
    pub tenant: String,
    /// The application.
    pub client_id: String,
}

#[derive(Clone, Copy)]
enum Way {
    Secret,
    Federated,
    ManagedIdentity,
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Azure> {
    let vault = s.text(
        required(
            "vault",
            "https://example.vault.azure.net",
            "Address of the vault, or of the managed HSM.",
        ),
        net::origin,
    );
    let name = s.text(required("key", "release", "Name of the key there."), |text, _| {
        segment(text)
    });
    let version = s.text(
        required(
            "key_version",
            "0123456789abcdef0123456789abcdef",
            "Version of the key.",
        ),
        |text, _| segment(text),
    );
    let resource = s.text(
        key(
            "resource",
            "https://vault.azure.net",
            "What tokens are asked for; https://managedhsm.azure.net for a managed HSM.",
        ),
        |text, layers| net::origin(text, layers).map(|_| text.trim_end_matches('/').to_owned()),
    );
    let roots = s.optional(
        key(
            "roots",
            "",
            "The only roots trusted for TLS of the vault and of Entra, in PEM; empty: the system's.",
        ),
        pem::certificates_file,
    );
    let login = read_login(s);
    Some(Azure {
        vault: vault?,
        key: name?,
        key_version: version?,
        resource: resource?,
        roots: roots?,
        login: login?,
    })
}

fn read_login(s: &mut Section<'_>) -> Option<AzureLogin> {
    let way = s.choice(
        key(
            "credentials",
            "managed-identity",
            "managed-identity: the identity of the machine; federated: a token of a federated OpenID provider, such as a \
             cluster's; client-secret.",
        ),
        &[
            ("managed-identity", Way::ManagedIdentity),
            ("federated", Way::Federated),
            ("client-secret", Way::Secret),
        ],
    );
    let authority = s.text(
        key(
            "authority",
            "https://login.microsoftonline.com",
            "For federated and client-secret: address of Entra.",
        ),
        net::origin,
    );
    let mut id = |name, doc| s.optional(key(name, "", doc), |text, _| segment(text));
    let tenant = id("tenant", "For federated and client-secret: the tenant's id.");
    let client_id = id(
        "client_id",
        "The application's id; for managed-identity the one of several identities.",
    );
    let mut secret = |name, doc| s.secret(key(name, "", doc), Use::Text);
    let assertion = secret(
        "federated_token",
        "For federated: the token, by reference. Files are read again at each opening.",
    );
    let client_secret = secret("client_secret", "For client-secret: the secret, by reference.");
    let (way, authority) = (way?, authority?);
    match (way, tenant?, client_id?, assertion?, client_secret?) {
        (Way::ManagedIdentity, None, client_id, None, None) => Some(AzureLogin::ManagedIdentity(client_id)),
        (Way::Federated, Some(tenant), Some(client_id), Some(token), None) => {
            let application = AzureApplication {
                authority,
                tenant,
                client_id,
            };
            Some(AzureLogin::Federated(application, token))
        }
        (Way::Secret, Some(tenant), Some(client_id), None, Some(secret)) => {
            let application = AzureApplication {
                authority,
                tenant,
                client_id,
            };
            Some(AzureLogin::Secret(application, secret))
        }
        _ => {
            let remedy = match way {
                Way::ManagedIdentity => "give client_id at most",
                Way::Federated => "give tenant, client_id and federated_token, and no client_secret",
                Way::Secret => "give tenant, client_id and client_secret, and no federated_token",
            };
            s.refuse("credentials", "does not go with the keys that are set", remedy);
            None
        }
    }
}

/// One segment of a path: names and versions of keys, ids of tenants and applications.
fn segment(text: &str) -> Result<String, Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let good = (1..=127).contains(&text.len()) && text.bytes().all(plain);
    good.then(|| text.to_owned()).ok_or_else(|| {
        Problem::new(
            format!("{text:?} is not acceptable here"),
            "use letters, digits and -",
        )
    })
}
