//! States that cannot be skipped or forged.
//!
//! A [`Session`] (who, entitled to what) goes `Unverified` → `Authenticated` → `Entitled`. An [`Item`] (one statement of
//! a request) goes `Admitted` → `ReleaseVerified` → `Recorded` → `Signed` and ends as [`Released`]. Fields are private,
//! transitions are private to this crate and consume both the state before and the evidence of the gate between.
//!
//! What a state has not earned, it does not have:
//! ```compile_fail,E0599
//! use signer_actors::pipeline::state::{Session, Unverified};
//! fn who(session: &Session<Unverified>) -> &str {
//!     session.principal().token().tenant.as_str()
//! }
//! ```
//! ```
//! use signer_actors::pipeline::state::{Authenticated, Session};
//! fn who(session: &Session<Authenticated>) -> &str {
//!     session.principal().token().tenant.as_str()
//! }
//! ```
//! A later state is not an earlier one with another name:
//! ```compile_fail,E0308
//! use signer_actors::pipeline::state::{Authenticated, Entitled, Session};
//! fn use_plan(_: &Session<Entitled>) {}
//! fn skip(session: &Session<Authenticated>) {
//!     use_plan(session)
//! }
//! ```
//! ```
//! use signer_actors::pipeline::state::{Entitled, Session};
//! fn use_plan(_: &Session<Entitled>) {}
//! fn go_on(session: &Session<Entitled>) {
//!     use_plan(session)
//! }
//! ```
//! Nobody outside moves a state on:
//! ```compile_fail,E0624
//! use signer_actors::evidence::Principal;
//! use signer_actors::pipeline::state::{Authenticated, Session, Unverified};
//! fn jump(session: Session<Unverified>, principal: Principal) -> Session<Authenticated> {
//!     session.authenticated(principal)
//! }
//! ```
//! ```
//! use signer_actors::domain::caller::Credentials;
//! use signer_actors::pipeline::state::{Session, Unverified};
//! fn begin(credentials: Credentials) -> Session<Unverified> {
//!     Session::new(credentials)
//! }
//! ```
//! Nor doubles one:
//! ```compile_fail,E0599
//! use signer_actors::pipeline::state::{Item, Recorded};
//! fn twice(item: &Item<Recorded>) -> Item<Recorded> {
//!     item.clone()
//! }
//! ```
//! ```
//! use signer_actors::pipeline::state::{Item, Recorded};
//! fn once(item: Item<Recorded>) -> Item<Recorded> {
//!     item
//! }
//! ```

use std::sync::Arc;

use crate::audit::Receipt;
use crate::domain::caller::Credentials;
use crate::domain::digest::Sha256Digest;
use crate::domain::ids::AuditId;
use crate::domain::signing::Signature;
use crate::domain::statement::{Statement, StatementDraft};
use crate::evidence::{Grant, IntentReceipt, Permit, Principal, ReleaseEvidence, SigningWarrant};
use crate::quota::RateStatus;
use crate::signer::OpenKey;

mod sealed {
    pub trait Sealed {}
}

/// A state of a session.
pub trait SessionState: sealed::Sealed + std::fmt::Debug {}

/// Credentials were received.
#[derive(Debug)]
pub struct Unverified {
    credentials: Credentials,
}

/// The caller is known, and the proof is spent.
#[derive(Debug)]
pub struct Authenticated {
    principal: Principal,
}

/// The tenant is entitled to what is asked.
#[derive(Debug)]
pub struct Entitled {
    principal: Principal,
    grant: Grant,
}

impl sealed::Sealed for Unverified {}
impl sealed::Sealed for Authenticated {}
impl sealed::Sealed for Entitled {}
impl SessionState for Unverified {}
impl SessionState for Authenticated {}
impl SessionState for Entitled {}

/// Who asks, and entitled to what. Shared by the items of a request.
#[derive(Debug)]
pub struct Session<S: SessionState>(S);

impl Session<Unverified> {
    /// Credentials as received.
    pub fn new(credentials: Credentials) -> Self {
        Self(Unverified { credentials })
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.0.credentials
    }

    pub(crate) fn authenticated(self, principal: Principal) -> Session<Authenticated> {
        Session(Authenticated { principal })
    }
}

impl Session<Authenticated> {
    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// Whether the body is the one that the proof names, if it names one. To be asked as soon as the body is read.
    pub fn covers_body(&self, body: &[u8]) -> bool {
        self.0
            .principal
            .body()
            .is_none_or(|bound| openssl::memcmp::eq(&bound.0, &Sha256Digest::of(body).0))
    }

    pub(crate) fn entitled(self, grant: Grant) -> Session<Entitled> {
        Session(Entitled {
            principal: self.0.principal,
            grant,
        })
    }
}

impl Session<Entitled> {
    /// Who asks.
    pub fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// Entitled to what.
    pub fn grant(&self) -> &Grant {
        &self.0.grant
    }
}

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

impl sealed::Sealed for Admitted {}
impl sealed::Sealed for ReleaseVerified {}
impl sealed::Sealed for Recorded {}
impl sealed::Sealed for Signed {}
impl ItemState for Admitted {}
impl ItemState for ReleaseVerified {}
impl ItemState for Recorded {}
impl ItemState for Signed {}

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
    pub(crate) fn signature(&self) -> &Signature {
        &self.state.signature
    }

    pub(crate) fn audit_id(&self) -> AuditId {
        self.state.audit_id
    }

    pub(crate) fn receipt(&self) -> Receipt {
        self.state.receipt
    }

    /// The outcome is durable (that is what the receipt says): the signature may leave, and the permit is given back.
    pub(crate) fn released(self, _outcome: Receipt) -> Released {
        let Signed {
            statement,
            release,
            key,
            signature,
            audit_id,
            ..
        } = self.state;
        Released {
            session: self.session,
            rate: self.rate,
            statement,
            release,
            key,
            signature,
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

    /// Its name in the trail.
    pub fn audit_id(&self) -> AuditId {
        self.audit_id
    }
}
