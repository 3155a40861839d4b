//! The caller: what the operational token (OpTok) says once it is verified.

use std::fmt;

use chrono::{DateTime, Utc};

use super::digest::{ImageDigest, Sha256Digest};
use super::tenant::{InstallationId, TenantId};
use super::validity::Validity;

/// What the caller presented, as received and unverified. Read from the request's headers alone.
#[derive(Clone)]
pub struct Credentials {
    /// The scheme of the `Authorization` field.
    pub scheme: Scheme,
    /// The token of the `Authorization` field, unverified.
    pub token: String,
    /// The value of the single `DPoP` field, if there was one.
    pub proof: Option<String>,
    /// SHA-256 of the DER of the client certificate of this connection, if TLS saw one (RFC 8705 §3.1).
    pub client_certificate: Option<Sha256Digest>,
    /// The request's method, as in the request line.
    pub method: String,
    /// The request's path without query, as received; `htu` is this under the configured public origin.
    pub path: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Token and proof are secrets: a debug print must not show them.
        f.debug_struct("Credentials")
            .field("scheme", &self.scheme)
            .field("proof", &self.proof.is_some())
            .field("client_certificate", &self.client_certificate)
            .field("method", &self.method)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Authorization schemes that the service takes (RFC 9449 §7.1, RFC 6750 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `DPoP <token>`: a proof must come with it.
    Dpop,
    /// `Bearer <token>`: only for tokens bound to a client certificate alone.
    Bearer,
}

/// A token as presented, with its digest: hashed once, for its place in memory and for `ath` alike.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a> {
    text: &'a str,
    digest: Sha256Digest,
}

impl<'a> PresentedToken<'a> {
    /// Hashes the token.
    pub fn of(text: &'a str) -> Self {
        let digest = Sha256Digest::of(text.as_bytes());
        Self { text, digest }
    }

    /// The token, unverified.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// SHA-256 of the token as received.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedToken(…)")
    }
}

/// Sender constraint of a token: claim `cnf` (RFC 7800 §3.1). At least one member is set; all present must hold.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Confirmation {
    /// `jkt`: base64url SHA-256 thumbprint of the proof key (RFC 9449 §6.1, RFC 7638), decoded.
    pub jkt: Option<Sha256Digest>,
    /// `x5t#S256`: SHA-256 of the client certificate's DER (RFC 8705 §3.1), decoded.
    pub x5t_s256: Option<Sha256Digest>,
}

impl Confirmation {
    /// True when nothing is bound: such a token is refused.
    pub fn is_empty(&self) -> bool {
        self.jkt.is_none() && self.x5t_s256.is_none()
    }
}

/// Scopes that the service knows (contract §2.3-§2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// `signer.sign`
    Sign,
    /// `signer.verify`; `signer.sign` implies it (contract §2.3).
    Verify,
    /// `signer.verify`, and nothing in its place (contract §2.4).
    VerifyEnvelopes,
    /// `signer.audit`
    Audit,
}

impl Scope {
    /// The scope's token as in the claim `scope` (RFC 6749 §3.3).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sign => "signer.sign",
            Self::Verify | Self::VerifyEnvelopes => "signer.verify",
            Self::Audit => "signer.audit",
        }
    }
}

/// A verified operational token: an RFC 9068 access token whose signature, issuer, audience and times hold.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// SHA-256 of the token as received: what `ath` names, and the key under which it is remembered.
    pub digest: Sha256Digest,
    /// Key id of the Authority's key that signed it.
    pub key_id: String,
    /// SHA-256 thumbprint of that key (RFC 7638): the id alone may come to name another one.
    pub key: Sha256Digest,
    /// `sub`
    pub subject: String,
    /// `client_id`
    pub client_id: String,
    /// `jti`
    pub token_id: String,
    /// `tid`
    pub tenant: TenantId,
    /// `inst`
    pub installation: InstallationId,
    /// `scope`, split at single spaces.
    pub scopes: Vec<String>,
    /// `cnf`
    pub confirmation: Confirmation,
    /// `scanner_image`: the image this token was issued to, if the Authority attests it.
    pub scanner_image: Option<ImageDigest>,
    /// `iat`, `nbf`, `exp`
    pub validity: Validity,
}

impl AccessToken {
    /// True if the token carries exactly this scope token.
    pub fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|s| s == scope.as_str())
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("client_id", &self.client_id)
            .field("tenant", &self.tenant)
            .field("installation", &self.installation)
            .field("scopes", &self.scopes)
            .field("expires", &self.validity.expires)
            .finish_non_exhaustive()
    }
}

/// A DPoP proof whose signature and claims hold (RFC 9449 §4.3); only its single use is still to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProof {
    /// SHA-256 thumbprint of the proof's key (RFC 7638).
    pub thumbprint: Sha256Digest,
    /// What may be used once: a hash over thumbprint, normalised `htu` and `jti`.
    pub replay_id: Sha256Digest,
    /// `iat`
    pub issued: DateTime<Utc>,
    /// The epoch of the replay store that a nonce of ours names, when the proof carried one that is still good
    /// (`ports::StoreEpoch`; 0 where each replica has a store of its own).
    pub nonce: Option<u64>,
    /// `body_sha256`, when the client binds the body too (contract §3).
    pub body: Option<Sha256Digest>,
}

/// How the sender of a request was proven, for the audit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderBinding {
    /// A DPoP proof by the key with this thumbprint.
    Dpop(Sha256Digest),
    /// The client certificate with this SHA-256.
    Mtls(Sha256Digest),
    /// Both.
    DpopAndMtls(Sha256Digest, Sha256Digest),
}

impl SenderBinding {
    /// `dpop`, `mtls` or `dpop+mtls`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Dpop(_) => "dpop",
            Self::Mtls(_) => "mtls",
            Self::DpopAndMtls(..) => "dpop+mtls",
        }
    }
}
