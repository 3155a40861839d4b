//! Whose signatures count: release keys and certificate identities, each for its life, unless revoked.

use chrono::{DateTime, Utc};
use openssl::x509::X509;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::release::ReleaseSigner;

use super::super::settings::Settings;
use super::super::trust::{Identity, Life, Requirement};
use super::evidence::Evidence;
use super::keys::ReleaseKey;
use super::sct::CtLogs;
use super::witness::{Witnessed, Witnesses};
use super::{Maker, Signature, shown};
use crate::x509::{Authorities, Leaf};

/// Everyone who may sign, and who witnesses it.
#[derive(Debug)]
pub(super) struct Signers {
    keys: Vec<Key>,
    identities: Vec<Known>,
    revoked: Vec<Sha256Digest>,
    require: Vec<Requirement>,
    witnesses: Witnesses,
    ct_logs: CtLogs,
}

#[derive(Debug)]
struct Key {
    key: ReleaseKey,
    life: Life,
    require: Vec<Requirement>,
}

/// An identity with the roots of its certificates.
#[derive(Debug)]
struct Known {
    identity: Identity,
    roots: Authorities,
}

impl Signers {
    /// Reads keys, roots and witnesses.
    ///
    /// # Errors
    /// A text for the configuration report.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let signers = Self {
            keys: keys(settings)?,
            identities: identities(settings)?,
            revoked: settings.revoked_keys.clone(),
            require: settings.require.clone(),
            witnesses: Witnesses::new(settings)?,
            ct_logs: CtLogs::new(settings)?,
        };
        let own = signers.keys.iter().flat_map(|key| &key.require);
        let own = own.chain(
            signers
                .identities
                .iter()
                .flat_map(|known| &known.identity.require),
        );
        if own
            .chain(&signers.require)
            .any(|requirement| !signers.witnesses.can_meet(*requirement))
        {
            return Err(
                "release signatures require timestamps or log entries, and no timestamp roots or logs are configured"
                    .into(),
            );
        }
        let is_log = |key: &Key| signers.witnesses.has_key(&key.key) || signers.ct_logs.has_key(&key.key);
        if signers.keys.iter().any(is_log) {
            return Err(
                "a release key is also a transparency log's: a witness must not be the signer".into(),
            );
        }
        if signers.witnesses.has_any(&signers.revoked) || signers.ct_logs.has_any(&signers.revoked) {
            return Err("the key of a transparency log is revoked: remove the log".into());
        }
        Ok(signers)
    }

    /// Distinct keys and identities that can still count.
    pub(super) fn count(&self) -> usize {
        let live = |key: &&Key| !self.revoked.contains(&key.key.fingerprint());
        self.keys
            .iter()
            .filter(live)
            .count()
            .saturating_add(self.identities.len())
    }

    /// True if a release key made it, so that a certificate beside it does not matter.
    pub(super) fn is_key(&self, signature: &Signature<'_>) -> bool {
        self.maker(signature).is_some()
    }

    /// The signer of a signature that comes without a certificate. `hint` is not signed and only explains a refusal.
    pub(super) fn by_key(
        &self,
        signature: &Signature<'_>,
        evidence: Evidence<'_>,
        hint: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<ReleaseSigner, String> {
        match self.maker(signature) {
            Some(key) => self.accept_key(key, signature, evidence, now),
            None => Err(self.no_key(hint)),
        }
    }

    /// The signer of a signature that comes with a certificate. `chain` may hold further intermediates; it is never
    /// trusted. A release key with a certificate is still one key, not a second signer.
    pub(super) fn by_certificate(
        &self,
        leaf: X509,
        chain: &[X509],
        signature: &Signature<'_>,
        evidence: Evidence<'_>,
        now: DateTime<Utc>,
    ) -> Result<ReleaseSigner, String> {
        if let Some(key) = self.maker(signature) {
            return self.accept_key(key, signature, evidence, now);
        }
        if self.identities.is_empty() {
            return Err("signed with a certificate, and no release identities are configured".to_owned());
        }
        let leaf = Leaf::read(leaf)?;
        let key = ReleaseKey::new(leaf.public_key.clone())?;
        if !key.verifies(signature.message, signature.bytes) {
            return Err("the certificate's key did not make this signature".to_owned());
        }
        self.check_revoked(&key)?;
        let known = self.known(&leaf)?;
        let der = leaf
            .certificate
            .to_der()
            .map_err(|_| "the certificate has no DER form")?;
        let maker = Maker {
            key: key.der(),
            certificate: Some(&der),
        };
        let heard = self.witnesses.hear(evidence, signature, &maker, now)?;
        let path = certify(&known.roots, &leaf, chain, &heard, now)?;
        self.ct_logs.check(&der, path.get(1), now)?;
        heard.satisfies(self.require.iter().chain(&known.identity.require).copied())?;
        check_life(known.identity.life, &heard, now, "the release identity")?;
        Ok(ReleaseSigner::Certificate {
            identity: leaf.subject,
            issuer: leaf.issuer,
        })
    }

    /// The configured key that made a signature.
    fn maker(&self, signature: &Signature<'_>) -> Option<&Key> {
        self.keys
            .iter()
            .find(|key| key.key.verifies(signature.message, signature.bytes))
    }

    fn accept_key(
        &self,
        key: &Key,
        signature: &Signature<'_>,
        evidence: Evidence<'_>,
        now: DateTime<Utc>,
    ) -> Result<ReleaseSigner, String> {
        self.check_revoked(&key.key)?;
        let maker = Maker {
            key: key.key.der(),
            certificate: None,
        };
        let heard = self.witnesses.hear(evidence, signature, &maker, now)?;
        heard.satisfies(self.require.iter().chain(&key.require).copied())?;
        check_life(key.life, &heard, now, "the release key")?;
        Ok(ReleaseSigner::Key {
            key_id: key.key.id().to_owned(),
        })
    }

    fn check_revoked(&self, key: &ReleaseKey) -> Result<(), String> {
        if self.revoked.contains(&key.fingerprint()) {
            return Err(format!("the key {} is revoked", key.id()));
        }
        Ok(())
    }

    /// The identity that a certificate names; nothing about it is verified yet.
    fn known(&self, leaf: &Leaf) -> Result<&Known, String> {
        let same =
            |known: &&Known| known.identity.issuer == leaf.issuer && known.identity.subject == leaf.subject;
        self.identities.iter().find(same).ok_or_else(|| {
            let (identity, issuer) = (shown(&leaf.subject), shown(&leaf.issuer));
            format!("signed by \"{identity}\" of issuer \"{issuer}\", which is no release identity")
        })
    }

    /// Why no key is known to have signed.
    fn no_key(&self, hint: Option<&str>) -> String {
        let named = self.keys.iter().find(|key| hint == Some(key.key.id()));
        let reason = match named {
            Some(key) if key.key.ed25519().is_some() => {
                "no release key made this signature: the one it names is Ed25519, and Ed25519ph, as cosign 3 signs \
                 with such keys, is not verified here: sign with another kind of key"
            }
            _ => "no release key made this signature",
        };
        reason.to_owned()
    }
}

