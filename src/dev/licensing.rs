//! Licensing in small: issues proofs of entitlement (contract §4), answers introspection (RFC 7662), revokes licences.

use std::io;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::jws::{Jws, find_key};
use super::keeper::{Added, Keeper};
use super::keys::{TokenKey, same_secret, secret};
use super::listener::{Bound, Running};
use crate::adapters::jose::header::Use;

/// Life of a proof of entitlement, in seconds.
pub const POE_LIFE: i64 = 12 * 3600;
const AUDIENCE: &str = "signer";
const PLAN: &str = "pro";
/// Licences that can be revoked before a restart.
const REVOKED: usize = 10_000;
/// Revocations are kept as long as the process lives.
const FOREVER: i64 = i64::MAX;

/// The running licensing service.
#[derive(Debug)]
pub struct Licensing {
    /// Where it listens; `base_url` is the issuer.
    pub running: Running,
    /// Bearer credential for introspection and for issuing.
    pub credential: Credential,
    state: State,
}

/// A secret that no debug print shows.
#[derive(Clone)]
pub struct Credential(String);

impl Credential {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<redacted>")
    }
}

/// A proof of entitlement, and where its licence can be revoked with a plain POST.
#[derive(Clone)]
pub struct Issued {
    /// The JWT.
    pub poe: String,
    /// Id of the licence.
    pub licence: String,
    /// Carries the right to revoke this one licence; treat it as a secret.
    pub revoke_url: String,
}

impl std::fmt::Debug for Issued {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("licence", &self.licence)
            .finish_non_exhaustive()
    }
}

impl Licensing {
    /// The key set's URL.
    pub fn jwks_uri(&self) -> String {
        format!("{}/.well-known/jwks.json", self.running.base_url)
    }

    /// The introspection endpoint's URL.
    pub fn introspection_url(&self) -> String {
        format!("{}/license/introspect", self.running.base_url)
    }

    /// Issues a proof of entitlement under a new licence, as `POST /poe` does.
    pub fn issue(&self, tenant: &str, installation: &str) -> io::Result<Issued> {
        self.state
            .issue(tenant, installation)
            .ok_or_else(|| io::Error::other("the proof of entitlement could not be signed"))
    }
}

#[derive(Clone)]
struct State {
    key: TokenKey,
    issuer: String,
    credential: Credential,
    /// Key of the secrets in the revocation URLs.
    revocation_key: Credential,
    revoked: Keeper,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// Starts licensing on a free loopback port.
pub async fn start() -> io::Result<Licensing> {
    let bound = Bound::any_port()?;
    let state = State {
        key: TokenKey::generate()?,
        issuer: bound.base_url.clone(),
        credential: Credential(secret()?),
        revocation_key: Credential(secret()?),
        revoked: Keeper::start(REVOKED),
    };
    let shared = state.clone();
    let running = bound.serve(move |routes| {
        routes
            .app_data(web::Data::new(shared.clone()))
            .route("/.well-known/jwks.json", web::get().to(jwks))
            .route("/poe", web::post().to(poe))
            .route("/license/introspect", web::post().to(introspect))
            .route("/license/revoke", web::post().to(revoke));
    })?;
    Ok(Licensing {
        running,
        credential: state.credential.clone(),
        state,
    })
}

impl State {
    fn issue(&self, tenant: &str, installation: &str) -> Option<Issued> {
        let now = Utc::now().timestamp();
        let licence = format!("lic-{}", Uuid::now_v7());
        let claims = json!({
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": tenant,
            "lic": licence,
            "tid": tenant,
            "inst": installation,
            "plan": PLAN,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(POE_LIFE),
            "jti": Uuid::now_v7().to_string(),
            "limits": { "qps": 100, "burst": 200, "concurrency": 16, "maxArtifactBytes": 104_857_600 },
            "versionWindow": { "min": "2026.01", "max": "2026.12" },
            "features": ["mode:keyless", "mode:kms", "predicate:*"],
        });
        let key = self.revocation_secret(&licence)?;
        Some(Issued {
            poe: self.key.mint("poe+jwt", &claims)?,
            revoke_url: format!("{}/license/revoke?lic={licence}&key={key}", self.issuer),
            licence,
        })
    }

    /// HMAC-SHA-256 of the licence: a URL that revokes one licence and says nothing about others.
    fn revocation_secret(&self, licence: &str) -> Option<String> {
        let key = PKey::hmac(self.revocation_key.0.as_bytes()).ok()?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key).ok()?;
        Some(hex::encode(signer.sign_oneshot_to_vec(licence.as_bytes()).ok()?))
    }

