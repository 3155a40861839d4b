//! What the API is, for programs and for people (contract §2.5). Public, and the same for everyone.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use actix_web::web::Bytes;

use crate::http::openapi::{DOCUMENT, PAGE};

/// The OpenAPI document.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(Bytes::from_static(DOCUMENT))
}

/// The page. It loads nothing, so its policy allows nothing but its own style sheet.
pub async fn docs() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, PAGE.policy.as_str()))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(PAGE.html.clone())
}
