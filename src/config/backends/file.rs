//! `kind = "file"`

use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, KeyLife, KeyState};

use super::super::files::{self, PublicFile};
use super::super::pem;
use super::super::reader::{Section, key, required};
use super::super::secret::{Secret, Use};
use super::key_id;
use super::life;
use crate::crypto;

/// A key in a PEM file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileKey {
    /// Backend id and `keyId`.
    pub id: KeyId,
    /// The key.
    pub key: KeyMaterial,
    /// Its only algorithm. The key is of that kind.
    pub algorithm: Algorithm,
    /// RFC 6979 nonces (ECDSA only).
    pub deterministic: bool,
    /// Active, retired or revoked, and since when.
    pub life: KeyLife,
    /// Its public key, SubjectPublicKeyInfo, DER.
    pub public_key_der: Vec<u8>,
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum KeyMaterial {
    /// The private key; the passphrase when it is encrypted.
    Private {
        /// PEM.
        key: Secret,
        /// Opens it.
        passphrase: Option<Secret>,
    },
    /// The public key alone, PEM: of a key that signs no more.
    Public(PublicFile),
}

pub(super) fn read(s: &mut Section<'_>) -> Option<FileKey> {
    let id = s.text(
        required("id", "release-2026", "Id of the backend, and keyId in requests."),
        |text, _| key_id(text),
    );
    let private_doc = "Private key in PEM, by reference (file:release-2026.pem); its file must be readable by the \
        service's user alone.";
    let private = s.secret(key("key", "", private_doc), Use::PrivateKey);
    let passphrase = s.secret(
        key(
            "passphrase",
            "",
            "Passphrase of the private key, by reference. In production the key is encrypted.",
        ),
        Use::Text,
    );
    let public = s.optional(
        key(
            "public_key",
            "",
            "Public key in PEM, instead of key, for keys that are retired or revoked.",
        ),
        files::public,
    );
    let algorithm = life::algorithm(s);
    let deterministic = s.switch(key(
        "deterministic",
        false,
        "Nonces by RFC 6979, so that equal requests give equal signatures. For ECDSA; others do not need it.",
    ));
    let life = life::life(s)?;
    let material = material(s, life.state, private?, passphrase?, public?)?;
    let algorithm = algorithm?;
    let public_key_der = public_part(s, &material, algorithm)?;
    Some(FileKey {
        id: id?,
        key: material,
        algorithm,
        deterministic: deterministic?,
        life,
        public_key_der,
    })
}

fn material(
    s: &mut Section<'_>,
    state: KeyState,
    private: Option<Secret>,
    passphrase: Option<Secret>,
    public: Option<PublicFile>,
) -> Option<KeyMaterial> {
    match (private, public) {
        (Some(_), Some(_)) => {
            s.refuse(
                "public_key",
                "is set beside key",
                "keep one: key while the key is active, public_key afterwards",
            );
            None
        }
        (Some(key), None) => Some(KeyMaterial::Private { key, passphrase }),
        (None, Some(public)) if state != KeyState::Active => Some(KeyMaterial::Public(public)),
        (None, _) => {
            s.refuse(
                "key",
                "is not set",
                "refer to the private key with \"file:PATH\" or \"env:NAME\"",
            );
            None
        }
    }
}

fn public_part(s: &mut Section<'_>, material: &KeyMaterial, algorithm: Algorithm) -> Option<Vec<u8>> {
    let (name, found) = match material {
        KeyMaterial::Private { key, passphrase } => {
            if passphrase.is_none() {
                let remedy =
                    "encrypt it (openssl pkcs8 -topk8) and name its passphrase; fine for development";
                s.warn("key", "the private key is not encrypted", remedy);
            }
            let parsed = pem::private_key(key, passphrase.as_ref());
            (
                "key",
                parsed.map(|key| (crypto::fits(&key, algorithm), pem::spki(&key))),
            )
        }
        KeyMaterial::Public(file) => {
            let parsed = pem::public_key(file);
            (
                "public_key",
                parsed.map(|key| (crypto::fits(&key, algorithm), pem::spki(&key))),
            )
        }
    };
    match found {
        Ok((true, Some(spki))) => Some(spki),
        Ok(_) => {
            let problem = format!("is not a key for {algorithm}");
            s.refuse(
                name,
                problem,
                "set algorithm to what the key is for, or give the right key",
            );
            None
        }
        Err(problem) => {
            s.refuse(name, problem.problem, problem.remedy);
            None
        }
    }
}
