//! Problem documents (RFC 9457): the only place where a refusal becomes a status.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use signer_actors::auth::AuthError;
use signer_actors::domain::caller::Scheme;
use signer_actors::domain::code::Code;
use signer_actors::domain::ids::{AuditId, CorrelationId};
use signer_actors::idempotency::IdempotencyError;
use signer_actors::pipeline::{Failure, Refusal, Stage};
use signer_actors::quota::{QuotaError, RateStatus};
use signer_actors::referrer::ReferrerError;

use super::challenge::{Challenge, Schemes};

/// Brings a nonce for the next proof (RFC 9449 §8.1).
pub const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What a code means to HTTP: status and title. Exhaustive, so that a new code cannot be forgotten.
pub fn status_of(code: Code) -> (StatusCode, &'static str) {
    use StatusCode as S;
    match code {
        Code::InvalidRequest => (S::BAD_REQUEST, "The request is not valid"),
        Code::InvalidJson => (S::BAD_REQUEST, "The body is not strict JSON"),
        Code::InvalidDigest => (S::BAD_REQUEST, "A digest is not valid"),
        Code::InvalidToken => (S::UNAUTHORIZED, "The operational token was not accepted"),
        Code::InvalidDpopProof => (S::UNAUTHORIZED, "The DPoP proof was not accepted"),
        Code::UseDpopNonce => (S::UNAUTHORIZED, "The DPoP proof needs a nonce"),
        Code::InsufficientScope => (S::FORBIDDEN, "The token lacks a scope"),
        Code::TenantMismatch => (
            S::FORBIDDEN,
            "Token and entitlement belong to different tenants or installations",
        ),
        Code::EntitlementRequired => (S::FORBIDDEN, "A proof of entitlement is required"),
        Code::EntitlementInvalid => (S::FORBIDDEN, "The proof of entitlement was not accepted"),
        Code::EntitlementExpired => (S::FORBIDDEN, "The proof of entitlement has expired"),
        Code::EntitlementRevoked => (S::FORBIDDEN, "The licence was revoked"),
        Code::VersionNotEntitled => (S::FORBIDDEN, "The plan does not cover this release"),
        Code::ModeNotEntitled => (S::FORBIDDEN, "The plan does not cover this mode or key"),
        Code::PredicateNotAllowed => (S::FORBIDDEN, "The predicate type is not allowed"),
        Code::ReleaseUntrusted => (S::FORBIDDEN, "The scanner image is not a trusted release"),
        Code::ScannerMismatch => (S::FORBIDDEN, "The scanner image is not the token's"),
        Code::NotFound => (S::NOT_FOUND, "Not found"),
        Code::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "The method is not allowed here"),
        Code::RequestTimeout => (S::REQUEST_TIMEOUT, "The request did not arrive in time"),
        Code::UnsupportedMediaType => (
            S::UNSUPPORTED_MEDIA_TYPE,
            "The media type or encoding is not supported",
        ),
        Code::HeadersTooLarge => (
            S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "The header section is too large",
        ),
        Code::IdempotencyConflict => (S::CONFLICT, "The idempotency key was used for another request"),
        Code::IdempotencyInFlight => (S::CONFLICT, "A request with this idempotency key is in progress"),
        Code::ArtifactTooLarge => (S::PAYLOAD_TOO_LARGE, "The artifact is too large"),
        Code::InvalidSubject => (S::UNPROCESSABLE_ENTITY, "A subject is not valid"),
        Code::InvalidPredicate => (S::UNPROCESSABLE_ENTITY, "The predicate is not valid"),
        Code::RateLimited => (S::TOO_MANY_REQUESTS, "The plan's rate is used up"),
        Code::ConcurrencyLimited => (S::TOO_MANY_REQUESTS, "The plan's concurrency is used up"),
        Code::Internal => (S::INTERNAL_SERVER_ERROR, "Internal error"),
        Code::RegistryError => (S::BAD_GATEWAY, "The registry left a doubt"),
        Code::SigningBackendError => (S::BAD_GATEWAY, "The signing backend failed"),
        Code::TimestampError => (S::BAD_GATEWAY, "The timestamp authority failed"),
        Code::AuthorityUnavailable => (S::SERVICE_UNAVAILABLE, "The Authority is not available"),
        Code::EntitlementUnavailable => (S::SERVICE_UNAVAILABLE, "Licensing is not available"),
        Code::StateUnavailable => (S::SERVICE_UNAVAILABLE, "The shared state is not available"),
        Code::SigningBackendUnavailable => (S::SERVICE_UNAVAILABLE, "The signing backend is not available"),
        Code::AuditUnavailable => (S::SERVICE_UNAVAILABLE, "The audit trail is not available"),
        Code::Overloaded => (S::SERVICE_UNAVAILABLE, "The service is overloaded"),
        Code::ShuttingDown => (S::SERVICE_UNAVAILABLE, "The service is shutting down"),
        Code::DeadlineExceeded => (S::GATEWAY_TIMEOUT, "The request took too long"),
    }
}

