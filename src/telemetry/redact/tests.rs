use super::*;
use proptest::prelude::*;

// RFC 7515 appendix A.1.
const JWT: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

#[test]
fn names_tell_secrets() {
    for secret in [
        "authorization",
        "Authorization",
        "dpop",
        "DPoP",
        "token",
        "access_token",
        "accessToken",
        "client-secret",
        "poe",
        "proof",
        "dpopProof",
        "credential",
        "password",
        "key_passphrase",
        "private_key",
        "privateKey",
        "PRIVATE-KEY",
        "cookie",
        "set-cookie",
        "refreshtoken",
        "clientsecret",
        "pin",
        "payload",
        "predicate",
        "jwt",
    ] {
        assert!(is_secret_name(secret), "{secret}");
    }
    for plain in [
        "component",
        "correlationId",
        "keyId",
        "key_set",
        "predicateType",
        "payload_digest",
        "auditId",
        "route",
        "poem",
        "pinned",
        "status",
        "public_key",
        "",
    ] {
        assert!(!is_secret_name(plain), "{plain}");
    }
}

#[test]
fn secrets_are_found_in_running_text() {
    let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----";
    let cut = JWT.get(..60).unwrap();
    let table = [
        (format!("bad token {JWT}, sorry"), "bad token [redacted], sorry"),
        (format!("{JWT}{JWT}"), "[redacted]"),
        (format!("token=\"{JWT}\""), "token=\"[redacted]\""),
        (format!("x{JWT}"), "x[redacted]"),
        (cut.to_owned(), "[redacted]"),
        (format!("key: {pem} end"), "key: [redacted] end"),
        (pem.replace("EC ", ""), "[redacted]"),
        (pem.replace("EC ", "ENCRYPTED "), "[redacted]"),
        (pem.get(..35).unwrap().to_owned(), "[redacted]"),
        (format!("{pem}\n{pem}"), "[redacted]\\n[redacted]"),
        (
            "Authorization: Bearer abcdefghijklmnop0123".into(),
            "Authorization: Bearer [redacted]",
        ),
        ("basic dXNlcjpwYXNzd29yZA== x".into(), "basic [redacted] x"),
        ("https://user:pa55@host/x".into(), "https://[redacted]@host/x"),
        ("redis://:pa@55@host:6379".into(), "redis://[redacted]@host:6379"),
    ];
    for (text, expected) in table {
        assert_eq!(clean(&text), expected, "{text}");
    }
    for plain in [
        "the DPoP proof has expired",
        "bearer tokens need mTLS",
        "https://host/path?q=a@b",
        "eyJ is how tokens begin",
        "-----BEGIN CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "größer als erlaubt: naïve – ✓",
    ] {
        assert_eq!(clean(plain), plain);
    }
}

#[test]
fn control_characters_are_escaped() {
    assert_eq!(clean("a\r\n{\"level\":\"info\"}"), "a\\r\\n{\"level\":\"info\"}");
    assert_eq!(clean("\u{1b}[2J\u{9b}\0\u{7f}"), "\\u{1b}[2J\\u{9b}\\u{0}\\u{7f}");
    assert_eq!(clean("a\u{202e}b\u{2028}c"), "a\\u{202e}b\\u{2028}c");
}

#[test]
fn values_are_bounded() {
    let exact = "x".repeat(MAX_VALUE_BYTES);
    assert_eq!(clean(&exact), exact);
    assert_eq!(
        clean(&"x".repeat(MAX_VALUE_BYTES + 7)),
        exact + "… (7 bytes more)"
    );
    assert_eq!(
        clean(&"ä".repeat(100_000)).len(),
        MAX_VALUE_BYTES + "… (197952 bytes more)".len()
    );
    // A secret that begins within bounds does not survive the cut.
    let long = format!("{}{}", "x".repeat(MAX_VALUE_BYTES - 50), JWT);
    assert!(!clean(&long).contains("eyJ"));
}

proptest! {
    #[test]
    fn nothing_gets_through(before in "\\PC{0,30}", after in "[ ,;\"'\\)\n]\\PC{0,30}") {
        let cleaned = clean(&format!("{before}{JWT}{after}"));
        prop_assert!(!cleaned.contains("dBjftJeZ4CVP"), "{}", cleaned);
    }

    #[test]
    fn any_text_becomes_one_bounded_line(text in any::<String>()) {
        let cleaned = clean(&text);
        prop_assert!(!cleaned.chars().any(char::is_control));
        prop_assert!(cleaned.len() <= MAX_VALUE_BYTES + 32);
    }
}
