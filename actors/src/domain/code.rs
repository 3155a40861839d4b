//! The contract's error codes (§2.6): one per kind of refusal, stable for callers.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// Why a request was refused, as callers see it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* #[doc = concat!("`", $text, "`")] $name),+ }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as callers see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid_request",
    InvalidJson = "invalid_json",
    InvalidDigest = "invalid_digest",
    InvalidToken = "invalid_token",
    InvalidDpopProof = "invalid_dpop_proof",
    UseDpopNonce = "use_dpop_nonce",
    InsufficientScope = "insufficient_scope",
    TenantMismatch = "tenant_mismatch",
    EntitlementRequired = "entitlement_required",
    EntitlementInvalid = "entitlement_invalid",
    EntitlementExpired = "entitlement_expired",
    EntitlementRevoked = "entitlement_revoked",
    VersionNotEntitled = "version_not_entitled",
    ModeNotEntitled = "mode_not_entitled",
    PredicateNotAllowed = "predicate_not_allowed",
    ReleaseUntrusted = "release_untrusted",
    ScannerMismatch = "scanner_mismatch",
    NotFound = "not_found",
    MethodNotAllowed = "method_not_allowed",
    RequestTimeout = "request_timeout",
    UnsupportedMediaType = "unsupported_media_type",
    HeadersTooLarge = "headers_too_large",
    IdempotencyConflict = "idempotency_conflict",
    IdempotencyInFlight = "idempotency_in_flight",
    ArtifactTooLarge = "artifact_too_large",
    InvalidSubject = "invalid_subject",
    InvalidPredicate = "invalid_predicate",
    RateLimited = "rate_limited",
    ConcurrencyLimited = "concurrency_limited",
    Internal = "internal",
    RegistryError = "registry_error",
    SigningBackendError = "signing_backend_error",
    TimestampError = "timestamp_error",
    AuthorityUnavailable = "authority_unavailable",
    EntitlementUnavailable = "entitlement_unavailable",
    StateUnavailable = "state_unavailable",
    SigningBackendUnavailable = "signing_backend_unavailable",
    AuditUnavailable = "audit_unavailable",
    Overloaded = "overloaded",
    ShuttingDown = "shutting_down",
    DeadlineExceeded = "deadline_exceeded",
}
