//! Claims of proofs and tokens, and which URL a proof is for: the `url` crate agrees.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use signer::adapters::authority::htu::{MAX_URI, normalise};
use signer::adapters::jose::claims::Claims;
use signer_fuzz::{fit, members};
use url::{Host, Url};

fuzz_target!(|data: &[u8]| {
    claims(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (one, other) = text.split_once('\n').unwrap_or((text, ""));
    if let (Some(one), Some(other)) = (uri(one), uri(other)) {
        // Equal for us: equal for them.
        if let (Some(a), Some(b), true) = (&one.1, &other.1, one.0 == other.0) {
            assert_eq!(a, b);
        }
    }
});

/// Our normal form, and that of the `url` crate if it takes the URI.
fn uri(text: &str) -> Option<(String, Option<String>)> {
    let normal = normalise(text)?;
    assert!(text.len() <= MAX_URI && text.is_ascii() && !text.bytes().any(|b| b <= b' '));
    assert!(!normal.contains(['?', '#', '\\']));
    assert_eq!(normalise(&normal).as_deref(), Some(normal.as_str()), "not idempotent");
    // The `url` crate keeps segments like `c:` before `..`, as if every scheme were `file`.
    let is_drive = |segment: &str| segment.len() == 2 && segment.ends_with(':');
    let drives = text.split(['/', '?', '#']).skip(3).any(is_drive);
    let theirs = Url::parse(text).ok().filter(|_| !drives).map(|url| independent(&url));
    if let Some((theirs, true)) = &theirs {
        assert_eq!(&normal, theirs);
    }
    spellings(text, &normal);
    Some((normal, theirs.map(|(theirs, _)| theirs)))
}

/// The URL without query and fragment, with RFC 3986 §6.2.2.2 added to what WHATWG does; and whether its host means the
/// same to both: WHATWG reads numbers as addresses and Punycode as names.
fn independent(url: &Url) -> (String, bool) {
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let same = match url.host() {
        Some(Host::Domain(name)) => !name.contains("xn--"),
        _ => false,
    };
    let host = url.host_str().unwrap_or_default();
    (format!("{}://{host}{port}{}", url.scheme(), decoded(url.path())), same)
}

fn decoded(path: &str) -> String {
    let mut normal = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        normal.push_str(&rest[..at]);
        let escape = &rest[at + 1..at + 3];
        let byte = u8::from_str_radix(escape, 16).expect("an escape") as char;
        if byte.is_ascii_alphanumeric() || "-._~".contains(byte) {
            normal.push(byte);
        } else {
            normal.push('%');
            normal.push_str(&escape.to_ascii_uppercase());
        }
        rest = &rest[at + 3..];
    }
    normal + rest
}

/// Other spellings of the same URI (RFC 3986 §6.2.2), and one that is not.
fn spellings(text: &str, normal: &str) {
    let check = |other: String| {
        if other.len() <= MAX_URI {
            assert_eq!(normalise(&other).as_deref(), Some(normal), "{other}");
        }
    };
    if !text.contains('#') {
        check(format!("{text}#fragment"));
        if !text.contains('?') {
            check(format!("{text}?query"));
        }
    }
    let (scheme, rest) = text.split_once("://").expect("a scheme");
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    check(format!("{}://{}{path}", scheme.to_uppercase(), authority.to_uppercase()));
    check(format!("{scheme}://{authority}/.{}", if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }));
    // A path's case counts (RFC 3986 §6.2.2.1).
    let swapped = normal.replacen("://", "\0", 1);
    if let Some((_, after)) = swapped.split_once('/')
        && after.contains('q')
        && !after.contains('%')
    {
        let other = normal.replacen(after, &after.replace('q', "Q"), 1);
        if other != normal {
            assert_ne!(normalise(&other).as_deref(), Some(normal));
        }
    }
}

fn claims(data: &[u8]) {
    let claims = match Claims::parse(data) {
        Ok(claims) => claims,
        Err(why) => return fit(&why.0),
    };
    let read: Value = serde_json::from_slice(data).expect("JSON");
    let names = members(data).expect("an object");
    assert_eq!(names.len(), read.as_object().expect("an object").len(), "a member twice");
    for name in names.iter().map(String::as_str).chain(["jti", "htm", "htu", "nonce", "ath", "iat", "cnf"]) {
        let value = read.get(name);
        assert_eq!(claims.get(name), value);
        assert_eq!(claims.string(name).ok(), value.and_then(Value::as_str));
        if let Ok(identifier) = claims.identifier(name) {
            assert!((1..=256).contains(&identifier.len()) && identifier.bytes().all(|b| b.is_ascii_graphic()));
        }
        match claims.date(name) {
            Ok(None) => assert!(value.is_none()),
            Ok(Some(date)) => {
                // RFC 7519 §2: a number of seconds, never text.
                let seconds = value.and_then(Value::as_f64).expect("a number");
                assert!((0.0..253_402_300_800.0).contains(&seconds));
                assert!((date.timestamp_millis() as f64 / 1000.0 - seconds).abs() < 0.01);
            }
            Err(_) => assert!(!value.and_then(Value::as_i64).is_some_and(|n| (0..253_402_300_800).contains(&n))),
        }
    }
    match claims.confirmation() {
        Ok(None) => assert!(read.get("cnf").is_none()),
        Ok(Some(bound)) => {
            let members = read["cnf"].as_object().expect("an object");
            assert!(members.keys().all(|name| name == "jkt" || name == "x5t#S256"));
            let text = |name: &str| members.get(name).map(|value| value.as_str().expect("a string").to_owned());
            let encoded = |digest: Option<[u8; 32]>| digest.map(|digest| signer_fuzz::b64url(&digest));
            assert_eq!(text("jkt"), encoded(bound.jkt.map(|digest| digest.0)));
            assert_eq!(text("x5t#S256"), encoded(bound.x5t_s256.map(|digest| digest.0)));
        }
        Err(why) => fit(&why.0),
    }
    for url in ["htu", "iss"] {
        let _ = read[url].as_str().and_then(uri);
    }
}
