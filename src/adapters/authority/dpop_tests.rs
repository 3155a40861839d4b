use openssl::pkey::{PKey, Private};
use serde_json::json;
use signer_actors::domain::caller::{Confirmation, Scheme};
use signer_actors::domain::tenant::{InstallationId, TenantId};
use signer_actors::domain::validity::Validity;

use super::*;
use crate::adapters::jose::header::Compact;
use crate::adapters::jose::testkit::{self, NOW, at};
use crate::adapters::jose::{b64url, mint};

const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

/// RFC 9449 §4.2: a proof for a token request, so without `ath`.
const EXAMPLE_4_2: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

/// RFC 9449 §7.1: a proof for a protected resource, with `ath`, `iat` 1562262618.
const EXAMPLE_7_1: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

/// RFC 9449 §6.1: the thumbprint of the examples' key.
const EXAMPLE_JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

fn verifier(origin: &str, nonce: NonceMode) -> DpopVerifier {
    DpopVerifier::new(&DpopSettings {
        public_origin: Url::parse(origin).unwrap(),
        algorithms: JwsAlgorithm::ALL.to_vec(),
        nonce,
        nonce_key: None,
        epoch: signer_actors::ports::StoreEpoch::default(),
    })
    .unwrap()
}

fn token(jkt: Sha256Digest) -> AccessToken {
    AccessToken {
        digest: Sha256Digest::of(TOKEN.as_bytes()),
        key_id: "k1".to_owned(),
        key: Sha256Digest([0; 32]),
        subject: "s".to_owned(),
        client_id: "c".to_owned(),
        token_id: "j".to_owned(),
        tenant: TenantId::parse("acme").unwrap(),
        installation: InstallationId::parse("eu").unwrap(),
        scopes: vec![],
        confirmation: Confirmation {
            jkt: Some(jkt),
            x5t_s256: None,
        },
        scanner_image: None,
        validity: Validity {
            issued: at(NOW),
            not_before: None,
            expires: at(NOW + 300),
        },
    }
}

fn credentials(method: &str, path: &str, proof: &str) -> Credentials {
    Credentials {
        scheme: Scheme::Dpop,
        token: TOKEN.to_owned(),
        proof: Some(proof.to_owned()),
        client_certificate: None,
        method: method.to_owned(),
        path: path.to_owned(),
    }
}

fn example_token() -> AccessToken {
    token(Sha256Digest(array_from_b64url(EXAMPLE_JKT).unwrap()))
}

#[test]
fn the_example_of_rfc_9449_for_a_resource_is_accepted() {
    let verifier = verifier("https://resource.example.org", NonceMode::Optional);
    let credentials = credentials("GET", "/protectedresource", EXAMPLE_7_1);
    let proof = verifier
        .verify(&credentials, &example_token(), at(1_562_262_618))
        .unwrap();
    assert_eq!(b64url(&proof.thumbprint.0), EXAMPLE_JKT);
    assert_eq!(proof.issued, at(1_562_262_618));
    assert_eq!(proof.nonce, None);
    assert_eq!(proof.body, None);
}

#[test]
fn the_example_of_rfc_9449_for_a_token_request_holds_but_lacks_the_hash_of_a_token() {
    let compact = Compact::parse(EXAMPLE_4_2, Use::Proof).unwrap();
    let jwk = PublicJwk::parse(compact.header.jwk.as_ref().unwrap()).unwrap();
    assert!(jwk.verify(compact.signing_input.as_bytes(), &compact.signature));
    let verifier = verifier("https://server.example.com", NonceMode::Off);
    let outcome = verifier.verify(
        &credentials("POST", "/token", EXAMPLE_4_2),
        &example_token(),
        at(NOW),
    );
    assert!(matches!(outcome, Err(ProofRejection::Invalid(why)) if why.contains("`ath`")));
}

/// A client with its key, at a service of its own origin.
struct Bench {
    key: PKey<Private>,
    verifier: DpopVerifier,
}

impl Bench {
    fn new(nonce: NonceMode) -> Self {
        Self {
            key: testkit::p256(),
            verifier: verifier("https://signer.example", nonce),
        }
    }

