//! An OpenID provider in small: operational tokens bound to a DPoP key (RFC 6749 §4.4, RFC 9068, RFC 9449), and the
//! signer's own identity token for the certificate authority.

use std::io;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::keeper::Keeper;
use super::keys::{TokenKey, same_secret, secret};
use super::listener::{Bound, Running};
use super::proof;

/// Life of an operational token, in seconds (the signer accepts up to ten minutes).
pub const TOKEN_LIFE: i64 = 480;
/// Life of the signer's identity token, in seconds.
pub const IDENTITY_LIFE: i64 = 600;
/// Audience of operational tokens.
const AUDIENCE: &str = "signer";
/// Audience of the identity token: the CA's client id.
pub const IDENTITY_AUDIENCE: &str = "sigstore";
const SCOPES: &str = "signer.sign signer.verify";
/// Proof identifiers that are remembered at once.
const PROOFS: usize = 10_000;

/// Whom the tokens speak of.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `client_id` of the one client.
    pub client_id: String,
    /// Claim `tid`.
    pub tenant: String,
    /// Claim `inst`.
    pub installation: String,
    /// Claim `scanner_image`; left out when `None`.
    pub scanner_image: Option<String>,
    /// `sub` of the signer's identity token: a URI.
    pub signer_subject: String,
}

/// The running authority.
#[derive(Debug)]
pub struct Authority {
    /// Where it listens; `base_url` is the issuer.
    pub running: Running,
    /// Secret of the one client.
    pub client_secret: String,
    identity: IdentityIssuer,
}

impl Authority {
    /// The token endpoint's URL.
    pub fn token_endpoint(&self) -> String {
        token_endpoint(&self.running.base_url)
    }

    /// Issues the signer's own identity tokens, for as long as it is kept.
    pub fn identity(&self) -> IdentityIssuer {
        self.identity.clone()
    }
}

/// Makes identity tokens for the signer.
#[derive(Clone)]
pub struct IdentityIssuer {
    key: TokenKey,
    issuer: String,
    subject: String,
}

impl std::fmt::Debug for IdentityIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdentityIssuer")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl IdentityIssuer {
    /// A token that is valid for [`IDENTITY_LIFE`] seconds from now.
    pub fn token(&self) -> io::Result<String> {
        let now = Utc::now().timestamp();
        let claims = json!({
            "iss": self.issuer,
            "sub": self.subject,
            "aud": IDENTITY_AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(IDENTITY_LIFE),
            "jti": Uuid::now_v7().to_string(),
        });
        self.key
            .mint("JWT", &claims)
            .ok_or_else(|| io::Error::other("the identity token could not be signed"))
    }
}

#[derive(Clone)]
struct State {
    settings: Settings,
    client_secret: String,
    key: TokenKey,
    issuer: String,
    seen: Keeper,
}

/// Starts the authority on a free loopback port.
pub async fn start(settings: Settings) -> io::Result<Authority> {
    start_at(Bound::any_port()?, settings)
}

fn start_at(bound: Bound, settings: Settings) -> io::Result<Authority> {
    let state = State {
        client_secret: secret()?,
        key: TokenKey::generate()?,
        issuer: bound.base_url.clone(),
        seen: Keeper::start(PROOFS),
        settings,
    };
    let client_secret = state.client_secret.clone();
    let identity = IdentityIssuer {
        key: state.key.clone(),
        issuer: state.issuer.clone(),
        subject: state.settings.signer_subject.clone(),
    };
    let running = bound.serve(move |routes| {
        routes
            .app_data(web::Data::new(state.clone()))
            .route("/.well-known/openid-configuration", web::get().to(metadata))
            .route("/.well-known/oauth-authorization-server", web::get().to(metadata))
            .route("/jwks", web::get().to(jwks))
            .route("/token", web::post().to(token));
    })?;
    Ok(Authority {
        running,
        client_secret,
        identity,
    })
}

fn token_endpoint(issuer: &str) -> String {
    format!("{issuer}/token")
}

/// OpenID Connect Discovery 1.0 §3 and RFC 8414 §2.
async fn metadata(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "issuer": state.issuer,
        "token_endpoint": token_endpoint(&state.issuer),
        "jwks_uri": format!("{}/jwks", state.issuer),
        "response_types_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "scopes_supported": SCOPES.split(' ').collect::<Vec<_>>(),
    }))
}

async fn jwks(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.key.jwks())
}

#[derive(Deserialize)]
struct Form {
    grant_type: String,
    client_id: Option<String>,
    client_secret: Option<String>,
    scope: Option<String>,
}

