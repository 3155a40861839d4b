//! Who asks, and entitled to what.

use std::sync::Arc;

use super::sealed;
use crate::domain::caller::Credentials;
use crate::domain::digest::Sha256Digest;
use crate::evidence::{Grant, Principal};

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
    principal: Arc<Principal>,
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

    pub(in crate::pipeline) fn credentials(&self) -> &Credentials {
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
        self.of_items().entitled(grant)
    }

    /// For the items of a batch, which are one caller's.
    pub(crate) fn of_items(self) -> OfItems {
        OfItems(Arc::new(self.0.principal))
    }
}

/// A known caller of several items, each to be entitled by itself.
#[derive(Debug)]
pub(crate) struct OfItems(Arc<Principal>);

impl OfItems {
    /// Who asks.
    pub(crate) fn principal(&self) -> &Principal {
        &self.0
    }

    /// One item's.
    pub(crate) fn entitled(&self, grant: Grant) -> Session<Entitled> {
        Session(Entitled {
            principal: Arc::clone(&self.0),
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
