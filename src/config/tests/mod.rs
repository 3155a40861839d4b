//! The configuration as a whole: layers, every error at once, rules between keys.

mod backends;
mod clouds;
mod fulcio;
mod rules;
mod site;

use std::time::Duration;

use signer_actors::domain::jws::JwsAlgorithm;
use signer_actors::domain::signing::SigningMode;

use super::*;
pub(super) use site::Site;

pub(crate) const LOCAL: &str = include_str!("../../../config/default.toml");
pub(crate) const PRODUCTION: &str = include_str!("../../../config/production.example.toml");

#[test]
fn the_examples_load_without_a_warning_that_matters() {
    let site = Site::new();
    let production = site.load(PRODUCTION).expect("the production example is valid");
    assert_eq!(production.warnings, []);
    assert_eq!(
        production
            .signing
            .default_key
            .map(|key| key.to_string())
            .as_deref(),
        Some("release-2026")
    );
    assert_eq!(production.entitlement.grace, Duration::from_secs(900));
    // Identities without roots of their own share those of Fulcio.
    let fulcio_roots = std::fs::read(site.path().join("fulcio-root.pem")).expect("readable");
    assert_eq!(
        production.release.roots.map(|roots| roots.bytes),
        Some(fulcio_roots)
    );

    let local = site.load(LOCAL).expect("the local example is valid");
    assert_eq!(local.signing.default_mode, SigningMode::Kms);
    assert_eq!(
        local.signing.default_key.map(|key| key.to_string()).as_deref(),
        Some("local")
    );
    assert_eq!(local.state.directory, site.path().join("state"));
    let warned: Vec<&str> = local
        .warnings
        .iter()
        .map(|warning| warning.key.as_str())
        .collect();
    assert_eq!(warned, ["signing.backends[0].key"]);
}

