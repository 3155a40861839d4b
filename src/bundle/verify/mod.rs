//! Offline verification: what `signer verify` and `POST /verify/dsse` answer.
//!
//! Every check is listed with its outcome; a document is verified when all of them hold. Without trust nothing is
//! verified: a key that comes along with a signature proves integrity only.

mod input;
mod statement;
mod timestamps;
mod trust;

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use openssl::pkey::{PKey, Public};
use openssl::x509::X509;
use serde::Serialize;
use serde_json::value::RawValue;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::envelope::PAYLOAD_TYPE;
use signer_actors::domain::signing::KeyState;

pub use self::input::MAX_DOCUMENT_BYTES;
pub use self::trust::{MAX_TRUST_BYTES, Trust};
use super::envelope::{Content, Envelope};
use super::sigstore::{SigstoreBundle, key_hint};
use crate::crypto::{Pae, PublicKey, parse_public_pem};
use crate::x509::Leaf;
use input::{Input, Signer};
use trust::TrustedKey;

/// What a verification compares with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The present.
    pub now: DateTime<Utc>,
    /// When the signature was made, as the verifier knows from elsewhere; a timestamp that verifies says it better.
    pub at: Option<DateTime<Utc>>,
    /// The OIDC issuer that a certificate must name.
    pub expect_issuer: Option<String>,
    /// The subject alternative name that a certificate must have.
    pub expect_subject: Option<String>,
    /// A digest that one of the subjects must have, `algorithm:hex`.
    pub subject_digest: Option<String>,
    /// For a bare envelope: the key that must have signed it. It adds no trust.
    pub public_key: Option<GivenKey>,
}

/// A public key of the asker's own.
#[derive(Clone, Debug)]
pub struct GivenKey {
    keys: Arc<[PublicKey]>,
    hint: String,
}

impl GivenKey {
    /// Reads SubjectPublicKeyInfo in PEM.
    ///
    /// # Errors
    /// It is none, or of no kind that signs here.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let keys = PublicKey::every_pin(&parse_public_pem(pem)?)?;
        let first = keys
            .first()
            .ok_or("the public key's kind, curve or size is not supported")?;
        let hint = key_hint(first.der());
        Ok(Self {
            keys: keys.into(),
            hint,
        })
    }
}

/// The moment at which a signature is judged, and how it is known.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Present(DateTime<Utc>),
    /// The verifier says so.
    Given(DateTime<Utc>),
    /// A timestamp does: the signature was there then, or up to so much later.
    Proven(DateTime<Utc>, TimeDelta),
}

impl Moment {
    fn time(self) -> DateTime<Utc> {
        let (Self::Present(time) | Self::Given(time) | Self::Proven(time, _)) = self;
        time
    }

    /// The latest that it may have been.
    fn latest(self) -> DateTime<Utc> {
        match self {
            Self::Proven(time, accuracy) => time.checked_add_signed(accuracy).unwrap_or(time),
            Self::Present(time) | Self::Given(time) => time,
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::Present(_) => "now",
            Self::Given(_) => "as given, not proven",
            Self::Proven(..) => "proven by a timestamp",
        }
    }
}

