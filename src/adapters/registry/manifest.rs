//! Image manifests and indexes (OCI image-spec 1.1), read strictly enough that one document has one meaning.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE,
};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use signer_actors::domain::digest::ImageDigest;

/// What the service accepts as a manifest: images and indexes, of OCI and of Docker.
pub(super) const ACCEPT_ANY: &str = "application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json";

/// Most descriptors in a manifest. Builders stop at 127 layers, and a listing names at most a quarter of this.
pub(super) const MAX_DESCRIPTORS: usize = 256;

/// Most members of one map of annotations, labels or digests.
pub(super) const MAX_MEMBERS: usize = 256;

/// One manifest, of either kind.
#[derive(Debug)]
pub(super) enum Manifest {
    Image(ImageManifest),
    Index(Index),
}

/// An image manifest, reduced to what is looked at.
#[derive(Debug)]
pub(super) struct ImageManifest {
    pub(super) layers: Vec<Descriptor>,
    pub(super) subject: Option<Descriptor>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// An image index, reduced to what is looked at.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) manifests: Vec<Descriptor>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// What a manifest points to (image-spec `descriptor.md`), reduced to what is looked at: the rest, whatever its size, is
/// skipped and not kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    digest: String,
    size: i64,
    annotations: Option<UniqueMap<String>>,
}

impl Descriptor {
    /// The digest as written; [`target`] reads it.
    pub(super) fn names(&self, image: ImageDigest) -> bool {
        self.digest == image.to_string()
    }

    pub(super) fn annotations(&self) -> BTreeMap<String, String> {
        self.annotations
            .as_ref()
            .map(|map| map.0.clone())
            .unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Descriptors>,
    manifests: Option<Descriptors>,
    subject: Option<Descriptor>,
    annotations: Option<UniqueMap<String>>,
}

impl Manifest {
    /// Reads a manifest. A document that could be read both as image and as index is refused (CVE-2021-41190).
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        // RFC 8259 §8.1; the JSON reader does not look at texts that it skips.
        let text = std::str::from_utf8(bytes).map_err(|_| "malformed manifest: not UTF-8")?;
        let document: Document =
            serde_json::from_str(text).map_err(|e| format!("malformed manifest: {e}"))?;
        if document.schema_version != 2 {
            return Err("malformed manifest: schemaVersion is not 2".to_owned());
        }
        let annotations = document.annotations.map(|m| m.0).unwrap_or_default();
        let media_type = document.media_type.as_deref();
        match (document.config, document.layers, document.manifests) {
            (Some(_), Some(Descriptors(layers)), None)
                if matches!(
                    media_type,
                    None | Some(OCI_IMAGE_MEDIA_TYPE | IMAGE_MANIFEST_MEDIA_TYPE)
                ) =>
            {
                let subject = document.subject;
                Ok(Self::Image(ImageManifest {
                    layers,
                    subject,
                    annotations,
                }))
            }
            (None, None, Some(Descriptors(manifests)))
                if matches!(
                    media_type,
                    None | Some(OCI_IMAGE_INDEX_MEDIA_TYPE | IMAGE_MANIFEST_LIST_MEDIA_TYPE)
                ) =>
            {
                Ok(Self::Index(Index {
                    manifests,
                    annotations,
                }))
            }
            _ => Err("malformed manifest: neither an image manifest nor an index".to_owned()),
        }
    }

    /// Annotations of the manifest itself: as bound to its digest as everything else in it.
    pub(super) fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Image(image) => &image.annotations,
            Self::Index(index) => &index.annotations,
        }
    }
}

/// Digest and size of a descriptor; only SHA-256 is accepted.
pub(super) fn target(descriptor: &Descriptor) -> Result<(ImageDigest, u64), String> {
    let digest =
        ImageDigest::parse(&descriptor.digest).ok_or("malformed descriptor: digest is not sha256")?;
    let size = u64::try_from(descriptor.size).map_err(|_| "malformed descriptor: negative size")?;
    Ok((digest, size))
}

/// At most [`MAX_DESCRIPTORS`]: a short text must not become a long list in memory.
struct Descriptors(Vec<Descriptor>);