/// The core of the contract, word by word: such a file must load once its files exist.
#[test]
fn the_core_of_the_contract_loads() {
    let site = Site::new();
    let text = r#"
        [server]
        listen = "127.0.0.1:8080"
        public_origin = "http://127.0.0.1:8080"
        workers = 0
        request_timeout = "10s"
        body_timeout = "10s"
        drain_timeout = "20s"
        max_body_bytes = 115343360
        trusted_proxies = []
        metrics_listen = "127.0.0.1:9464"
        [auth]
        issuer = "https://authority.example"
        audience = "signer"
        jwks_uri = ""
        jwks_file = ""
        token_types = ["at+jwt"]
        algorithms = ["ES256", "ES384", "EdDSA", "PS256"]
        max_token_lifetime = "10m"
        clock_skew = "30s"
        [auth.dpop]
        nonce = "optional"
        body_hash = "optional"
        replay_capacity = 4000000
        [entitlement]
        mode = "online"
        issuer = "https://licensing.example"
        jwks_file = "licensing-jwks.json"
        introspection_url = "https://licensing.example/license/introspect"
        credential = "file:licensing.token"
        positive_ttl = "60s"
        negative_ttl = "5s"
        grace = "0s"
        timeout = "2s"
        licence_file = ""
        [state]
        store = "memory"
        url = ""
        directory = "state"
        idempotency_ttl = "24h"
        [release]
        repositories = ["registry.example/stellaops/scanner"]
        binding = "when-present"
        keys = ["release.pub"]
        threshold = 1
        tag_annotation = "org.opencontainers.image.version"
        cache_ttl = "10m"
        negative_ttl = "10s"
        timeout = "5s"
        plain_http = []
        private_networks = []
        [[release.identities]]
        issuer = "https://authority.example"
        subject = "https://stellaops.example/release"
        [signing]
        default_mode = "keyless"
        default_key = ""
        stamp = true
        predicate_types = ["https://cyclonedx.org/bom", "https://spdx.dev/Document", "https://stella.ops/*"]
        [[signing.backends]]
        kind = "fulcio"
        id = "keyless"
        url = "https://fulcio.example"
        roots = "fulcio-root.pem"
        identity_token = "file:identity.jwt"
        expect_issuer = "https://authority.example"
        expect_subject = "https://stellaops.example/signer"
        certificate_reuse = "5m"
        [[signing.backends]]
        kind = "file"
        id = "release-2026"
        key = "file:signing.pem"
        algorithm = "ecdsa-p256-sha256"
        deterministic = true
        [timestamp]
        url = ""
        chain = ""
        [audit]
        directory = "audit"
        origin = "signer.example/audit/replica-1"
        checkpoint_key = "file:audit.key"
        linger = "2ms"
        [log]
        level = "info"
        format = "json"
    "#;
    let settings = site.load(text).expect("the contract's example");
    assert!(settings.server.tls.is_none());
    assert_eq!(settings.server.workers, None);
    assert_eq!(settings.audit.linger, Duration::from_millis(2));
    // What the contract prints as values are the defaults, where there is one.
    let sparse = site.load(LOCAL).expect("the local example");
    assert_eq!(sparse.server.max_body_bytes, settings.server.max_body_bytes);
    assert_eq!(sparse.auth.dpop.replay_capacity, 4_000_000);
    assert_eq!(sparse.signing.predicate_types, settings.signing.predicate_types);
    assert_eq!(sparse.release.cache_ttl, settings.release.cache_ttl);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let mut site = Site::new();
    let text = format!("[server]\nlisten = \"127.0.0.1:1\"\nworkers = 1\nbody_timeout = \"1s\"\n{LOCAL}");
    site.set("SIGNER__SERVER__LISTEN", "127.0.0.1:2");
    site.set("SIGNER__SERVER__WORKERS", "2");
    site.set("SIGNER__AUTH__DPOP__NONCE", "required");
    site.set("SIGNER__AUTH__ALGORITHMS", r#"["ES256"]"#);
    site.set("SIGNER__SIGNING__STAMP", "false");
    // A variable of another program, or of the container platform, is none of ours.
    site.set("SIGNER_SERVICE_HOST", "10.0.0.1");
    site.flags.push(FlagValue {
        flag: "--listen",
        key: "server.listen",
        value: "127.0.0.1:3".to_owned(),
    });
    let settings = site.load(&text).expect("valid");
    assert_eq!(settings.server.listen.port(), 3);
    assert_eq!(settings.server.workers, Some(2));
    assert_eq!(settings.server.body_timeout, Duration::from_secs(1));
    assert_eq!(settings.auth.dpop.nonce, NoncePolicy::Required);
    assert_eq!(settings.auth.algorithms, [JwsAlgorithm::Es256]);
    assert!(!settings.signing.stamp);
}

#[test]
fn arrays_of_tables_come_from_one_variable() {
    let mut site = Site::new();
    let backend =
        r#"[{ kind = "file", id = "other", key = "file:signing.pem", algorithm = "ecdsa-p256-sha256" }]"#;
    site.set("SIGNER__SIGNING__BACKENDS", backend);
    let settings = site.load(LOCAL).expect("valid");
    let ids: Vec<String> = settings
        .signing
        .backends
        .iter()
        .map(|b| b.id().to_string())
        .collect();
    assert_eq!(ids, ["other"]);

    site.set("SIGNER__SIGNING__BACKENDS", &backend.replace("kind", "kid"));
    let errors = site.load(LOCAL).expect_err("a misspelt key");
    let source = Source::Environment {
        variable: "SIGNER__SIGNING__BACKENDS".to_owned(),
    };
    assert!(errors.iter().any(|error| error.key == "signing.backends[0].kind"));
    assert!(
        errors
            .iter()
            .all(|error| !error.key.starts_with("signing.backends[")
                || error.source == source
                || error.source == Source::Unset)
    );
}

#[test]
fn an_optional_section_can_come_from_the_environment_alone() {
    let mut site = Site::new();
    site.set("SIGNER__SERVER__TLS__CERTIFICATE", "server.pem");
    site.set("SIGNER__SERVER__TLS__KEY", "file:server.key");
    site.set("SIGNER__SERVER__PUBLIC_ORIGIN", "https://signer.example");
    let settings = site.load(LOCAL).expect("valid");
    assert!(settings.server.tls.is_some());
}

/// Everything wrong is said in one go, with its key, its place and its remedy.
#[test]
fn all_errors_come_at_once() {
    let mut site = Site::new();
    site.set("SIGNER__AUTH__DPOP__NONSE", "off");
    site.set("SIGNER__SERVER__WORKERS", "many");
    let text = LOCAL
        .replace(
            "issuer = \"http://127.0.0.1:9000\"",
            "isuer = \"https://a.example\"\naudience = 7",
        )
        .replace("release.pub", "missing.pub")
        .replace("[log]", "[lgo]\nlevel = \"info\"\n[log]\nlevel = \"inf\"");
    let errors = site.load(&text).expect_err("errors");
    let folder = site.path().display().to_string();
    let shown: Vec<String> = errors
        .iter()
        .map(|error| error.to_string().replace(&folder, "FOLDER"))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    server.workers (environment variable SIGNER__SERVER__WORKERS): is not a whole number; set it to digits alone
    auth.issuer (not set): is required and not set; set it, for example issuer = "https://authority.example"
    auth.audience (built-in configuration:11): must be of type string, not integer; write it in double quotes
    auth.isuer (built-in configuration:10): is not a key of this version; did you mean auth.issuer?
    release.keys[0] (built-in configuration:24): cannot read FOLDER/missing.pub: No such file or directory (os error 2); create the file, or let the service's user read it; relative paths start at the configuration file
    log.level (built-in configuration:43): "inf" is not a choice; did you mean "info"? choose one of error, warn, warning, info, debug
    lgo (built-in configuration:40): is not a key of this version; did you mean log?
    auth.dpop.nonse (environment variable SIGNER__AUTH__DPOP__NONSE): is not a key of this version; did you mean SIGNER__AUTH__DPOP__NONCE?
    "#);
}

#[test]
fn a_file_that_cannot_be_read_or_parsed_is_one_error() {
    let missing = load(Inputs {
        file: Some(ConfigFile::Path("/nonexistent/signer.toml".into())),
        ..Inputs::default()
    });
    let missing = missing.expect_err("no such file");
    assert_eq!(missing.len(), 1);
    assert!(missing[0].problem.starts_with("cannot be read"), "{}", missing[0]);

    let broken = Site::new()
        .load("[server]\nlisten = \n")
        .expect_err("a syntax error");
    assert_eq!(broken.len(), 1);
    let place = Source::File {
        path: "built-in configuration".into(),
        line: Some(2),
    };
    assert_eq!(broken[0].source, place);
    let twice = Site::new()
        .load("[server]\nworkers = 1\nworkers = 2\n")
        .expect_err("a duplicate key");
    assert!(twice[0].problem.contains("duplicate"), "{}", twice[0]);
}

#[test]
fn nothing_secret_is_ever_shown() {
    let mut site = Site::new();
    site.write("licensing.token", b"hunter2");
    site.set("SIGNER__SERVER__TLS__KEY", "hunter2");
    let text = LOCAL.replace("file:signing.pem", "hunter2");
    let errors = site.load(&text).expect_err("literal secrets");
    assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
    let settings = Site::new().load(PRODUCTION).expect("valid");
    let shown = format!("{settings:?}");
    for secret in [
        "BEGIN PRIVATE",
        "BEGIN ENCRYPTED",
        "correct horse",
        "\"token",
        "password\"",
    ] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert!(shown.contains("[redacted]"));
}

#[test]
fn the_reference_is_true() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/reference.toml");
    let expected = reference();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, &expected).expect("written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == expected,
        "config/reference.toml is stale: UPDATE_REFERENCE=1 cargo test reference"
    );
    // It is TOML, and each default it shows is accepted for what it is: nothing unknown, nothing of a wrong type.
    let errors = Site::new().load(&expected).err().unwrap_or_default();
    for error in errors {
        let wrong = [
            "unknown",
            "not a key",
            "of type",
            "not a choice",
            "out of bounds",
            "not a duration",
        ];
        assert!(!wrong.iter().any(|text| error.problem.contains(text)), "{error}");
    }
}
