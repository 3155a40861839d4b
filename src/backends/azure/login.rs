//! How the service gets its token.

use super::super::oauth::AccessToken;
use super::super::remote::RemoteError;
use super::{Inner, Login, Proof};

/// RFC 7523 §2.2
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

pub(super) async fn token(inner: &Inner) -> Result<AccessToken, RemoteError> {
    let resource = inner.settings.resource.as_str();
    let no_paths = |_| RemoteError::Failed("the address to get tokens from has no paths".into());
    match &inner.settings.login {
        // https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
        Login::Application {
            authority,
            tenant,
            client_id,
            proof,
        } => {
            let url = authority
                .join(&format!("{tenant}/oauth2/v2.0/token"))
                .map_err(no_paths)?;
            let scope = format!("{resource}/.default");
            let mut form = vec![
                ("grant_type", "client_credentials"),
                ("client_id", client_id.as_str()),
                ("scope", scope.as_str()),
            ];
            let secret = match proof {
                Proof::Secret(source) => source.read("client secret").await,
                Proof::Assertion(source) => source.read("federated token").await,
            };
            let secret = secret.map_err(RemoteError::Unavailable)?;
            match proof {
                Proof::Secret(_) => form.push(("client_secret", secret.as_str())),
                Proof::Assertion(_) => form.extend([
                    ("client_assertion_type", ASSERTION_TYPE),
                    ("client_assertion", secret.as_str()),
                ]),
            }
            let request = inner.tokens.client().post(url).form(&form);
            AccessToken::obtain(&inner.tokens, request, "signing in to Entra", &[&secret]).await
        }
        Login::ManagedIdentity { metadata, client_id } => {
            let mut url = metadata
                .join("metadata/identity/oauth2/token")
                .map_err(no_paths)?;
            url.query_pairs_mut()
                .append_pair("api-version", "2018-02-01")
                .append_pair("resource", resource)
                .extend_pairs(client_id.iter().map(|id| ("client_id", id)));
            let request = inner.tokens.client().get(url).header("Metadata", "true");
            AccessToken::obtain(&inner.tokens, request, "asking the metadata service", &[]).await
        }
    }
}
