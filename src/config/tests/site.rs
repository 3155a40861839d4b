//! A folder with every file that the examples name.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::symm::Cipher;
use openssl::x509::X509;
use tempfile::TempDir;

use crate::config::{ConfigError, ConfigFile, FlagValue, Inputs, Settings, load};

pub(super) const PASSPHRASE: &[u8] = b"correct horse";

/// Keys, certificates and tokens in a temporary folder.
pub(in crate::config) struct Site {
    pub(super) folder: TempDir,
    pub(super) variables: Vec<(String, String)>,
    pub(super) flags: Vec<FlagValue>,
}

pub(super) fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("P-256");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

fn certificate(key: &PKey<Private>) -> Vec<u8> {
    let mut builder = X509::builder().expect("a builder");
    builder.set_pubkey(key).expect("a key");
    builder
        .set_not_before(&Asn1Time::days_from_now(0).expect("now"))
        .expect("set");
    builder
        .set_not_after(&Asn1Time::days_from_now(1).expect("tomorrow"))
        .expect("set");
    builder.sign(key, MessageDigest::sha256()).expect("signed");
    builder.build().to_pem().expect("PEM")
}

/// A JWK set with one P-256 key.
pub(super) fn jwks(key: &PKey<Private>) -> String {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    // The last 64 bytes of a P-256 SubjectPublicKeyInfo are x and y (RFC 5480 §2.2).
    let spki = key.public_key_to_der().expect("DER");
    let (x, y) = spki[spki.len() - 64..].split_at(32);
    format!(
        r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"1","x":"{}","y":"{}"}}]}}"#,
        encode(x),
        encode(y)
    )
}

impl Site {
    pub(in crate::config) fn new() -> Self {
        let site = Self {
            folder: TempDir::new().expect("a folder"),
            variables: vec![
                ("REGISTRY_PASSWORD".to_owned(), "password".to_owned()),
                ("RELEASE_2026_PASSPHRASE".to_owned(), "correct horse".to_owned()),
            ],
            flags: Vec::new(),
        };
        let server = p256();
        site.write("server.pem", &certificate(&server));
        site.private("server.key", &server);
        site.private("signing.pem", &p256());
        let encrypted = p256().private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), PASSPHRASE);
        site.write("release-2026.pem", &encrypted.expect("PEM"));
        for name in ["release.pub", "release-2025.pub", "rekor.pub"] {
            site.write(name, &p256().public_key_to_pem().expect("PEM"));
        }
        for name in ["clients-ca.pem", "fulcio-root.pem"] {
            site.write(name, &certificate(&p256()));
        }
        for name in ["authority-jwks.json", "licensing-jwks.json"] {
            site.write(name, jwks(&p256()).as_bytes());
        }
        site.write("licensing.token", b"token\n");
        site.write("identity.jwt", b"a.b.c\n");
        site.private("audit.key", &PKey::generate_ed25519().expect("a key"));
        site
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file that only its owner may read.
    pub(super) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path().join(name), content).expect("written");
        self.chmod(name, 0o600);
    }

    pub(in crate::config) fn private(&self, name: &str, key: &PKey<Private>) {
        self.write(name, &key.private_key_to_pem_pkcs8().expect("PEM"));
    }

    pub(super) fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path().join(name), Permissions::from_mode(mode)).expect("changed");
    }

    pub(super) fn set(&mut self, variable: &str, value: &str) {
        self.variables.push((variable.to_owned(), value.to_owned()));
    }

    pub(in crate::config) fn load(&self, text: &str) -> Result<Settings, Vec<ConfigError>> {
        load(Inputs {
            file: Some(ConfigFile::Text {
                text: text.to_owned(),
                folder: self.path().to_owned(),
            }),
            environment: self
                .variables
                .iter()
                .map(|(name, value)| (OsString::from(name), OsString::from(value)))
                .collect(),
            flags: self.flags.clone(),
        })
    }

    /// Loads a configuration that must be wrong; its errors as `key: problem; remedy`.
    pub(super) fn errors(&self, text: &str) -> Vec<String> {
        let errors = self.load(text).expect_err("a configuration with errors");
        errors
            .into_iter()
            .map(|error| format!("{}: {}; {}", error.key, error.problem, error.remedy))
            .collect()
    }
}
