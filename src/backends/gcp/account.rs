//! How the service gets its token.

use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::Signer;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::super::oauth::AccessToken;
use super::super::remote::RemoteError;
use super::{Inner, Login};
use crate::adapters::jose::b64url;
use crate::urls::is_private;

/// What the token may be used for: <https://developers.google.com/identity/protocols/oauth2/scopes#cloudkms>.
const SCOPE: &str = "https://www.googleapis.com/auth/cloudkms";
/// How long an assertion is good for, in seconds: it is used at once.
const ASSERTION_SECONDS: i64 = 300;

/// <https://cloud.google.com/iam/docs/keys-create-delete>: of the file, what is needed.
#[derive(Deserialize)]
struct AccountKey {
    #[serde(rename = "type")]
    kind: String,
    client_email: String,
    private_key_id: String,
    private_key: Zeroizing<String>,
    token_uri: String,
}

pub(super) async fn token(inner: &Inner) -> Result<AccessToken, RemoteError> {
    match &inner.settings.login {
        Login::Token(source) => {
            let token = source.read("Google access token").await;
            Ok(AccessToken::given(token.map_err(RemoteError::Unavailable)?))
        }
        Login::AccountKey(source) => {
            let text = source.read_text("service account key").await;
            of_account(inner, &text.map_err(RemoteError::Unavailable)?).await
        }
        Login::Metadata { metadata } => {
            let path = "computeMetadata/v1/instance/service-accounts/default/token";
            let url = metadata
                .join(path)
                .map_err(|_| RemoteError::Failed("the metadata service's address has no paths".into()))?;
            let request = inner.tokens.client().get(url).header("Metadata-Flavor", "Google");
            AccessToken::obtain(&inner.tokens, request, "asking the metadata service", &[]).await
        }
    }
}

/// RFC 7523 §2.1, <https://developers.google.com/identity/protocols/oauth2/service-account#httprest>.
async fn of_account(inner: &Inner, text: &str) -> Result<AccessToken, RemoteError> {
    let wrong = |what: &str| RemoteError::Failed(format!("the service account key {what}"));
    let account: AccountKey =
        serde_json::from_str(text).map_err(|_| wrong("is not what Google's console gives as JSON"))?;
    if account.kind != "service_account" {
        return Err(wrong("is not of the type service_account"));
    }
    let endpoint = Url::parse(&account.token_uri).ok().filter(is_private);
    let endpoint = endpoint.ok_or_else(|| wrong("has a token_uri that is not https"))?;
    let key = PKey::private_key_from_pem(account.private_key.as_bytes()).ok();
    let key = key.filter(|key| key.id() == Id::RSA);
    let key = key.ok_or_else(|| wrong("holds no RSA key"))?;
    let assertion = assertion(inner, &account, &key).ok_or_else(|| wrong("cannot sign an assertion"))?;
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", assertion.as_str()),
    ];
    let request = inner.tokens.client().post(endpoint).form(&form);
    let what = "signing in as the service account";
    AccessToken::obtain(&inner.tokens, request, what, &[&assertion]).await
}

/// By RS256 (RFC 7518 §3.3), the only algorithm that Google takes here.
fn assertion(inner: &Inner, account: &AccountKey, key: &PKey<Private>) -> Option<Zeroizing<String>> {
    let now = inner.clock.now().timestamp();
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": account.private_key_id });
    let claims = json!({
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": now,
        "exp": now.checked_add(ASSERTION_SECONDS)?,
    });
    let input = format!(
        "{}.{}",
        b64url(header.to_string().as_bytes()),
        b64url(claims.to_string().as_bytes())
    );
    let mut signer = Signer::new(MessageDigest::sha256(), key).ok()?;
    let signature = signer.sign_oneshot_to_vec(input.as_bytes()).ok()?;
    Some(Zeroizing::new(format!("{input}.{}", b64url(&signature))))
}
