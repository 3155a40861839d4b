//! Every endpoint, in one table.

use actix_web::web::{self, ServiceConfig};

use super::handlers::{health, sign, trust, unknown, verify};

/// Patterns of all endpoints, as metrics and logs name them.
pub const PATTERNS: &[&str] = &[
    "/api/v1/signer/sign/dsse",
    "/api/v1/signer/verify/referrers",
    "/api/v1/signer/trust",
    "/api/v1/signer/trust/keys",
    "/livez",
    "/readyz",
    "/metrics",
];

/// Endpoints of the service's own listener.
pub fn api(config: &mut ServiceConfig) {
    config
        .service(
            web::scope("/api/v1/signer")
                .service(resource("/sign/dsse", web::post().to(sign::sign_dsse)))
                .service(resource("/verify/referrers", web::get().to(verify::referrers)))
                .service(resource("/trust", web::get().to(trust::trusted_root)))
                .service(resource("/trust/keys", web::get().to(trust::keys)))
                .default_service(web::to(unknown::not_found)),
        )
        .service(resource("/livez", web::get().to(health::live)))
        .service(resource("/readyz", web::get().to(health::ready)))
        .default_service(web::to(unknown::not_found));
}

/// Endpoints of the listener for operators.
pub fn operations(config: &mut ServiceConfig) {
    config
        .service(resource("/metrics", web::get().to(health::metrics)))
        .service(resource("/livez", web::get().to(health::live)))
        .service(resource("/readyz", web::get().to(health::ready_in_detail)))
        .default_service(web::to(unknown::not_found));
}

fn resource(path: &str, route: actix_web::Route) -> actix_web::Resource {
    web::resource(path)
        .route(route)
        .default_service(web::to(unknown::method_not_allowed))
}
