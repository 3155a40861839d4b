//! `[[signing.backends]]`: one table for each backend, told apart by `kind`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::signing::{Algorithm, KeyState, SigningMode};
use url::Url;

use super::error::Problem;
use super::files::{self, PublicFile};
use super::layers::Layers;
use super::reader::{Section, key, required};
use super::secret::{Secret, Use};
use super::{net, parse, pem};
use crate::crypto;

/// Kinds that this version has.
pub(crate) const KINDS: &[&str] = &["fulcio", "file"];

/// Kinds of the contract that this version does not have.
const LATER: &[&str] = &["pkcs11", "aws-kms", "vault-transit", "gcp-kms", "azure-kv"];

/// One signing backend.
#[derive(Clone, Debug)]
pub enum Backend {
    /// Ephemeral keys certified by Fulcio.
    Fulcio(Fulcio),
    /// A key in a PEM file.
    File(FileKey),
}

impl Backend {
    /// Its id, unique among backends.
    pub fn id(&self) -> &KeyId {
        match self {
            Self::Fulcio(fulcio) => &fulcio.id,
            Self::File(file) => &file.id,
        }
    }

    /// Keyless or keyful.
    pub fn mode(&self) -> SigningMode {
        match self {
            Self::Fulcio(_) => SigningMode::Keyless,
            Self::File(_) => SigningMode::Kms,
        }
    }

    /// True when it signs.
    pub fn is_active(&self) -> bool {
        match self {
            Self::Fulcio(_) => true,
            Self::File(file) => file.state == KeyState::Active,
        }
    }
}

/// Ephemeral keys certified by Fulcio.
#[derive(Clone, Debug)]
pub struct Fulcio {
    /// Backend id.
    pub id: KeyId,
    /// Base address of Fulcio.
    pub url: Url,
    /// Roots of its certificates, PEM.
    pub roots: PublicFile,
    /// OIDC identity token of the service. A file is read again for each certificate: such tokens are rotated.
    pub identity_token: Secret,
    /// OIDC issuer that the leaf must carry.
    pub expect_issuer: String,
    /// Subject alternative name that the leaf must carry.
    pub expect_subject: String,
    /// How long one certificate is used; never into its last 60 s, whatever this says.
    pub certificate_reuse: Duration,
    /// Time for one certificate.
    pub timeout: Duration,
}

/// A key in a PEM file.
#[derive(Clone, Debug)]
pub struct FileKey {
    /// Backend id and `keyId`.
    pub id: KeyId,
    /// The key.
    pub key: KeyMaterial,
    /// Its only algorithm. The key is of that kind.
    pub algorithm: Algorithm,
    /// RFC 6979 nonces (ECDSA only).
    pub deterministic: bool,
    /// Active, retired or revoked.
    pub state: KeyState,
    /// From when on its signatures count for nothing; present exactly when it is revoked.
    pub revoked_from: Option<DateTime<Utc>>,
    /// Its public key, SubjectPublicKeyInfo, DER.
    pub public_key_der: Vec<u8>,
}

/// What is known of a key.
#[derive(Clone, Debug)]
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

/// Reads one table.
pub(crate) fn read(s: &mut Section<'_>) -> Option<Backend> {
    let kind = required("kind", "fulcio", "fulcio or file.");
    match s.text(kind, |text, _| kind_of(text))? {
        "fulcio" => read_fulcio(s).map(Backend::Fulcio),
        _ => read_file(s).map(Backend::File),
    }
}

fn kind_of(text: &str) -> Result<&'static str, Problem> {
    if LATER.contains(&text) {
        return Err(Problem::new(
            format!("{text} is not available in this version"),
            "use kind fulcio, or kind file with an encrypted key",
        ));
    }
    let words: Vec<(&str, &'static str)> = KINDS.iter().map(|kind| (*kind, *kind)).collect();
    parse::choice(text, &words)
}

/// An id of a backend.
pub(crate) fn key_id(text: &str) -> Result<KeyId, Problem> {
    KeyId::parse(text).ok_or_else(|| {
        let problem = format!("{text:?} is not an id");
        Problem::new(problem, "use 1 to 128 characters of A-Z a-z 0-9 . _ -")
    })
}

