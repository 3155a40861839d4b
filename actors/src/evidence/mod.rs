//! What a gate that passed hands on. Whoever holds one of these knows that its gate ran: fields are private,
//! constructors are private to this crate, nothing is `Clone` unless sharing it is harmless.
//!
//! ```compile_fail,E0451
//! // No one outside the core can forge what a gate hands on.
//! use signer_actors::evidence::IntentReceipt;
//! fn forge(audit_id: signer_actors::domain::ids::AuditId) -> IntentReceipt {
//!     IntentReceipt { audit_id }
//! }
//! ```
//! Its compiling twin reads one:
//! ```
//! use signer_actors::{domain::ids::AuditId, evidence::IntentReceipt};
//! fn read(receipt: &IntentReceipt) -> AuditId {
//!     receipt.audit_id()
//! }
//! ```
//! A warrant cannot be made from outside either:
//! ```compile_fail,E0624
//! use signer_actors::evidence::{IntentReceipt, SigningWarrant};
//! fn forge(receipt: IntentReceipt, payload: bytes::Bytes) -> SigningWarrant {
//!     SigningWarrant::new(receipt, payload)
//! }
//! ```
//! ```
//! use signer_actors::evidence::SigningWarrant;
//! fn what_may_be_signed(warrant: &SigningWarrant) -> Vec<u8> {
//!     warrant.pae()
//! }
//! ```
//! A permit stands for one unit of work and cannot be doubled:
//! ```compile_fail,E0599
//! use signer_actors::evidence::Permit;
//! fn double(permit: &Permit) -> Permit {
//!     permit.clone()
//! }
//! ```
//! ```
//! use signer_actors::evidence::Permit;
//! fn give_back(permit: Permit) {
//!     drop(permit)
//! }
//! ```

use std::sync::Arc;

use bytes::Bytes;

use crate::domain::caller::{AccessToken, SenderBinding};
use crate::domain::digest::{ImageDigest, Sha256Digest};
use crate::domain::entitlement::Entitlement;
use crate::domain::envelope::{self, PAYLOAD_TYPE};
use crate::domain::ids::{AuditId, KeyId};
use crate::domain::release::ReleaseReport;
use crate::domain::signing::SigningMode;

/// The caller is who the token says, holds the key it is bound to, and used this proof for the first time.
#[derive(Debug)]
pub struct Principal {
    token: Arc<AccessToken>,
    binding: SenderBinding,
    body: Option<Sha256Digest>,
    uses_nonces: bool,
}

impl Principal {
    pub(crate) fn new(token: Arc<AccessToken>, binding: SenderBinding, body: Option<Sha256Digest>) -> Self {
        Self {
            token,
            binding,
            body,
            uses_nonces: false,
        }
    }

    pub(crate) fn using_nonces(self, uses_nonces: bool) -> Self {
        Self { uses_nonces, ..self }
    }

    /// The verified token.
    pub fn token(&self) -> &AccessToken {
        &self.token
    }

    pub(crate) fn shared_token(&self) -> Arc<AccessToken> {
        Arc::clone(&self.token)
    }

    /// How the sender was proven.
    pub fn binding(&self) -> SenderBinding {
        self.binding
    }

    /// Whether the proof carried a nonce of ours. Such a caller is to be told the next one in time (RFC 9449 §8.2).
    pub fn uses_nonces(&self) -> bool {
        self.uses_nonces
    }

    /// What the body must hash to, when the proof says so (`body_sha256`).
    pub fn body(&self) -> Option<Sha256Digest> {
        self.body
    }
}

/// The tenant is entitled: to this plan, and to this mode, key and predicate type.
#[derive(Debug)]
pub struct Grant {
    entitlement: Arc<Entitlement>,
    mode: SigningMode,
    backend: KeyId,
}

impl Grant {
    pub(crate) fn new(entitlement: Arc<Entitlement>, mode: SigningMode, backend: KeyId) -> Self {
        Self {
            entitlement,
            mode,
            backend,
        }
    }

