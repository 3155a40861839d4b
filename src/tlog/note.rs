//! Signed notes (C2SP signed-note) with Ed25519 signatures, type `0x01`.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sha::sha256;
use openssl::sign::{Signer, Verifier};

use crate::openssl_errors;

/// Signature type of Ed25519.
const ED25519: u8 = 1;
/// Before every signature line: em dash and space.
const DASH: &str = "\u{2014} ";
/// The longest note that is looked at, in bytes.
const MAX_NOTE_BYTES: usize = 128 * 1024;
/// The most signatures of a note that are looked at (at least 16 must be accepted).
const MAX_SIGNATURES: usize = 64;

/// Why a note does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// It is no note.
    #[error("it is not a signed note")]
    Malformed,
    /// The key that is trusted has not signed it.
    #[error("it carries no signature of the key that is trusted")]
    Unsigned,
    /// A signature in the trusted key's name does not hold.
    #[error("its signature does not hold")]
    Forged,
}

/// True if it can be the name of a key: not empty, no Unicode spaces, no plus sign, no control characters.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// The public half: whoever has it can verify notes of this name.
#[derive(Clone)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    raw: [u8; 32],
    key: PKey<Public>,
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifierKey").field(&self.to_string()).finish()
    }
}

impl PartialEq for VerifierKey {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.raw == other.raw
    }
}

/// `<name>+<hex of the key id>+<base64 of type and key>`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![ED25519];
        material.extend_from_slice(&self.raw);
        let (id, material) = (hex::encode(self.id), BASE64_STANDARD.encode(material));
        write!(f, "{}+{id}+{material}", self.name)
    }
}

impl VerifierKey {
    /// A key of 32 bytes (RFC 8032 §5.1.5) under a name; `None` if the name cannot be one, or OpenSSL refuses the key.
    pub fn new(name: &str, raw: [u8; 32]) -> Option<Self> {
        let key = PKey::public_key_from_raw_bytes(&raw, Id::ED25519).ok()?;
        is_key_name(name).then(|| Self {
            name: name.to_owned(),
            id: key_id(name, &raw),
            raw,
            key,
        })
    }

    /// Reads its text form; `None` if it is none, of another type, or its id is not the key's.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '+');
        let (name, id, material) = (parts.next()?, parts.next()?, parts.next()?);
        let material = BASE64_STANDARD.decode(material).ok()?;
        let (ED25519, raw) = material.split_first().map(|(kind, raw)| (*kind, raw))? else {
            return None;
        };
        let key = Self::new(name, raw.try_into().ok()?)?;
        (hex::encode(key.id) == id).then_some(key)
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key has signed. Signatures of other keys are ignored, as they must be.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let (text, signatures) = split(note)?;
        let mut signed = false;
        for (count, line) in signatures.split_terminator('\n').enumerate() {
            let (name, signature) = signature_line(line).ok_or(NoteError::Malformed)?;
            if count >= MAX_SIGNATURES {
                return Err(NoteError::Malformed);
            }
            if name == self.name
                && let Some(signature) = signature.strip_prefix(&self.id)
            {
                if !self.verifies(text, signature) {
                    return Err(NoteError::Forged);
                }
                signed = true;
            }
        }
        if signed {
            Ok(text)
        } else {
            Err(NoteError::Unsigned)
        }
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let verified = Verifier::new_without_digest(&self.key)
            .and_then(|mut verifier| verifier.verify_oneshot(signature, text.as_bytes()))
            .unwrap_or(false);
        if !verified {
            openssl_errors::forget();
        }
        verified
    }
}

/// The text of a note, believed of no one: for what is only displayed, or compared with what is known.
pub fn unverified_text(note: &str) -> Result<&str, NoteError> {
    let (text, signatures) = split(note)?;
    let mut lines = signatures.split_terminator('\n');
    if lines.all(|line| signature_line(line).is_some()) {
        Ok(text)
    } else {
        Err(NoteError::Malformed)
    }
}

/// Text with its final newline, and signature lines: separated by the last empty line.
fn split(note: &str) -> Result<(&str, &str), NoteError> {
    let control = |c: char| c < ' ' && c != '\n';
    if note.len() > MAX_NOTE_BYTES || note.contains(control) {
        return Err(NoteError::Malformed);
    }
    let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
    let (text, rest) = note.split_at_checked(at + 1).ok_or(NoteError::Malformed)?;
    let signatures = rest.strip_prefix('\n').unwrap_or_default();
    if signatures.ends_with('\n') {
        Ok((text, signatures))
    } else {
        Err(NoteError::Malformed)
    }
}

/// Name, and key id with signature.
fn signature_line(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix(DASH)?.split_once(' ')?;
    let signature = BASE64_STANDARD.decode(signature).ok()?;
    (is_key_name(name) && signature.len() > 4).then_some((name, signature))
}

/// `SHA-256(name || 0x0A || 0x01 || key)[:4]`.
fn key_id(name: &str, raw: &[u8; 32]) -> [u8; 4] {
    let mut text = name.as_bytes().to_vec();
    text.extend_from_slice(&[b'\n', ED25519]);
    text.extend_from_slice(raw);
    let [a, b, c, d, ..] = sha256(&text);
    [a, b, c, d]
}

/// The private half.
pub struct NoteSigner {
    key: PKey<Private>,
    verifier: VerifierKey,
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoteSigner").field(&self.verifier).finish()
    }
}

impl NoteSigner {
    /// Signs in this name. The error names no key material.
    pub fn new(name: &str, key: PKey<Private>) -> Result<Self, String> {
        if key.id() != Id::ED25519 {
            return Err("is not an Ed25519 key: make one with openssl genpkey -algorithm ed25519".into());
        }
        let raw = key.raw_public_key().ok().and_then(|raw| raw.try_into().ok());
        let verifier = raw.and_then(|raw| VerifierKey::new(name, raw));
        let verifier = verifier.ok_or("has no public half under this name")?;
        Ok(Self { key, verifier })
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The note of a text, which must end with a newline.
    pub fn sign(&self, text: &str) -> Result<String, String> {
        let failed = |_| "the checkpoint key did not sign".to_owned();
        if !text.ends_with('\n') {
            return Err("a note's text ends with a newline".into());
        }
        let mut signer = Signer::new_without_digest(&self.key).map_err(failed)?;
        let signature = signer.sign_oneshot_to_vec(text.as_bytes()).map_err(failed)?;
        let mut material = self.verifier.id.to_vec();
        material.extend_from_slice(&signature);
        let (name, material) = (&self.verifier.name, BASE64_STANDARD.encode(material));
        Ok(format!("{text}\n{DASH}{name} {material}\n"))
    }
}