    fn claims(&self) -> Value {
        json!({
            "htm": "POST", "htu": "https://signer.example/api/v1/signer/sign/dsse", "iat": NOW, "jti": "j1",
            "ath": b64url(&Sha256Digest::of(TOKEN.as_bytes()).0),
        })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "jwk": mint::jwk_of(&self.key).unwrap() })
    }

    fn sign(&self, claims: &Value) -> String {
        mint::sign_compact(&self.header(), claims, &self.key).unwrap()
    }

    fn jkt(&self) -> Sha256Digest {
        let jwk = mint::jwk_of(&self.key).unwrap();
        PublicJwk::parse(jwk.as_object().unwrap()).unwrap().thumbprint()
    }

    fn verify(&self, proof: &str, now: i64) -> Result<VerifiedProof, ProofRejection> {
        let credentials = credentials("POST", "/api/v1/signer/sign/dsse", proof);
        self.verifier.verify(&credentials, &token(self.jkt()), at(now))
    }

    #[track_caller]
    fn check(&self, proof: &str, expected: &str) {
        let outcome = match self.verify(proof, NOW) {
            Ok(_) => "ok".to_owned(),
            Err(ProofRejection::NonceRequired) => "nonce".to_owned(),
            Err(ProofRejection::Invalid(why)) => why,
            Err(error @ ProofRejection::WrongKey) => error.to_string(),
        };
        assert!(outcome.contains(expected), "{expected}: {outcome}");
    }
}

#[test]
fn claims_decide() {
    let bench = Bench::new(NonceMode::Off);
    let check = |name: &str, value: Value, expected: &str| {
        bench.check(&bench.sign(&bench.with(name, value)), expected)
    };
    bench.check(&bench.sign(&bench.claims()), "ok");
    for method in ["post", "GET", "", "POST "] {
        check("htm", json!(method), "`htm`");
    }
    check("htm", json!(null), "`htm`");
    check("htm", json!(["POST"]), "`htm`");
    for same in [
        "HTTPS://SIGNER.example:443/api/v1/signer/sign/dsse",
        "https://signer.example/api/v1/signer/sign/dsse?x=1#y",
        "https://signer.example/api/v1/signer/./verify/../sign/%64sse",
    ] {
        check("htu", json!(same), "ok");
    }
    for other in [
        "http://signer.example/api/v1/signer/sign/dsse",
        "https://signer.example:8443/api/v1/signer/sign/dsse",
        "https://evil.example/api/v1/signer/sign/dsse",
        "https://signer.example/API/v1/signer/sign/dsse",
        "https://signer.example/api/v1/signer/sign/dsse/",
        "https://signer.example/api/v1/signer/sign%2Fdsse",
        "/api/v1/signer/sign/dsse",
        "",
    ] {
        check("htu", json!(other), "`htu`");
    }
    check(
        "htu",
        json!(["https://signer.example/api/v1/signer/sign/dsse"]),
        "`htu`",
    );
    for iat in [json!(NOW - 60), json!(NOW + 30), json!(NOW as f64 + 0.5)] {
        check("iat", iat, "ok");
    }
    for iat in [
        json!(NOW - 61),
        json!(NOW + 31),
        json!(NOW.to_string()),
        json!(true),
        json!(null),
        json!(1e18),
    ] {
        check("iat", iat, "`iat`");
    }
    for ath in [json!(b64url(&[0; 32])), json!("AAAA"), json!(null), json!(1)] {
        check("ath", ath, "`ath`");
    }
    for jti in [json!(""), json!("j".repeat(257)), json!(1), json!(null)] {
        check("jti", jti, "`jti`");
    }
    check("jti", json!("j".repeat(256)), "ok");
    check("body_sha256", json!("AAAA"), "`body_sha256`");
    check("body_sha256", json!(null), "`body_sha256`");
    check("nonce", json!("whatever"), "ok");
    // RFC 7519 §2: a number, however it is written; §4.1.4, §4.1.5: what the proof says of its own life holds.
    for exp in [json!(NOW - 29), json!(NOW + 300)] {
        check("exp", exp, "ok");
    }
    for exp in [json!(NOW - 30), json!(0), json!("9999999999"), json!(null)] {
        check("exp", exp, "`exp`");
    }
    check("nbf", json!(NOW + 30), "ok");
    for nbf in [json!(NOW + 31), json!(true)] {
        check("nbf", nbf, "`nbf`");
    }
    for name in ["htm", "htu", "iat", "ath", "jti"] {
        let mut claims = bench.claims();
        claims.as_object_mut().unwrap().remove(name);
        bench.check(&bench.sign(&claims), &format!("`{name}`"));
    }
}

