//! What verifiers need to know (contract §2.5). Public, and as of now: a reload may change it.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};

use crate::http::state::AppState;

/// Certificate authorities, as a Sigstore TrustedRoot v0.1.
pub async fn trusted_root(state: Data<AppState>) -> HttpResponse {
    json(state.documents.borrow().trusted_root.clone())
}

/// Our keyful public keys.
pub async fn keys(state: Data<AppState>) -> HttpResponse {
    json(state.documents.borrow().published_keys.clone())
}

fn json(document: Bytes) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document)
}
