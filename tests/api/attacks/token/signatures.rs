//! Signatures that are none, or of something else.

use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;

use super::super::case::{Case, call, token};
use super::super::keys::{by_kind, rsa_anew};
use super::replaced;

pub(super) fn cases() -> Vec<Case> {
    [ecdsa(), rsa()].into_iter().flatten().collect()
}

fn ecdsa() -> Vec<Case> {
    let signature =
        |name: &str, edit: fn(Vec<u8>) -> Vec<u8>| token(name, move |token| token.signature(edit));
    vec![
        signature("signature empty", |_| Vec::new()),
        signature("signature a byte short", |mut s| {
            s.pop();
            s
        }),
        signature("signature a byte long", |mut s| {
            s.push(0);
            s
        }),
        signature("signature half", |s| s[..32].to_vec()),
        signature("signature all zero", |_| vec![0; 64]),
        signature("signature all ones", |_| vec![0xff; 64]),
        signature("signature with r zero", |s| [&[0; 32], &s[32..]].concat()),
        signature("signature with s zero", |s| [&s[..32], &[0; 32]].concat()),
        signature("signature with r and s one", |_| {
            let one = [&[0; 31][..], &[1]].concat();
            [one.clone(), one].concat()
        }),
        signature("signature with r and s exchanged", |s| {
            [&s[32..], &s[..32]].concat()
        }),
        signature("signature with a bit flipped", |mut s| {
            s[40] ^= 1;
            s
        }),
        signature("signature in 33 bytes each", |s| {
            [&[0], &s[..32], &[0], &s[32..]].concat()
        }),
        signature("signature in DER", |s| {
            let number = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
            let pair = EcdsaSig::from_private_components(number(&s[..32]), number(&s[32..]));
            pair.unwrap().to_der().unwrap()
        }),
        call("the signature of another token", |call| {
            let other = call.world().mint.token(|_| ());
            let signature = other.rsplit_once('.').unwrap().1.to_owned();
            call.token(move |token| token.whole(move |t| replaced(&t, 2, &signature)))
        }),
        call("the claims of another token", |call| {
            let other = call.world().mint.token(|token| token.claim("tid", "other"));
            let claims = other.split('.').nth(1).unwrap().to_owned();
            call.token(move |token| token.whole(move |t| replaced(&t, 1, &claims)))
        }),
    ]
}

/// RFC 7518 §3.5: PSS, and a salt as long as the hash.
fn rsa() -> Vec<Case> {
    let signed = |name: &str, padding: Padding, salt: fn() -> RsaPssSaltlen| {
        token(name, move |token| {
            by_kind(token, "PS256");
            let key = token.key.clone();
            token.whole(move |t| rsa_anew(&t, &key, padding, salt()))
        })
    };
    vec![
        signed("PS256 without salt", Padding::PKCS1_PSS, || {
            RsaPssSaltlen::custom(0)
        }),
        signed("PS256 with a salt of 20 bytes", Padding::PKCS1_PSS, || {
            RsaPssSaltlen::custom(20)
        }),
        signed("PS256 with the longest salt", Padding::PKCS1_PSS, || {
            RsaPssSaltlen::MAXIMUM_LENGTH
        }),
        signed("PS256 by PKCS #1 1.5", Padding::PKCS1, || {
            RsaPssSaltlen::custom(0)
        }),
    ]
}