async fn token(request: HttpRequest, state: web::Data<State>, form: web::Form<Form>) -> HttpResponse {
    match issue(&request, &state, &form).await {
        Ok(answer) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(answer),
        Err(refusal) => refusal.answer(),
    }
}

/// An error answer of RFC 6749 §5.2.
struct Refusal(&'static str, &'static str);

impl Refusal {
    fn answer(&self) -> HttpResponse {
        let body = json!({ "error": self.0, "error_description": self.1 });
        let mut answer = match self.0 {
            "invalid_client" => HttpResponse::Unauthorized(),
            _ => HttpResponse::BadRequest(),
        };
        if self.0 == "invalid_client" {
            answer.insert_header((header::WWW_AUTHENTICATE, r#"Basic realm="authority""#));
        }
        answer
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(body)
    }
}

async fn issue(request: &HttpRequest, state: &State, form: &Form) -> Result<Value, Refusal> {
    authenticate(request, state, form)?;
    if form.grant_type != "client_credentials" {
        return Err(Refusal(
            "unsupported_grant_type",
            "only client_credentials is supported",
        ));
    }
    let scope = granted(form.scope.as_deref())?;
    let now = Utc::now().timestamp();
    let url = token_endpoint(&state.issuer);
    let jkt = proof::verify(request, "POST", &url, &state.seen, now)
        .await
        .map_err(|text| Refusal("invalid_dpop_proof", text))?;
    let access_token = state
        .key
        .mint("at+jwt", &state.claims(&scope, &jkt, now))
        .ok_or(Refusal("server_error", "the token could not be signed"))?;
    Ok(json!({
        "access_token": access_token,
        "token_type": "DPoP",
        "expires_in": TOKEN_LIFE,
        "scope": scope,
    }))
}

impl State {
    /// The claims of contract §3 (RFC 9068 §2.2, RFC 9449 §6).
    fn claims(&self, scope: &str, jkt: &str, now: i64) -> Value {
        let mut claims = json!({
            "iss": self.issuer,
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(TOKEN_LIFE),
            "jti": Uuid::now_v7().to_string(),
            "sub": self.settings.client_id,
            "client_id": self.settings.client_id,
            "scope": scope,
            "tid": self.settings.tenant,
            "inst": self.settings.installation,
            "cnf": { "jkt": jkt },
        });
        if let (Some(image), Some(members)) = (&self.settings.scanner_image, claims.as_object_mut()) {
            members.insert("scanner_image".to_owned(), json!(image));
        }
        claims
    }
}

/// What was asked for, if it may be granted; all of it when nothing was asked for.
fn granted(asked: Option<&str>) -> Result<String, Refusal> {
    let Some(asked) = asked.filter(|scope| !scope.is_empty()) else {
        return Ok(SCOPES.to_owned());
    };
    if asked
        .split(' ')
        .all(|one| SCOPES.split(' ').any(|known| known == one))
    {
        return Ok(asked.to_owned());
    }
    Err(Refusal(
        "invalid_scope",
        "only signer.sign and signer.verify are granted",
    ))
}

/// `client_secret_basic` or `client_secret_post`, one of them (RFC 6749 §2.3).
fn authenticate(request: &HttpRequest, state: &State, form: &Form) -> Result<(), Refusal> {
    const WRONG: Refusal = Refusal("invalid_client", "the client is unknown or its secret is wrong");
    let basic = request.headers().get(header::AUTHORIZATION);
    let (id, given) = match (basic, &form.client_secret) {
        (Some(_), Some(_)) => {
            return Err(Refusal(
                "invalid_request",
                "authenticate the client in one way only",
            ));
        }
        (Some(value), None) => basic_credentials(value).ok_or(WRONG)?,
        (None, Some(given)) => (form.client_id.clone().ok_or(WRONG)?, given.clone()),
        (None, None) => return Err(WRONG),
    };
    // Both are compared, whatever the first says.
    let known = same_secret(&id, &state.settings.client_id);
    if same_secret(&given, &state.client_secret) & known {
        return Ok(());
    }
    Err(WRONG)
}

/// User and password of RFC 7617, form-decoded as RFC 6749 §2.3.1 wants.
fn basic_credentials(value: &header::HeaderValue) -> Option<(String, String)> {
    let (scheme, value) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    let (id, given) = text.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(given)?))
}

fn form_decoded(value: &str) -> Option<String> {
    let pair = format!("v={}", value.replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
