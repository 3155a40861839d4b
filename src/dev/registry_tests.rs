use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::hash::MessageDigest;
use openssl::pkey::Public;
use openssl::sign::Verifier;
use signer_actors::domain::digest::Sha256Digest;

use super::super::content::{BUNDLE, MANIFEST};
use super::*;

struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Registry {
    async fn get(&self, path: &str) -> Got {
        let answer = reqwest::get(format!("{}/v2/{path}", self.running.base_url))
            .await
            .unwrap();
        Got {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: answer.bytes().await.unwrap().to_vec(),
        }
    }

    async fn manifest(&self, reference: &str) -> Got {
        self.get(&format!("{REPOSITORY}/manifests/{reference}")).await
    }

    /// The blob of a descriptor, with digest and size checked.
    async fn blob(&self, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap();
        let got = self.get(&format!("{REPOSITORY}/blobs/{digest}")).await;
        assert_eq!(got.status, 200);
        assert_eq!(digest, format!("sha256:{}", Sha256Digest::of(&got.body)));
        assert_eq!(descriptor["size"], json!(got.body.len()));
        got.body
    }

    fn key(&self) -> PKey<Public> {
        PKey::public_key_from_pem(self.release_public_pem.as_bytes()).unwrap()
    }
}

fn holds(key: &PKey<Public>, bytes: &[u8], signature: &Value) -> bool {
    let signature = STANDARD.decode(signature.as_str().unwrap()).unwrap();
    let mut verifier = Verifier::new(MessageDigest::sha256(), key).unwrap();
    verifier.verify_oneshot(&signature, bytes).unwrap()
}

#[actix::test]
async fn serves_the_release_by_tag_and_by_digest() {
    let registry = start(Referrers::Api).await.unwrap();
    assert_eq!(registry.get("").await.status, 200);
    let by_tag = registry.manifest("2026.10").await;
    assert_eq!(by_tag.status, 200);
    assert_eq!(by_tag.header("docker-content-digest"), registry.scanner_digest);
    assert_eq!(by_tag.header("content-type"), MANIFEST);
    assert_eq!(
        registry.scanner_digest,
        format!("sha256:{}", Sha256Digest::of(&by_tag.body))
    );
    let by_digest = registry.manifest(&registry.scanner_digest).await;
    assert_eq!(by_digest.body, by_tag.body);
    let manifest = by_tag.json();
    assert_eq!(
        manifest["annotations"]["org.opencontainers.image.version"],
        "2026.10"
    );
    let config: Value = serde_json::from_slice(&registry.blob(&manifest["config"]).await).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    registry.blob(&manifest["layers"][0]).await;

    let url = format!("{}/v2/{REPOSITORY}/manifests/2026.10", registry.running.base_url);
    let head = reqwest::Client::new().head(url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.headers()["docker-content-digest"],
        registry.scanner_digest.as_str()
    );
    assert_eq!(
        head.headers()["content-length"],
        by_tag.body.len().to_string().as_str()
    );
}

#[actix::test]
async fn the_signature_tag_holds_a_simple_signing_payload() {
    for referrers in [Referrers::Api, Referrers::Tag, Referrers::Off] {
        let registry = start(referrers).await.unwrap();
        let tag = format!("{}.sig", registry.scanner_digest.replace(':', "-"));
        let manifest = registry.manifest(&tag).await.json();
        let layer = &manifest["layers"][0];
        assert_eq!(
            layer["mediaType"],
            "application/vnd.dev.cosign.simplesigning.v1+json"
        );
        let payload = registry.blob(layer).await;
        let signature = &layer["annotations"]["dev.cosignproject.cosign/signature"];
        assert!(holds(&registry.key(), &payload, signature));
        let payload: Value = serde_json::from_slice(&payload).unwrap();
        let critical = &payload["critical"];
        assert_eq!(critical["type"], "cosign container image signature");
        assert_eq!(
            critical["image"]["docker-manifest-digest"],
            json!(registry.scanner_digest)
        );
        assert_eq!(
            critical["identity"]["docker-reference"],
            json!(registry.repository)
        );
        registry.blob(&manifest["config"]).await;
    }
}

