//! Why a tenant is not entitled.

/// Why a tenant is not entitled. Texts say what was wrong and what to do, and echo nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntitlementError {
    /// 403 `entitlement_required`
    #[error("a proof of entitlement is required: send poe with format \"jwt\" and its value")]
    Required,
    /// 403 `entitlement_invalid`
    #[error("{0}")]
    Invalid(String),
    /// 403 `entitlement_expired`
    #[error("the proof of entitlement has expired: obtain a new one from Licensing")]
    Expired,
    /// 403 `entitlement_revoked`
    #[error("the licence was revoked: talk to Licensing")]
    Revoked,
    /// 403 `tenant_mismatch`
    #[error("the proof of entitlement was issued to another tenant or installation than the token")]
    TenantMismatch,
    /// 403 `mode_not_entitled`
    #[error("{0}")]
    Mode(String),
    /// 403 `predicate_not_allowed`
    #[error("{0}")]
    Predicate(String),
    /// 403 `version_not_entitled`
    #[error("{0}")]
    Version(String),
    /// 503 `entitlement_unavailable`
    #[error("the proof of entitlement could not be checked with Licensing: try again shortly")]
    Unavailable,
}