    /// Facts of the proof of entitlement.
    pub fn entitlement(&self) -> &Entitlement {
        &self.entitlement
    }

    /// The granted mode.
    pub fn mode(&self) -> SigningMode {
        self.mode
    }

    /// The granted backend.
    pub fn backend(&self) -> &KeyId {
        &self.backend
    }
}

/// One unit of a tenant's concurrency, given back when dropped. Owned by the work, not by the caller's connection.
#[derive(Debug)]
pub struct Permit {
    _seat: Arc<dyn Seat>,
}

impl Permit {
    pub(crate) fn new(seat: Arc<dyn Seat>) -> Self {
        Self { _seat: seat }
    }
}

/// One permit, used by several units of work one after the other: the items of a batch.
#[derive(Debug)]
pub(crate) struct Line(Arc<InLine>);

#[derive(Debug)]
struct InLine {
    _permit: Permit,
}

impl Seat for InLine {}

impl Line {
    pub(crate) fn new(permit: Permit) -> Self {
        Self(Arc::new(InLine { _permit: permit }))
    }

    /// The permit for the next unit of work; `None` as long as the one before it has not ended.
    pub(crate) fn next(&mut self) -> Option<Permit> {
        Arc::get_mut(&mut self.0)?;
        let seat = Arc::clone(&self.0);
        Some(Permit::new(seat))
    }
}

/// What a permit occupies: given back when its last owner drops it.
pub(crate) trait Seat: Send + Sync + std::fmt::Debug {}

impl Seat for () {}

/// The scanner image is a trusted release inside the plan's version window.
#[derive(Debug)]
pub struct ReleaseEvidence {
    report: Arc<ReleaseReport>,
    bound: bool,
}

impl ReleaseEvidence {
    pub(crate) fn new(report: Arc<ReleaseReport>, bound: bool) -> Self {
        Self { report, bound }
    }

    /// For another item of the same batch.
    pub(crate) fn again(&self) -> Self {
        Self {
            report: Arc::clone(&self.report),
            bound: self.bound,
        }
    }

    /// What the check found.
    pub fn report(&self) -> &ReleaseReport {
        &self.report
    }

    /// The image.
    pub fn digest(&self) -> ImageDigest {
        self.report.digest
    }

    /// True when the operational token itself named the image.
    pub fn bound(&self) -> bool {
        self.bound
    }
}

/// The intent to sign is in the audit trail (durable already where the backend is remote).
#[derive(Debug)]
pub struct IntentReceipt {
    audit_id: AuditId,
}

impl IntentReceipt {
    pub(crate) fn new(audit_id: AuditId) -> Self {
        Self { audit_id }
    }

    /// Names the signature to be.
    pub fn audit_id(&self) -> AuditId {
        self.audit_id
    }
}

/// Permission to sign exactly one payload, made only from an item that passed every gate and recorded its intent.
#[derive(Debug)]
pub struct SigningWarrant {
    receipt: IntentReceipt,
    payload: Bytes,
}

impl SigningWarrant {
    pub(crate) fn new(receipt: IntentReceipt, payload: Bytes) -> Self {
        Self { receipt, payload }
    }

    /// The bytes to sign: DSSE's pre-authentication encoding of the payload. Copies the payload.
    pub fn pae(&self) -> Vec<u8> {
        envelope::pae(PAYLOAD_TYPE, &self.payload)
    }

    /// SHA-256 of [`Self::pae`], without a copy.
    pub fn pae_sha256(&self) -> Sha256Digest {
        envelope::pae_sha256(PAYLOAD_TYPE, &self.payload)
    }

    /// Names the signature to be, for the backend's own audit.
    pub fn audit_id(&self) -> AuditId {
        self.receipt.audit_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_one_unit_of_work_at_a_time() {
        let mut line = Line::new(Permit::new(Arc::new(())));
        let first = line.next().expect("free");
        assert!(line.next().is_none());
        drop(first);
        assert!(line.next().is_some());
    }
}
