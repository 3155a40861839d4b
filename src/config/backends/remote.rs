//! What every key has that another process or a device holds.

use std::time::Duration;

use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, KeyLife};

use super::super::files::{self, PublicFile};
use super::super::pem;
use super::super::reader::{Section, key, required};
use super::aws::{self, Aws};
use super::azure::{self, Azure};
use super::gcp::{self, Gcp};
use super::key_id;
use super::life;
use super::pkcs11::{self, Pkcs11};
use super::vault::{self, Vault};
use crate::crypto;

/// A key that another process or a device holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// Backend id and `keyId`.
    pub id: KeyId,
    /// Where it is.
    pub service: Service,
    /// The pinned public key: what is there must be its private half.
    pub public_key: PublicFile,
    /// The same, SubjectPublicKeyInfo, DER.
    pub public_key_der: Vec<u8>,
    /// Its only algorithm.
    pub algorithm: Algorithm,
    /// Time for one signature, and for signing in.
    pub timeout: Duration,
    /// Signatures at once.
    pub concurrency: usize,
    /// Active, retired or revoked, and since when.
    pub life: KeyLife,
}

/// Where such a key is.
#[derive(Clone, Debug, PartialEq)]
pub enum Service {
    /// The transit engine of Vault or OpenBao.
    Vault(Vault),
    /// AWS KMS.
    Aws(Aws),
    /// Google Cloud KMS.
    Gcp(Gcp),
    /// Azure Key Vault or Managed HSM.
    Azure(Azure),
    /// A token that speaks PKCS #11.
    Pkcs11(Pkcs11),
}

/// Reads one table; `kind` is one of those that this knows.
pub(super) fn read(s: &mut Section<'_>, kind: &str) -> Option<Remote> {
    let id = s.text(
        required("id", "release-2026", "Id of the backend, and keyId in requests."),
        |text, _| key_id(text),
    );
    let service = match kind {
        "aws-kms" => aws::read(s).map(Service::Aws),
        "gcp-kms" => gcp::read(s).map(Service::Gcp),
        "azure-kv" => azure::read(s).map(Service::Azure),
        "pkcs11" => pkcs11::read(s).map(Service::Pkcs11),
        _ => vault::read(s).map(Service::Vault),
    };
    let public_key = s.text(
        required(
            "public_key",
            "release-2026.pub",
            "Public key in PEM, as exported from there: whatever signs must be its private half.",
        ),
        files::public,
    );
    let algorithm = life::algorithm(s);
    let timeout = s.duration(
        key(
            "timeout",
            "5s",
            "Time for one signature, waiting for its turn included, and for signing in.",
        ),
        Duration::from_millis(100)..=Duration::from_secs(60),
    );
    let concurrency = s.integer(
        key(
            "concurrency",
            32,
            "Signatures at once; others wait for their turn.",
        ),
        1..=1024,
    );
    let life = life::life(s)?;
    let (public_key, algorithm) = (public_key?, algorithm?);
    let public_key_der = pinned(s, &public_key, algorithm)?;
    check_algorithm(s, service.as_ref(), algorithm)?;
    Some(Remote {
        id: id?,
        service: service?,
        public_key,
        public_key_der,
        algorithm,
        timeout: timeout?,
        concurrency: concurrency?,
        life,
    })
}

/// Ed25519 hashes twice, so everything travels: not every service takes it, nor as much as statements may have.
fn check_algorithm(s: &mut Section<'_>, service: Option<&Service>, algorithm: Algorithm) -> Option<()> {
    let ed25519 = algorithm == Algorithm::Ed25519;
    let remedy = "use a key for ECDSA, which gets a digest";
    match service {
        Some(Service::Azure(_)) if ed25519 => {
            s.refuse(
                "algorithm",
                "is ed25519, which Azure Key Vault does not have",
                remedy,
            );
            return None;
        }
        Some(Service::Aws(_)) if ed25519 => {
            let problem = "AWS KMS signs at most 4096 bytes with ed25519, and statements are often longer";
            s.warn("algorithm", problem, remedy);
        }
        Some(Service::Gcp(_)) if ed25519 => {
            let problem = "Cloud KMS signs at most 64 KiB with ed25519, and statements may be longer";
            s.warn("algorithm", problem, remedy);
        }
        _ => {}
    }
    Some(())
}

fn pinned(s: &mut Section<'_>, file: &PublicFile, algorithm: Algorithm) -> Option<Vec<u8>> {
    let key = match pem::public_key(file) {
        Ok(key) => key,
        Err(problem) => {
            s.refuse("public_key", problem.problem, problem.remedy);
            return None;
        }
    };
    if !crypto::fits(&key, algorithm) {
        let remedy = "set algorithm to what the key is for, or give the right key";
        s.refuse("public_key", format!("is not a key for {algorithm}"), remedy);
        return None;
    }
    pem::spki(&key)
}