    /// RFC 6750 §2.1.
    fn authorized(&self, request: &HttpRequest) -> bool {
        let field = request.headers().get(header::AUTHORIZATION);
        field
            .and_then(|value| value.to_str().ok()?.split_once(' '))
            .is_some_and(|(scheme, given)| {
                scheme.eq_ignore_ascii_case("bearer") && same_secret(given, &self.credential.0)
            })
    }

    /// The claims of a token that this service issued and that has not expired.
    fn own_claims(&self, token: &str) -> Option<serde_json::Map<String, Value>> {
        let token = Jws::parse(token, Use::Token).ok()?;
        let key = find_key(self.key.jwks(), token.kid()?)?;
        let live = token.number("exp")? > Utc::now().timestamp();
        (token.typ() == "poe+jwt" && live && token.verify(&key)).then_some(token.claims)
    }
}

async fn jwks(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(state.key.jwks())
}

#[derive(Deserialize)]
struct Installation {
    tid: String,
    inst: String,
}

async fn poe(request: HttpRequest, state: web::Data<State>, body: web::Json<Installation>) -> HttpResponse {
    if !state.authorized(&request) {
        return unauthorized();
    }
    match state.issue(&body.tid, &body.inst) {
        Some(issued) => no_store(HttpResponse::Ok()).json(json!({
            "format": "jwt",
            "value": issued.poe,
            "licence": issued.licence,
            "revokeUrl": issued.revoke_url,
        })),
        None => HttpResponse::InternalServerError().json(json!({ "error": "server_error" })),
    }
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

/// RFC 7662 §2.1 and §2.2: what is unknown, expired or revoked is inactive, without a reason.
async fn introspect(request: HttpRequest, state: web::Data<State>, form: web::Form<Token>) -> HttpResponse {
    if !state.authorized(&request) {
        return unauthorized();
    }
    let inactive = json!({ "active": false });
    let Some(mut members) = state.own_claims(&form.token) else {
        return no_store(HttpResponse::Ok()).json(inactive);
    };
    let licence = members.get("lic").and_then(Value::as_str).unwrap_or_default();
    // A keeper that does not answer cannot vouch for the licence.
    if state.revoked.contains(licence).await != Some(false) {
        return no_store(HttpResponse::Ok()).json(inactive);
    }
    members.insert("active".to_owned(), json!(true));
    no_store(HttpResponse::Ok()).json(members)
}

#[derive(Deserialize)]
struct Revocation {
    lic: Option<String>,
    key: Option<String>,
}

/// Revokes a licence for good: by the secret URL of the licence, or by id with the service's credential.
async fn revoke(
    request: HttpRequest,
    state: web::Data<State>,
    query: web::Query<Revocation>,
) -> HttpResponse {
    let Some(licence) = query.lic.as_deref().filter(|licence| licence.len() <= 128) else {
        return HttpResponse::BadRequest()
            .json(json!({ "error": "invalid_request", "error_description": "name the licence: ?lic=…" }));
    };
    let by_url = match (&query.key, state.revocation_secret(licence)) {
        (Some(given), Some(kept)) => same_secret(given, &kept),
        _ => false,
    };
    if !by_url && !state.authorized(&request) {
        return unauthorized();
    }
    let now = Utc::now().timestamp();
    match state.revoked.add(licence.to_owned(), now, FOREVER).await {
        Some(Added::New | Added::Known) => {
            no_store(HttpResponse::Ok()).json(json!({ "lic": licence, "revoked": true }))
        }
        Some(Added::Full) | None => {
            HttpResponse::ServiceUnavailable().json(json!({ "error": "temporarily_unavailable" }))
        }
    }
}

fn no_store(mut answer: actix_web::HttpResponseBuilder) -> actix_web::HttpResponseBuilder {
    answer.insert_header((header::CACHE_CONTROL, "no-store"));
    answer
}

fn unauthorized() -> HttpResponse {
    no_store(HttpResponse::Unauthorized())
        .insert_header((
            header::WWW_AUTHENTICATE,
            r#"Bearer realm="licensing", error="invalid_token""#,
        ))
        .json(json!({ "error": "invalid_token" }))
}

#[cfg(test)]
#[path = "licensing_tests.rs"]
mod tests;