/// Whether the same request may succeed later (contract §2.6).
pub fn is_retryable(code: Code) -> bool {
    let (status, _) = status_of(code);
    code == Code::UseDpopNonce || matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504)
}

/// A refusal on its way to the client.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    stage: Stage,
    detail: String,
    audit_id: Option<AuditId>,
    rate: Option<RateStatus>,
    challenge: Option<Challenge>,
    retry_after: Option<u64>,
    allow: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    stage: &'static str,
    retryable: bool,
    correlation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    audit_id: Option<AuditId>,
}

impl Problem {
    /// A problem of HTTP itself or of the body.
    pub fn new(code: Code, stage: Stage, detail: impl Into<String>) -> Self {
        let retry_after = (status_of(code).0 == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self {
            code,
            stage,
            detail: detail.into(),
            audit_id: None,
            rate: None,
            challenge: None,
            retry_after,
            allow: None,
        }
    }

    /// Names the methods that are allowed, as every 405 must (RFC 9110 §15.5.6).
    pub fn allowing(self, methods: &'static str) -> Self {
        Self {
            allow: Some(methods),
            ..self
        }
    }

    /// The stage that refused.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Names the record of this refusal.
    pub fn recorded_as(self, audit_id: Option<AuditId>) -> Self {
        Self { audit_id, ..self }
    }

    /// The contract's code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The status.
    pub fn status(&self) -> u16 {
        status_of(self.code).0.as_u16()
    }

    /// The document alone, for a place inside of another answer.
    pub fn document(&self, correlation: &CorrelationId) -> Vec<u8> {
        // Texts and numbers: nothing in it that JSON could not hold.
        serde_json::to_vec(&self.as_document(correlation)).unwrap_or_else(|_| b"null".to_vec())
    }

    fn as_document<'a>(&'a self, correlation: &'a CorrelationId) -> Document<'a> {
        let (status, title) = status_of(self.code);
        Document {
            r#type: format!("urn:stellaops:signer:problem:{}", self.code.as_str()),
            title,
            status: status.as_u16(),
            detail: &self.detail,
            code: self.code.as_str(),
            stage: self.stage.as_str(),
            retryable: is_retryable(self.code),
            correlation_id: correlation.as_str(),
            audit_id: self.audit_id,
        }
    }

    /// The response. If it is a challenge, it names these schemes, tells the error to the one that was used, and a 401
    /// brings the nonce, if nonces are on (RFC 9449 §9).
    pub fn response(
        &self,
        correlation: &CorrelationId,
        schemes: Schemes<'_>,
        used: Option<Scheme>,
        nonce: impl FnOnce() -> Option<String>,
    ) -> HttpResponse {
        let (status, _) = status_of(self.code);
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        if let Some(challenge) = self.challenge {
            response.insert_header((WWW_AUTHENTICATE, challenge.field(schemes, used, &self.detail)));
        }
        if status == StatusCode::UNAUTHORIZED
            && let Some(nonce) = nonce()
        {
            response.insert_header((DPOP_NONCE, nonce));
        }
        if let Some(rate) = &self.rate {
            insert_rate(&mut response, rate);
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(methods) = self.allow {
            response.insert_header((ALLOW, methods));
        }
        let mut response = response.json(self.as_document(correlation));
        response.extensions_mut().insert(Outcome {
            code: self.code.as_str(),
            audit_id: self.audit_id,
        });
        response
    }
}

/// What a response was, for metrics and the access log.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// `ok` or the problem's code.
    pub code: &'static str,
    /// Name in the audit trail.
    pub audit_id: Option<AuditId>,
}

/// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10 §2 and §3).
pub fn insert_rate(response: &mut HttpResponseBuilder, rate: &RateStatus) {
    response
        .insert_header((
            HeaderName::from_static("ratelimit-policy"),
            format!("\"tenant\";q={};w=1", rate.burst),
        ))
        .insert_header((
            HeaderName::from_static("ratelimit"),
            format!("\"tenant\";r={};t={}", rate.remaining, rate.reset_seconds),
        ));
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let Failure {
            stage,
            refusal,
            rate,
            audit_id,
        } = failure;
        let code = refusal.code();
        let challenge = match &refusal {
            Refusal::Auth(AuthError::Missing) => Some(Challenge::Plain),
            Refusal::Auth(AuthError::Scope(scope)) => Some(Challenge::Scope(*scope)),
            _ if status_of(code).0 == StatusCode::UNAUTHORIZED => Some(Challenge::Error(code)),
            _ => None,
        };
        // The rate gate's own refusal says how the rate stands, too.
        let rate = rate.or(match &refusal {
            Refusal::Quota(QuotaError::Rate { status }) => Some(*status),
            _ => None,
        });
        let retry_after = match &refusal {
            // Not earlier than `t` (RateLimit draft §3.2).
            Refusal::Quota(QuotaError::Rate { status }) => Some(status.reset_seconds.max(1)),
            Refusal::Quota(QuotaError::Concurrency { .. }) => Some(1),
            Refusal::Referrer(
                ReferrerError::CircuitOpen { retry_after } | ReferrerError::TooManyImages { retry_after },
            ) => Some(*retry_after),
            // Contract §2.6.
            Refusal::Idempotency(IdempotencyError::InFlight) => Some(1),
            _ => (status_of(code).0 == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
        };
        Self {
            code,
            stage,
            detail: refusal.to_string(),
            audit_id,
            rate,
            challenge,
            retry_after,
            allow: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

/// A problem that reaches actix before [`around`](super::around) has rendered it: a response without correlation id,
/// which the middleware adds. Handlers return [`Problem`] through `?` and `around` replaces this rendering.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        status_of(self.code).0
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::new(self.status_code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contract §2.6, retyped from its table.
    const TABLE: &[(u16, &[&str])] = &[
        (400, &["invalid_request", "invalid_json", "invalid_digest"]),
        (401, &["invalid_token", "invalid_dpop_proof", "use_dpop_nonce"]),
        (
            403,
            &[
                "insufficient_scope",
                "tenant_mismatch",
                "entitlement_required",
                "entitlement_invalid",
                "entitlement_expired",
                "entitlement_revoked",
                "version_not_entitled",
                "mode_not_entitled",
                "predicate_not_allowed",
                "release_untrusted",
                "scanner_mismatch",
            ],
        ),
        (404, &["not_found"]),
        (405, &["method_not_allowed"]),
        (408, &["request_timeout"]),
        (409, &["idempotency_conflict", "idempotency_in_flight"]),
        (413, &["artifact_too_large"]),
        (415, &["unsupported_media_type"]),
        (422, &["invalid_subject", "invalid_predicate"]),
        (429, &["rate_limited", "concurrency_limited"]),
        (431, &["headers_too_large"]),
        (500, &["internal"]),
        (
            502,
            &["registry_error", "signing_backend_error", "timestamp_error"],
        ),
        (
            503,
            &[
                "authority_unavailable",
                "entitlement_unavailable",
                "state_unavailable",
                "signing_backend_unavailable",
                "audit_unavailable",
                "overloaded",
                "shutting_down",
            ],
        ),
        (504, &["deadline_exceeded"]),
    ];

    #[test]
    fn every_code_has_the_contracts_status() {
        let listed: Vec<(u16, &str)> = TABLE
            .iter()
            .flat_map(|(status, codes)| codes.iter().map(|code| (*status, *code)))
            .collect();
        assert_eq!(listed.len(), Code::ALL.len());
        for code in Code::ALL {
            let status = status_of(*code).0.as_u16();
            assert!(
                listed.contains(&(status, code.as_str())),
                "{} is {status}",
                code.as_str()
            );
        }
    }

    #[test]
    fn retryable_is_the_contracts_list() {
        for code in Code::ALL {
            let status = status_of(*code).0.as_u16();
            let expected = [408, 429, 502, 503, 504].contains(&status) || code.as_str() == "use_dpop_nonce";
            assert_eq!(is_retryable(*code), expected, "{}", code.as_str());
        }
    }
}
