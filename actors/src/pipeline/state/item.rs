//! One statement on its way to a signature.

use std::sync::Arc;

use super::sealed;
use super::session::{Entitled, Session};
use crate::audit::Receipt;
use crate::domain::ids::AuditId;
use crate::domain::signing::Signature;
use crate::domain::statement::{Statement, StatementDraft};
use crate::evidence::{IntentReceipt, Permit, ReleaseEvidence, SigningWarrant};
use crate::ports::Timestamp;
use crate::quota::RateStatus;
use crate::signer::OpenKey;

/// A state of an item.
pub trait ItemState: sealed::Sealed + std::fmt::Debug {}

/// The plan covers it; it holds its permit.
#[derive(Debug)]
pub struct Admitted {
    draft: StatementDraft,
}

/// The scanner image is a trusted release inside the plan's window.
#[derive(Debug)]
pub struct ReleaseVerified {
    draft: StatementDraft,
    release: ReleaseEvidence,
}

/// The statement is complete, and the intent to sign it is in the trail.
#[derive(Debug)]
pub struct Recorded {
    statement: Statement,
    release: ReleaseEvidence,
    key: OpenKey,
    warrant: Arc<SigningWarrant>,
    audit_id: AuditId,
    receipt: Receipt,
}

/// The signature is made and, where the contract asks for it, verified. It must not leave yet.
#[derive(Debug)]
pub struct Signed {
    statement: Statement,
    release: ReleaseEvidence,
    key: OpenKey,
    signature: Signature,
    audit_id: AuditId,
    receipt: Receipt,
}

/// It has the timestamp that was wanted, if any. It must not leave yet.
#[derive(Debug)]
pub struct Timestamped {
    signed: Signed,
    timestamp: Option<Timestamp>,
}

impl sealed::Sealed for Admitted {}
impl sealed::Sealed for ReleaseVerified {}
impl sealed::Sealed for Recorded {}
impl sealed::Sealed for Signed {}
impl sealed::Sealed for Timestamped {}
impl ItemState for Admitted {}
impl ItemState for ReleaseVerified {}
impl ItemState for Recorded {}
impl ItemState for Signed {}
impl ItemState for Timestamped {}

/// One statement on its way to a signature. It owns its permit until it ends, whoever still waits for it.
#[derive(Debug)]
pub struct Item<S: ItemState> {
    session: Arc<Session<Entitled>>,
    permit: Permit,
    rate: Option<RateStatus>,
    state: S,
}

impl<S: ItemState> Item<S> {
    /// Whose it is.
    pub fn session(&self) -> &Session<Entitled> {
        &self.session
    }

    /// How the tenant's rate stands.
    pub fn rate(&self) -> Option<RateStatus> {
        self.rate
    }

    fn moved<T: ItemState>(self, step: impl FnOnce(S) -> T) -> Item<T> {
        Item {
            session: self.session,
            permit: self.permit,
            rate: self.rate,
            state: step(self.state),
        }
    }
}

impl Item<Admitted> {
    pub(crate) fn admitted(
        session: Arc<Session<Entitled>>,
        draft: StatementDraft,
        permit: Permit,
        rate: Option<RateStatus>,
    ) -> Self {
        Self {
            session,
            permit,
            rate,
            state: Admitted { draft },
        }
    }

    pub(crate) fn release_verified(self, release: ReleaseEvidence) -> Item<ReleaseVerified> {
        self.moved(|Admitted { draft }| ReleaseVerified { draft, release })
    }
}

impl Item<ReleaseVerified> {
    /// The verified release.
    pub fn release(&self) -> &ReleaseEvidence {
        &self.state.release
    }

    /// Splits off the draft, so that the statement can be finished and its intent recorded.
    pub(crate) fn take_draft(self) -> (StatementDraft, PendingRecord) {
        let Self {
            session,
            permit,
            rate,
            state: ReleaseVerified { draft, release },
        } = self;
        (
            draft,
            PendingRecord {
                session,
                permit,
                rate,
                release,
            },
        )
    }
}

/// An item between its draft and its record.
#[derive(Debug)]
pub(crate) struct PendingRecord {
    session: Arc<Session<Entitled>>,
    permit: Permit,
    rate: Option<RateStatus>,
    release: ReleaseEvidence,
}

