//! Trust anchors, and the path of a certificate to one of them.

use std::fmt;

use chrono::{DateTime, Utc};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{X509, X509ExtendedKeyUsage, X509PurposeId, X509Ref, X509StoreContext, X509VerifyResult};

use super::{MAX_CERTIFICATES, parse_chain_pem};
use crate::openssl_errors;

/// The most authorities between leaf and root.
const MAX_DEPTH: i32 = 4;
/// OpenSSL's security level 2: 112 bits, no SHA-1, no RSA below 2048 bits (`SSL_CTX_set_security_level(3)`).
const AUTH_LEVEL: i32 = 2;

/// What a leaf and the authorities above it must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Sign software and statements.
    CodeSigning,
    /// Issue timestamps (RFC 3161 §2.3).
    TimeStamping,
}

impl Purpose {
    fn id(self) -> X509PurposeId {
        match self {
            Self::CodeSigning => X509PurposeId::CODE_SIGN,
            Self::TimeStamping => X509PurposeId::TIMESTAMP_SIGN,
        }
    }

    fn usage(self) -> X509ExtendedKeyUsage {
        match self {
            Self::CodeSigning => X509ExtendedKeyUsage::CODE_SIGN,
            Self::TimeStamping => X509ExtendedKeyUsage::TIMESTAMP,
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CodeSigning => "code-signing certificates",
            Self::TimeStamping => "certificates of timestamp authorities",
        })
    }
}

/// Trust anchors, with the intermediates that were configured beside them.
#[derive(Clone)]
pub struct Authorities {
    roots: Vec<X509>,
    intermediates: Vec<X509>,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("roots", &self.roots.len())
            .field("intermediates", &self.intermediates.len())
            .finish()
    }
}

impl Authorities {
    /// Reads certificates in PEM: self-issued ones are trust anchors, others help to reach them. One anchor at least.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        Self::new(parse_chain_pem(pem)?)
    }

    /// Sorts certificates into trust anchors and intermediates.
    pub fn new(certificates: Vec<X509>) -> Result<Self, String> {
        let (roots, intermediates): (Vec<_>, Vec<_>) =
            certificates.into_iter().partition(|c| issued_by(c, c));
        if roots.is_empty() {
            return Err(
                "no root certificate: add the self-signed certificate at the end of the chain".into(),
            );
        }
        Ok(Self { roots, intermediates })
    }

    /// Adds intermediates that came with a certificate whose path was verified.
    pub fn learn(&mut self, certificates: impl IntoIterator<Item = X509>) {
        for certificate in certificates {
            let known = self
                .roots
                .iter()
                .chain(&self.intermediates)
                .any(|c| same(c, &certificate));
            if !known && !issued_by(&certificate, &certificate) && self.intermediates.len() < MAX_CERTIFICATES
            {
                self.intermediates.push(certificate);
            }
        }
    }

    /// Paths from each issuing authority up to its root: issuing certificate first, root last.
    pub fn paths(&self) -> Vec<Vec<X509>> {
        let all: Vec<&X509> = self.intermediates.iter().chain(&self.roots).collect();
        let issues_another = |c: &X509| all.iter().any(|other| !same(other, c) && issued_by(other, c));
        let starts = all.iter().filter(|c| !issues_another(c));
        starts.filter_map(|start| self.path_from(start)).collect()
    }

    fn path_from(&self, start: &X509) -> Option<Vec<X509>> {
        let mut path = vec![start.clone()];
        while path.len() < MAX_CERTIFICATES {
            let last = path.last()?;
            if self.roots.iter().any(|root| same(root, last)) {
                return Some(path);
            }
            let next = self
                .roots
                .iter()
                .chain(&self.intermediates)
                .find(|c| issued_by(last, c))?
                .clone();
            path.push(next);
        }
        None
    }

    /// Verifies the path of a code-signing leaf to a root as of `at` (RFC 5280 §6.1), through configured
    /// intermediates and at most [`MAX_CERTIFICATES`] `untrusted` ones. Returns the path: leaf first, root last.
    pub fn verify(&self, leaf: &X509, untrusted: &[X509], at: DateTime<Utc>) -> Result<Vec<X509>, String> {
        self.verify_for(Purpose::CodeSigning, leaf, untrusted, at)
    }

    /// As [`Self::verify`], for a leaf of any purpose.
    pub fn verify_for(
        &self,
        purpose: Purpose,
        leaf: &X509,
        untrusted: &[X509],
        at: DateTime<Utc>,
    ) -> Result<Vec<X509>, String> {
        let (verified, reason, path) = self
            .run(purpose, leaf, untrusted, at)
            .map_err(|_| "OpenSSL cannot verify certificates".to_owned())?;
        openssl_errors::forget();
        // Neither is believed alone.
        if !verified || reason != X509VerifyResult::OK {
            let reason = reason.error_string();
            return Err(format!(
                "the certificate has no valid path to a configured root: {reason}"
            ));
        }
        // An authority that is restricted to other purposes must not vouch for this one (RFC 5280 §4.2.1.12, applied to
        // the whole path as browsers and Go do).
        let foreign = path.iter().skip(1).any(|authority| {
            let usage = purpose.usage() | X509ExtendedKeyUsage::ANYEKU;
            authority
                .extended_key_usage()
                .is_some_and(|u| !u.intersects(usage))
        });
        if foreign {
            return Err(format!(
                "an authority in the certificate's path may not issue {purpose}"
            ));
        }
        Ok(path)
    }

    /// Certificates that may be leaves: whatever is configured and no root.
    pub(crate) fn helpers(&self) -> &[X509] {
        &self.intermediates
    }

    fn run(
        &self,
        purpose: Purpose,
        leaf: &X509,
        untrusted: &[X509],
        at: DateTime<Utc>,
    ) -> Result<(bool, X509VerifyResult, Vec<X509>), ErrorStack> {
        let store = self.store(purpose, at)?;
        let mut helpers = Stack::new()?;
        let untrusted = untrusted.iter().take(MAX_CERTIFICATES);
        for certificate in self.intermediates.iter().chain(untrusted) {
            helpers.push(certificate.clone())?;
        }
        let mut context = X509StoreContext::new()?;
        context.init(&store, leaf, &helpers, |context| {
            let verified = context.verify_cert()?;
            let path = context
                .chain()
                .map(|chain| chain.iter().map(X509Ref::to_owned).collect());
            Ok((verified, context.error(), path.unwrap_or_default()))
        })
    }

    fn store(&self, purpose: Purpose, at: DateTime<Utc>) -> Result<X509Store, ErrorStack> {
        let mut store = X509StoreBuilder::new()?;
        for root in &self.roots {
            store.add_cert(root.clone())?;
        }
        let mut param = X509VerifyParam::new()?;
        param.set_time(at.timestamp());
        param.set_depth(MAX_DEPTH);
        param.set_auth_level(AUTH_LEVEL);
        param.set_purpose(purpose.id())?;
        store.set_param(&param)?;
        Ok(store.build())
    }
}

/// True if `issuer` signed `certificate`, by name and by signature.
fn issued_by(certificate: &X509Ref, issuer: &X509Ref) -> bool {
    let issued = issuer.issued(certificate) == X509VerifyResult::OK
        && issuer
            .public_key()
            .and_then(|key| certificate.verify(&key))
            .unwrap_or(false);
    openssl_errors::forget();
    issued
}

fn same(a: &X509Ref, b: &X509Ref) -> bool {
    matches!((a.to_der(), b.to_der()), (Ok(a), Ok(b)) if a == b)
}
