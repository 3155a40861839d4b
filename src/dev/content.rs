//! What the development registry holds: a small scanner image with its cosign signatures, made at start.

use std::collections::BTreeMap;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde_json::{Map, Value, json};
use signer_actors::domain::digest::Sha256Digest;

use super::registry::Referrers;

/// Calendar tag of the scanner release.
pub const RELEASE_TAG: &str = "2026.10";
pub(super) const TAG_UNSIGNED: &str = "unsigned";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const COSIGN_SIGN: &str = "https://sigstore.dev/cosign/sign/v1";
const CREATED: &str = "2026-10-01T00:00:00Z";

/// A stored manifest.
pub(super) struct Manifest {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// Blobs and manifests by digest, tags, and who refers to whom. Immutable once built.
pub(super) struct Content {
    pub(super) scanner_digest: String,
    blobs: BTreeMap<String, Bytes>,
    manifests: BTreeMap<String, Manifest>,
    tags: BTreeMap<String, String>,
    referrers: BTreeMap<String, Vec<Value>>,
}

impl Content {
    pub(super) fn build(repository: &str, key: &PKey<Private>, referrers: Referrers) -> io::Result<Self> {
        let mut content = Self {
            scanner_digest: String::new(),
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            referrers: BTreeMap::new(),
        };
        let scanner = content.add_image(RELEASE_TAG, RELEASE_TAG);
        content.scanner_digest = digest_member(&scanner);
        content.add_image(TAG_UNSIGNED, "2026.9");
        content.add_simple_signing(repository, &scanner, key)?;
        if referrers != Referrers::Off {
            content.add_bundle(&scanner, key)?;
        }
        if referrers == Referrers::Tag {
            let manifests = content.referrers(&content.scanner_digest);
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
            let tag = content.scanner_digest.replacen(':', "-", 1);
            let index = content.add_manifest(INDEX, &index);
            content.tags.insert(tag, digest_member(&index));
        }
        Ok(content)
    }

    pub(super) fn digest_of(&self, tag: &str) -> Option<&str> {
        self.tags.get(tag).map(String::as_str)
    }

    pub(super) fn manifest(&self, digest: &str) -> Option<&Manifest> {
        self.manifests.get(digest)
    }

    pub(super) fn blob(&self, digest: &str) -> Option<&Bytes> {
        self.blobs.get(digest)
    }

    /// Descriptors of the manifests whose `subject` is this digest.
    pub(super) fn referrers(&self, digest: &str) -> Vec<Value> {
        self.referrers.get(digest).cloned().unwrap_or_default()
    }

