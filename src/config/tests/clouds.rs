//! Keys in clouds' key services.

use super::backends::{LOCAL_KEY, site, with};
use super::site::Site;
use crate::config::{AwsLogin, AzureLogin, Backend, GcpLogin, Remote, Service};

const AWS: &str = r#"
[[signing.backends]]
kind = "aws-kms"
id = "release-aws"
region = "eu-central-1"
key = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
public_key = "vault.pub"
algorithm = "ecdsa-p256-sha256"
access_key_id = "file:secret-id"
secret_access_key = "file:secret-id"
"#;

const BY_KEY: &str = "access_key_id = \"file:secret-id\"\nsecret_access_key = \"file:secret-id\"\n";

fn remote(site: &Site, text: &str) -> Remote {
    let settings = site.load(&with(text)).expect("a good configuration");
    match settings.signing.backends.last() {
        Some(Backend::Remote(remote)) => Remote::clone(remote),
        other => panic!("{other:?}"),
    }
}

/// Each change of `good` is an error, at the key and in the words that stand beside it.
fn refused(good: &str, changes: &[(&str, &str, &str)]) {
    let site = site();
    for (from, to, expected) in changes {
        assert!(good.contains(from), "{from}");
        let errors = site.errors(&with(&good.replacen(from, to, 1)));
        let expected = format!("{LOCAL_KEY}{expected}");
        assert!(
            errors.iter().any(|error| error.starts_with(&expected)),
            "{to}: {errors:#?}"
        );
        assert!(!errors.join("\n").contains("7b5a1c5e"), "{errors:#?}");
    }
}

#[test]
fn a_key_in_aws_is_read() {
    let site = site();
    let aws = |text: &str| match remote(&site, text).service {
        Service::Aws(aws) => aws,
        other => panic!("{other:?}"),
    };
    let by_key = aws(AWS);
    assert_eq!(
        (by_key.region.as_str(), by_key.endpoint.is_none()),
        ("eu-central-1", true)
    );
    assert!(
        matches!(
            &by_key.login,
            AwsLogin::AccessKey {
                session_token: None,
                ..
            }
        ),
        "{by_key:?}"
    );
    assert!(!format!("{by_key:?}").contains("7b5a1c5e"));
    let role = "credentials = \"web-identity\"\nrole_arn = \"arn:aws:iam::111122223333:role/path/signer\"\n\
                web_identity_token = \"file:vault.token\"\nendpoint = \"https://kms-fips.eu-central-1.amazonaws.com\"\n";
    let by_role = aws(&AWS.replace(BY_KEY, role));
    assert!(
        matches!(&by_role.login, AwsLogin::WebIdentity { role_arn, endpoint: None, .. } if role_arn.ends_with(":role/path/signer"))
    );
    assert_eq!(
        by_role.endpoint.map(String::from).as_deref(),
        Some("https://kms-fips.eu-central-1.amazonaws.com/")
    );
    let instance = aws(&AWS.replace(BY_KEY, "credentials = \"instance\"\n"));
    assert!(matches!(instance.login, AwsLogin::Instance));
    let alias = aws(&AWS.replace(
        "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "alias/team/release_1",
    ));
    assert_eq!(alias.key, "alias/team/release_1");
}

#[test]
fn what_a_key_in_aws_must_not_be() {
    let beside = ".credentials: does not go with the keys that are set";
    refused(
        AWS,
        &[
            ("eu-central-1\"", "EU\"", ".region: \"EU\" is not a region"),
            ("eu-central-1\"", "x.evil.example/\"", ".region: "),
            ("arn:aws:kms", "arn:aws:k s", ".key: "),
            (
                "algorithm",
                "endpoint = \"http://kms.example\"\nalgorithm",
                ".endpoint: is http",
            ),
            (
                "algorithm",
                "endpoint = \"https://kms.example/x\"\nalgorithm",
                ".endpoint: has a path",
            ),
            ("secret_access_key = \"file:secret-id\"\n", "", beside),
            (BY_KEY, "", beside),
            ("algorithm", "credentials = \"instance\"\nalgorithm", beside),
            (
                "algorithm",
                "role_arn = \"arn:aws:iam::1:role/r\"\nalgorithm",
                beside,
            ),
            (
                "algorithm",
                "role_arn = \"signer\"\nalgorithm",
                ".role_arn: \"signer\" is not a role",
            ),
            (
                BY_KEY,
                "credentials = \"web-identity\"\nweb_identity_token = \"file:vault.token\"\n",
                beside,
            ),
            (
                "file:secret-id",
                "7b5a1c5e-secret",
                ".access_key_id: is not a reference to a secret",
            ),
        ],
    );
}

const GCP: &str = r#"
[[signing.backends]]
kind = "gcp-kms"
id = "release-gcp"
key = "projects/example.com:p/locations/europe-west1/keyRings/r/cryptoKeys/release_1/cryptoKeyVersions/1"
public_key = "vault.pub"
algorithm = "ecdsa-p256-sha256"
"#;

