//! Every endpoint, in one table.

use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Responder};

use super::handlers::{audit, batch, health, reference, sign, trust, unknown, verify, verify_dsse};

/// Patterns of all endpoints, as metrics and logs name them.
pub const PATTERNS: &[&str] = &[
    "/api/v1/signer/sign/dsse",
    "/api/v1/signer/sign/dsse/batch",
    "/api/v1/signer/verify/referrers",
    "/api/v1/signer/verify/dsse",
    "/api/v1/signer/trust",
    "/api/v1/signer/trust/keys",
    "/api/v1/signer/audit/checkpoint",
    "/api/v1/signer/audit/{auditId}",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
];

/// Endpoints of the service's own listener.
pub fn api(config: &mut ServiceConfig) {
    config
        .service(
            web::scope("/api/v1/signer")
                .service(post("/sign/dsse", sign::sign_dsse))
                .service(post("/sign/dsse/batch", batch::sign_dsse_batch))
                .service(get("/verify/referrers", verify::referrers))
                .service(post("/verify/dsse", verify_dsse::verify_dsse))
                .service(get("/trust", trust::trusted_root))
                .service(get("/trust/keys", trust::keys))
                .service(get("/audit/checkpoint", audit::checkpoint))
                .service(get("/audit/{auditId}", audit::record))
                .default_service(web::to(unknown::not_found)),
        )
        .service(get("/livez", health::live))
        .service(get("/readyz", health::ready))
        .service(get("/openapi.json", reference::openapi))
        .service(get("/docs", reference::docs))
        .default_service(web::to(unknown::not_found));
}

/// Endpoints of the listener for operators.
pub fn operations(config: &mut ServiceConfig) {
    config
        .service(get("/metrics", health::metrics))
        .service(get("/livez", health::live))
        .service(get("/readyz", health::ready_in_detail))
        .default_service(web::to(unknown::not_found));
}

fn get<F, A>(path: &str, handler: F) -> actix_web::Resource
where
    F: Handler<A, Output: Responder + 'static>,
    A: FromRequest + 'static,
{
    let resource = web::resource(path).route(web::get().to(handler));
    resource.default_service(web::to(unknown::only_get))
}

fn post<F, A>(path: &str, handler: F) -> actix_web::Resource
where
    F: Handler<A, Output: Responder + 'static>,
    A: FromRequest + 'static,
{
    let resource = web::resource(path).route(web::post().to(handler));
    resource.default_service(web::to(unknown::only_post))
}