/// Claims that `serde_json` would not write, spliced in as text.
#[test]
fn numbers_are_numbers_however_they_are_written() {
    let bench = Bench::new(NonceMode::Off);
    let header = b64url(
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": mint::jwk_of(&bench.key).unwrap() })
            .to_string()
            .as_bytes(),
    );
    let check = |iat: &str, expected: &str| {
        let claims = bench
            .with("iat", json!("IAT"))
            .to_string()
            .replace("\"IAT\"", iat);
        let input = format!("{header}.{}", b64url(claims.as_bytes()));
        let signature = b64url(&mint::sign_bytes(input.as_bytes(), &bench.key).unwrap());
        bench.check(&format!("{input}.{signature}"), expected);
    };
    for same in [
        "1562262616",
        "1562262616.0",
        "1.562262616e9",
        "1562262616E0",
        "15622626160e-1",
        "1562262616.999",
    ] {
        check(same, "ok");
    }
    for other in ["-0", "0", "1e9", "-1562262616", "1e18", "1e308", "1562262616e1"] {
        check(other, "`iat`");
    }
    for none in [
        "1e999",
        "+1562262616",
        "01562262616",
        "0x5d1f0000",
        "NaN",
        "1562262616.",
        "1_562_262_616",
    ] {
        check(none, "no JSON");
    }
    check("1562262616,\"iat\":1562262616", "twice");
    check("1562262616,\"\\u0069at\":1562262616", "twice");
    check("1562262616,\"x\":[[[[{\"a\":1,\"a\":1}]]]]", "twice");
    check(
        &format!("1562262616,\"x\":{}{}", "[".repeat(100), "]".repeat(100)),
        "ok",
    );
    check(
        &format!("1562262616,\"x\":{}{}", "[".repeat(2000), "]".repeat(2000)),
        "no JSON",
    );
}

#[test]
fn a_key_that_is_known_is_still_its_own_alone() {
    let (bench, thief) = (Bench::new(NonceMode::Off), Bench::new(NonceMode::Off));
    let claims = bench.claims();
    // Both are known to this thread.
    for known in [&bench, &thief] {
        known.check(&known.sign(&claims), "ok");
        known.check(&known.sign(&claims), "ok");
    }
    let other = token(thief.jkt());
    let post = |proof: &str| credentials("POST", "/api/v1/signer/sign/dsse", proof);
    assert_eq!(
        bench
            .verifier
            .verify(&post(&bench.sign(&claims)), &other, at(NOW)),
        Err(ProofRejection::WrongKey),
        "the token is bound to the other one"
    );
    let forged = mint::sign_compact(&bench.header(), &claims, &thief.key).unwrap();
    bench.check(&forged, "signature does not hold");
    bench.check(&bench.sign(&bench.with("jti", json!("j2"))), "ok");
    let proof = bench.sign(&claims);
    let (input, _) = proof.rsplit_once('.').unwrap();
    bench.check(
        &format!("{input}.{}", b64url(&[1; 64])),
        "signature does not hold",
    );
    bench.check(&format!("{input}.="), "base64url");
    // What is known is a header as it was spelt, and no other one of the same key.
    for (name, value, expected) in [
        ("crit", json!(["x"]), "`crit`"),
        ("typ", json!("jwt"), "`typ`"),
        ("x", json!(1), "ok"),
    ] {
        let mut header = bench.header();
        header[name] = value;
        bench.check(
            &mint::sign_compact(&header, &claims, &bench.key).unwrap(),
            expected,
        );
    }
    bench.check(&bench.sign(&claims), "ok");
    // Who accepts less accepts no more for what others have verified here.
    let strict = DpopVerifier {
        algorithms: vec![JwsAlgorithm::EdDsa],
        ..verifier("https://signer.example", NonceMode::Off)
    };
    let refused = strict.verify(&post(&bench.sign(&claims)), &token(bench.jkt()), at(NOW));
    assert!(matches!(refused, Err(ProofRejection::Invalid(why)) if why.contains("not accepted")));
}

#[test]
fn the_key_decides() {
    let bench = Bench::new(NonceMode::Off);
    let claims = bench.claims();
    // Another client's proof, in every respect good but for its key.
    let thief = Bench::new(NonceMode::Off);
    bench.check(&thief.sign(&claims), "not the one that the token is bound to");
    // The thief's signature under the victim's key.
    let forged = mint::sign_compact(&bench.header(), &claims, &thief.key).unwrap();
    bench.check(&forged, "signature");
    for (name, value, expected) in [
        ("typ", json!("JWT"), "`typ`"),
        ("typ", json!("at+jwt"), "`typ`"),
        ("jwk", json!({}), "`kty`"),
        ("jwk", json!("k"), "`jwk`"),
        ("crit", json!(["b64"]), "`crit`"),
        ("b64", json!(false), "`b64`"),
    ] {
        let mut header = bench.header();
        header[name] = value;
        bench.check(
            &mint::sign_compact(&header, &claims, &bench.key).unwrap(),
            expected,
        );
    }
    let mut header = bench.header();
    header["jwk"]["d"] = json!("AAAA");
    bench.check(
        &mint::sign_compact(&header, &claims, &bench.key).unwrap(),
        "private",
    );
    // The algorithm of another kind of key, and none.
    let proof = bench.sign(&claims);
    let (_, rest) = proof.split_once('.').unwrap();
    for alg in ["ES384", "HS256", "none"] {
        let mut header = bench.header();
        header["alg"] = json!(alg);
        bench.check(
            &format!("{}.{rest}", b64url(header.to_string().as_bytes())),
            "`alg`",
        );
    }
    let (unsigned, _) = proof.rsplit_once('.').unwrap();
    bench.check(&format!("{unsigned}."), "signature");
    bench.check("", "compact");
    bench.check(&format!("{proof},{proof}"), "compact");
}

