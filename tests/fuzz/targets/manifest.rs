//! Manifests: what is accepted means the same to an independent reader, and written anew reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use signer::adapters::registry::reading::{Entry, Manifest, manifest};

fuzz_target!(|data: &[u8]| {
    let read = match manifest(data) {
        Ok(read) => read,
        Err(why) => return assert!(!why.is_empty()),
    };
    let text = std::str::from_utf8(data).expect("text");
    // What is skipped may hold half a surrogate pair or a number of any size, which no tree can.
    let Ok(document) = serde_json::from_str::<Value>(text) else { return };
    // serde reads an array as the members of a struct in their order; nobody else does, and no digest is bound by it.
    let Some(object) = document.as_object() else { return };
    assert_eq!(object["schemaVersion"], 2);
    let (list, others): (&str, [&str; 2]) = match &read {
        Manifest::Image { .. } => ("layers", ["manifests", "manifests"]),
        Manifest::Index { .. } => ("manifests", ["layers", "config"]),
    };
    assert!(others.iter().all(|name| object.get(*name).is_none_or(Value::is_null)));
    let (entries, annotations) = match &read {
        Manifest::Image { layers, annotations, .. } => (layers, annotations),
        Manifest::Index { manifests, annotations } => (manifests, annotations),
    };
    let listed = object[list].as_array().expect("a list");
    assert!(entries.len() == listed.len() && entries.len() <= 256);
    for (entry, listed) in entries.iter().zip(listed).filter(|(_, listed)| listed.is_object()) {
        assert_eq!(listed["digest"], entry.digest.to_string());
        assert_eq!(listed["size"].as_u64(), Some(entry.size));
        assert_eq!(listed["mediaType"], entry.media_type);
        assert!(entry.annotations.iter().all(|(name, value)| listed["annotations"][name] == *value));
    }
    if let Manifest::Image { subject: Some(subject), .. } = &read
        && object["subject"].is_object()
    {
        assert_eq!(object["subject"]["digest"], subject.digest.to_string());
    }
    assert!(annotations.len() <= 256);
    assert!(annotations.iter().all(|(name, value)| object["annotations"][name] == *value));
    assert_eq!(manifest(written(&read).to_string().as_bytes()), Ok(read));
});

fn written(read: &Manifest) -> Value {
    let all = |entries: &[Entry]| entries.iter().map(entry).collect::<Vec<_>>();
    match read {
        Manifest::Image { layers, subject, annotations } => json!({
            "schemaVersion": 2,
            "config": { "mediaType": "", "digest": "", "size": 0 },
            "layers": all(layers),
            "subject": subject.as_ref().map(entry),
            "annotations": annotations,
        }),
        Manifest::Index { manifests, annotations } => json!({
            "schemaVersion": 2,
            "manifests": all(manifests),
            "annotations": annotations,
        }),
    }
}

fn entry(entry: &Entry) -> Value {
    json!({
        "mediaType": entry.media_type,
        "digest": entry.digest.to_string(),
        "size": entry.size,
        "annotations": entry.annotations,
    })
}
