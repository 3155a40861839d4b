//! Keyless signing through Fulcio: a fresh key, a short certificate over it for the service's own identity.
//!
//! Nothing of Fulcio's answer is believed: the certificate must be over our key, lead to a configured root, and name
//! exactly the configured identity.

mod challenge;
mod client;
mod identity;
mod retry;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use openssl::x509::X509;
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, KeyState, Signature, SigningIdentity, SigningMode};
use signer_actors::evidence::SigningWarrant;
use signer_actors::ports::{BackendError, BackendInfo, Clock, PortFuture, SigningBackend, SigningKey};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use crate::crypto::{Pae, PrivateKey};
use crate::urls::is_private;
use crate::x509::sct::{CtLog, CtLogs};
use crate::x509::{Authorities, Leaf, to_pem};
use client::{Client, Issued};
use identity::Tokens;
pub use identity::{Endpoint, Identity};
use retry::{Tries, Trouble};

/// A certificate is never used in the last seconds of its life (contract §7).
const LAST_SECONDS: TimeDelta = TimeDelta::seconds(60);
/// How far our clock may lag behind Fulcio's when a fresh certificate seems to begin in the future.
const CLOCK_LAG: TimeDelta = TimeDelta::seconds(10);
/// How much of the deadline Fulcio's configuration may take: it is only a help.
const CONFIGURATION_SHARE: u32 = 3;
/// How much of the deadline one question for the identity token may take: the rest is for another, and for Fulcio.
const TOKEN_SHARE: u32 = 2;
/// How many hex digits of the key's fingerprint name an ephemeral key.
const KEY_ID_DIGITS: usize = 32;

/// What a Fulcio backend needs to know.
#[derive(Debug)]
pub struct Settings {
    /// `signing.backends[].id`
    pub id: KeyId,
    /// Fulcio's address: `https`, or `http` on loopback.
    pub url: Url,
    /// Trust anchors for the certificates it issues, PEM; may hold intermediates too.
    pub roots_pem: Vec<u8>,
    /// The service's identity.
    pub identity: Identity,
    /// The OIDC issuer that certificates must name.
    pub expect_issuer: String,
    /// The subject alternative name that certificates must have: a URI or an e-mail address.
    pub expect_subject: String,
    /// Keys of the certificate logs that Fulcio writes to, PEM; none: promises of logs (SCT) are not looked at.
    pub ct_keys: Vec<Vec<u8>>,
    /// Certificates without a promise of one of these logs are refused.
    pub require_sct: bool,
    /// How long a certificate is used at most.
    pub certificate_reuse: Duration,
    /// How long obtaining a certificate may take altogether.
    pub timeout: Duration,
    /// Certificates trusted for TLS to Fulcio beside the system's, PEM; empty for none.
    pub tls_roots_pem: Vec<u8>,
}

/// One Fulcio with the identity that is expected of its certificates.
#[derive(Debug)]
pub struct FulcioBackend {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Known,
    tokens: Tokens,
    ct_logs: CtLogs,
    /// Until then Fulcio asked to be left alone.
    alone_until: Mutex<Option<Instant>>,
    authorities: Authorities,
    client: Client,
    clock: Arc<dyn Clock>,
}

/// What remains of the settings.
#[derive(Debug)]
struct Known {
    id: KeyId,
    expect_issuer: String,
    expect_subject: String,
    require_sct: bool,
    certificate_reuse: Duration,
    timeout: Duration,
}