async fn check_bundle(registry: &Registry, index: &Value) {
    assert_eq!(index["mediaType"], INDEX);
    let [descriptor] = index["manifests"].as_array().unwrap().as_slice() else {
        panic!("{index}");
    };
    assert_eq!(descriptor["artifactType"], BUNDLE);
    let manifest = registry.manifest(descriptor["digest"].as_str().unwrap()).await;
    assert_eq!(descriptor["size"], json!(manifest.body.len()));
    let manifest = manifest.json();
    assert_eq!(manifest["artifactType"], BUNDLE);
    assert_eq!(manifest["subject"]["digest"], json!(registry.scanner_digest));
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.empty.v1+json"
    );
    let bundle: Value = serde_json::from_slice(&registry.blob(&manifest["layers"][0]).await).unwrap();
    let envelope = &bundle["dsseEnvelope"];
    let statement = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
    // DSSE protocol.md, "Signature Definition": 28 is the length of the payload type.
    let mut signed = format!("DSSEv1 28 application/vnd.in-toto+json {} ", statement.len()).into_bytes();
    signed.extend_from_slice(&statement);
    assert!(holds(&registry.key(), &signed, &envelope["signatures"][0]["sig"]));
    let hint = STANDARD.encode(Sha256Digest::of(&registry.key().public_key_to_der().unwrap()).0);
    assert_eq!(bundle["verificationMaterial"]["publicKey"]["hint"], json!(hint));
    let statement: Value = serde_json::from_slice(&statement).unwrap();
    assert_eq!(statement["predicateType"], "https://sigstore.dev/cosign/sign/v1");
    let subject = statement["subject"][0]["digest"]["sha256"].as_str().unwrap();
    assert_eq!(format!("sha256:{subject}"), registry.scanner_digest);
}

#[actix::test]
async fn the_referrers_api_lists_and_filters() {
    let registry = start(Referrers::Api).await.unwrap();
    let path = format!("{REPOSITORY}/referrers/{}", registry.scanner_digest);
    let all = registry.get(&path).await;
    assert_eq!((all.status, all.header("content-type")), (200, INDEX));
    assert_eq!(all.header("oci-filters-applied"), "");
    check_bundle(&registry, &all.json()).await;
    let same = registry
        .get(&format!("{path}?artifactType={}", BUNDLE.replace('+', "%2B")))
        .await;
    assert_eq!(same.json()["manifests"].as_array().unwrap().len(), 1);
    let none = registry.get(&format!("{path}?artifactType=text/plain")).await;
    assert_eq!(none.header("oci-filters-applied"), "artifactType");
    assert_eq!(none.json()["manifests"], json!([]));
    let unsigned = format!("{REPOSITORY}/referrers/{}", registry.unsigned_digest);
    assert_eq!(registry.get(&unsigned).await.json()["manifests"], json!([]));
}

#[actix::test]
async fn without_the_api_the_referrers_tag_is_the_index() {
    let registry = start(Referrers::Tag).await.unwrap();
    let path = format!("{REPOSITORY}/referrers/{}", registry.scanner_digest);
    assert_eq!(registry.get(&path).await.status, 404);
    let tag = registry.scanner_digest.replace(':', "-");
    let index = registry.manifest(&tag).await;
    assert_eq!((index.status, index.header("content-type")), (200, INDEX));
    check_bundle(&registry, &index.json()).await;

    let off = start(Referrers::Off).await.unwrap();
    let tag = off.scanner_digest.replace(':', "-");
    assert_eq!(off.manifest(&tag).await.status, 404);
}

#[actix::test]
async fn what_is_not_there_is_not_found() {
    let registry = start(Referrers::Api).await.unwrap();
    let absent = format!("sha256:{}", "0".repeat(64));
    for (path, status, code) in [
        (format!("{REPOSITORY}/manifests/latest"), 404, "MANIFEST_UNKNOWN"),
        (
            format!("{REPOSITORY}/manifests/{absent}"),
            404,
            "MANIFEST_UNKNOWN",
        ),
        (format!("{REPOSITORY}/blobs/{absent}"), 404, "BLOB_UNKNOWN"),
        ("other/name/manifests/2026.10".to_owned(), 404, "NAME_UNKNOWN"),
        (format!("{REPOSITORY}/referrers/sha256:ab"), 400, "DIGEST_INVALID"),
    ] {
        let got = registry.get(&path).await;
        assert_eq!(got.status, status, "{path}");
        assert_eq!(got.json()["errors"][0]["code"], code, "{path}");
    }
    let unsigned = format!("{}.sig", registry.unsigned_digest.replace(':', "-"));
    assert_eq!(registry.manifest(&unsigned).await.status, 404);
}
