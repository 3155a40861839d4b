//! Certificate identities: a leaf that chains to the configured roots, says it may sign code, and names one subject
//! and one OIDC issuer (Fulcio's certificate specification).

use std::fmt;

use chrono::{DateTime, Utc};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyParam;
use openssl::x509::{
    X509, X509ExtendedKeyUsage, X509KeyUsage, X509PurposeId, X509Ref, X509StoreContext, X509VerifyResult,
};

use super::der;
use super::keys::ReleaseKey;
use crate::openssl_errors;

/// OID 1.3.6.1.4.1.57264.1.8, issuer (V2): a DER UTF8String.
const ISSUER_V2: &[u8] = b"\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x08";

/// OID 1.3.6.1.4.1.57264.1.1, issuer: the raw text.
const ISSUER_V1: &[u8] = b"\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x01";

/// Most certificates of a chain or of a roots file.
const MAX_CERTIFICATES: usize = 16;

/// Most certificates between leaf and root.
const MAX_DEPTH: i32 = 4;

/// openssl's level for at least 112 bits of security: no SHA-1, no RSA below 2048 bits.
const SECURITY_LEVEL: i32 = 2;

/// A leaf that was verified.
#[derive(Debug)]
pub(super) struct Certified {
    pub(super) identity: String,
    pub(super) issuer: String,
    pub(super) key: ReleaseKey,
}

/// Configured anchors and intermediates.
pub(super) struct Roots {
    anchors: Vec<X509>,
    intermediates: Vec<X509>,
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Roots({} anchors, {} intermediates)",
            self.anchors.len(),
            self.intermediates.len()
        )
    }
}

impl Roots {
    /// Reads PEM certificates: those that signed themselves are anchors, the others intermediates.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let all = X509::stack_from_pem(pem).map_err(|_| "release roots are not PEM certificates")?;
        if all.len() > MAX_CERTIFICATES {
            return Err(format!(
                "release roots hold more than {MAX_CERTIFICATES} certificates"
            ));
        }
        let (anchors, intermediates): (Vec<_>, Vec<_>) = all.into_iter().partition(|c| is_self_signed(c));
        if anchors.is_empty() {
            return Err("release roots hold no self-signed certificate".to_owned());
        }
        Ok(Self {
            anchors,
            intermediates,
        })
    }

    /// Verifies a leaf at a time. `chain` may hold further intermediates; it is never trusted.
    ///
    /// No time of signing is verified yet (neither RFC 3161 timestamps nor log entries), so the time is now.
    pub(super) fn certify(
        &self,
        leaf: &[u8],
        chain: &[X509],
        now: DateTime<Utc>,
    ) -> Result<Certified, String> {
        let certified = self.try_certify(leaf, chain, now);
        openssl_errors::forget();
        certified
    }

    fn try_certify(&self, leaf: &[u8], chain: &[X509], now: DateTime<Utc>) -> Result<Certified, String> {
        let extensions = der::extensions(leaf).map_err(|_| "the certificate is malformed")?;
        let certificate = X509::from_der(leaf).map_err(|_| "the certificate is malformed")?;
        self.chain_holds(&certificate, chain, now)?;
        may_sign(&certificate)?;
        let key = certificate
            .public_key()
            .map_err(|_| "the certificate's key cannot be read".to_owned());
        Ok(Certified {
            identity: subject(&certificate)?,
            issuer: issuer(&extensions)?,
            key: ReleaseKey::new(key?)?,
        })
    }

    fn chain_holds(&self, leaf: &X509Ref, chain: &[X509], now: DateTime<Utc>) -> Result<(), String> {
        match self.verify_chain(leaf, chain, now) {
            Ok(X509VerifyResult::OK) => Ok(()),
            Ok(reason) => Err(format!(
                "the certificate does not chain to a release root: {} \
                 (without a verified time of signing it must be valid now)",
                reason.error_string()
            )),
            Err(_) => Err("the certificate chain cannot be verified".to_owned()),
        }
    }

    fn verify_chain(
        &self,
        leaf: &X509Ref,
        chain: &[X509],
        now: DateTime<Utc>,
    ) -> Result<X509VerifyResult, ErrorStack> {
        let store = self.store(now)?;
        let mut untrusted = Stack::new()?;
        for certificate in self
            .intermediates
            .iter()
            .chain(chain.iter().take(MAX_CERTIFICATES))
        {
            untrusted.push(certificate.clone())?;
        }
        X509StoreContext::new()?.init(&store, leaf, &untrusted, |context| {
            let holds = context.verify_cert()?;
            // Never believe the code alone: `false` with code 0 must not read as verified.
            let code = context.error();
            Ok(if !holds && code == X509VerifyResult::OK {
                X509VerifyResult::APPLICATION_VERIFICATION
            } else {
                code
            })
        })
    }

    fn store(&self, now: DateTime<Utc>) -> Result<X509Store, ErrorStack> {
        let mut parameters = X509VerifyParam::new()?;
        parameters.set_time(now.timestamp());
        parameters.set_depth(MAX_DEPTH);
        parameters.set_auth_level(SECURITY_LEVEL);
        // The usage of the leaf is checked below: openssl's own code-signing purpose also demands CA/Browser Forum
        // details that Fulcio's certificates need not have.
        parameters.set_purpose(X509PurposeId::ANY)?;
        let mut builder = X509StoreBuilder::new()?;
        for anchor in &self.anchors {
            builder.add_cert(anchor.clone())?;
        }
        builder.set_param(&parameters)?;
        Ok(builder.build())
    }
}

