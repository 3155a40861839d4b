//! What verifiers need to know (contract §2.5). Public.

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::bundle::trust_keys::{KeyEntry, KeysDocument};
use crate::http::state::AppState;
use signer_actors::domain::signing::SigningMode;

/// Certificate authorities, as a Sigstore TrustedRoot v0.1.
pub async fn trusted_root(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(&*state.trusted_root)
}

/// Our keyful public keys.
pub async fn keys(state: Data<AppState>) -> HttpResponse {
    let keyful = state.services.backends.iter().filter(|backend| backend.info.mode == SigningMode::Kms);
    let keys = keyful.filter_map(|backend| {
        let open = backend.open.borrow().clone()?;
        Some(KeyEntry::of(&backend.info, open.identity()))
    });
    HttpResponse::Ok().json(KeysDocument { keys: keys.collect() })
}
