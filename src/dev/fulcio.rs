//! A certificate authority that speaks Fulcio's v2 HTTP interface: identity token and proof of possession in, a
//! ten-minute code-signing certificate out.

use std::io;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use openssl::pkey::{PKey, Public};
use serde::Deserialize;
use serde_json::{Value, json};
use signer_actors::domain::signing::Algorithm;

use super::ca::Hierarchy;
use super::jws::{Jws, find_key};
use super::listener::{Bound, Running};
use crate::adapters::jose::header::Use;
use crate::crypto;

/// Clock difference that is tolerated in identity tokens, in seconds.
const SKEW: i64 = 30;
/// The longest life an identity token may have left, in seconds.
const MAX_LIFE: i64 = 3600;

/// The running certificate authority.
#[derive(Debug)]
pub struct Fulcio {
    /// Where it listens.
    pub running: Running,
    /// The trust root, PEM.
    pub root_pem: String,
    /// The issuing certificate, PEM.
    pub intermediate_pem: String,
}

/// Whose tokens are accepted.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Issuer of the identity tokens; its key set is found by OpenID discovery.
    pub issuer: String,
    /// Audience the tokens must name: the CA's client id.
    pub audience: String,
    /// Subjects must lie under this origin (`https://host`).
    pub subject_domain: String,
}

#[derive(Clone)]
struct State {
    settings: Settings,
    hierarchy: Hierarchy,
    client: reqwest::Client,
}

/// Starts the CA on a free loopback port, with a fresh root.
pub async fn start(settings: Settings) -> io::Result<Fulcio> {
    let hierarchy = Hierarchy::generate()?;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(2))
        .build()
        .map_err(io::Error::other)?;
    let (root_pem, intermediate_pem) = (hierarchy.root_pem.clone(), hierarchy.intermediate_pem.clone());
    let state = State {
        settings,
        hierarchy,
        client,
    };
    let running = Bound::any_port()?.serve(move |routes| {
        routes
            .app_data(web::Data::new(state.clone()))
            .route("/api/v2/configuration", web::get().to(configuration))
            .route("/api/v2/trustBundle", web::get().to(trust_bundle))
            .route("/api/v2/signingCert", web::post().to(signing_cert));
    })?;
    Ok(Fulcio {
        running,
        root_pem,
        intermediate_pem,
    })
}

async fn configuration(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "issuers": [{
        "issuerUrl": state.settings.issuer,
        "audience": state.settings.audience,
        "challengeClaim": "sub",
        "spiffeTrustDomain": "",
        "issuerType": "uri",
        "subjectDomain": state.settings.subject_domain,
    }] }))
}