impl PendingRecord {
    pub(crate) fn session(&self) -> &Session<Entitled> {
        &self.session
    }

    pub(crate) fn release(&self) -> &ReleaseEvidence {
        &self.release
    }

    /// The intent is recorded: from here on, and only from here, there is a warrant.
    pub(crate) fn recorded(
        self,
        statement: Statement,
        key: OpenKey,
        intent: IntentReceipt,
        receipt: Receipt,
    ) -> Item<Recorded> {
        let audit_id = intent.audit_id();
        let warrant = Arc::new(SigningWarrant::new(intent, statement.payload.clone()));
        let state = Recorded {
            statement,
            release: self.release,
            key,
            warrant,
            audit_id,
            receipt,
        };
        Item {
            session: self.session,
            permit: self.permit,
            rate: self.rate,
            state,
        }
    }
}

impl Item<Recorded> {
    pub(crate) fn key(&self) -> &OpenKey {
        &self.state.key
    }

    pub(crate) fn warrant(&self) -> Arc<SigningWarrant> {
        Arc::clone(&self.state.warrant)
    }

    pub(crate) fn statement(&self) -> &Statement {
        &self.state.statement
    }

    pub(crate) fn audit_id(&self) -> AuditId {
        self.state.audit_id
    }

    pub(crate) fn receipt(&self) -> Receipt {
        self.state.receipt
    }

    pub(crate) fn signed(self, signature: Signature) -> Item<Signed> {
        self.moved(
            |Recorded {
                 statement,
                 release,
                 key,
                 audit_id,
                 receipt,
                 ..
             }| Signed {
                statement,
                release,
                key,
                signature,
                audit_id,
                receipt,
            },
        )
    }
}

impl Item<Signed> {
    pub(crate) fn key(&self) -> &OpenKey {
        &self.state.key
    }

    pub(crate) fn signature(&self) -> &Signature {
        &self.state.signature
    }

    pub(crate) fn audit_id(&self) -> AuditId {
        self.state.audit_id
    }

    pub(crate) fn receipt(&self) -> Receipt {
        self.state.receipt
    }

    /// With the timestamp that was wanted; `None`: none was.
    pub(crate) fn timestamped(self, timestamp: Option<Timestamp>) -> Item<Timestamped> {
        self.moved(|signed| Timestamped { signed, timestamp })
    }
}

impl Item<Timestamped> {
    pub(crate) fn signature(&self) -> &Signature {
        &self.state.signed.signature
    }

    pub(crate) fn audit_id(&self) -> AuditId {
        self.state.signed.audit_id
    }

    pub(crate) fn receipt(&self) -> Receipt {
        self.state.signed.receipt
    }

    /// The outcome is durable (that is what the receipt says): the signature may leave, and the permit is given back.
    pub(crate) fn released(self, _outcome: Receipt) -> Released {
        let Timestamped { signed, timestamp } = self.state;
        let Signed {
            statement,
            release,
            key,
            signature,
            audit_id,
            ..
        } = signed;
        Released {
            session: self.session,
            rate: self.rate,
            statement,
            release,
            key,
            signature,
            timestamp,
            audit_id,
        }
    }
}

/// A signature that may leave.
#[derive(Debug)]
pub struct Released {
    session: Arc<Session<Entitled>>,
    rate: Option<RateStatus>,
    statement: Statement,
    release: ReleaseEvidence,
    key: OpenKey,
    signature: Signature,
    timestamp: Option<Timestamp>,
    audit_id: AuditId,
}

impl Released {
    /// Whose it is, under which plan.
    pub fn session(&self) -> &Session<Entitled> {
        &self.session
    }

    /// How the tenant's rate stands.
    pub fn rate(&self) -> Option<RateStatus> {
        self.rate
    }

    /// What was signed.
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// On the strength of which scanner release.
    pub fn release(&self) -> &ReleaseEvidence {
        &self.release
    }

    /// With which key.
    pub fn key(&self) -> &OpenKey {
        &self.key
    }

    /// The signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The timestamp over it, verified; `None`: none was wanted.
    pub fn timestamp(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref()
    }

    /// Its name in the trail.
    pub fn audit_id(&self) -> AuditId {
        self.audit_id
    }
}
