//! Proofs that were good once (RFC 9449 §11.1), and those that are good for somebody or something else.

use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::EcGroup;
use openssl::nid::Nid;
use serde_json::Value;

use super::super::case::{Case, PROOF, TOKEN, call, proof};
use super::super::keys::{CALLERS, THIEF};
use super::good;
use crate::support::{Draft, ORIGIN, REFERRERS, SIGN, jwk, now};

pub(super) fn cases() -> Vec<Case> {
    [again(), others()].into_iter().flatten().collect()
}

fn named(proof: &mut Draft, jti: &str) {
    proof.claim("jti", jti);
}

/// RFC 9449 §11.1: a proof is good once.
fn again() -> Vec<Case> {
    // An earlier good request with this id, and what is changed in the later one.
    let reused = |name: &str, jti: &'static str, edit: fn(&mut Draft)| {
        let later = proof(name, move |proof| {
            named(proof, jti);
            edit(proof);
        });
        later.after(move |call| call.proof(move |proof| named(proof, jti)))
    };
    vec![
        call("a whole request again", |call| call).again().expect(PROOF),
        call("a whole request again, of an Ed25519 key", |call| {
            call.by(&CALLERS[2].1)
        })
        .again()
        .expect(PROOF),
        reused("an id again", "again-1", |_| ()),
        reused("an id again with a later time", "again-2", |proof| {
            proof.claim("iat", now() + 5);
        }),
        reused(
            "an id again under another spelling of the path",
            "again-3",
            |proof| {
                proof.claim("htu", format!("{ORIGIN}/api/v1/signer/./sign/%64sse"));
            },
        ),
        reused(
            "an id again under another spelling of the host",
            "again-4",
            |proof| {
                proof.claim("htu", format!("HTTPS://SIGNER.TEST:443{SIGN}"));
            },
        ),
        reused("an id again with a query", "again-5", |proof| {
            proof.claim("htu", format!("{ORIGIN}{SIGN}?second=1"));
        }),
        reused("an id again with a fragment", "again-6", |proof| {
            proof.claim("htu", format!("{ORIGIN}{SIGN}#second"));
        }),
        reused("an id again with the signature's other s", "again-7", |proof| {
            proof.signature(|s| [&s[..32], &negated(&s[32..])].concat());
        }),
        reused("an id again with a nonce", "again-8", |proof| {
            proof.claim("nonce", "second");
        }),
        reused(
            "an id again by another spelling of the claim",
            "again-9",
            |proof| {
                proof.claims_text(|claims| claims.replace("again-9", "\\u0061gain-9"));
            },
        ),
    ]
}

/// n − s of P-256: as good a signature as with s (SEC 1 §4.1.4).
fn negated(s: &[u8]) -> Vec<u8> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let (mut order, mut other) = (BigNum::new().unwrap(), BigNum::new().unwrap());
    let mut context = BigNumContext::new().unwrap();
    group.order(&mut order, &mut context).unwrap();
    other
        .checked_sub(&order, &BigNum::from_slice(s).unwrap())
        .unwrap();
    other.to_vec_padded(32).unwrap()
}

/// Proofs and tokens of different callers, or for other requests.
fn others() -> Vec<Case> {
    vec![
        call("a stolen token with the thief's own proof", |call| {
            let proof = call.world().mint.proof("POST", SIGN, call.sent_token(), |proof| {
                proof.header["jwk"] = jwk(&THIEF);
                proof.key = THIEF.clone();
            });
            call.proofs(&[proof])
        }),
        call("the thief's own token with a stolen proof", |call| {
            let stolen = good(&call);
            call.by(&THIEF).proofs(&[stolen])
        }),
        call("a stolen token with a proof of another kind of key", |call| {
            let proof = call.world().mint.proof("POST", SIGN, call.sent_token(), |proof| {
                proof.header["jwk"] = jwk(&CALLERS[2].1);
                proof.by(&CALLERS[2].1);
            });
            call.proofs(&[proof])
        }),
        call("a proof for the caller's earlier token", |call| {
            let earlier = call.world().mint.token(|_| ());
            let proof = call.world().signing_proof(&earlier);
            call.proofs(&[proof])
        })
        .expect(PROOF),
        call("a proof for asking, used to sign", |call| {
            let proof = call
                .world()
                .mint
                .proof("GET", REFERRERS, call.sent_token(), |_| ());
            call.proofs(&[proof])
        })
        .expect(PROOF),
        call("a proof for signing, used to ask", |call| {
            let world = call.world();
            let asking = world.referrers("digest=x");
            let proof = world.signing_proof(asking.sent_token());
            asking.proofs(&[proof])
        })
        .expect(PROOF),
        call("a proof for the token endpoint", |call| {
            let proof = call
                .world()
                .mint
                .proof("POST", "/token", call.sent_token(), |proof| {
                    proof.claim("htu", "https://authority.test/token");
                    proof.claim("ath", Value::Null);
                });
            call.proofs(&[proof])
        })
        .expect(PROOF),
        proof("a proof by the caller for a thief's key", |proof| {
            proof.header["jwk"] = jwk(&THIEF);
        })
        .expect(TOKEN),
    ]
}
