//! The service's own clients against the embedded neighbours: neither side made for the other's tests.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use signer_actors::domain::caller::{Credentials, PresentedToken, Scheme};
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::ids::KeyId;
use signer_actors::domain::jws::JwsAlgorithm;
use signer_actors::domain::release::{ListingSource, Verdict};
use signer_actors::ports::{
    AuthoritySource, Introspection, LicensingSource, ProofVerifier, SigningBackend, SystemClock,
};

use super::registry::Referrers;
use super::{Neighbours, Options, credentials, neighbours};
use crate::adapters::authority::dpop::{DpopSettings, DpopVerifier, NonceMode};
use crate::adapters::authority::{self as authority_client, AuthorityKeys};
use crate::adapters::jose::source::KeysLocation;
use crate::adapters::licensing as licensing_client;
use crate::adapters::registry::{PrivateNetwork, RegistryReleases, Repository, Settings as RegistrySettings};
use crate::backends::credential::CredentialSource;
use crate::backends::fulcio::{self, FulcioBackend};
use crate::client::DpopKey;
use crate::client::key::ProofOf;

const TIMEOUT: Duration = Duration::from_secs(5);

fn releases(neighbours: &Neighbours) -> RegistryReleases {
    let registry = &neighbours.registry;
    let mut settings = RegistrySettings::new(vec![Repository::parse(&registry.repository).unwrap()]);
    settings.keys = vec![registry.release_public_pem.clone().into_bytes()];
    settings.plain_http = vec![registry.running.addr.to_string()];
    settings.private_networks = vec![PrivateNetwork::parse("127.0.0.0/8")];
    RegistryReleases::new(&settings, Arc::new(SystemClock::default())).unwrap()
}

#[actix::test]
async fn the_registry_adapter_trusts_the_release_and_nothing_else() {
    for (referrers, expected) in [
        (Referrers::Api, ListingSource::ReferrersApi),
        (Referrers::Tag, ListingSource::ReferrersTag),
        (Referrers::Off, ListingSource::SignatureTag),
    ] {
        let neighbours = neighbours(Options { referrers }).await.unwrap();
        let releases = releases(&neighbours);
        let scanner = ImageDigest::parse(&neighbours.registry.scanner_digest).unwrap();
        let report = releases.check(scanner, None).await.unwrap();
        assert_eq!(report.verdict, Verdict::Trusted, "{report:?}");
        assert!(report.sources.contains(&expected), "{report:?}");
        assert_eq!(report.release_tag.as_deref(), Some("2026.10"), "{report:?}");
        let unsigned = ImageDigest::parse(&neighbours.registry.unsigned_digest).unwrap();
        let report = releases.check(unsigned, None).await.unwrap();
        assert_eq!(report.verdict, Verdict::Unsigned);
    }
}

#[actix::test]
async fn the_fulcio_backend_obtains_a_certificate() {
    let neighbours = neighbours(Options::default()).await.unwrap();
    let (issuer, subject) = neighbours.signer_identity();
    let settings = fulcio::Settings {
        id: KeyId::parse("keyless").unwrap(),
        url: neighbours.fulcio.running.base_url.parse().unwrap(),
        roots_pem: std::fs::read(&neighbours.files.fulcio_roots).unwrap(),
        identity: fulcio::Identity::Credential(CredentialSource::File(
            neighbours.files.identity_token.clone(),
        )),
        expect_issuer: issuer.to_owned(),
        expect_subject: subject.to_owned(),
        ct_keys: Vec::new(),
        require_sct: false,
        certificate_reuse: Duration::from_secs(300),
        timeout: TIMEOUT,
        tls_roots_pem: Vec::new(),
    };
    let backend = FulcioBackend::new(settings, Arc::new(SystemClock::default())).unwrap();
    let key = backend.open().await.unwrap();
    assert!(key.lives_for(Duration::from_secs(60), Utc::now()));
}

