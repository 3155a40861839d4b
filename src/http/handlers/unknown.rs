//! What is not there.

use actix_web::HttpRequest;
use signer_actors::domain::code::Code;
use signer_actors::pipeline::Stage;

use crate::http::problem::Problem;

/// 404
pub async fn not_found(_request: HttpRequest) -> Result<String, Problem> {
    Err(Problem::new(
        Code::NotFound,
        Stage::Http,
        "there is nothing here: the API is under /api/v1/signer",
    ))
}

/// 405
pub async fn method_not_allowed(_request: HttpRequest) -> Result<String, Problem> {
    Err(Problem::new(
        Code::MethodNotAllowed,
        Stage::Http,
        "the method is not allowed here",
    ))
}