impl FulcioBackend {
    /// Checks the settings; asks nothing yet.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        if !is_private(&settings.url) {
            return Err("Fulcio's url must be https: the identity token travels with each request".into());
        }
        if settings.expect_issuer.is_empty() || settings.expect_subject.is_empty() {
            return Err(
                "expect_issuer and expect_subject must be set: they are what verifiers will see".into(),
            );
        }
        if settings.require_sct && settings.ct_keys.is_empty() {
            return Err(
                "require_sct needs ct_keys: the keys of the certificate logs that are believed".into(),
            );
        }
        let logs = settings.ct_keys.iter().map(|pem| CtLog::new(pem, None, None));
        let ct_logs = CtLogs::new(logs.collect::<Result<_, _>>()?);
        let authorities = Authorities::from_pem(&settings.roots_pem)?;
        let client = Client::new(settings.url, &settings.tls_roots_pem)?;
        let shared = Shared {
            tokens: Tokens::new(settings.identity)?,
            ct_logs,
            alone_until: Mutex::new(None),
            settings: Known {
                id: settings.id,
                expect_issuer: settings.expect_issuer,
                expect_subject: settings.expect_subject,
                require_sct: settings.require_sct,
                certificate_reuse: settings.certificate_reuse,
                timeout: settings.timeout,
            },
            authorities,
            client,
            clock,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The configured trust anchors and intermediates, for `/trust`.
    pub fn authorities(&self) -> &Authorities {
        &self.shared.authorities
    }

    /// The configured certificate logs, for `/trust`.
    pub fn ct_logs(&self) -> &CtLogs {
        &self.shared.ct_logs
    }
}

impl SigningBackend for FulcioBackend {
    fn info(&self) -> BackendInfo {
        BackendInfo {
            id: self.shared.settings.id.clone(),
            kind: "fulcio",
            mode: SigningMode::Keyless,
            algorithm: Algorithm::EcdsaP256Sha256,
            key: None,
            state: KeyState::Active,
            // The certificate comes from elsewhere; the signature is made here.
            revoked_from: None,
            remote: false,
        }
    }

    fn open(&self) -> PortFuture<Result<Arc<dyn SigningKey>, BackendError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let key = timeout(shared.settings.timeout, shared.obtain()).await;
            let key =
                key.map_err(|_| BackendError::Unavailable("Fulcio did not answer in time".into()))??;
            Ok(Arc::new(key) as Arc<dyn SigningKey>)
        })
    }
}

impl Shared {
    /// Asks until there is a certificate, while another try may help and the deadline leaves time for it.
    async fn obtain(&self) -> Result<FulcioKey, BackendError> {
        let begun = Instant::now();
        let mut tries = Tries::default();
        loop {
            self.is_welcome().await?;
            let trouble = match self.ask().await {
                Ok(key) => return Ok(key),
                Err(trouble) => trouble,
            };
            if let Some(after) = trouble.after {
                *self.alone_until.lock().await = Instant::now().checked_add(after);
            }
            let left = self.settings.timeout.saturating_sub(begun.elapsed());
            match tries.next(&trouble, retry::chance()) {
                Some(wait) if wait < left => sleep(wait).await,
                _ => return Err(trouble.error),
            }
        }
    }

    /// Who is asked to come later comes later, the next opening included.
    async fn is_welcome(&self) -> Result<(), BackendError> {
        let until = *self.alone_until.lock().await;
        if until.is_some_and(|until| Instant::now() < until) {
            return Err(BackendError::Unavailable(
                "Fulcio asked to be left alone for a while".into(),
            ));
        }
        Ok(())
    }

    /// A token, a key pair, a proof that we hold it, a certificate over it, and every check of that certificate.
    async fn ask(&self) -> Result<FulcioKey, Trouble> {
        let token = timeout(self.settings.timeout / TOKEN_SHARE, self.tokens.get()).await;
        let token =
            token.map_err(|_| Trouble::passing("the identity token did not come in time", None))??;
        let key = PrivateKey::generate_p256().map_err(Trouble::lasting)?;
        let share = self.settings.timeout / CONFIGURATION_SHARE;
        let configuration = timeout(share, self.client.configuration()).await.ok().flatten();
        let subject = &self.settings.expect_subject;
        let challenge = challenge::challenge(&token, configuration.as_ref(), subject);
        let challenge = challenge.map_err(Trouble::lasting)?;
        let proof = key.sign(challenge.as_bytes()).map_err(Trouble::lasting)?;
        let issued = self.client.certify(&token, key.public().pem(), &proof).await;
        if issued.as_ref().is_err_and(|trouble| !trouble.passes) {
            // It may be the token that is refused; a new one costs little.
            self.tokens.forget().await;
        }
        self.accept(key, issued?, self.clock.now())
            .map_err(Trouble::lasting)
    }