#[actix::test]
async fn the_service_accepts_the_token_and_a_proof_by_its_key() {
    let neighbours = neighbours(Options::default()).await.unwrap();
    let credentials = credentials::obtain(&neighbours, "http://127.0.0.1:8080")
        .await
        .unwrap();
    let keys = AuthorityKeys::new(&authority_client::Settings {
        own_keys: crate::adapters::jose::source::OwnKeys::fixed([].into()),
        issuer: neighbours.authority.running.base_url.clone(),
        audience: "signer".to_owned(),
        keys: KeysLocation::Discovery,
        token_types: vec!["at+jwt".to_owned()],
        algorithms: vec![JwsAlgorithm::Es256],
        max_token_lifetime: Duration::from_secs(600),
        clock_skew: Duration::from_secs(30),
        roots: None,
        timeout: TIMEOUT,
    })
    .unwrap();
    let verifier = keys.fetch().await.unwrap();
    let token = verifier
        .verify(&PresentedToken::of(&credentials.access_token), Utc::now())
        .unwrap();

    let key = DpopKey::from_private_jwk(&credentials.dpop_private_jwk).unwrap();
    let proof = key
        .proof(ProofOf {
            method: "POST",
            url: "http://127.0.0.1:8080/api/v1/signer/sign/dsse",
            token: Some(&credentials.access_token),
            body: Some(b"{}"),
            nonce: None,
        })
        .unwrap();
    let proofs = DpopVerifier::new(&DpopSettings {
        public_origin: "http://127.0.0.1:8080".parse().unwrap(),
        algorithms: vec![JwsAlgorithm::Es256],
        nonce: NonceMode::Optional,
        nonce_key: None,
        epoch: signer_actors::ports::StoreEpoch::default(),
    })
    .unwrap();
    let presented = Credentials {
        scheme: Scheme::Dpop,
        token: credentials.access_token.clone(),
        proof: Some(proof),
        client_certificate: None,
        method: "POST".to_owned(),
        path: "/api/v1/signer/sign/dsse".to_owned(),
    };
    assert!(proofs.verify(&presented, &token, Utc::now()).is_ok());
    let elsewhere = Credentials {
        path: "/api/v1/signer/verify/dsse".to_owned(),
        ..presented
    };
    assert!(proofs.verify(&elsewhere, &token, Utc::now()).is_err());
}

#[actix::test]
async fn the_licensing_adapter_sees_the_entitlement_until_it_is_revoked() {
    let neighbours = neighbours(Options::default()).await.unwrap();
    let licensing = &neighbours.licensing;
    let client = licensing_client::Licensing::new(&licensing_client::Settings {
        own_keys: crate::adapters::jose::source::OwnKeys::fixed([].into()),
        issuer: licensing.running.base_url.clone(),
        audience: "signer".to_owned(),
        algorithms: vec![JwsAlgorithm::Es256],
        keys: KeysLocation::Uri(licensing.jwks_uri().parse().unwrap()),
        introspection: Some(licensing_client::IntrospectionSettings {
            url: licensing.introspection_url().parse().unwrap(),
            credential: licensing_client::Credential::new(licensing.credential.reveal()).unwrap(),
        }),
        roots: None,
        timeout: TIMEOUT,
        clock_skew: Duration::from_secs(30),
    })
    .unwrap();
    let poe = neighbours.entitlement.poe.as_str();
    let facts = client
        .fetch_keys()
        .await
        .unwrap()
        .verify(poe, Utc::now())
        .unwrap();
    let ask = || client.introspect(Arc::from(poe), facts.clone());
    match ask().await.unwrap() {
        Introspection::Active(narrowed) => assert_eq!(*narrowed, facts),
        other => panic!("{other:?}"),
    }
    let revocation = reqwest::Client::new().post(&neighbours.entitlement.revoke_url);
    assert_eq!(revocation.send().await.unwrap().status(), 200);
    assert_eq!(ask().await.unwrap(), Introspection::Revoked);
}
