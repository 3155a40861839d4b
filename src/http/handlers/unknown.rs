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

/// 405 of a resource that only `POST` is for.
pub async fn only_post(_request: HttpRequest) -> Result<String, Problem> {
    Err(method_not_allowed("POST"))
}

/// 405 of a resource that only `GET` is for.
pub async fn only_get(_request: HttpRequest) -> Result<String, Problem> {
    Err(method_not_allowed("GET"))
}

fn method_not_allowed(allowed: &'static str) -> Problem {
    let what = format!("the method is not allowed here: use {allowed}");
    Problem::new(Code::MethodNotAllowed, Stage::Http, what).allowing(allowed)
}