fn is_self_signed(certificate: &X509Ref) -> bool {
    let key = certificate.public_key();
    let holds = certificate.issued(certificate) == X509VerifyResult::OK
        && key.is_ok_and(|key| certificate.verify(&key).unwrap_or(false));
    openssl_errors::forget();
    holds
}

/// RFC 5280 §4.2.1.3 and §4.2.1.12: digital signatures, and code signing among the extended usages.
fn may_sign(certificate: &X509Ref) -> Result<(), String> {
    let usage = certificate.key_usage();
    if !usage.is_some_and(|usage| usage.contains(X509KeyUsage::DIGITAL_SIGNATURE)) {
        return Err("the certificate is not for digital signatures".to_owned());
    }
    let extended = certificate.extended_key_usage();
    if !extended.is_some_and(|usage| usage.contains(X509ExtendedKeyUsage::CODE_SIGN)) {
        return Err("the certificate is not for code signing".to_owned());
    }
    Ok(())
}

/// The only subject alternative name, a URI or an e-mail address.
fn subject(certificate: &X509Ref) -> Result<String, String> {
    let names = certificate
        .subject_alt_names()
        .ok_or("the certificate names no subject")?;
    let mut names = names.iter();
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err("the certificate names more than one subject".to_owned());
    };
    let name = name.uri().or_else(|| name.email());
    name.map(str::to_owned)
        .ok_or_else(|| "the certificate's subject is neither a URI nor an e-mail address".to_owned())
}

/// The OIDC issuer; where both extensions are present they must agree.
fn issuer(extensions: &der::Extensions<'_>) -> Result<String, String> {
    let value = |wanted: &[u8]| {
        extensions
            .iter()
            .find(|(oid, _)| *oid == wanted)
            .map(|(_, value)| *value)
    };
    let malformed = "the certificate's issuer extension is malformed";
    let second = value(ISSUER_V2)
        .map(|v| der::utf8_string(v).map_err(|_| malformed))
        .transpose()?;
    let first = value(ISSUER_V1)
        .map(|v| std::str::from_utf8(v).map_err(|_| malformed))
        .transpose()?;
    match (second, first) {
        (Some(a), Some(b)) if a != b => Err("the certificate's issuer extensions differ".to_owned()),
        (Some(issuer), _) | (None, Some(issuer)) => Ok(issuer.to_owned()),
        (None, None) => Err("the certificate names no OIDC issuer".to_owned()),
    }
}