async fn trust_bundle(state: web::Data<State>) -> HttpResponse {
    let chain = [&state.hierarchy.intermediate_pem, &state.hierarchy.root_pem];
    HttpResponse::Ok().json(json!({ "chains": [{ "certificates": chain }] }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    credentials: Credentials,
    public_key_request: Option<PublicKeyRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Credentials {
    oidc_identity_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PublicKeyRequest {
    public_key: PublicKey,
    proof_of_possession: String,
}

#[derive(Deserialize)]
struct PublicKey {
    content: String,
}

/// An error in the shape of gRPC's gateway: `code` is a gRPC code.
struct Refusal {
    status: StatusCode,
    code: u8,
    message: &'static str,
}

const fn invalid(message: &'static str) -> Refusal {
    Refusal {
        status: StatusCode::BAD_REQUEST,
        code: 3,
        message,
    }
}

const fn internal(message: &'static str) -> Refusal {
    Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: 13,
        message,
    }
}

async fn signing_cert(state: web::Data<State>, body: web::Bytes) -> HttpResponse {
    match certify(&state, &body).await {
        Ok(chain) => HttpResponse::Ok().json(json!({ "signedCertificateDetachedSct": {
            "chain": { "certificates": chain },
            "signedCertificateTimestamp": "",
        } })),
        Err(refusal) => HttpResponse::build(refusal.status).json(json!({
            "code": refusal.code,
            "message": refusal.message,
            "details": [],
        })),
    }
}

async fn certify(state: &State, body: &[u8]) -> Result<[String; 3], Refusal> {
    let request: Request =
        serde_json::from_slice(body).map_err(|_| invalid("the request is no signing certificate request"))?;
    let Some(key_request) = request.public_key_request else {
        return Err(invalid(
            "only publicKeyRequest is supported, no certificateSigningRequest",
        ));
    };
    let subject = identity(state, &request.credentials.oidc_identity_token).await?;
    let key = PKey::public_key_from_pem(key_request.public_key.content.as_bytes())
        .map_err(|_| invalid("the public key supplied in the request could not be parsed"))?;
    check_possession(&key, &key_request.proof_of_possession, &subject)?;
    let leaf = state
        .hierarchy
        .issue(&key, &subject, &state.settings.issuer)
        .map_err(|_| internal("the certificate could not be signed"))?;
    Ok([
        leaf,
        state.hierarchy.intermediate_pem.clone(),
        state.hierarchy.root_pem.clone(),
    ])
}

/// Verifies the identity token (OpenID Connect Core §3.1.3.7) and answers its subject.
async fn identity(state: &State, token: &str) -> Result<String, Refusal> {
    const BAD: Refusal = invalid("there was an error processing the identity token");
    let token = Jws::parse(token, Use::Token).map_err(|_| BAD)?;
    if token.text("iss") != Some(state.settings.issuer.as_str()) {
        return Err(invalid("the issuer of the identity token is not configured"));
    }
    let keys = key_set(state)
        .await
        .ok_or(internal("the issuer's keys could not be fetched"))?;
    let kid = token.kid().ok_or(BAD)?;
    let key = find_key(&keys, kid).ok_or(BAD)?;
    if !token.verify(&key) {
        return Err(BAD);
    }
    if token.text("aud") != Some(state.settings.audience.as_str()) {
        return Err(invalid(
            "the audience of the identity token is not this authority's",
        ));
    }
    let now = Utc::now().timestamp();
    let expires = token.number("exp").ok_or(BAD)?;
    if expires <= now || expires > now.saturating_add(MAX_LIFE) {
        return Err(invalid("the identity token has expired, or lives too long"));
    }
    let begins = token.number("nbf").or_else(|| token.number("iat")).ok_or(BAD)?;
    if begins > now.saturating_add(SKEW) {
        return Err(invalid("the identity token is not valid yet"));
    }
    let subject = token.text("sub").ok_or(BAD)?;
    if !lies_under(subject, &state.settings.subject_domain) {
        return Err(invalid(
            "the subject of the identity token lies outside the configured domain",
        ));
    }
    Ok(subject.to_owned())
}

/// As real Fulcio's `uri` issuers: same scheme and host.
fn lies_under(subject: &str, domain: &str) -> bool {
    match (url::Url::parse(subject), url::Url::parse(domain)) {
        (Ok(subject), Ok(domain)) => subject.has_host() && subject.origin() == domain.origin(),
        _ => false,
    }
}

async fn key_set(state: &State) -> Option<Value> {
    let found = fetch(
        state,
        &format!("{}/.well-known/openid-configuration", state.settings.issuer),
    )
    .await?;
    if found.get("issuer")?.as_str()? != state.settings.issuer {
        return None;
    }
    fetch(state, found.get("jwks_uri")?.as_str()?).await
}

async fn fetch(state: &State, url: &str) -> Option<Value> {
    let answer = state.client.get(url).send().await.ok()?;
    let answer = answer.error_for_status().ok()?;
    serde_json::from_slice(&answer.bytes().await.ok()?).ok()
}

/// The proof signs the subject with the key to be certified.
fn check_possession(key: &PKey<Public>, proof: &str, subject: &str) -> Result<(), Refusal> {
    const FAILED: Refusal = invalid("the signature supplied in the request could not be verified");
    let key = crypto::PublicKey::new(key.clone(), Algorithm::EcdsaP256Sha256)
        .map_err(|_| invalid("this development authority certifies P-256 keys only"))?;
    let proof = STANDARD.decode(proof).map_err(|_| FAILED)?;
    if !key.verify(subject.as_bytes(), &proof) {
        return Err(FAILED);
    }
    Ok(())
}

#[cfg(test)]
#[path = "fulcio_tests.rs"]
mod tests;