#[test]
fn a_key_in_google_is_read() {
    let site = site();
    let gcp = |text: &str| match remote(&site, text).service {
        Service::Gcp(gcp) => gcp,
        other => panic!("{other:?}"),
    };
    let machine = gcp(GCP);
    assert_eq!(machine.endpoint.as_str(), "https://cloudkms.googleapis.com/");
    assert!(matches!(machine.login, GcpLogin::Metadata));
    let account = format!("{GCP}credentials = \"account-key\"\naccount_key = \"file:vault.token\"\n");
    assert!(matches!(gcp(&account).login, GcpLogin::AccountKey(_)));
    let token = gcp(&format!(
        "{GCP}credentials = \"token\"\ntoken = \"file:secret-id\"\n"
    ));
    assert!(matches!(token.login, GcpLogin::Token(_)));
    assert!(!format!("{token:?}").contains("7b5a1c5e"));
}

#[test]
fn what_a_key_in_google_must_not_be() {
    let beside = ".credentials: does not go with the keys that are set";
    refused(
        GCP,
        &[
            ("/cryptoKeyVersions/1", "", ".key: "),
            ("cryptoKeyVersions", "versions", ".key: "),
            ("/r/", "/../", ".key: "),
            ("/r/", "/a?b/", ".key: "),
            ("/1\"", "/1/publicKey/x\"", ".key: "),
            (
                "algorithm",
                "endpoint = \"http://kms.example\"\nalgorithm",
                ".endpoint: is http",
            ),
            ("algorithm", "credentials = \"token\"\nalgorithm", beside),
            ("algorithm", "token = \"file:secret-id\"\nalgorithm", beside),
            (
                "algorithm",
                "credentials = \"account-key\"\ntoken = \"file:secret-id\"\nalgorithm",
                beside,
            ),
        ],
    );
}

const AZURE: &str = r#"
[[signing.backends]]
kind = "azure-kv"
id = "release-azure"
vault = "https://example.vault.azure.net"
key = "release"
key_version = "0123456789abcdef0123456789abcdef"
public_key = "vault.pub"
algorithm = "ecdsa-p256-sha256"
"#;

#[test]
fn a_key_in_azure_is_read() {
    let site = site();
    let azure = |text: &str| match remote(&site, text).service {
        Service::Azure(azure) => azure,
        other => panic!("{other:?}"),
    };
    let machine = azure(AZURE);
    assert_eq!(machine.resource, "https://vault.azure.net");
    assert!(matches!(machine.login, AzureLogin::ManagedIdentity(None)));
    let application = "tenant = \"t-1\"\nclient_id = \"c-1\"\n";
    let federated = azure(&format!(
        "{AZURE}{application}credentials = \"federated\"\nfederated_token = \"file:vault.token\"\n"
    ));
    assert!(
        matches!(&federated.login, AzureLogin::Federated(it, _) if it.tenant == "t-1" && it.client_id == "c-1"
            && it.authority.as_str() == "https://login.microsoftonline.com/")
    );
    let by_secret = azure(&format!(
        "{AZURE}{application}credentials = \"client-secret\"\nclient_secret = \"file:secret-id\"\n"
    ));
    assert!(matches!(by_secret.login, AzureLogin::Secret(..)));
    assert!(!format!("{by_secret:?}").contains("7b5a1c5e"));
    let one_of_several = azure(&format!("{AZURE}client_id = \"c-1\"\n"));
    assert!(matches!(
        one_of_several.login,
        AzureLogin::ManagedIdentity(Some(_))
    ));
}

#[test]
fn what_a_key_in_azure_must_not_be() {
    let beside = ".credentials: does not go with the keys that are set";
    refused(
        AZURE,
        &[
            ("https://example", "http://example", ".vault: is http"),
            (".azure.net\"", ".azure.net/keys\"", ".vault: has a path"),
            ("\"release\"", "\"../secrets\"", ".key: "),
            (
                "key_version = \"0123456789abcdef0123456789abcdef\"\n",
                "",
                ".key_version: is required",
            ),
            ("algorithm", "tenant = \"a/b\"\nalgorithm", ".tenant: "),
            ("algorithm", "tenant = \"t\"\nalgorithm", beside),
            (
                "algorithm",
                "client_secret = \"file:secret-id\"\nalgorithm",
                beside,
            ),
            (
                "algorithm",
                "credentials = \"federated\"\nclient_id = \"c\"\nalgorithm",
                beside,
            ),
        ],
    );
}

#[test]
fn ed25519_is_not_for_every_cloud() {
    let site = site();
    site.write(
        "vault.pub",
        &openssl::pkey::PKey::generate_ed25519()
            .and_then(|key| key.public_key_to_pem())
            .expect("a key"),
    );
    let ed25519 = |text: &str| with(&text.replace("ecdsa-p256-sha256", "ed25519"));
    for text in [AWS, GCP] {
        let settings = site.load(&ed25519(text)).expect("a configuration with a warning");
        let warning = format!("{:?}", settings.warnings);
        assert!(warning.contains("with ed25519, and statements"), "{warning}");
    }
    let errors = site.errors(&ed25519(AZURE));
    assert!(
        errors[0].starts_with("signing.backends[1].algorithm: is ed25519, which Azure"),
        "{errors:?}"
    );
}