    fn accept(&self, key: PrivateKey, issued: Issued, now: DateTime<Utc>) -> Result<FulcioKey, String> {
        let mut chain = issued.chain.into_iter();
        let leaf = Leaf::read(chain.next().ok_or("Fulcio's answer holds no certificate")?)?;
        if !leaf.public_key.public_eq(key.public().pkey()) {
            return Err("Fulcio's certificate is over another key than ours".into());
        }
        leaf.expect(&self.settings.expect_issuer, &self.settings.expect_subject)?;
        let at = if leaf.not_before - now <= CLOCK_LAG {
            now.max(leaf.not_before)
        } else {
            now
        };
        let rest: Vec<X509> = chain.collect();
        let path = self.authorities.verify(&leaf.certificate, &rest, at)?;
        self.check_promises(&leaf, path.get(1), &issued.detached, now)?;
        key.self_test()?;
        let reuse = TimeDelta::from_std(self.settings.certificate_reuse).unwrap_or(TimeDelta::MAX);
        let last = leaf.not_after - LAST_SECONDS;
        let replace_at = now.checked_add_signed(reuse).map_or(last, |at| at.min(last));
        if replace_at <= now {
            return Err(
                "Fulcio's certificate is too short-lived: it must live for more than a minute".into(),
            );
        }
        let identity = identity_of(&self.settings.id, &key, &leaf, &path)?;
        Ok(FulcioKey {
            key,
            identity,
            replace_at,
        })
    }

    /// Where logs are configured, what they promise must hold; whether a certificate must be promised at all is for the
    /// operator to say, as a Fulcio may run without a log.
    fn check_promises(
        &self,
        leaf: &Leaf,
        issuer: Option<&X509>,
        beside: &[u8],
        now: DateTime<Utc>,
    ) -> Result<(), String> {
        if !self.ct_logs.is_any() {
            return Ok(());
        }
        let der = leaf.certificate.to_der();
        let der = der.map_err(|_| "the certificate has no DER form")?;
        if self.ct_logs.check(&der, issuer, beside, now)? || !self.settings.require_sct {
            return Ok(());
        }
        Err("the certificate carries no signed certificate timestamp, and require_sct wants one".into())
    }
}

fn identity_of(
    backend: &KeyId,
    key: &PrivateKey,
    leaf: &Leaf,
    path: &[X509],
) -> Result<SigningIdentity, String> {
    let digits: String = key
        .public()
        .fingerprint()
        .to_hex()
        .chars()
        .take(KEY_ID_DIGITS)
        .collect();
    let certificate_chain = path
        .iter()
        .map(|certificate| to_pem(certificate))
        .collect::<Result<_, _>>()?;
    Ok(SigningIdentity {
        backend: backend.clone(),
        key_id: KeyId::parse(&digits).ok_or("the key has no fingerprint")?,
        mode: SigningMode::Keyless,
        algorithm: key.public().algorithm(),
        public_key_der: key.public().der().to_vec(),
        public_key_pem: key.public().pem().to_owned(),
        issuer: Some(leaf.issuer.clone()),
        subject: Some(leaf.subject.clone()),
        certificate_chain,
        leaf_der: Some(
            leaf.certificate
                .to_der()
                .map_err(|_| "the certificate has no DER form")?,
        ),
        certificate_serial: Some(leaf.serial.clone()),
        not_before: Some(leaf.not_before),
        not_after: Some(leaf.not_after),
    })
}

/// An ephemeral key with its certificate.
#[derive(Debug)]
struct FulcioKey {
    key: PrivateKey,
    identity: SigningIdentity,
    replace_at: DateTime<Utc>,
}

impl SigningKey for FulcioKey {
    fn identity(&self) -> &SigningIdentity {
        &self.identity
    }

    fn replace_at(&self) -> Option<DateTime<Utc>> {
        Some(self.replace_at)
    }

    fn sign(&self, warrant: Arc<SigningWarrant>) -> PortFuture<Result<Signature, BackendError>> {
        let signature = self.key.sign(&*warrant);
        Box::pin(ready(signature.map(Signature).map_err(BackendError::Failed)))
    }

    fn verify(&self, payload_type: &str, payload: &[u8], signature: &Signature) -> bool {
        self.key.public().verify(
            &Pae {
                payload_type,
                payload,
            },
            &signature.0,
        )
    }

    fn verify_always(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod retry_tests;
#[cfg(test)]
mod tests;
