//! What Licensing takes back of a signed PoE: nothing ever gets wider.

use chrono::{DateTime, Utc};
use signer_actors::domain::entitlement::{Entitlement, Features, VersionWindow};

use super::poe::{self, Limits};
use crate::adapters::jose::Refused;
use crate::adapters::jose::claims::Claims;

/// The members that narrow, read once: of an introspection answer or of a licence in the licence file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Narrowing {
    expires: Option<DateTime<Utc>>,
    /// A name for people, without power.
    plan: Option<String>,
    limits: Limits,
    versions: Option<VersionWindow>,
    features: Option<Features>,
}

impl Narrowing {
    /// Names of the members read here.
    pub(super) const MEMBERS: [&'static str; 5] = ["exp", "plan", "limits", "versionWindow", "features"];

    /// Refuses members of a wrong form: what cannot be read cannot be obeyed.
    pub(super) fn read(members: &Claims) -> Result<Self, Refused> {
        Ok(Self {
            expires: members.date("exp")?,
            plan: poe::plan(members)?,
            limits: Limits::read(members)?,
            versions: poe::versions(members)?,
            features: poe::features(members)?,
        })
    }

    /// The token's facts, narrowed.
    pub(super) fn apply(&self, facts: Entitlement) -> Entitlement {
        Entitlement {
            expires: self.expires.map_or(facts.expires, |end| facts.expires.min(end)),
            plan: self.plan.clone().unwrap_or(facts.plan),
            limits: self.limits.narrow(facts.limits),
            versions: match (facts.versions, self.versions) {
                (Some(token), Some(narrower)) => Some(token.narrowed_by(narrower)),
                (token, narrower) => token.or(narrower),
            },
            features: match &self.features {
                Some(narrower) => facts.features.narrowed_by(narrower),
                None => facts.features,
            },
            ..facts
        }
    }
}
