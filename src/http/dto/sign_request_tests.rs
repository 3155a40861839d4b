use super::*;
use signer_actors::domain::statement::StatementDraft;

const HEX: &str = "abababababababababababababababababababababababababababababababab";

/// A good body with one member replaced (or left out, for an empty text), or one added.
fn body_with(name: &str, value: &str) -> String {
    let subject = format!(r#"[{{"name":"app","digest":{{"sha256":"{HEX}"}}}}]"#);
    let scanner = format!(r#""sha256:{HEX}""#);
    let mut members = vec![
        ("subject", subject.as_str()),
        ("predicateType", r#""https://cyclonedx.org/bom""#),
        ("predicate", r#"{"bomFormat":"CycloneDX"}"#),
        ("scannerImageDigest", scanner.as_str()),
        ("poe", r#"{"format":"jwt","value":"eyJ.e30.sig"}"#),
    ];
    members.retain(|(known, _)| *known != name);
    if !value.is_empty() {
        members.push((name, value));
    }
    let members = members.iter().map(|(name, value)| format!("\"{name}\":{value}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// Reads a body as the service does: shape, then statement. The longer way, where there is another, comes to the same.
fn read(body: &[u8]) -> Result<(), BodyError> {
    let result = parse_sign_request(body).and_then(told);
    if let Ok(text) = std::str::from_utf8(body) {
        assert_eq!(result, step_by_step(text).and_then(told), "{text}");
    }
    result.map(drop)
}

/// All that a body has come to.
fn told(body: SignBody<'_>) -> Result<String, BodyError> {
    let rest = format!(
        "{:?} {:?} {:?}",
        body.scanner,
        body.poe.map(|poe| poe.0),
        body.options
    );
    let draft = StatementDraft::new(body.subjects, body.predicate_type, body.predicate)?;
    let (bytes, shape) = (draft.predicate_bytes(), draft.content_digest());
    let fits = draft.of_its_shape().map(drop);
    Ok(format!("{rest} {bytes} {shape:?} {fits:?}"))
}

#[track_caller]
fn check(body: impl AsRef<[u8]>, code: &str, detail: &str) {
    let body = body.as_ref();
    let shown = String::from_utf8_lossy(body.get(..body.len().min(600)).unwrap_or_default());
    match read(body) {
        Ok(()) => assert_eq!(code, "", "accepted: {shown}"),
        Err(error) => {
            assert_eq!(error.code(), code, "{error}: {shown}");
            assert!(error.detail.contains(detail), "{error}: {shown}");
            assert!(!error.detail.contains("secret"), "{error}");
        }
    }
}

#[track_caller]
fn check_member(name: &str, value: &str, code: &str, detail: &str) {
    check(body_with(name, value), code, detail);
}

#[test]
fn a_body_as_it_should_be_is_walked_once() {
    let good = body_with("options", "{}");
    let walked = |text: &str| in_one_walk(text).is_some();
    assert!(walked(&good));
    assert!(walked(&format!(" {} ", good.replace("\":", "\" :\n"))));
    let (all_but_last, others) = (good.strip_suffix('}').expect("an object"), r#","other":1"#);
    assert!(
        walked(&format!("{all_but_last}{others}}}")),
        "what is unknown is refused later"
    );
    let respelt = good.replace("\"predicate\"", r#""predicat\u0065""#);
    assert!(!walked(&respelt));
    assert_eq!(read(respelt.as_bytes()), Ok(()));
    for wrong in [
        good.replace("\"predicate\"", "\"PREDICATE\""),
        format!("{all_but_last}{others}{others}}}"),
        format!("{all_but_last},\"predicate\":{{}}}}"),
        format!("{all_but_last},\"\\u0070redicate\":{{}}}}"),
        format!("{all_but_last},}}"),
        format!("{good},"),
        all_but_last.to_owned(),
        body_with("predicate", "[]"),
        body_with("predicate", r#"{"a":1,"a":2}"#),
        body_with("predicate", r#"{"a":"\ud800"}"#),
        body_with("subject", r#"{"a":1,"a":2}"#),
    ] {
        assert!(!walked(&wrong), "{wrong}");
        assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

const PREDICATES: &[&str] = &[
    r#"{"bomFormat":"CycloneDX","specVersion":"1.6"}"#,
    r#"{"b":[1,-0.0,{"d":null,"c":"\n"}],"a":1e400}"#,
    r#"{"é":"\ud83d\ude00","\u0061":true,"a ":""}"#,
    r#"{"a":{"b":[[]],"a":1},"a":2}"#,
    "{}",
];
const EDITS: &[char] = &[
    '{', '}', '[', ']', '"', ',', ':', '\\', 'u', 'e', '1', '-', '.', ' ', '\n',
];

proptest::proptest! {
    /// Bodies with characters put in, left out or replaced.
    #[test]
    fn either_way_of_reading_comes_to_the_same(
        predicate in proptest::sample::select(PREDICATES),
        edits in proptest::collection::vec((0..1usize << 16, proptest::sample::select(EDITS), 0..3u8), 0..3),
    ) {
        let mut text: Vec<char> = body_with("predicate", predicate).chars().collect();
        for (at, character, edit) in edits {
            let at = at % text.len();
            match edit {
                0 => text.insert(at, character),
                1 => drop(text.remove(at)),
                _ => text[at] = character,
            }
        }
        let _ = read(text.iter().collect::<String>().as_bytes());
    }
}

#[test]
fn the_contract_s_example_is_read() {
    let options = r#"{ "signingMode": "keyless", "keyId": "release-2026", "returnBundle": "sigstore",
                       "expirySeconds": 60, "timestamp": false, "dryRun": true }"#;
    let text = body_with("options", options);
    let body = parse_sign_request(text.as_bytes()).expect("valid");
    assert_eq!(body.subjects.len(), 1);
    assert_eq!(body.predicate_type, "https://cyclonedx.org/bom");
    assert_eq!(body.scanner.to_string(), format!("sha256:{HEX}"));
    assert_eq!(body.poe.as_ref().map(Poe::as_str), Some("eyJ.e30.sig"));
    assert!(!format!("{body:?}").contains("eyJ"), "the proof is in Debug");
    let draft = StatementDraft::new(body.subjects, body.predicate_type, body.predicate).expect("a statement");
    assert_eq!(draft.predicate_bytes(), 25);
    let expected = SignOptions {
        mode: Some(SigningMode::Keyless),
        key_id: KeyId::parse("release-2026"),
        return_bundle: Some(ReturnBundle::Sigstore),
        expiry: Some(Duration::from_secs(60)),
        timestamp: Some(false),
        dry_run: Some(true),
    };
    assert_eq!(body.options, expected);
}

#[test]
fn options_are_optional() {
    for options in ["", "{}", "null", r#"{"keyId":null}"#] {
        let text = body_with("options", options);
        let body = parse_sign_request(text.as_bytes()).expect("valid");
        assert_eq!(body.options, SignOptions::default());
    }
    for poe in ["", "null"] {
        let text = body_with("poe", poe);
        assert_eq!(parse_sign_request(text.as_bytes()).expect("valid").poe, None);
    }
}

#[test]
fn json_is_strict_everywhere() {
    let code = "invalid_json";
    check("", code, "the body");
    check("{", code, "line 1, column 1");
    check("[1,", code, "the body");
    check("\u{feff}{}", code, "the body");
    check(b"{\"a\":\"\xff\"}", code, "UTF-8 at byte 6");
    check(body_with("", "") + "x", code, "line 1");
    check(body_with("", "") + "{}", code, "line 1");
    check(
        body_with("x", "1").replace("\"x\"", "\"poe\""),
        code,
        "duplicate member poe",
    );
    check(
        body_with("x", "1").replace("\"x\"", r#""\u0070oe""#),
        code,
        "duplicate member poe",
    );
    check(
        body_with("x", "1").replace("\"x\"", r#""\ud800""#),
        code,
        "the body",
    );
    for (name, value) in [
        ("subject", r#"[{"name":"a","name":"a"}]"#),
        ("subject", r#"[{"name":"\ud800"}]"#),
        ("subject", r#"[{"digest":{"sha256":"secret","sha256":"secret"}}]"#),
        ("predicate", r#"{"a":{"b":1,"\u0062":1}}"#),
        ("predicate", r#"{"a":"\udc00"}"#),
        ("poe", r#"{"format":"jwt","value":"secret","value":"secret"}"#),
        ("options", r#"{"dryRun":true,"dryRun":true}"#),
        ("options", r#"{"x":{"secret":1,"secret":2}}"#),
        ("unknown", r#"{"secret":1,"secret":2}"#),
        ("options", r#"{"keyId":"\ud800"}"#),
    ] {
        check_member(name, value, code, "");
    }
    for (name, value) in [
        ("predicate", "01"),
        ("poe", "{\"a\":\"\n\"}"),
        ("options", "{,}"),
        ("poe", "tru"),
    ] {
        check_member(name, value, code, "line");
    }
}

#[test]
fn depth_counts_from_the_root() {
    let nested = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    check_member("predicate", &nested(63), "", "");
    check_member("predicate", &nested(64), "invalid_json", "nested deeper than 64");
    for name in ["options", "poe", "subject", "unknown"] {
        check_member(name, &nested(64), "invalid_json", "nested deeper than 64");
        check_member(name, &"[".repeat(200_000), "invalid_json", "");
    }
    let annotated = |value: &str| {
        format!(r#"[{{"name":"a","digest":{{"sha256":"{HEX}"}},"annotations":{{"x":{value}}}}}]"#)
    };
    check_member("subject", &annotated(&nested(60)), "", "");
    check_member(
        "subject",
        &annotated(&nested(61)),
        "invalid_json",
        "nested deeper",
    );
}

#[test]
fn members_are_known_there_and_of_their_type() {
    let code = "invalid_request";
    for body in ["[]", "null", "1", "\"secret\"", " [[],\"\",{}]"] {
        check(body, code, "the body must be an object");
    }
    check("{}", code, "no member subject");
    for name in ["subject", "predicateType", "predicate", "scannerImageDigest"] {
        check_member(name, "", code, &format!("no member {name}: add it"));
    }
    check_member(
        "predicatType",
        "\"secret\"",
        code,
        "unknown member predicatType: allowed are subject,",
    );
    check_member("a secret: eyJ", "1", code, "unknown member: allowed are");
    let many: Vec<_> = (0..1000).map(|i| format!("\"x{i}\":1")).collect();
    check(format!("{{{}}}", many.join(",")), code, "unknown member x0");
    for (name, value, detail) in [
        ("predicateType", "1", "predicateType must be a string"),
        ("predicateType", "null", "predicateType must be a string"),
        (
            "scannerImageDigest",
            "{\"secret\":1}",
            "scannerImageDigest must be a string",
        ),
        ("poe", "\"secret\"", "poe must be an object"),
        ("poe", "[\"jwt\",\"secret\"]", "poe must be an object"),
        ("poe", "{\"format\":\"jwt\"}", "poe has no member value"),
        ("poe", "{\"value\":\"secret\"}", "poe has no member format"),
        (
            "poe",
            "{\"format\":\"secret\",\"value\":\"secret\"}",
            "poe.format must be jwt",
        ),
        (
            "poe",
            "{\"format\":\"jwt\",\"value\":\"\"}",
            "poe.value must be 1 to",
        ),
        (
            "poe",
            "{\"format\":\"jwt\",\"value\":5}",
            "poe.value must be a string",
        ),
        (
            "poe",
            "{\"format\":\"jwt\",\"value\":\"secret\",\"x\":1}",
            "unknown member x",
        ),
        ("options", "[]", "options must be an object"),
        (
            "options",
            "{\"signingmode\":\"kms\"}",
            "unknown member signingmode",
        ),
        ("options", "{\"signingMode\":\"KMS\"}", "must be keyless or kms"),
        (
            "options",
            "{\"signingMode\":{\"kms\":null}}",
            "signingMode must be a string",
        ),
        (
            "options",
            "{\"keyId\":\"../secret\"}",
            "options.keyId must be 1 to 128",
        ),
        (
            "options",
            "{\"returnBundle\":\"secret\"}",
            "must be dsse or sigstore",
        ),
        (
            "options",
            "{\"timestamp\":\"true\"}",
            "options.timestamp must be true or false",
        ),
        (
            "options",
            "{\"dryRun\":1}",
            "options.dryRun must be true or false",
        ),
    ] {
        check_member(name, value, code, detail);
    }
    for value in [
        "0",
        "601",
        "-1",
        "1.5",
        "60.0",
        "\"60\"",
        "1e9",
        "18446744073709551617",
    ] {
        let options = format!("{{\"expirySeconds\":{value}}}");
        check_member("options", &options, code, "an integer from 1 to 600");
    }
    let poe = |len| format!(r#"{{"format":"jwt","value":"{}"}}"#, "x".repeat(len));
    check_member("poe", &poe(MAX_POE), "", "");
    check_member(
        "poe",
        &poe(MAX_POE + 1),
        code,
        "poe.value must be 1 to 16384 bytes",
    );
}

#[test]
fn digests_are_exact() {
    for bad in [
        "",
        "sha256:secret",
        "SHA256:ab",
        HEX,
        &format!("sha256:{}", HEX.to_uppercase()),
    ] {
        check_member(
            "scannerImageDigest",
            &format!("\"{bad}\""),
            "invalid_digest",
            "64 lowercase",
        );
    }
    check_member(
        "subject",
        r#"[{"name":"a","digest":{"sha256":"secret"}}]"#,
        "invalid_digest",
        "subject[0].digest.sha256",
    );
}

#[test]
fn subjects_have_their_shape() {
    let code = "invalid_subject";
    let good = format!(r#"{{"name":"a","digest":{{"sha256":"{HEX}"}}}}"#);
    let digest = format!(r#""digest":{{"sha256":"{HEX}"}}"#);
    for (value, detail) in [
        ("null".to_owned(), "subject must be an array"),
        ("{}".to_owned(), "subject must be an array"),
        (good.clone(), "subject must be an array"),
        ("[]".to_owned(), "empty"),
        (format!("[{}]", vec![good.as_str(); 1025].join(",")), "1 to 1024"),
        (format!("[{good},\"secret\"]"), "subject[1] must be an object"),
        (
            format!(r#"[["secret",null,{{"sha256":"{HEX}"}},null,null,{{}}]]"#),
            "subject[0] must be an object",
        ),
        (
            format!(r#"[{{"name":5,{digest}}}]"#),
            "subject[0].name must be a string",
        ),
        (
            format!(r#"[{{"nam":"secret",{digest}}}]"#),
            "subject[0] has an unknown member nam",
        ),
        (
            r#"[{"name":"secret"}]"#.to_owned(),
            "subject[0] has no member digest",
        ),
        (
            r#"[{"name":"secret","digest":{"sha256":7}}]"#.to_owned(),
            "subject[0].digest must be an object of strings",
        ),
        (
            r#"[{"name":"secret","digest":"secret"}]"#.to_owned(),
            "subject[0].digest must be an object of strings",
        ),
        (
            format!(r#"[{{"name":"a",{digest},"annotations":["secret"]}}]"#),
            "subject[0].annotations must be an object",
        ),
        (
            format!(
                r#"[{{"name":"a",{digest},"annotations":{{"{}":1}}}}]"#,
                "x".repeat(1025)
            ),
            "longer than 1024",
        ),
        (
            format!(r#"[{{"name":"a",{digest},"annotations":{{"x":1e999}}}}]"#),
            "subject[0].annotations",
        ),
    ] {
        check_member("subject", &value, code, detail);
    }
    check_member(
        "subject",
        &format!("[{}]", vec![good.as_str(); 1024].join(",")),
        "",
        "",
    );
}

#[test]
fn predicates_are_objects_of_lasting_value() {
    let code = "invalid_predicate";
    for value in ["null", "[]", "1", "\"secret\""] {
        check_member("predicate", value, code, "predicate must be an object");
    }
    check_member("predicate", "{}", code, "empty");
    check_member(
        "predicate",
        "{\"n\":12345678901234567890}",
        code,
        "send it as a string",
    );
    check_member(
        "predicate",
        &format!("{{\"{}\":1}}", "x".repeat(1025)),
        code,
        "1024 bytes",
    );
    check_member("predicateType", "\"secret\"", code, "absolute URI");
}
