//! `kind = "pkcs11"`

use std::path::PathBuf;

use super::super::error::Problem;
use super::super::reader::{Section, key, required};
use super::super::secret::{Secret, Use};

/// The longest label of a token, in bytes (`CK_TOKEN_INFO`).
const MAX_TOKEN: usize = 32;
/// The longest serial number, in bytes (`CK_TOKEN_INFO`).
const MAX_SERIAL: usize = 16;
/// The longest label of a key, in bytes.
const MAX_LABEL: usize = 255;
/// The longest id of a key, in bytes.
const MAX_ID: usize = 128;

/// A key on a token that speaks PKCS #11. A token and a key are named, each in one way or in two.
#[derive(Clone, Debug, PartialEq)]
pub struct Pkcs11 {
    /// The maker's library.
    pub module: PathBuf,
    /// Label of the token.
    pub token: Option<String>,
    /// Serial number of the token.
    pub serial: Option<String>,
    /// The user PIN.
    pub pin: Secret,
    /// Label of the private key.
    pub key_label: Option<String>,
    /// Id of the private key.
    pub key_id: Option<Vec<u8>>,
    /// Keys that can leave the token are accepted.
    pub allow_extractable: bool,
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Pkcs11> {
    let module = s.text(
        required(
            "module",
            "/usr/lib/softhsm/libsofthsm2.so",
            "The PKCS #11 library of the HSM: an absolute path. It runs inside the service.",
        ),
        |text, _| library(text),
    );
    let token = s.optional(
        key(
            "token",
            "",
            "Label of the token; it, serial, or both: exactly one token fits.",
        ),
        |text, _| name(text, MAX_TOKEN),
    );
    let serial = s.optional(key("serial", "", "Serial number of the token."), |text, _| {
        name(text, MAX_SERIAL)
    });
    let pin = s.needed_secret(
        required(
            "pin",
            "file:hsm.pin",
            "User PIN, by reference. One that the token refused is not tried again until it has changed.",
        ),
        Use::Text,
    );
    let key_label = s.optional(
        key(
            "key_label",
            "",
            "Label of the private key; it, key_id, or both: exactly one key fits.",
        ),
        |text, _| name(text, MAX_LABEL),
    );
    let key_id = s.optional(key("key_id", "", "Id of the private key, in hex."), |text, _| {
        id(text)
    });
    let allow_extractable = s.switch(key(
        "allow_extractable",
        false,
        "Accept a key that can leave the token encrypted (CKA_EXTRACTABLE), as some backups need it.",
    ));
    let (token, serial, key_label, key_id) = (token?, serial?, key_label?, key_id?);
    let named = check_names(
        s,
        token.is_some() || serial.is_some(),
        key_label.is_some() || key_id.is_some(),
    );
    Some(Pkcs11 {
        module: module?,
        token,
        serial,
        pin: pin?,
        key_label,
        key_id,
        allow_extractable: allow_extractable?,
    })
    .filter(|_| named)
}

fn check_names(s: &mut Section<'_>, token: bool, key: bool) -> bool {
    if !token {
        let remedy =
            "give the label of the token, its serial number, or both (pkcs11-tool --list-token-slots)";
        s.refuse("token", "is not set, nor is serial", remedy);
    }
    if !key {
        let remedy = "give the label of the key, its id, or both (pkcs11-tool --login --list-objects)";
        s.refuse("key_label", "is not set, nor is key_id", remedy);
    }
    token && key
}

fn library(text: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        return Ok(path);
    }
    let problem = format!("{text:?} is not an absolute path");
    Err(Problem::new(
        problem,
        "write the whole path: nothing is searched for it",
    ))
}

/// Labels may have blanks inside; tokens fill up with blanks at the end.
fn name(text: &str, most: usize) -> Result<String, Problem> {
    let fits = (1..=most).contains(&text.len()) && text.trim() == text && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(|| {
        let remedy = format!("use 1 to {most} bytes, without blanks at the ends and control characters");
        Problem::new(format!("{text:?} is not acceptable here"), remedy)
    })
}

fn id(text: &str) -> Result<Vec<u8>, Problem> {
    let id = hex::decode(text)
        .ok()
        .filter(|id| (1..=MAX_ID).contains(&id.len()));
    id.ok_or_else(|| {
        let remedy = format!("write 1 to {MAX_ID} bytes in hex, such as \"01\" or \"a1b2\"");
        Problem::new(format!("{text:?} is not an id"), remedy)
    })
}