    /// An image of one layer. Answers its descriptor.
    fn add_image(&mut self, tag: &str, version: &str) -> Value {
        // Two zero blocks: an empty archive (POSIX.1-1988 ustar).
        let layer = self.add_blob(LAYER, vec![0; 1024]);
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": CREATED,
            "config": { "Entrypoint": ["/scanner"], "Labels": { "org.opencontainers.image.version": version } },
            "rootfs": { "type": "layers", "diff_ids": [digest_member(&layer)] },
            "history": [{ "created": CREATED, "created_by": "StellaOps development" }],
        });
        let config = self.add_blob(CONFIG, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
            "annotations": { "org.opencontainers.image.version": version },
        });
        let descriptor = self.add_manifest(MANIFEST, &manifest);
        self.tags.insert(tag.to_owned(), digest_member(&descriptor));
        descriptor
    }

    /// Cosign's legacy form: a manifest under `sha256-<hex>.sig` whose layer is the signed payload.
    fn add_simple_signing(&mut self, repository: &str, image: &Value, key: &PKey<Private>) -> io::Result<()> {
        let digest = digest_member(image);
        let payload = json!({
            "critical": {
                "identity": { "docker-reference": repository },
                "image": { "docker-manifest-digest": digest },
                "type": "cosign container image signature",
            },
            "optional": null,
        });
        let payload = payload.to_string().into_bytes();
        let signature = STANDARD.encode(sign(key, &payload)?);
        let mut layer = self.add_blob(SIMPLE_SIGNING, payload);
        let diff_id = digest_member(&layer);
        annotate(
            &mut layer,
            json!({ "dev.cosignproject.cosign/signature": signature }),
        );
        let config = json!({
            "architecture": "",
            "created": "0001-01-01T00:00:00Z",
            "history": [{ "created": "0001-01-01T00:00:00Z" }],
            "os": "",
            "rootfs": { "type": "layers", "diff_ids": [diff_id] },
            "config": {},
        });
        let config = self.add_blob(CONFIG, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config,
            "layers": [layer],
        });
        let descriptor = self.add_manifest(MANIFEST, &manifest);
        let tag = format!("{}.sig", digest.replacen(':', "-", 1));
        self.tags.insert(tag, digest_member(&descriptor));
        Ok(())
    }

    /// Cosign 3's form: a Sigstore bundle v0.3 that refers to the image.
    fn add_bundle(&mut self, image: &Value, key: &PKey<Private>) -> io::Result<()> {
        let digest = digest_member(image);
        let bundle = bundle(digest.trim_start_matches("sha256:"), key)?;
        let layer = self.add_blob(BUNDLE, bundle.to_string().into_bytes());
        let config = self.add_blob(EMPTY, b"{}".to_vec());
        let annotations = json!({
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": COSIGN_SIGN,
            "org.opencontainers.image.created": CREATED,
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BUNDLE,
            "config": config,
            "layers": [layer],
            "subject": image,
            "annotations": annotations,
        });
        let mut descriptor = self.add_manifest(MANIFEST, &manifest);
        if let Some(members) = descriptor.as_object_mut() {
            members.insert("artifactType".to_owned(), json!(BUNDLE));
        }
        annotate(&mut descriptor, annotations);
        self.referrers.entry(digest).or_default().push(descriptor);
        Ok(())
    }

    fn add_blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let descriptor = descriptor(media_type, &bytes);
        self.blobs.insert(digest_member(&descriptor), Bytes::from(bytes));
        descriptor
    }

    fn add_manifest(&mut self, media_type: &str, manifest: &Value) -> Value {
        let bytes = manifest.to_string().into_bytes();
        let descriptor = descriptor(media_type, &bytes);
        let manifest = Manifest {
            media_type: media_type.to_owned(),
            bytes: Bytes::from(bytes),
        };
        self.manifests.insert(digest_member(&descriptor), manifest);
        descriptor
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    let digest = format!("sha256:{}", Sha256Digest::of(bytes));
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

fn digest_member(descriptor: &Value) -> String {
    let digest = descriptor.get("digest").and_then(Value::as_str);
    digest.unwrap_or_default().to_owned()
}

fn annotate(descriptor: &mut Value, annotations: Value) {
    let members: Option<&mut Map<String, Value>> = descriptor.as_object_mut();
    if let Some(members) = members {
        members.insert("annotations".to_owned(), annotations);
    }
}

/// ECDSA over SHA-256, DER.
fn sign(key: &PKey<Private>, bytes: &[u8]) -> io::Result<Vec<u8>> {
    Ok(Signer::new(MessageDigest::sha256(), key)?.sign_oneshot_to_vec(bytes)?)
}

/// A bundle whose statement says: this image was signed.
fn bundle(hex: &str, key: &PKey<Private>) -> io::Result<Value> {
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": hex } }],
        "predicateType": COSIGN_SIGN,
        "predicate": {},
    });
    let statement = statement.to_string();
    let signed = format!(
        "DSSEv1 {} {IN_TOTO} {} {statement}",
        IN_TOTO.len(),
        statement.len()
    );
    let hint = STANDARD.encode(Sha256Digest::of(&key.public_key_to_der()?).0);
    Ok(json!({
        "mediaType": BUNDLE,
        "verificationMaterial": { "publicKey": { "hint": hint }, "tlogEntries": [] },
        "dsseEnvelope": {
            "payload": STANDARD.encode(&statement),
            "payloadType": IN_TOTO,
            "signatures": [{ "sig": STANDARD.encode(sign(key, signed.as_bytes())?) }],
        },
    }))
}