#[test]
fn a_token_without_proof_key_or_credentials_without_proof_are_refused() {
    let bench = Bench::new(NonceMode::Off);
    let proof = bench.sign(&bench.claims());
    let mut unbound = token(bench.jkt());
    unbound.confirmation = Confirmation {
        jkt: None,
        x5t_s256: Some(bench.jkt()),
    };
    let mut given = credentials("POST", "/api/v1/signer/sign/dsse", &proof);
    assert!(bench.verifier.verify(&given, &unbound, at(NOW)).is_err());
    given.proof = None;
    assert!(
        bench
            .verifier
            .verify(&given, &token(bench.jkt()), at(NOW))
            .is_err()
    );
}

#[test]
fn every_kind_of_key_proves() {
    for key in testkit::one_key_of_each_kind() {
        let bench = Bench {
            key,
            ..Bench::new(NonceMode::Off)
        };
        bench.check(&bench.sign(&bench.claims()), "ok");
    }
}

#[test]
fn the_replay_id_hangs_on_key_url_and_jti_alone() {
    let bench = Bench::new(NonceMode::Off);
    let id = |claims: Value| bench.verify(&bench.sign(&claims), NOW).unwrap().replay_id;
    let first = id(bench.claims());
    assert_eq!(first, id(bench.with("iat", json!(NOW - 5))));
    assert_eq!(
        first,
        id(bench.with("htu", json!("https://SIGNER.example/api/v1/signer/sign/%64sse?x")))
    );
    assert_ne!(first, id(bench.with("jti", json!("j2"))));
    let other = Bench::new(NonceMode::Off);
    assert_ne!(
        first,
        other.verify(&other.sign(&other.claims()), NOW).unwrap().replay_id
    );
    // Moving a byte between the parts changes the hash.
    let facts = |htu: &str, jti: &str| Facts {
        htu: htu.to_owned(),
        jti: jti.to_owned(),
        issued: at(NOW),
        body: None,
    };
    assert_ne!(
        facts("a", "bc").replay_id(first),
        facts("ab", "c").replay_id(first)
    );
}

#[test]
fn the_body_can_be_bound() {
    let bench = Bench::new(NonceMode::Off);
    let body = Sha256Digest::of(b"{}");
    let proof = bench.sign(&bench.with("body_sha256", json!(b64url(&body.0))));
    assert_eq!(bench.verify(&proof, NOW).unwrap().body, Some(body));
}

#[test]
fn nonces() {
    for mode in [NonceMode::Optional, NonceMode::Required] {
        let bench = Bench::new(mode);
        let nonce = bench.verifier.nonce(at(NOW)).unwrap();
        let good = bench.sign(&bench.with("nonce", json!(nonce)));
        assert_eq!(bench.verify(&good, NOW).unwrap().nonce, Some(0));
        bench.check(
            &bench.sign(&bench.claims()),
            if mode == NonceMode::Required {
                "nonce"
            } else {
                "ok"
            },
        );
        bench.check(&bench.sign(&bench.with("nonce", json!("stale"))), "nonce");
        bench.check(&bench.sign(&bench.with("nonce", json!(1))), "`nonce`");
        // A nonce does not excuse an old proof.
        let mut old = bench.with("nonce", json!(nonce));
        old["iat"] = json!(NOW - 61);
        bench.check(&bench.sign(&old), "`iat`");
    }
    assert_eq!(Bench::new(NonceMode::Off).verifier.nonce(at(NOW)), None);
}

#[test]
fn the_public_origin_is_an_origin() {
    let make = |origin: &str| {
        DpopVerifier::new(&DpopSettings {
            public_origin: Url::parse(origin).unwrap(),
            algorithms: vec![],
            nonce: NonceMode::Off,
            nonce_key: None,
            epoch: signer_actors::ports::StoreEpoch::default(),
        })
    };
    for good in [
        "https://signer.example",
        "http://127.0.0.1:8080/",
        "https://[::1]:8443",
    ] {
        assert!(make(good).is_ok(), "{good}");
    }
    for bad in [
        "https://signer.example/a",
        "https://signer.example/?a",
        "https://signer.example/#a",
        "ftp://a/",
        "https://u@a/",
    ] {
        assert!(make(bad).is_err(), "{bad}");
    }
}