impl Options {
    /// Compares with the present and expects nothing further.
    pub fn at_present(now: DateTime<Utc>) -> Self {
        Self {
            now,
            at: None,
            expect_issuer: None,
            expect_subject: None,
            subject_digest: None,
            public_key: None,
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

impl Check {
    fn new(name: &'static str, ok: bool, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { name, ok, detail }
    }

    fn of(name: &'static str, outcome: Result<String, String>) -> Self {
        match outcome {
            Ok(detail) => Self::new(name, true, detail),
            Err(detail) => Self::new(name, false, detail),
        }
    }
}

/// The outcome (contract §2.4).
#[derive(Debug, Serialize)]
pub struct Report {
    /// True when every check holds.
    pub verified: bool,
    /// Every check, in order.
    pub checks: Vec<Check>,
    /// The statement as signed, when it can be read.
    pub statement: Option<Box<RawValue>>,
}

/// Something signed, taken apart.
#[derive(Debug)]
pub struct Document(Input);

impl Document {
    /// Reads an envelope, a Sigstore bundle, or an answer of `POST /sign/dsse`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        input::parse(text).map(Self)
    }

    /// A bare envelope.
    pub fn envelope(envelope: Envelope) -> Self {
        Self(input::bare(envelope))
    }

    /// A Sigstore bundle.
    ///
    /// # Errors
    /// It names no signer, or its certificate cannot be read.
    pub fn bundle(bundle: SigstoreBundle) -> Result<Self, String> {
        input::from_sigstore(bundle).map(Self)
    }

    /// Runs every check.
    pub fn verify(self, trust: Option<&Trust>, options: &Options) -> Report {
        judge(self.0, trust, options)
    }
}

/// Verifies a document. An error means that it is none of the forms known.
pub fn verify(document: &[u8], trust: Option<&Trust>, options: &Options) -> Result<Report, String> {
    Ok(Document::parse(document)?.verify(trust, options))
}

fn judge(input: Input, trust: Option<&Trust>, options: &Options) -> Report {
    let mut checks = vec![Check::new("document", true, input.kind)];
    let content = match input.envelope.decode() {
        Ok(content) => content,
        Err(detail) => {
            checks.push(Check::new("envelope", false, detail));
            return report(checks, None);
        }
    };
    checks.push(payload_type(&content));
    checks.extend(consistency(&input, &content));
    let (proven, stamped) = timestamps::check(&input.timestamps, &content.signature, trust, options.now);
    let moment = match (proven, options.at) {
        (Some(proven), _) => proven,
        (None, Some(at)) => Moment::Given(at),
        (None, None) => Moment::Present(options.now),
    };
    match (trust, &input.signer) {
        (None, _) => untrusted(&input, &content, &mut checks),
        (Some(trust), Signer::Certificate(leaf)) => {
            let asked = (trust, options, moment);
            keyless(leaf, &input.helpers, asked, &content, &mut checks);
        }
        (Some(trust), Signer::Key(hint)) => keyful(Some(hint), trust, moment, &content, &mut checks),
        (Some(trust), Signer::Unnamed) => {
            let given = options.public_key.as_ref();
            checks.extend(given.map(|given| by_given_key(given, &content)));
            keyful(
                given.map(|given| &given.hint),
                trust,
                moment,
                &content,
                &mut checks,
            );
        }
    }
    checks.extend(stamped);
    checks.extend(witnesses(&input));
    let statement = statement::check(&content.payload, options.subject_digest.as_deref(), &mut checks);
    report(checks, statement)
}

fn report(checks: Vec<Check>, statement: Option<Box<RawValue>>) -> Report {
    Report {
        verified: checks.iter().all(|check| check.ok),
        checks,
        statement,
    }
}

fn payload_type(content: &Content) -> Check {
    let ok = content.payload_type == PAYLOAD_TYPE;
    let detail = if ok {
        PAYLOAD_TYPE.to_owned()
    } else {
        format!("the payload type is not {PAYLOAD_TYPE}")
    };
    Check::new("payloadType", ok, detail)
}

/// What an answer says twice must be said alike.
fn consistency(input: &Input, content: &Content) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(claimed) = &input.claimed_digest {
        let ok = *claimed == Sha256Digest::of(&content.payload).to_hex();
        let detail = if ok {
            "the payload has the digest stated"
        } else {
            "the payload has another digest than stated"
        };
        checks.push(Check::new("statementDigest", ok, detail));
    }
    if !input.consistent {
        let detail = "the answer's envelope and its Sigstore bundle are not of one signature";
        checks.push(Check::new("sigstoreBundle", false, detail));
    }
    checks
}

/// Nothing to trust: the document's own key shows at best that it is intact.
fn untrusted(input: &Input, content: &Content, checks: &mut Vec<Check>) {
    let advice = "no trust was given: pass the signer's public key, its published keys or a TrustedRoot";
    checks.push(Check::new("trust", false, advice));
    let own = match (&input.signer, &input.own_key) {
        (Signer::Certificate(leaf), _) => leaf.public_key().ok().map(|key| every_pin(&key)),
        (_, Some(pem)) => {
            let mut trust = Trust::default();
            trust.add_public_key(pem.as_bytes()).ok();
            trust.keys.pop().map(|key| key.keys)
        }
        _ => None,
    };
    if let Some(keys) = own {
        checks.push(signature(
            &keys,
            content,
            "by the key that the document itself names",
        ));
    }
}

/// A key that the asker brings along shows at best that the envelope is whole.
fn by_given_key(given: &GivenKey, content: &Content) -> Check {
    let ok = verifies(&given.keys, content);
    let detail = if ok {
        "the signature is by the key that was given; that alone does not say whose it is"
    } else {
        "the signature does not fit the payload and the key that was given"
    };
    Check::new("publicKey", ok, detail)
}

fn keyful(hint: Option<&String>, trust: &Trust, moment: Moment, content: &Content, checks: &mut Vec<Check>) {
    let named = |key: &&TrustedKey| {
        hint.is_none_or(|hint| key.keys.first().is_some_and(|key| key_hint(key.der()) == *hint))
    };
    let candidates: Vec<&TrustedKey> = trust.keys.iter().filter(named).collect();
    if candidates.is_empty() {
        let detail = match hint {
            Some(_) => "the key that is named is not trusted",
            None => {
                "the document has no certificate, and no public key is trusted: pass --trust with the key (PEM or GET /trust/keys)"
            }
        };
        checks.push(Check::new("key", false, detail));
        return;
    }
    let signer = candidates.iter().find(|key| verifies(&key.keys, content));
    let Some(signer) = signer else {
        checks.push(Check::new(
            "signature",
            false,
            "the signature is by none of the trusted keys",
        ));
        return;
    };
    checks.push(Check::new("signature", true, format!("by {}", signer.name)));
    checks.push(Check::of("key", key_state(signer, moment)));
}

/// Whether a key's state and validity let it vouch for this signature (contract §7). The time of a signature that no
/// timestamp proves is what the verifier says it is; without that a key that signs no more does not vouch.
fn key_state(key: &TrustedKey, moment: Moment) -> Result<String, String> {
    let name = &key.name;
    let unproven = "and no timestamp proves when it signed: pass --at with the time of signing";
    match (key.state, moment) {
        (KeyState::Retired, Moment::Present(_)) => return Err(format!("{name} is retired, {unproven}")),
        (KeyState::Revoked, Moment::Present(_)) => return Err(format!("{name} is revoked, {unproven}")),
        (KeyState::Revoked, moment) if key.revoked_from.is_none_or(|from| moment.latest() >= from) => {
            return Err(format!("{name} is revoked for signatures of that time"));
        }
        // Whoever still has its private half could have any number of timestamps made since.
        (KeyState::Retired, _) if key.valid_for.end.is_none() => {
            let remedy = "get the published keys anew";
            return Err(format!(
                "{name} is retired, and nothing says since when: {remedy}"
            ));
        }
        _ => {}
    }
    let (when, how) = (moment.time(), moment.how());
    if let Some(end) = key.valid_for.end.filter(|end| moment.latest() > *end) {
        let (end, when) = (show(end), show(moment.latest()));
        return Err(format!(
            "{name} signs no more since {end}: not valid at {when} ({how})"
        ));
    }
    if !key.valid_for.contains(when) {
        return Err(format!("{name} is not valid at {}", show(when)));
    }
    Ok(match moment {
        Moment::Present(_) => format!("{name} is active"),
        _ => format!("{name} is valid at {} ({how})", show(when)),
    })
}

fn keyless(
    leaf: &X509,
    helpers: &[X509],
    (trust, options, moment): (&Trust, &Options, Moment),
    content: &Content,
    checks: &mut Vec<Check>,
) {
    let leaf = match Leaf::read(leaf.clone()) {
        Ok(leaf) => leaf,
        Err(detail) => return checks.push(Check::new("certificate", false, detail)),
    };
    // The path is judged inside the leaf's life, so that a foreign authority and an expired leaf are told apart.
    let when = moment.time();
    let inside = leaf.not_before <= when && when < leaf.not_after;
    let judged = if inside { when } else { leaf.not_before };
    checks.push(Check::of("certificate", path(&leaf, helpers, trust, judged)));
    checks.push(Check::of("certificateValidity", validity(&leaf, inside, moment)));
    checks.push(Check::of("identity", identity(&leaf, trust, options)));
    checks.push(signature(
        &every_pin(&leaf.public_key),
        content,
        "by the certificate's key",
    ));
}

fn path(leaf: &Leaf, helpers: &[X509], trust: &Trust, at: DateTime<Utc>) -> Result<String, String> {
    let mut reason = "no certificate authority is trusted: pass --trust with a TrustedRoot".to_owned();
    for trusted in &trust.authorities {
        if !trusted.valid_for.contains(at) {
            reason = format!("the certificate authority is not trusted at {}", show(at));
            continue;
        }
        match trusted.authorities.verify(&leaf.certificate, helpers, at) {
            Ok(path) => {
                return Ok(format!(
                    "leads to a trusted root over {} certificates",
                    path.len()
                ));
            }
            Err(detail) => reason = detail,
        }
    }
    Err(reason)
}

fn validity(leaf: &Leaf, inside: bool, moment: Moment) -> Result<String, String> {
    let (from, to) = (show(leaf.not_before), show(leaf.not_after));
    match (inside, moment) {
        (true, Moment::Present(_)) => Ok(format!("valid now, until {to}")),
        (true, moment) => Ok(format!("valid at {} ({})", show(moment.time()), moment.how())),
        (false, Moment::Present(now)) if now < leaf.not_before => Err(format!("not valid before {from}")),
        (false, Moment::Present(_)) => Err(format!(
            "certificate expired at {to}, and no timestamp proves when it signed: pass --at with the time of signing"
        )),
        (false, moment) => Err(format!(
            "not valid at {} ({}): it is from {from} to {to}",
            show(moment.time()),
            moment.how()
        )),
    }
}

fn identity(leaf: &Leaf, trust: &Trust, options: &Options) -> Result<String, String> {
    let issuer = options.expect_issuer.as_deref();
    let subject = options.expect_subject.as_deref();
    let found = format!("{} by {}", leaf.subject, leaf.issuer);
    if issuer.is_some_and(|issuer| issuer != leaf.issuer)
        || subject.is_some_and(|subject| subject != leaf.subject)
    {
        return Err(format!("{found} is not the expected identity"));
    }
    let known = |(issuer, subject): &(String, String)| *issuer == leaf.issuer && *subject == leaf.subject;
    let own = trust.identities.iter().any(known);
    if !own && !trust.identities.is_empty() {
        return Err(format!("{found} is not an identity that is trusted"));
    }
    Ok(if own || issuer.is_some() && subject.is_some() {
        found
    } else {
        format!("{found} (compare it yourself)")
    })
}

/// The key as it may have been used; none when it is of no kind that signs.
fn every_pin(pkey: &PKey<Public>) -> Vec<PublicKey> {
    PublicKey::every_pin(pkey).unwrap_or_default()
}

fn verifies(keys: &[PublicKey], content: &Content) -> bool {
    let pae = Pae {
        payload_type: &content.payload_type,
        payload: &content.payload,
    };
    keys.iter().any(|key| key.verify(&pae, &content.signature))
}

fn signature(keys: &[PublicKey], content: &Content, by: &str) -> Check {
    let ok = verifies(keys, content);
    let detail = if ok {
        by.to_owned()
    } else {
        "the signature does not fit the payload and the key".to_owned()
    };
    Check::new("signature", ok, detail)
}

/// What came along and is not judged here.
fn witnesses(input: &Input) -> Vec<Check> {
    let mut checks = Vec::new();
    if input.log_entries > 0 {
        let detail = format!(
            "{} present, not verified here (information only)",
            input.log_entries
        );
        checks.push(Check::new("transparencyLog", true, detail));
    }
    checks
}

fn show(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod timestamp_tests;
