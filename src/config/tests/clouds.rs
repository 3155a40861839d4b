//! Keys in clouds' key services.

use super::backends::{LOCAL_KEY, site, with};
use super::site::Site;
use crate::config::{AwsLogin, Backend, Remote, Service};

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
        Some(Backend::Remote(remote)) => remote.clone(),
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
