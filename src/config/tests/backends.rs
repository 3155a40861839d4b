//! Keys that another process holds.

use signer_actors::domain::signing::KeyState;

use super::LOCAL;
use super::site::{Site, p256};
use crate::config::{Backend, Remote, Service, VaultLogin};

/// Where errors of [`with`]'s backend are.
pub(super) const LOCAL_KEY: &str = "signing.backends[1]";

const VAULT: &str = r#"
[[signing.backends]]
kind = "vault-transit"
id = "release-vault"
url = "https://vault.example:8200"
mount = "team/transit"
key = "release"
public_key = "vault.pub"
algorithm = "ecdsa-p256-sha256"
role_id = "signer"
secret_id = "file:secret-id"
"#;

pub(super) fn site() -> Site {
    let site = Site::new();
    site.write("vault.pub", &p256().public_key_to_pem().unwrap());
    site.write("secret-id", b"7b5a1c5e-secret-id\n");
    site.write("hsm.pin", b"271828\n");
    site.write("vault.token", b"s.token-of-the-service\n");
    site
}

pub(super) fn with(text: &str) -> String {
    let local = LOCAL.replacen("[signing]", "[signing]\ndefault_key = \"local\"", 1);
    format!("{local}\n{text}")
}

fn remote(site: &Site, text: &str) -> Remote {
    let settings = site.load(&with(text)).expect("a good configuration");
    match settings.signing.backends.last() {
        Some(Backend::Remote(remote)) => Remote::clone(remote),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_in_vault_is_read() {
    let site = site();
    let remote = remote(&site, VAULT);
    let Service::Vault(vault) = &remote.service else {
        panic!("{remote:?}")
    };
    assert_eq!(
        (vault.mount.as_str(), vault.key.as_str(), vault.key_version),
        ("team/transit", "release", None)
    );
    assert!(
        matches!(&vault.login, VaultLogin::AppRole { mount, role_id, .. } if mount == "approle" && role_id == "signer")
    );
    assert_eq!((remote.concurrency, remote.life.state), (32, KeyState::Active));
    assert!(!format!("{remote:?}").contains("7b5a1c5e"));
    let by_token = VAULT.replace(
        "role_id = \"signer\"\nsecret_id = \"file:secret-id\"",
        "token = \"file:vault.token\"\nkey_version = 3",
    );
    let remote = self::remote(&site, &by_token);
    let Service::Vault(vault) = &remote.service else {
        panic!("{remote:?}")
    };
    assert!(matches!(vault.login, VaultLogin::Token(_)));
    assert_eq!(vault.key_version.map(u32::from), Some(3));
}

#[test]
fn what_a_key_in_vault_must_not_be() {
    let site = site();
    for (from, to, expected) in [
        (
            "https://vault",
            "http://vault",
            ".url: is http to a host that is not loopback",
        ),
        (
            "mount = \"team/transit\"",
            "mount = \"../sys\"",
            ".mount: \"../sys\" is not a mount",
        ),
        (
            "mount = \"team/transit\"",
            "mount = \"/transit/\"",
            ".mount: \"/transit/\" is not a mount",
        ),
        (
            "key = \"release\"",
            "key = \"..\"",
            ".key: \"..\" is not the name of a key",
        ),
        (
            "key = \"release\"",
            "key = \"a/b\"",
            ".key: \"a/b\" is not the name of a key",
        ),
        (
            "role_id = \"signer\"\n",
            "",
            ".token: is not set, nor are role_id and secret_id",
        ),
        (
            "role_id = \"signer\"",
            "token = \"file:vault.token\"",
            ".token: is set beside an AppRole",
        ),
        (
            "secret_id = \"file:secret-id\"",
            "secret_id = \"7b5a1c5e-secret-id\"",
            ".secret_id: is not a reference to a secret",
        ),
        (
            "ecdsa-p256-sha256",
            "ed25519",
            ".public_key: is not a key for ed25519",
        ),
        (
            "public_key = \"vault.pub\"\n",
            "",
            ".public_key: is required and not set",
        ),
        (
            "public_key = \"vault.pub\"",
            "public_key = \"release.pub\"",
            ".public_key: is the same key as one in release.keys[0]",
        ),
        (
            "algorithm",
            "concurrency = 0\nalgorithm",
            ".concurrency: 0 is out of bounds",
        ),
        (
            "algorithm",
            "state = \"revoked\"\nalgorithm",
            ".revoked_from: is not set though the key is revoked",
        ),
        (
            "algorithm",
            "state = \"retired\"\nalgorithm",
            ".retired_from: is not set though the key is retired",
        ),
        (
            "algorithm",
            "retired_from = \"2026-10-01T00:00:00Z\"\nalgorithm",
            ".retired_from: is set though the key is active",
        ),
        (
            "algorithm",
            "state = \"retired\"\nretired_from = \"2026-10-01\"\nalgorithm",
            ".retired_from: \"2026-10-01\" is not a moment",
        ),
        (
            "algorithm",
            "state = \"retired\"\nretired_from = \"2026-10-01T00:00:00Z\"\nrevoked_from = \"2026-10-01T00:00:00Z\"\nalgorithm",
            ".revoked_from: is set though the key is not revoked",
        ),
    ] {
        assert!(VAULT.contains(from), "{from}");
        let errors = site.errors(&with(&VAULT.replacen(from, to, 1)));
        let expected = format!("{LOCAL_KEY}{expected}");
        assert!(
            errors.iter().any(|error| error.starts_with(&expected)),
            "{to}: {errors:#?}"
        );
        assert!(!errors.join("\n").contains("7b5a1c5e"), "{errors:#?}");
    }
}

/// A key that was retired may be revoked later, and both times are told.
#[test]
fn keys_that_sign_no_more_say_since_when() {
    let site = site();
    let life = |life: &str| {
        let text = with(&VAULT.replacen("algorithm", &format!("{life}\nalgorithm"), 1));
        let settings = site.load(&text).expect("a good configuration");
        let backend = settings.signing.backends.last().expect("a backend");
        (
            backend.retired_from(),
            settings
                .warnings
                .iter()
                .any(|warning| warning.key.ends_with("retired_from")),
        )
    };
    let october = chrono::DateTime::from_timestamp(1_790_812_800, 0); // date -u -d 2026-10-01 +%s
    assert_eq!(life(""), (None, false));
    let retired = "state = \"retired\"\nretired_from = \"2026-10-01T02:00:00+02:00\"";
    assert_eq!(life(retired), (october, false));
    let revoked = "state = \"revoked\"\nretired_from = \"2026-10-01T00:00:00Z\"\nrevoked_from = \"2026-11-01T00:00:00Z\"";
    assert_eq!(life(revoked), (october, false));
    let (_, warned) = life("state = \"retired\"\nretired_from = \"2999-10-01T00:00:00Z\"");
    assert!(warned, "until then anybody's timestamp would do");
}

const HSM: &str = r#"
[[signing.backends]]
kind = "pkcs11"
id = "release-hsm"
module = "/usr/lib/softhsm/libsofthsm2.so"
token = "Signer 1"
pin = "file:hsm.pin"
key_label = "release 2026"
key_id = "a1B2"
public_key = "vault.pub"
algorithm = "ecdsa-p256-sha256"
"#;

#[test]
fn a_key_on_a_token_is_read() {
    let site = site();
    let remote = remote(&site, HSM);
    let Service::Pkcs11(hsm) = &remote.service else {
        panic!("{remote:?}")
    };
    assert_eq!(
        (hsm.token.as_deref(), hsm.serial.as_deref()),
        (Some("Signer 1"), None)
    );
    assert_eq!(hsm.key_label.as_deref(), Some("release 2026"));
    assert_eq!(hsm.key_id.as_deref(), Some(&[0xa1, 0xb2][..]));
    assert!(!hsm.allow_extractable);
    assert!(!format!("{remote:?}").contains("271828"));
    let other = HSM
        .replace("token = \"Signer 1\"", "serial = \"b25a31c9b0c8a1d2\"")
        .replace("key_label = \"release 2026\"\n", "");
    let remote = self::remote(&site, &other);
    assert!(
        matches!(&remote.service, Service::Pkcs11(hsm) if hsm.token.is_none() && hsm.key_label.is_none())
    );
}

#[test]
fn what_a_key_on_a_token_must_not_be() {
    let site = site();
    let long = format!("token = \"{}\"", "x".repeat(33));
    for (from, to, expected) in [
        (
            "/usr/lib/softhsm/",
            "",
            ".module: \"libsofthsm2.so\" is not an absolute path",
        ),
        (
            "module = \"/usr/lib/softhsm/libsofthsm2.so\"\n",
            "",
            ".module: is required and not set",
        ),
        ("token = \"Signer 1\"\n", "", ".token: is not set, nor is serial"),
        (
            "token = \"Signer 1\"",
            "token = \"Signer 1 \"",
            ".token: \"Signer 1 \" is not acceptable",
        ),
        ("token = \"Signer 1\"", &long, ".token: \"xxx"),
        (
            "token = \"Signer 1\"",
            "serial = \"0123456789abcdef0\"",
            ".serial: \"0123456789abcdef0\" is not",
        ),
        (
            "key_label = \"release 2026\"\nkey_id = \"a1B2\"\n",
            "",
            ".key_label: is not set, nor is key_id",
        ),
        (
            "key_id = \"a1B2\"",
            "key_id = \"a1b\"",
            ".key_id: \"a1b\" is not an id",
        ),
        (
            "key_id = \"a1B2\"",
            "key_id = \"0x01\"",
            ".key_id: \"0x01\" is not an id",
        ),
        ("file:hsm.pin", "271828", ".pin: is not a reference to a secret"),
        ("pin = \"file:hsm.pin\"\n", "", ".pin: is required and not set"),
        (
            "ecdsa-p256-sha256",
            "ecdsa-p384-sha384",
            ".public_key: is not a key for ecdsa-p384-sha384",
        ),
    ] {
        assert!(HSM.contains(from), "{from}");
        let errors = site.errors(&with(&HSM.replacen(from, to, 1)));
        let expected = format!("signing.backends[1]{expected}");
        assert!(
            errors.len() == 1 && errors[0].starts_with(&expected),
            "{expected}: {errors:#?}"
        );
    }
}
