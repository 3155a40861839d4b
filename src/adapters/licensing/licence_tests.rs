use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use signer_actors::domain::entitlement::{CalendarTag, Features};
use signer_actors::domain::jws::JwsAlgorithm;

use super::*;
use crate::adapters::jose::mint;
use crate::adapters::jose::source::KeysLocation;
use crate::adapters::jose::testkit::{Issuer, NOW, at, one_key_of_each_kind, p256};

/// As in use, for this issuer.
fn policy() -> Policy {
    super::policy(&Settings {
        issuer: "https://licensing.example".to_owned(),
        audience: "signer".to_owned(),
        algorithms: JwsAlgorithm::ALL.to_vec(),
        keys: KeysLocation::Discovery,
        own_keys: crate::adapters::jose::source::OwnKeys::fixed([].into()),
        introspection: None,
        roots: None,
        timeout: Duration::from_secs(1),
        clock_skew: Duration::from_secs(30),
    })
}

fn payload() -> Value {
    json!({
        "iss": "https://licensing.example", "aud": "signer", "version": 7, "iat": NOW - 60, "exp": NOW + 86_400,
        "licences": [
            { "lic": "L-1", "tid": "acme", "inst": ["eu", "us"], "plan": "basic", "limits": { "qps": 5 },
              "versionWindow": { "max": "2026.06" }, "features": ["mode:kms"] },
            { "lic": "L-2", "tid": "acme", "inst": "*", "sub": "installation-7" },
            { "lic": "L-3", "tid": "acme", "inst": "*", "revoked": true },
            { "lic": "L-4", "tid": "acme", "inst": "*", "exp": NOW - 1 },
        ],
    })
}

fn read_by(issuer: &Issuer, text: &str, now: i64) -> Result<LicenceFile, String> {
    LicenceFile::read(text.as_bytes(), &policy(), &issuer.key_set(), at(now)).map_err(|why| why.0)
}

fn read(payload: &Value) -> Result<LicenceFile, String> {
    let issuer = Issuer::new();
    read_by(&issuer, &issuer.sign(TYPE, payload), NOW)
}

fn facts() -> Entitlement {
    Entitlement {
        license: "L-1".to_owned(),
        expires: at(NOW + 3600),
        installation: InstallationId::parse("eu").unwrap(),
        ..signer_actors::testing::entitlement()
    }
}

fn tag(text: &str) -> CalendarTag {
    CalendarTag::parse(text).unwrap()
}

