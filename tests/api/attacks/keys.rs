//! Keys of every kind, made once: more of them than of services.

use std::sync::LazyLock;

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use serde_json::{Value, json};

use crate::support::{Draft, Mint, World, jwk, p256};

/// The Authority's other keys, by the ids `kinds-<alg>`.
pub(crate) static KINDS: LazyLock<[(&str, PKey<Private>); 3]> = LazyLock::new(|| {
    [
        ("ES384", p384()),
        ("EdDSA", PKey::generate_ed25519().unwrap()),
        ("PS256", rsa(2048)),
    ]
});

/// Keys of a caller, one of each kind.
pub(crate) static CALLERS: LazyLock<[(&str, PKey<Private>); 4]> = LazyLock::new(|| {
    [
        ("ES256", p256()),
        ("ES384", p384()),
        ("EdDSA", PKey::generate_ed25519().unwrap()),
        ("PS256", rsa(2048)),
    ]
});

/// Someone who holds nothing but what was stolen.
pub(crate) static THIEF: LazyLock<PKey<Private>> = LazyLock::new(p256);

pub(crate) fn p384() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

/// The key set with all of them.
pub(crate) fn authority(world: &World) -> Value {
    let mut set = Mint::jwks(&world.mint.authority, "authority-1");
    for (alg, key) in KINDS.iter() {
        let mut public = jwk(key);
        public["kid"] = json!(format!("kinds-{alg}"));
        set["keys"].as_array_mut().unwrap().push(public);
    }
    set
}

/// Signed by the Authority's key of this kind.
pub(crate) fn by_kind(token: &mut Draft, alg: &str) {
    let (_, key) = KINDS.iter().find(|(kind, _)| *kind == alg).unwrap();
    token.header["kid"] = json!(format!("kinds-{alg}"));
    token.by(key);
}
