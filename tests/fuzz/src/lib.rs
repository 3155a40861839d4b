//! What several targets assert with: written anew, not taken from the service.

pub mod release;

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

/// What callers are told: short, printable.
pub fn fit(text: &str) {
    assert!(text.len() < 400, "{text}");
    assert!(!text.chars().any(char::is_control), "{text}");
}

/// The names of an object's members, repeated ones too; `None` if it is no JSON object.
pub fn members(json: &[u8]) -> Option<Vec<String>> {
    serde_json::from_slice::<Names>(json).ok().map(|names| names.0)
}

/// base64url without padding, by OpenSSL.
pub fn b64url(bytes: &[u8]) -> String {
    let text = openssl::base64::encode_block(bytes);
    text.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            names.push(name);
        }
        Ok(Names(names))
    }
}
