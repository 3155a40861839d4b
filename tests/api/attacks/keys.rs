//! Keys of every kind, made once: more of them than of services.

use std::sync::LazyLock;

use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Signer};
use serde_json::{Value, json};

use crate::support::{Draft, Mint, World, b64, jwk, p256, unb64};

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

/// Too weak for anybody.
pub(crate) static WEAK: LazyLock<PKey<Private>> = LazyLock::new(|| rsa(1024));

/// RSA with the exponent 3.
pub(crate) static CUBIC: LazyLock<PKey<Private>> = LazyLock::new(|| {
    let three = BigNum::from_u32(3).unwrap();
    PKey::from_rsa(Rsa::generate_with_e(2048, &three).unwrap()).unwrap()
});

/// A P-256 key whose x begins with a zero.
pub(crate) static ZERO: LazyLock<PKey<Private>> = LazyLock::new(|| {
    let begins_so = |key: &PKey<Private>| unb64(jwk(key)["x"].as_str().unwrap())[0] == 0;
    std::iter::repeat_with(p256).find(begins_so).unwrap()
});

/// Makes all of them, which may take seconds, before connections are open that would wait.
pub(crate) fn make() {
    LazyLock::force(&KINDS);
    LazyLock::force(&CALLERS);
    LazyLock::force(&THIEF);
    LazyLock::force(&WEAK);
    LazyLock::force(&CUBIC);
    LazyLock::force(&ZERO);
}

fn p384() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::SECP384R1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn rsa(bits: u32) -> PKey<Private> {
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

/// The same token, signed by RSA another way than RFC 7518 §3.5 wants PS256: with this padding and salt.
pub(crate) fn rsa_anew(jws: &str, key: &PKey<Private>, padding: Padding, salt: RsaPssSaltlen) -> String {
    let (input, _) = jws.rsplit_once('.').unwrap();
    let mut signer = Signer::new(MessageDigest::sha256(), key).unwrap();
    signer.set_rsa_padding(padding).unwrap();
    if padding == Padding::PKCS1_PSS {
        signer.set_rsa_pss_saltlen(salt).unwrap();
    }
    format!(
        "{input}.{}",
        b64(signer.sign_oneshot_to_vec(input.as_bytes()).unwrap())
    )
}

/// Signed by the Authority's key of this kind.
pub(crate) fn by_kind(token: &mut Draft, alg: &str) {
    let (_, key) = KINDS.iter().find(|(kind, _)| *kind == alg).unwrap();
    token.header["kid"] = json!(format!("kinds-{alg}"));
    token.by(key);
}
