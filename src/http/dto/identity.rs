//! The part of an answer that tells whose key signed: the same for every signature by that key, so it is written once.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, SigningIdentity, SigningMode};

use super::rfc3339;

/// Identities that a worker keeps told. Those of a service are its backends and, where keyless, the certificate in use.
const KEPT: NonZeroUsize = NonZeroUsize::new(32).expect("not zero");

/// An identity as answers tell it.
#[derive(Debug)]
pub struct IdentityTold {
    pub(super) mode: SigningMode,
    /// `certificateChain`
    pub(super) certificate_chain: Box<RawValue>,
    /// `signingIdentity`
    pub(super) signing_identity: Box<RawValue>,
}

/// The key behind the signature; members that a keyful key has not are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Identity<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    key_id: &'a str,
    algorithm: Algorithm,
    public_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<String>,
}

impl IdentityTold {
    /// How long it is, in bytes.
    pub fn bytes(&self) -> usize {
        self.certificate_chain.get().len() + self.signing_identity.get().len()
    }

    fn of(identity: &SigningIdentity) -> Result<Self, serde_json::Error> {
        Ok(Self {
            mode: identity.mode,
            certificate_chain: to_raw_value(&identity.certificate_chain)?,
            signing_identity: to_raw_value(&Identity {
                issuer: identity.issuer.as_deref(),
                subject: identity.subject.as_deref(),
                key_id: identity.key_id.as_str(),
                algorithm: identity.algorithm,
                public_key: &identity.public_key_pem,
                not_before: identity.not_before.map(rfc3339),
                not_after: identity.not_after.map(rfc3339),
            })?,
        })
    }
}

/// What this worker has told, and of what: an id may come to name another key or certificate.
type Kept = LruCache<KeyId, (SigningIdentity, Rc<IdentityTold>)>;

thread_local! {
    static TOLD: RefCell<Kept> = RefCell::new(LruCache::new(KEPT));
}

/// An identity as answers tell it, from this worker's memory where it told the very same before.
///
/// # Errors
/// Never for the texts of which an identity consists.
pub fn told(identity: &SigningIdentity) -> Result<Rc<IdentityTold>, serde_json::Error> {
    TOLD.with_borrow_mut(|kept| {
        if let Some((same, told)) = kept.get(&identity.key_id)
            && same == identity
        {
            return Ok(Rc::clone(told));
        }
        let told = Rc::new(IdentityTold::of(identity)?);
        kept.put(identity.key_id.clone(), (identity.clone(), Rc::clone(&told)));
        Ok(told)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(pem: &str) -> SigningIdentity {
        let id = KeyId::parse("release").expect("an id");
        SigningIdentity::keyful(id, Algorithm::Ed25519, [1], pem)
    }

    #[test]
    fn it_is_told_once_and_anew_when_it_has_changed() {
        let first = told(&identity("first")).expect("told");
        assert!(Rc::ptr_eq(&first, &told(&identity("first")).expect("told")));
        assert_eq!(
            first.signing_identity.get(),
            r#"{"keyId":"release","algorithm":"ed25519","publicKey":"first"}"#
        );
        assert_eq!(first.certificate_chain.get(), "[]");
        let second = told(&identity("second")).expect("told");
        assert!(second.signing_identity.get().contains("second"));
        let chain = vec!["leaf".to_owned()];
        let certified = SigningIdentity {
            certificate_chain: chain,
            ..identity("second")
        };
        assert_eq!(
            told(&certified).expect("told").certificate_chain.get(),
            r#"["leaf"]"#
        );
    }
}
