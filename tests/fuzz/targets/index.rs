//! Pages of a listing, behind a line with their `Link`: what is asked for next is named in the page, and is at the registry.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde_json::Value;
use signer::adapters::registry::reading::{next_page, page};

fuzz_target!(|data: &[u8]| {
    let (first, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&b""[..], data),
    };
    if let Ok(header) = HeaderValue::from_bytes(first) {
        link(&header);
    }
    let Ok(listed) = page(body) else { return };
    assert!(listed.len() <= 64);
    let distinct: BTreeSet<String> = listed.iter().map(|(digest, _)| digest.to_string()).collect();
    assert_eq!(distinct.len(), listed.len(), "a digest twice");
    let text = std::str::from_utf8(body).expect("text");
    // What is skipped may hold half a surrogate pair or a number of any size, which no tree can.
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    if let Some(manifests) = document.get("manifests").and_then(Value::as_array)
        && manifests.iter().all(Value::is_object)
    {
        let mut named = Vec::new();
        for entry in manifests {
            let one = (entry["digest"].as_str().expect("a digest"), entry["size"].as_u64().expect("a size"));
            if named.iter().all(|(digest, _)| *digest != one.0) {
                named.push(one);
            }
        }
        let listed: Vec<(String, u64)> = listed.iter().map(|(digest, size)| (digest.to_string(), *size)).collect();
        let listed: Vec<(&str, u64)> = listed.iter().map(|(digest, size)| (digest.as_str(), *size)).collect();
        assert_eq!(listed, named, "something is hidden, added or moved");
    }
});

fn link(header: &HeaderValue) {
    let origin: Url = "https://registry.example/".parse().expect("a url");
    let page: Url = "https://registry.example/v2/a/referrers/x".parse().expect("a url");
    if let Ok(Some(next)) = next_page(header, &page, &origin) {
        let shown = next.as_str();
        assert_eq!(next.origin(), origin.origin(), "{shown}");
        assert!(next.path().starts_with("/v2/"), "{shown}");
        let text = header.to_str().expect("text").to_ascii_lowercase();
        assert!(text.contains("next"), "{shown}");
        // What goes into a request's head cannot end it.
        assert!(shown.bytes().all(|byte| byte.is_ascii_graphic()), "{shown}");
    }
}
