use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcPoint, PointConversionForm};
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::symm::Cipher;

use super::*;
use crate::openssl_errors;

/// A key from the private scalar that the RFC gives.
fn ec_private(curve: Nid, scalar: &str) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    let scalar = BigNum::from_hex_str(scalar).unwrap();
    let mut ctx = BigNumContext::new().unwrap();
    let mut point = EcPoint::new(&group).unwrap();
    point.mul_generator2(&group, &scalar, &mut ctx).unwrap();
    PKey::from_ec_key(EcKey::from_private_components(&group, &scalar, &point).unwrap()).unwrap()
}

fn ecdsa_der(r: &str, s: &str) -> Vec<u8> {
    let (r, s) = (BigNum::from_hex_str(r).unwrap(), BigNum::from_hex_str(s).unwrap());
    EcdsaSig::from_private_components(r, s).unwrap().to_der().unwrap()
}

#[test]
fn p256_nonces_are_rfc_6979_a_2_5() {
    let scalar = "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721";
    let pkey = ec_private(Nid::X9_62_PRIME256V1, scalar);
    let key = PrivateKey::new(pkey, Algorithm::EcdsaP256Sha256, Nonce::Deterministic).unwrap();
    let vectors: [(&[u8], &str, &str); 2] = [
        (
            b"sample",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            b"test",
            "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367",
            "019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
        ),
    ];
    for (message, r, s) in vectors {
        let signature = key.sign(message).unwrap();
        assert_eq!(hex::encode(&signature), hex::encode(ecdsa_der(r, s)));
        assert!(key.public().verify(message, &signature));
    }
}

#[test]
fn p384_nonces_are_rfc_6979_a_2_6() {
    let scalar = "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D8\
                  96D5724E4C70A825F872C9EA60D2EDF5";
    let pkey = ec_private(Nid::SECP384R1, scalar);
    let key = PrivateKey::new(pkey, Algorithm::EcdsaP384Sha384, Nonce::Deterministic).unwrap();
    let vectors: [(&[u8], &str, &str); 2] = [
        (
            b"sample",
            "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C\
             81A648152E44ACF96E36DD1E80FABE46",
            "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94F\
             A329C145786E679E7B82C71A38628AC8",
        ),
        (
            b"test",
            "8203B63D3C853E8D77227FB377BCF7B7B772E97892A80F36AB775D509D7A5FEB\
             0542A7F0812998DA8F1DD3CA3CF023DB",
            "DDD0760448D42D8A43AF45AF836FCE4DE8BE06B485E9B61B827C2F13173923E0\
             6A739F040649A667BF3B828246BAA5A5",
        ),
    ];
    for (message, r, s) in vectors {
        assert_eq!(key.sign(message).unwrap(), ecdsa_der(r, s));
    }
}

#[test]
fn ed25519_is_rfc_8032_7_1() {
    let vectors: [(&str, &str, &[u8], &str); 2] = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            b"",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555\
             fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            &[0x72],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ];
    for (secret, public, message, signature) in vectors {
        let pkey = PKey::private_key_from_raw_bytes(&hex::decode(secret).unwrap(), Id::ED25519).unwrap();
        assert_eq!(hex::encode(pkey.raw_public_key().unwrap()), public);
        let key = PrivateKey::new(pkey, Algorithm::Ed25519, Nonce::Random).unwrap();
        assert_eq!(hex::encode(key.sign(message).unwrap()), signature);
        assert!(key.public().verify(message, &hex::decode(signature).unwrap()));
    }
}

fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(openssl::rsa::Rsa::generate(bits).unwrap()).unwrap()
}

fn every_kind() -> Vec<PrivateKey> {
    let rsa = rsa(2048);
    vec![
        PrivateKey::generate_p256().unwrap(),
        PrivateKey::new(
            PKey::ec_gen("secp384r1").unwrap(),
            Algorithm::EcdsaP384Sha384,
            Nonce::Random,
        )
        .unwrap(),
        PrivateKey::new(
            PKey::generate_ed25519().unwrap(),
            Algorithm::Ed25519,
            Nonce::Random,
        )
        .unwrap(),
        PrivateKey::new(rsa.clone(), Algorithm::RsaPssSha256, Nonce::Random).unwrap(),
        PrivateKey::new(rsa, Algorithm::RsaPkcs1Sha256, Nonce::Deterministic).unwrap(),
    ]
}

#[test]
fn each_algorithm_signs_what_it_alone_verifies() {
    let keys = every_kind();
    for key in &keys {
        key.self_test().unwrap();
        let pae = Pae {
            payload_type: "application/vnd.in-toto+json",
            payload: b"{}",
        };
        let signature = key.sign(&pae).unwrap();
        // The same bytes whether given in parts or as one.
        assert!(key.public().verify(pae.bytes().as_ref(), &signature));
        for (at, _) in signature.iter().enumerate() {
            let mut bent = signature.clone();
            bent[at] ^= 1;
            let algorithm = key.public().algorithm();
            assert!(!key.public().verify(&pae, &bent), "{algorithm} byte {at}");
            // Nothing is left behind for a TLS connection on this thread to stumble over.
            assert!(ErrorStack::get().errors().is_empty(), "{algorithm} byte {at}");
        }
        let mut longer = signature.clone();
        longer.push(0);
        assert!(!key.public().verify(&pae, &longer));
        assert!(!key.public().verify(&pae, &[]));
        for other in keys
            .iter()
            .filter(|other| other.public().algorithm() != key.public().algorithm())
        {
            assert!(!other.public().verify(&pae, &signature));
        }
    }
}