fn judge(edit: impl FnOnce(&mut Entitlement)) -> Introspection {
    let mut facts = facts();
    edit(&mut facts);
    let token = Claims::parse(br#"{"sub":"installation-7"}"#).unwrap();
    read(&payload()).unwrap().judge(&token, facts)
}

#[test]
fn a_file_by_each_kind_of_key_is_read() {
    for key in one_key_of_each_kind() {
        let issuer = Issuer::with_key(key);
        let text = issuer.sign(TYPE, &payload());
        let file = read_by(&issuer, &text, NOW).unwrap();
        assert_eq!((file.version, file.licences(), file.revoked()), (7, 4, 1));
        assert_eq!((file.issued, file.expires), (at(NOW - 60), at(NOW + 86_400)));
        // A line feed is what an editor leaves; the file is the same.
        assert_eq!(read_by(&issuer, &format!("{text}\n"), NOW).unwrap(), file);
        for bad in [
            format!("{text}\n\n"),
            format!(" {text}"),
            format!("{text}\r\n"),
            format!("{text}."),
        ] {
            assert!(read_by(&issuer, &bad, NOW).is_err());
        }
    }
}

#[test]
fn the_file_counts_until_its_end_to_the_second() {
    let issuer = Issuer::new();
    let text = issuer.sign(TYPE, &payload());
    assert!(read_by(&issuer, &text, NOW + 86_399).is_ok());
    for late in [86_400, 86_429, 86_430, 900_000] {
        let why = read_by(&issuer, &text, NOW + late).unwrap_err();
        assert!(why.contains("expired"), "{late}: {why}");
    }
    let why = read_by(&issuer, &text, NOW - 91).unwrap_err();
    assert!(why.contains("`iat`"), "{why}");
}

#[test]
fn no_other_signed_document_passes_and_no_other_key() {
    let issuer = Issuer::new();
    let sign = |header: Value| mint::sign_compact(&header, &payload(), &issuer.key).unwrap();
    for (header, expected) in [
        (json!({ "typ": TYPE, "kid": "k1" }), "ok"),
        (json!({ "typ": "application/LICENCE+jwt", "kid": "k1" }), "ok"),
        (json!({ "typ": "poe+jwt", "kid": "k1" }), "`typ`"),
        (json!({ "typ": "JWT", "kid": "k1" }), "`typ`"),
        (json!({ "kid": "k1" }), "`typ`"),
        (json!({ "typ": TYPE }), "`kid`"),
        (json!({ "typ": TYPE, "kid": "k2" }), "entitlement.jwks_file"),
        (json!({ "typ": TYPE, "kid": "k1", "crit": ["x"] }), "`crit`"),
        (json!({ "typ": TYPE, "kid": "k1", "jwk": {} }), "`jwk`"),
    ] {
        let got = read_by(&issuer, &sign(header.clone()), NOW).map_or_else(|why| why, |_| "ok".to_owned());
        assert!(got.contains(expected), "{header}: {got}");
    }
    // RFC 8725 §3.1: the key decides the algorithm.
    for alg in ["none", "HS256", "ES384", "PS256"] {
        let text = sign(json!({ "typ": TYPE, "kid": "k1" }));
        let (_, rest) = text.split_once('.').unwrap();
        let header = json!({ "typ": TYPE, "kid": "k1", "alg": alg }).to_string();
        let forged = format!("{}.{rest}", crate::adapters::jose::b64url(header.as_bytes()));
        assert!(read_by(&issuer, &forged, NOW).is_err(), "{alg}");
    }
    let foreign = Issuer::with_key(p256()).sign(TYPE, &payload());
    assert!(read_by(&issuer, &foreign, NOW).unwrap_err().contains("signature"));
}

#[test]
fn what_is_not_exactly_as_it_must_be_is_refused_as_a_whole() {
    let entry = |edit: &dyn Fn(&mut Value)| {
        let mut all = payload();
        edit(&mut all["licences"][1]);
        all
    };
    let member = |name: &str, value: Value| {
        let mut all = payload();
        all[name] = value;
        all
    };
    let own = |name: &'static str, value: Value| entry(&move |licence| licence[name] = value.clone());
    let without =
        |name: &'static str| entry(&move |licence| drop(licence.as_object_mut().unwrap().remove(name)));
    let many = |count: usize| {
        let licences = (0..count).map(|n| json!({ "lic": n.to_string(), "tid": "acme", "inst": "*" }));
        member("licences", licences.collect())
    };
    let names = |count: usize| (0..count).map(|n| json!(format!("i{n}"))).collect::<Value>();
    assert!(read(&many(MAX_LICENCES)).is_ok());
    assert!(read(&own("inst", names(MAX_INSTALLATIONS))).is_ok());
    assert!(
        read(&member("licences", json!([]))).is_ok(),
        "that no licence holds can be said"
    );
    assert!(read(&member("jti", json!("file-7"))).is_ok());
    for (payload, expected) in [
        (member("version", json!(0)), "`version`"),
        (member("version", json!(-1)), "`version`"),
        (member("version", json!(1.5)), "`version`"),
        (member("version", json!("7")), "`version`"),
        (member("version", json!(1u64 << 53)), "`version`"),
        (member("version", Value::Null), "`version`"),
        (member("iss", json!("https://other.example")), "`iss`"),
        (member("aud", json!("attestor")), "`aud`"),
        (member("exp", json!(NOW - 61)), "exp"),
        (member("iat", json!("now")), "`iat`"),
        (member("nbf", json!(NOW + 3600)), "`nbf`"),
        (member("jti", json!(7)), "`jti`"),
        (member("license", json!([])), "member that is none of"),
        (member("licences", json!({})), "`licences`"),
        (many(MAX_LICENCES + 1), "`licences`"),
        (
            entry(&|licence| *licence = json!("L-2")),
            "`licences[1]`: it is not an object",
        ),
        (own("lic", json!("L-1")), "listed twice"),
        (own("lic", json!("")), "`lic`"),
        (own("lic", json!(2)), "`lic`"),
        (without("lic"), "`lic`"),
        (own("tid", json!("a b")), "`tid`"),
        (without("tid"), "`tid`"),
        (without("inst"), "`inst`"),
        (own("inst", json!([])), "`inst`"),
        (own("inst", json!("eu")), "`inst`"),
        (own("inst", json!(["eu", "*"])), "`inst`"),
        (own("inst", json!(["eu", 1])), "`inst`"),
        (own("inst", names(MAX_INSTALLATIONS + 1)), "`inst`"),
        (own("revoked", json!("true")), "`revoked`"),
        (own("revoked", json!(1)), "`revoked`"),
        (own("revoked", Value::Null), "`revoked`"),
        (own("sub", json!(7)), "`sub`"),
        (own("exp", json!("later")), "`exp`"),
        (own("plan", json!("")), "`plan`"),
        (own("limits", json!({ "qps": "5" })), "`limits`"),
        (own("limits", json!({ "qpm": 5 })), "`limits`"),
        (own("versionWindow", json!({ "max": "soon" })), "`versionWindow`"),
        (own("features", json!("mode:kms")), "`features`"),
        (
            own("revokd", json!(true)),
            "`licences[1]`: it has a member that is none of lic, tid",
        ),
    ] {
        match read(&payload) {
            Ok(_) => panic!("accepted; expected {expected}"),
            Err(why) => assert!(why.contains(expected), "{expected}: {why}"),
        }
    }
    for name in ["iss", "aud", "version", "iat", "exp", "licences"] {
        let mut all = payload();
        all.as_object_mut().unwrap().remove(name);
        assert!(read(&all).is_err(), "without {name}");
    }
}

#[test]
fn a_file_is_bounded() {
    let issuer = Issuer::new();
    let mut big = payload();
    let names: Value = (0..1000)
        .map(|n| json!(format!("{n}{}", "x".repeat(100))))
        .collect();
    big["licences"] = (0..10)
        .map(|n| json!({ "lic": n.to_string(), "tid": "acme", "inst": names }))
        .collect();
    let why = read_by(&issuer, &issuer.sign(TYPE, &big), NOW).unwrap_err();
    assert!(why.contains("1024 KiB"), "{why}");
    assert!(read_by(&issuer, "", NOW).is_err());
    assert!(LicenceFile::read(&[0xff, 0xfe], &policy(), &issuer.key_set(), at(NOW)).is_err());
}

#[test]
fn it_confirms_narrows_and_revokes() {
    let Introspection::Active(narrowed) = judge(|_| ()) else {
        panic!("not active")
    };
    assert_eq!((narrowed.plan.as_str(), narrowed.limits.qps), ("basic", 5));
    assert_eq!(
        narrowed.limits.burst,
        facts().limits.burst,
        "what is not named stays"
    );
    assert_eq!(
        narrowed.features,
        facts()
            .features
            .narrowed_by(&Features::new(vec!["mode:kms".to_owned()]))
    );
    assert_eq!(narrowed.expires, at(NOW + 3600), "the token's own");
    let versions = narrowed.versions.expect("a window");
    assert!(versions.contains(tag("2026.06")) && !versions.contains(tag("2026.07")));

    let of = |license: &'static str| move |facts: &mut Entitlement| facts.license = license.to_owned();
    assert_eq!(
        judge(of("L-2")),
        Introspection::Active(Box::new(Entitlement {
            license: "L-2".into(),
            ..facts()
        }))
    );
    assert_eq!(judge(of("L-3")), Introspection::Revoked);
    assert_eq!(judge(of("L-5")), Introspection::Unlisted);
    let Introspection::Active(ended) = judge(of("L-4")) else {
        panic!("not active")
    };
    assert_eq!(
        ended.expires,
        at(NOW - 1),
        "expired for whoever compares it with the time"
    );
    for edit in [
        (|facts| facts.tenant = TenantId::parse("globex").unwrap()) as fn(&mut Entitlement),
        |facts| facts.installation = InstallationId::parse("asia").unwrap(),
    ] {
        assert_eq!(judge(edit), Introspection::Mismatch);
    }
    let file = read(&payload()).unwrap();
    for sub in [json!({ "sub": "installation-8" }), json!({ "sub": 7 }), json!({})] {
        let token = Claims::parse(sub.to_string().as_bytes()).unwrap();
        let facts = Entitlement {
            license: "L-2".into(),
            ..facts()
        };
        assert_eq!(file.judge(&token, facts), Introspection::Mismatch, "{sub}");
    }
}

/// The recipe of the documentation: keys, encoding and signature by OpenSSL's command line, none of it ours.
#[test]
fn the_documented_recipe_makes_a_file() {
    let page = include_str!("../../../docs/reference/entitlement.md");
    let (_, recipe) = page.split_once("```sh\n").expect("a recipe");
    let (recipe, _) = recipe.split_once("```").expect("its end");
    let folder = tempfile::tempdir().unwrap();
    let mut shell = std::process::Command::new("bash");
    let output = shell.args(["-c", recipe]).current_dir(&folder).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let keys = KeySet::parse(&read("licensing-jwks.json")).unwrap();
    let file = LicenceFile::read(&read("licence.jwt"), &policy(), &keys, Utc::now()).unwrap();
    assert_eq!((file.version, file.licences(), file.revoked()), (1, 2, 1));
}

proptest! {
    #[test]
    fn what_is_made_of_pieces_is_read_or_refused_and_never_panics(
        members in proptest::collection::vec((0usize..14, 0usize..10), 0..8),
    ) {
        let names = ["lic", "tid", "inst", "sub", "revoked", "exp", "plan", "limits", "versionWindow", "features", "x", "", "iat", "lic "];
        let values = [
            json!(null), json!(true), json!(-1), json!(1e300), json!("*"), json!([]), json!({}), json!(["a", null]),
            json!({ "min": "2026.01", "qps": 1 }), json!("\u{202e}"),
        ];
        let mut all = payload();
        for (name, value) in members {
            all["licences"][0][names[name]] = values[value].clone();
        }
        let _ = read(&all);
    }

    #[test]
    fn bytes_are_read_or_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let issuer = Issuer::new();
        prop_assert!(LicenceFile::read(&bytes, &policy(), &issuer.key_set(), at(NOW)).is_err());
    }
}
