//! The read side of an OCI registry (distribution-spec 1.1, "Pull" and "Content Discovery"), holding one signed scanner
//! release and one unsigned image.

use std::io;
use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};
use openssl::pkey::{PKey, Private};
use serde::Deserialize;
use serde_json::{Value, json};
use signer_actors::domain::digest::is_lower_hex;

use super::content::{Content, INDEX, TAG_UNSIGNED};
use super::listener::{Bound, Running};
use crate::crypto::generate_p256;

/// Name of the repository.
pub const REPOSITORY: &str = "stellaops/scanner";

/// How signatures are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Referrers {
    /// Referrers API, and cosign's signature tag.
    #[default]
    Api,
    /// No Referrers API (404): the referrers tag `sha256-<hex>`, and cosign's signature tag.
    Tag,
    /// No referrers at all: cosign's signature tag alone.
    Off,
}

/// The running registry.
#[derive(Debug)]
pub struct Registry {
    /// Where it listens.
    pub running: Running,
    /// `host:port/name` for `release.repositories`.
    pub repository: String,
    /// The signed scanner image.
    pub scanner_digest: String,
    /// An image without any signature, to see a refusal.
    pub unsigned_digest: String,
    /// Public half of the release key, PEM.
    pub release_public_pem: String,
}

#[derive(Clone)]
struct State {
    content: Arc<Content>,
    referrers: Referrers,
}

/// Starts the registry on a free loopback port, with a fresh release key.
pub async fn start(referrers: Referrers) -> io::Result<Registry> {
    start_with(referrers, &generate_p256()?)
}

fn start_with(referrers: Referrers, release_key: &PKey<Private>) -> io::Result<Registry> {
    let bound = Bound::any_port()?;
    let repository = format!("{}/{REPOSITORY}", bound.addr());
    let content = Arc::new(Content::build(&repository, release_key, referrers)?);
    let state = State {
        content: content.clone(),
        referrers,
    };
    let running = bound.serve(move |routes| {
        routes
            .app_data(web::Data::new(state.clone()))
            .route("/v2/", web::get().to(base))
            .service(
                web::resource("/v2/{name:.+}/manifests/{reference}")
                    .route(web::get().to(manifest))
                    .route(web::head().to(manifest)),
            )
            .service(
                web::resource("/v2/{name:.+}/blobs/{reference}")
                    .route(web::get().to(blob))
                    .route(web::head().to(blob)),
            )
            .route("/v2/{name:.+}/referrers/{reference}", web::get().to(list));
    })?;
    let release_public_pem = String::from_utf8(release_key.public_key_to_pem()?).map_err(io::Error::other)?;
    Ok(Registry {
        running,
        repository,
        scanner_digest: content.scanner_digest.clone(),
        unsigned_digest: content
            .digest_of(TAG_UNSIGNED)
            .map(str::to_owned)
            .unwrap_or_default(),
        release_public_pem,
    })
}

#[derive(Deserialize)]
struct Place {
    name: String,
    reference: String,
}

#[derive(Deserialize)]
struct Filter {
    #[serde(rename = "artifactType")]
    artifact_type: Option<String>,
}

async fn base() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("Docker-Distribution-API-Version", "registry/2.0"))
        .json(json!({}))
}

async fn manifest(place: web::Path<Place>, state: web::Data<State>) -> HttpResponse {
    if place.name != REPOSITORY {
        return error(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            "repository name not known to registry",
        );
    }
    let digest = match place.reference.contains(':') {
        true => place.reference.as_str(),
        false => state.content.digest_of(&place.reference).unwrap_or_default(),
    };
    match state.content.manifest(digest) {
        Some(found) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, found.media_type.as_str()))
            .insert_header(("Docker-Content-Digest", digest))
            .body(found.bytes.clone()),
        None => error(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            "manifest unknown to registry",
        ),
    }
}

async fn blob(place: web::Path<Place>, state: web::Data<State>) -> HttpResponse {
    if place.name != REPOSITORY {
        return error(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            "repository name not known to registry",
        );
    }
    match state.content.blob(&place.reference) {
        Some(bytes) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/octet-stream"))
            .insert_header(("Docker-Content-Digest", place.reference.as_str()))
            .body(bytes.clone()),
        None => error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry"),
    }
}

async fn list(place: web::Path<Place>, query: web::Query<Filter>, state: web::Data<State>) -> HttpResponse {
    if state.referrers != Referrers::Api {
        // As a registry of distribution-spec 1.0 answers: no such route.
        return HttpResponse::NotFound().finish();
    }
    if place.name != REPOSITORY {
        return error(
            StatusCode::NOT_FOUND,
            "NAME_UNKNOWN",
            "repository name not known to registry",
        );
    }
    let hex = place.reference.strip_prefix("sha256:");
    if !hex.is_some_and(|hex| is_lower_hex(hex, 64)) {
        return error(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            "the digest is no sha256 digest",
        );
    }
    let mut found: Vec<Value> = state.content.referrers(&place.reference);
    let mut answer = HttpResponse::Ok();
    if let Some(wanted) = &query.artifact_type {
        found.retain(|one| one.get("artifactType").and_then(Value::as_str) == Some(wanted));
        answer.insert_header(("OCI-Filters-Applied", "artifactType"));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": found });
    answer
        .insert_header((header::CONTENT_TYPE, INDEX))
        .body(index.to_string())
}

/// Distribution-spec, "Error Codes".
fn error(status: StatusCode, code: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "errors": [{ "code": code, "message": message }] }))
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