#[test]
fn pss_salt_is_32_bytes_and_no_other_is_taken() {
    // RFC 8017 §9.1: an independent signer that uses another salt length must be refused.
    let pkey = rsa(2048);
    let public = PrivateKey::new(pkey.clone(), Algorithm::RsaPssSha256, Nonce::Random).unwrap();
    for (salt, expected) in [(32, true), (20, false), (0, false)] {
        let mut signer = Signer::new(MessageDigest::sha256(), &pkey).unwrap();
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt)).unwrap();
        let signature = signer.sign_oneshot_to_vec(b"text").unwrap();
        assert_eq!(
            public.public().verify(b"text".as_slice(), &signature),
            expected,
            "{salt}"
        );
    }
}

#[test]
fn a_key_is_pinned_to_its_algorithm() {
    let p256 = PKey::ec_gen("prime256v1").unwrap();
    let refused = [
        (p256.clone(), Algorithm::EcdsaP384Sha384, Nonce::Random),
        (p256.clone(), Algorithm::Ed25519, Nonce::Random),
        (p256, Algorithm::RsaPssSha256, Nonce::Random),
        (
            PKey::ec_gen("secp256k1").unwrap(),
            Algorithm::EcdsaP256Sha256,
            Nonce::Random,
        ),
        (PKey::generate_ed448().unwrap(), Algorithm::Ed25519, Nonce::Random),
        (
            PKey::generate_ed25519().unwrap(),
            Algorithm::EcdsaP256Sha256,
            Nonce::Random,
        ),
        (rsa(1024), Algorithm::RsaPkcs1Sha256, Nonce::Random),
        (rsa(2048), Algorithm::RsaPssSha256, Nonce::Deterministic),
    ];
    for (pkey, algorithm, nonce) in refused {
        assert!(PrivateKey::new(pkey, algorithm, nonce).is_err(), "{algorithm}");
    }
}

#[test]
fn algorithms_of_a_public_key() {
    for key in every_kind() {
        let public = parse_public_pem(key.public().pem().as_bytes()).unwrap();
        assert!(algorithms_of(&public).contains(&key.public().algorithm()));
        let expected = if key.public().algorithm().as_str().starts_with("rsa") {
            2
        } else {
            1
        };
        assert_eq!(algorithms_of(&public).len(), expected);
        assert_eq!(
            parse_algorithm(key.public().algorithm().as_str()),
            Some(key.public().algorithm())
        );
    }
    assert_eq!(parse_algorithm("ES256"), None);
}

#[test]
fn a_compressed_point_gets_the_fingerprint_of_the_key() {
    let pkey = PKey::ec_gen("prime256v1").unwrap();
    let plain = PrivateKey::new(pkey.clone(), Algorithm::EcdsaP256Sha256, Nonce::Random).unwrap();
    let ec = pkey.ec_key().unwrap();
    let mut ctx = BigNumContext::new().unwrap();
    let compressed = ec
        .public_key()
        .to_bytes(ec.group(), PointConversionForm::COMPRESSED, &mut ctx)
        .unwrap();
    // SubjectPublicKeyInfo of a P-256 key with a compressed point (RFC 5480 §2): fixed head, then 33 bytes.
    let head = hex::decode("3039301306072a8648ce3d020106082a8648ce3d030107032200").unwrap();
    let der = [head, compressed].concat();
    let read = PublicKey::new(
        PKey::public_key_from_der(&der).unwrap(),
        Algorithm::EcdsaP256Sha256,
    )
    .unwrap();
    assert_eq!(read.der().len(), 91);
    assert_eq!(read.fingerprint(), plain.public().fingerprint());
}

#[test]
fn pem_is_bounded_and_passphrases_are_needed() {
    let pkey = PKey::ec_gen("prime256v1").unwrap();
    let load = |pem: &[u8], passphrase: Option<&[u8]>| {
        PrivateKey::from_pem(pem, passphrase, Algorithm::EcdsaP256Sha256, Nonce::Random).map(|_| ())
    };
    let encrypted = pkey
        .private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"open sesame")
        .unwrap();
    assert_eq!(load(&encrypted, Some(b"open sesame")), Ok(()));
    assert!(
        load(&encrypted, Some(b"wrong"))
            .unwrap_err()
            .contains("check its passphrase")
    );
    assert!(
        load(&encrypted, None)
            .unwrap_err()
            .contains("configure its passphrase")
    );
    assert!(
        load(&encrypted, Some(b"open\0sesame"))
            .unwrap_err()
            .contains("NUL")
    );
    let plain = pkey.private_key_to_pem_pkcs8().unwrap();
    assert_eq!(load(&plain, None), Ok(()));
    assert_eq!(
        load(&pkey.ec_key().unwrap().private_key_to_pem().unwrap(), None),
        Ok(())
    );
    assert!(load(&[plain, vec![b'\n'; MAX_KEY_PEM]].concat(), None).is_err());
    assert!(load(b"", None).is_err());
    assert!(load(&pkey.public_key_to_pem().unwrap(), None).is_err());
}

#[test]
fn debug_shows_no_key() {
    let key = PrivateKey::generate_p256().unwrap();
    let secret = key
        .pkey
        .ec_key()
        .unwrap()
        .private_key()
        .to_hex_str()
        .unwrap()
        .to_string();
    assert!(!format!("{key:?}").to_uppercase().contains(&secret));
}

#[test]
fn a_refused_signature_leaves_no_error_behind() {
    // r and s out of range (FIPS 186-5 §6.4.2 step 1): the verification answers no and queues why.
    let ecdsa = ecdsa_der(&"ff".repeat(48), &"ff".repeat(48));
    for key in every_kind() {
        for signature in [&ecdsa[..], &[0xff; 64], &[0xff; 256], &[]] {
            assert!(!key.public().verify(&b"text"[..], signature));
            assert!(openssl_errors::was_empty(), "{}", key.public().algorithm());
        }
    }
}
