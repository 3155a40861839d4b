//! A release key, an image, and what else the targets about releases share.

use std::sync::LazyLock;

use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use signer::adapters::registry::reading::Verifier;
use signer::adapters::registry::{Repository, Settings};
use signer_actors::domain::digest::ImageDigest;

/// The image that signatures are about: that of the adapter's own test data.
pub const IMAGE: &str = "sha256:9fc99f15a5df75173da85585aaf5ffbc00a7bd0d2a2099179dc465f8ffdad4c9";

/// The release key, and one that nobody trusts.
pub static KEYS: LazyLock<[PKey<Private>; 2]> = LazyLock::new(|| [new_key(), new_key()]);

/// An ECDSA key on P-256.
pub fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

/// Believes the release key alone.
pub static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let repository = Repository::parse("registry.example/a").expect("a repository");
    let mut settings = Settings::new(vec![repository]);
    settings.keys = vec![KEYS[0].public_key_to_pem().expect("PEM")];
    Verifier::new(&settings).expect("a policy")
});

/// [`IMAGE`], parsed.
pub fn image() -> ImageDigest {
    ImageDigest::parse(IMAGE).expect("a digest")
}

/// An image that nobody signs.
pub fn other_image() -> ImageDigest {
    ImageDigest::parse(&format!("sha256:{}", "0".repeat(64))).expect("a digest")
}

/// ECDSA with SHA-256, DER, base64.
pub fn sign(key: &PKey<Private>, message: &[u8]) -> String {
    let mut signer = Signer::new(MessageDigest::sha256(), key).expect("a signer");
    openssl::base64::encode_block(&signer.sign_oneshot_to_vec(message).expect("a signature"))
}
