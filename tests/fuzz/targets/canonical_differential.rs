//! The streaming canonicaliser against RFC 8785 written down naively: serde_json reads, every value is a tree of its
//! own strings, nothing is shared with the code under test.
#![no_main]

use std::fmt;

use libfuzzer_sys::fuzz_target;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use signer_actors::domain::canonical::{MAX_DEPTH, MAX_NAME_BYTES, canonicalize, strict_scan};

fuzz_target!(|text: &str| {
    let mut written = Vec::new();
    let result = canonicalize(text, 0, &mut written);
    let expected = document(text);
    match (result, expected) {
        (Ok(()), Some(expected)) => {
            assert_eq!(String::from_utf8_lossy(&written), expected);
            let mut again = Vec::new();
            assert_eq!(canonicalize(&expected, 0, &mut again), Ok(()));
            assert_eq!(written, again, "canonical text changed");
            assert_eq!(strict_scan(text, 0), Ok(()));
        }
        (Err(_), None) => assert!(written.is_empty(), "output left behind"),
        (result, expected) => panic!("{result:?}, and the reference says {expected:?}"),
    }
});

fn document(text: &str) -> Option<String> {
    canonical(serde_json::from_str(text).ok()?, 0)
}

fn canonical(raw: &RawValue, depth: usize) -> Option<String> {
    let text = raw.get();
    match text.chars().next()? {
        '{' if depth < MAX_DEPTH => object(serde_json::from_str(text).ok()?, depth + 1),
        '[' if depth < MAX_DEPTH => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let elements: Option<Vec<_>> = elements.into_iter().map(|e| canonical(e, depth + 1)).collect();
            Some(format!("[{}]", elements?.join(",")))
        }
        '{' | '[' => None,
        '"' => Some(string(&serde_json::from_str::<String>(text).ok()?)),
        '-' | '0'..='9' => number(text),
        _ => Some(text.to_owned()),
    }
}

fn object(Members(members): Members<'_>, depth: usize) -> Option<String> {
    let mut sorted = Vec::new();
    for (name, value) in members {
        if name.len() > MAX_NAME_BYTES {
            return None;
        }
        let units: Vec<u16> = name.encode_utf16().collect();
        sorted.push((units, string(&name) + ":" + &canonical(value, depth)?));
    }
    sorted.sort();
    if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return None;
    }
    let members: Vec<_> = sorted.into_iter().map(|(_, member)| member).collect();
    Some(format!("{{{}}}", members.join(",")))
}

fn string(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out + "\""
}

fn number(text: &str) -> Option<String> {
    let value: f64 = text.parse().ok()?;
    let canonical = ryu_js::Buffer::new().format(value).to_owned();
    (value.is_finite() && decimal(text) == decimal(&canonical)).then_some(canonical)
}

/// Sign, digits without zeros at either end, and the power of ten of the last digit.
fn decimal(text: &str) -> (bool, String, i128) {
    let lower = text.to_ascii_lowercase();
    let (mantissa, exponent) = lower.split_once('e').unwrap_or((&lower, "0"));
    let negative = mantissa.starts_with('-');
    let mantissa = mantissa.trim_start_matches('-');
    let fraction = mantissa.split_once('.').map_or("", |(_, fraction)| fraction);
    let digits = mantissa.replace('.', "");
    let digits = digits.trim_start_matches('0');
    let shorter = digits.trim_end_matches('0');
    if shorter.is_empty() {
        return (false, String::new(), 0);
    }
    // Longer exponents than an i128 holds are not those of a double; any two of them may be equal here.
    let exponent = exponent.parse().unwrap_or(i128::MAX / 2);
    let trimmed = (digits.len() - shorter.len()) as i128;
    (negative, shorter.to_owned(), exponent - fraction.len() as i128 + trimmed)
}

/// Members in the order of the text, duplicates included.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}