fn keys(settings: &Settings) -> Result<Vec<Key>, String> {
    let read = |pem: &[u8]| ReleaseKey::from_pem(pem).map_err(|problem| format!("a release key: {problem}"));
    let mut keys: Vec<Key> = Vec::new();
    for pem in &settings.keys {
        let key = read(pem)?;
        if !keys.iter().any(|known| known.key == key) {
            let (life, require) = (Life::default(), Vec::new());
            keys.push(Key { key, life, require });
        }
    }
    for signer in &settings.signers {
        let key = read(&signer.pem)?;
        if keys.iter().any(|known| known.key == key) {
            return Err(format!("the release key {} is configured twice", key.id()));
        }
        let (life, require) = (signer.life, signer.require.clone());
        keys.push(Key { key, life, require });
    }
    Ok(keys)
}

fn identities(settings: &Settings) -> Result<Vec<Known>, String> {
    let mut all: Vec<Known> = Vec::new();
    for identity in &settings.identities {
        if identity.issuer.is_empty() || identity.subject.is_empty() {
            return Err("a release identity needs an issuer and a subject".to_owned());
        }
        let same = |known: &Known| {
            known.identity.issuer == identity.issuer && known.identity.subject == identity.subject
        };
        match all.iter().find(|known| same(known)) {
            Some(known) if known.identity == *identity => continue,
            Some(_) => return Err("a release identity is configured twice, and not alike".to_owned()),
            None => {}
        }
        let roots = identity.roots.as_ref().or(settings.roots.as_ref());
        let roots = roots.ok_or("release identities need roots that their certificates chain to")?;
        let roots = Authorities::from_pem(roots).map_err(|problem| format!("release roots: {problem}"))?;
        let identity = identity.clone();
        all.push(Known { identity, roots });
    }
    Ok(all)
}

/// The leaf's path, which must hold when it signed, as far as that is known, otherwise now: an expired certificate without a
/// believed time of signing may have signed yesterday with a stolen key.
fn certify(
    roots: &Authorities,
    leaf: &Leaf,
    chain: &[X509],
    heard: &Witnessed,
    now: DateTime<Utc>,
) -> Result<Vec<X509>, String> {
    let verified = roots.verify(&leaf.certificate, chain, heard.time().unwrap_or(now));
    verified.map_err(|reason| {
        let when = match heard.time() {
            Some(time) => format!("at the verified time of signing, {}", time.to_rfc3339()),
            None => {
                let remark = heard.remark();
                format!("without a verified time of signing the certificate must be valid now{remark}")
            }
        };
        format!("no release root vouches for the signer: {reason} ({when})")
    })
}

fn check_life(life: Life, heard: &Witnessed, now: DateTime<Utc>, what: &str) -> Result<(), String> {
    let (at, when) = match heard.time() {
        Some(time) => (time, "the verified time of signing"),
        None => (now, "now, as no time of signing is verified"),
    };
    if life.contains(at) {
        return Ok(());
    }
    Err(format!(
        "{what} is outside its configured life at {} ({when})",
        at.to_rfc3339()
    ))
}
