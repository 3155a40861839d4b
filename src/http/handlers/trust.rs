//! What verifiers need to know (contract §2.5). Public, and fixed while the process runs.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};

use crate::http::state::AppState;

/// Certificate authorities, as a Sigstore TrustedRoot v0.1.
pub async fn trusted_root(state: Data<AppState>) -> HttpResponse {
    json(state.trusted_root.clone())
}

/// Our keyful public keys.
pub async fn keys(state: Data<AppState>) -> HttpResponse {
    json(state.published_keys.clone())
}

fn json(document: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document)
}
