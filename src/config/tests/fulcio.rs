//! Who the service is to Fulcio, and the logs that Fulcio writes to.

use super::PRODUCTION;
use super::site::Site;
use crate::config::{Backend, Fulcio, FulcioIdentity};

const BY_FILE: &str = "identity_token = \"file:identity.jwt\"\n";
const BY_ENDPOINT: &str = r#"token_url = "https://authority.example/token"
token_client_id = "signer"
token_client_secret = "file:client.secret"
"#;

fn site() -> Site {
    let site = Site::new();
    site.write("client.secret", b"s3cret\n");
    site
}

/// The production example with these lines in place of `identity_token`.
fn with(lines: &str) -> String {
    assert!(PRODUCTION.contains(BY_FILE));
    PRODUCTION.replacen(BY_FILE, lines, 1)
}

fn fulcio(site: &Site, text: &str) -> Fulcio {
    let settings = site.load(text).expect("a good configuration");
    match settings.signing.backends.into_iter().next() {
        Some(Backend::Fulcio(fulcio)) => *fulcio,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_identity_comes_from_a_file_or_a_token_endpoint() {
    let site = site();
    let plain = fulcio(&site, PRODUCTION);
    assert!(matches!(plain.identity, FulcioIdentity::Token(_)));
    assert_eq!((plain.ct_keys.len(), plain.require_sct), (0, false));

    let optional = "token_scope = \"openid sign\"\ntoken_audience = \"sigstore\"\ntoken_resource = \"https://fulcio.example\"\n";
    let fetched = fulcio(&site, &with(&format!("{BY_ENDPOINT}{optional}")));
    assert!(!format!("{fetched:?}").contains("s3cret"));
    let FulcioIdentity::Endpoint(endpoint) = fetched.identity else {
        panic!("not an endpoint")
    };
    assert_eq!(endpoint.url.as_str(), "https://authority.example/token");
    assert_eq!(endpoint.client_id, "signer");
    assert_eq!(endpoint.client_secret.expose_text(), "s3cret");
    assert_eq!(endpoint.scope, "openid sign");
    assert_eq!(endpoint.audience, "sigstore");
    assert_eq!(endpoint.resource, "https://fulcio.example");
}

#[test]
fn logs_have_keys() {
    let site = site();
    let lines = format!("{BY_FILE}ct_keys = [\"rekor.pub\"]\nrequire_sct = true\n");
    let fulcio = fulcio(&site, &with(&lines));
    assert_eq!((fulcio.ct_keys.len(), fulcio.require_sct), (1, true));
}

#[test]
fn a_certificate_is_used_for_half_a_minute_at_least() {
    let site = site();
    let with_reuse = |reuse: &str| {
        PRODUCTION.replacen(
            "certificate_reuse = \"5m\"",
            &format!("certificate_reuse = \"{reuse}\""),
            1,
        )
    };
    let least = fulcio(&site, &with_reuse("30s"));
    assert_eq!(least.certificate_reuse.as_secs(), 30);
    for too_short in ["0s", "29s"] {
        let errors = format!("{:?}", site.load(&with_reuse(too_short)).unwrap_err());
        assert!(errors.contains("certificate_reuse"), "{errors}");
    }
}

#[test]
fn what_an_identity_must_not_be() {
    let site = site();
    let cases = [
        (String::new(), "identity_token: is not set, nor is token_url"),
        (
            format!("{BY_FILE}{BY_ENDPOINT}"),
            "identity_token: is set beside a token endpoint",
        ),
        (
            BY_ENDPOINT.replace("token_client_id = \"signer\"\n", ""),
            "token_url: is set in part",
        ),
        (
            BY_ENDPOINT.replace("token_client_secret = \"file:client.secret\"\n", ""),
            "token_url: is set in part",
        ),
        (
            BY_ENDPOINT.replace("https://", "http://"),
            "token_url: is http to a host that is not loopback",
        ),
        (
            BY_ENDPOINT.replace("file:client.secret", "s3cret"),
            "token_client_secret: is not a reference to a secret",
        ),
        (
            format!("{BY_ENDPOINT}token_scope = \"a  b\"\n"),
            "token_scope: \"a  b\" is not acceptable here",
        ),
        (
            format!("{BY_FILE}require_sct = true\n"),
            "require_sct: is true and ct_keys is empty",
        ),
        (
            format!("{BY_FILE}ct_keys = [\"missing\"]\n"),
            "ct_keys[0]: cannot read",
        ),
        (
            format!("{BY_FILE}ct_keys = [\"fulcio-root.pem\"]\n"),
            "ct_keys[0]: ",
        ),
    ];
    for (lines, expected) in cases {
        let errors = site.errors(&with(&lines));
        let expected = format!("signing.backends[0].{expected}");
        assert!(
            errors.len() == 1 && errors[0].starts_with(&expected),
            "{lines} gives {errors:#?}, expected {expected:?}"
        );
        assert!(!errors[0].contains("s3cret"), "{errors:?}");
    }
}

#[test]
fn a_signing_key_is_no_log() {
    let site = site();
    let key = super::site::p256();
    site.private("own.pem", &key);
    site.write("own.pub", &key.public_key_to_pem().expect("PEM"));
    let text = with(&format!("{BY_FILE}ct_keys = [\"own.pub\"]\n"))
        .replacen("file:release-2026.pem", "file:own.pem", 1)
        .replacen("passphrase = \"env:RELEASE_2026_PASSPHRASE\"\n", "", 1);
    let errors = site.errors(&text);
    let expected = "signing.backends[1].key: is the same key as one in signing.backends[0].ct_keys";
    assert!(
        errors.iter().any(|error| error.starts_with(expected)),
        "{errors:#?}"
    );
}