fn read_fulcio(s: &mut Section<'_>) -> Option<Fulcio> {
    let id = s.text(required("id", "keyless", "Id of the backend."), |text, _| {
        key_id(text)
    });
    let url = s.text(
        required("url", "https://fulcio.example", "Base address of Fulcio."),
        net::url,
    );
    let roots = s.text(
        required(
            "roots",
            "fulcio-root.pem",
            "Root and intermediate certificates of Fulcio in PEM.",
        ),
        |text, layers| {
            let file = files::public(text, layers)?;
            pem::certificates(&file).map(|_| file)
        },
    );
    let identity_token = s.needed_secret(
        required(
            "identity_token",
            "file:identity.jwt",
            "OIDC token of the service for audience sigstore, by reference. A file is read again for each certificate.",
        ),
        Use::Text,
    );
    let expect_issuer = s.text(
        required(
            "expect_issuer",
            "https://authority.example",
            "OIDC issuer that the certificate must carry.",
        ),
        net::issuer,
    );
    let expect_subject = s.text(
        required(
            "expect_subject",
            "https://stellaops.example/signer",
            "Subject alternative name that the certificate must carry: the identity of this service.",
        ),
        |text, _| parse::visible(text, 1024),
    );
    let certificate_reuse = s.duration(
        key(
            "certificate_reuse",
            "5m",
            "How long one certificate and its key are used; never into the last 60 s of the certificate. 0s: once.",
        ),
        Duration::ZERO..=Duration::from_secs(3600),
    );
    let timeout = s.duration(
        key("timeout", "5s", "Time for obtaining one certificate."),
        Duration::from_millis(100)..=Duration::from_secs(60),
    );
    Some(Fulcio {
        id: id?,
        url: url?,
        roots: roots?,
        identity_token: identity_token?,
        expect_issuer: expect_issuer?,
        expect_subject: expect_subject?,
        certificate_reuse: certificate_reuse?,
        timeout: timeout?,
    })
}

fn read_file(s: &mut Section<'_>) -> Option<FileKey> {
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
    let algorithms = [
        Algorithm::EcdsaP256Sha256,
        Algorithm::EcdsaP384Sha384,
        Algorithm::Ed25519,
        Algorithm::RsaPssSha256,
        Algorithm::RsaPkcs1Sha256,
    ];
    let algorithm = s.choice(
        required(
            "algorithm",
            "ecdsa-p256-sha256",
            "ecdsa-p256-sha256, ecdsa-p384-sha384, ed25519, rsa-pss-sha256 or rsa-pkcs1-sha256. The key's only one.",
        ),
        &algorithms.map(|algorithm| (algorithm.as_str(), algorithm)),
    );
    let deterministic = s.switch(key(
        "deterministic",
        false,
        "Nonces by RFC 6979, so that equal requests give equal signatures. For ECDSA; others do not need it.",
    ));
    let state = s.choice(
        key(
            "state",
            "active",
            "active: signs; retired: verifies what it signed; revoked: see revoked_from.",
        ),
        &[
            ("active", KeyState::Active),
            ("retired", KeyState::Retired),
            ("revoked", KeyState::Revoked),
        ],
    );
    let revoked_from = s.optional(
        key(
            "revoked_from",
            "",
            "For a revoked key: the time, RFC 3339, from which its signatures count for nothing.",
        ),
        time,
    );
    let (state, revoked_from) = (state?, revoked_from?);
    check_state(s, state, revoked_from);
    let material = material(s, state, private?, passphrase?, public?)?;
    let algorithm = algorithm?;
    let public_key_der = public_part(s, &material, algorithm)?;
    Some(FileKey {
        id: id?,
        key: material,
        algorithm,
        deterministic: deterministic?,
        state,
        revoked_from,
        public_key_der,
    })
}

fn time(text: &str, _: &Layers) -> Result<DateTime<Utc>, Problem> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|time| time.with_timezone(&Utc));
    parsed.map_err(|_| {
        let problem = format!("{text:?} is not a time");
        Problem::new(problem, "write it as RFC 3339: \"2026-10-01T12:00:00Z\"")
    })
}

fn check_state(s: &mut Section<'_>, state: KeyState, revoked_from: Option<DateTime<Utc>>) {
    match (state, revoked_from) {
        (KeyState::Revoked, None) => {
            s.refuse(
                "revoked_from",
                "is not set though the key is revoked",
                "give the time of the compromise",
            );
        }
        (KeyState::Active | KeyState::Retired, Some(_)) => {
            s.refuse(
                "revoked_from",
                "is set though the key is not revoked",
                "set state = \"revoked\", or remove it",
            );
        }
        _ => {}
    }
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
