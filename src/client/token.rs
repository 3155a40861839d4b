//! Obtaining an access token: client credentials with a DPoP proof (RFC 6749 §4.4, RFC 9449 §5).

use reqwest::header::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::credentials::Credentials;
use super::error::{ClientError, Problem};
use super::key::{DpopKey, ProofOf};
use super::transport::{Transport, nonce_of};
use crate::adapters::jose::from_b64url;

/// When the token ends, if it is a JWT that says so. A client may look, and must not rely on it: the service decides.
pub(super) fn expiry(token: &str) -> Option<i64> {
    let claims = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&from_b64url(claims)?).ok()?;
    claims.get("exp")?.as_i64()
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refused {
    error: String,
    error_description: String,
}

/// Asks the token endpoint; answers its nonce once when it wants one (RFC 9449 §8).
pub(super) async fn obtain(
    transport: &Transport,
    credentials: &Credentials,
    key: &DpopKey,
) -> Result<String, ClientError> {
    let mut nonce: Option<String> = None;
    loop {
        let (status, headers, body) = ask(transport, credentials, key, nonce.as_deref()).await?;
        if (200..300).contains(&status) {
            return granted(&body);
        }
        let refused: Refused = serde_json::from_slice(&body).unwrap_or_default();
        let offered = nonce_of(&headers);
        if refused.error == "use_dpop_nonce" && offered.is_some() && nonce.is_none() {
            nonce = offered;
            continue;
        }
        return Err(sorted(status, refused));
    }
}

async fn ask(
    transport: &Transport,
    credentials: &Credentials,
    key: &DpopKey,
    nonce: Option<&str>,
) -> Result<(u16, HeaderMap, Vec<u8>), ClientError> {
    let url = &credentials.token_endpoint;
    let of = ProofOf {
        method: "POST",
        url,
        nonce,
        ..ProofOf::default()
    };
    let proof = key.proof(of).map_err(ClientError::Usage)?;
    // RFC 6749 §2.3.1: id and secret are form-encoded before RFC 7617 joins them.
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let request = transport
        .http()
        .post(url)
        .basic_auth(
            encode(&credentials.client_id),
            Some(encode(&credentials.client_secret)),
        )
        .header("DPoP", HeaderValue::from_str(&proof).map_err(|_| bad_proof())?)
        .form(&[("grant_type", "client_credentials")]);
    transport.send("the token endpoint", request).await
}

fn bad_proof() -> ClientError {
    ClientError::Usage("the proof cannot be put into a header".to_owned())
}

fn granted(body: &[u8]) -> Result<String, ClientError> {
    let wrong = |text: &str| ClientError::Protocol(format!("the token endpoint's answer {text}"));
    let granted: Granted = serde_json::from_slice(body).map_err(|_| wrong("holds no token"))?;
    // RFC 9449 §5: anything else means that the token is not bound to our key.
    if !granted.token_type.eq_ignore_ascii_case("DPoP") {
        return Err(wrong("has a token_type other than DPoP"));
    }
    Ok(granted.access_token)
}

fn sorted(status: u16, refused: Refused) -> ClientError {
    let code = match refused.error.as_str() {
        "" => "token_endpoint_error".to_owned(),
        error => error.to_owned(),
    };
    let detail = match refused.error_description.as_str() {
        "" => "the token endpoint refused: check clientId, clientSecret and tokenEndpoint".to_owned(),
        text => format!("the token endpoint refused: {text}"),
    };
    let retryable = status == 429 || status >= 500;
    let problem = Problem {
        status,
        code,
        detail,
        retryable,
        ..Problem::default()
    };
    match retryable {
        true => ClientError::Retryable(problem),
        false => ClientError::Authentication(problem),
    }
}