impl<'de> Deserialize<'de> for Descriptors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = Descriptors;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of descriptors")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    if items.len() == MAX_DESCRIPTORS {
                        return Err(A::Error::custom(format!(
                            "more than {MAX_DESCRIPTORS} descriptors"
                        )));
                    }
                    items.push(item);
                }
                Ok(Descriptors(items))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

/// A JSON object whose member names are distinct: a second member of a name is an error, not an override. At most
/// [`MAX_MEMBERS`].
#[derive(Clone, Debug)]
pub(super) struct UniqueMap<V>(pub(super) BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Members<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = access.next_entry::<String, V>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("duplicate member"));
                    }
                    if members.len() > MAX_MEMBERS {
                        return Err(A::Error::custom(format!("more than {MAX_MEMBERS} members")));
                    }
                }
                Ok(UniqueMap(members))
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_manifests_are_read() {
        let image = include_bytes!("cosign/testdata/image.json");
        let parsed = Manifest::parse(image).unwrap();
        assert_eq!(
            parsed.annotations()["org.opencontainers.image.version"],
            "2026.10"
        );
        let Manifest::Image(signature) =
            Manifest::parse(include_bytes!("cosign/testdata/bundle-manifest.json")).unwrap()
        else {
            panic!("an image manifest");
        };
        let (digest, size) = target(&signature.subject.unwrap()).unwrap();
        assert_eq!(size as usize, image.len());
        assert_eq!(
            digest.sha256(),
            signer_actors::domain::digest::Sha256Digest::of(image)
        );
    }

    #[test]
    fn ambiguous_and_malformed_documents_are_refused() {
        let descriptor = r#"{"mediaType":"a/b","digest":"sha256:00","size":1}"#;
        for bad in [
            String::new(),
            "[]".into(),
            r#"{"schemaVersion":2}"#.into(),
            r#"{"schemaVersion":1,"manifests":[]}"#.into(),
            r#"{"schemaVersion":2,"manifests":null}"#.into(),
            r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#.into(),
            r#"{"schemaVersion":2,"manifests":[],"annotations":{"a":"1","a":"2"}}"#.into(),
            r#"{"schemaVersion":2,"manifests":[]} trailing"#.into(),
            format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[],"manifests":[]}}"#),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{descriptor},"layers":[]}}"#
            ),
        ] {
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(Manifest::parse(br#"{"schemaVersion":2,"manifests":[]}"#).is_ok());
    }

    #[test]
    fn descriptors_need_sha256_and_a_size() {
        let mut descriptor = Descriptor {
            media_type: "a/b".to_owned(),
            digest: format!("sha256:{}", "a".repeat(64)),
            size: 3,
            annotations: None,
        };
        assert_eq!(target(&descriptor).unwrap().1, 3);
        descriptor.size = -1;
        assert!(target(&descriptor).is_err());
        descriptor.size = 3;
        descriptor.digest = format!("sha512:{}", "a".repeat(128));
        assert!(target(&descriptor).is_err());
    }

    #[test]
    fn what_is_skipped_is_text_too() {
        let with = |unknown: &[u8]| {
            let parts: [&[u8]; 3] = [br#"{"schemaVersion":2,"manifests":[],"x":""#, unknown, br#""}"#];
            Manifest::parse(&parts.concat())
        };
        assert!(with("é".as_bytes()).is_ok());
        assert_eq!(with(b"\xe9").unwrap_err(), "malformed manifest: not UTF-8");
    }

    /// A short text must not become much in memory.
    #[test]
    fn lists_and_maps_are_bounded() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let descriptor = format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
        let of = |descriptors: usize, annotations: usize| {
            let manifests = vec![descriptor.as_str(); descriptors].join(",");
            let members: Vec<String> = (0..annotations).map(|n| format!("\"{n}\":\"\"")).collect();
            let members = members.join(",");
            format!(r#"{{"schemaVersion":2,"manifests":[{manifests}],"annotations":{{{members}}}}}"#)
        };
        assert!(Manifest::parse(of(MAX_DESCRIPTORS, MAX_MEMBERS).as_bytes()).is_ok());
        for (descriptors, annotations) in [(MAX_DESCRIPTORS + 1, 0), (0, MAX_MEMBERS + 1), (100_000, 0)] {
            let refused = Manifest::parse(of(descriptors, annotations).as_bytes()).unwrap_err();
            assert!(refused.contains("more than 256"), "{refused}");
        }
    }
}
