//! Bounds, choices and rules between keys: each case changes one thing in a good configuration.

use super::super::CredentialScope;
use super::site::{Site, jwks, p256};
use super::{LOCAL, PRODUCTION};

/// Replaces `from` by `to` in a good configuration and expects exactly one error that starts with `expected`.
fn check(site: &Site, base: &str, from: &str, to: &str, expected: &str) {
    assert!(base.contains(from), "{from} is in the base");
    let errors = site.errors(&base.replacen(from, to, 1));
    assert!(
        errors.len() == 1 && errors[0].starts_with(expected),
        "{to:?} gives {errors:#?}, expected {expected:?}"
    );
}

#[test]
fn the_key_of_checkpoints_is_an_ed25519_key_that_can_be_read() {
    let site = Site::new();
    for (reference, expected) in [
        ("file:missing", "audit.checkpoint_key: cannot read"),
        ("file:server.key", "audit.checkpoint_key: is not an Ed25519 key"),
        ("", "audit.checkpoint_key: is empty"),
    ] {
        let named = format!("{reference:?}");
        check(&site, LOCAL, "\"file:audit.key\"", &named, expected);
    }
}

#[test]
fn values_out_of_bounds_are_refused() {
    let site = Site::new();
    for (section, line, expected) in [
        (
            "[server]",
            "max_body_bytes = 1073741825",
            "server.max_body_bytes: 1073741825 is out of bounds",
        ),
        (
            "[server]",
            "max_body_bytes = 268435457",
            "server.max_body_bytes_in_flight: is less than two largest bodies",
        ),
        ("[server]", "workers = -1", "server.workers: -1 is out of bounds"),
        ("[state]", "shards = 0", "state.shards: 0 is out of bounds"),
        ("[state]", "shards = 9", "state.shards: 9 is out of bounds"),
        (
            "[server]",
            "request_timeout = \"0s\"",
            "server.request_timeout: 0s is out of bounds",
        ),
        (
            "[server]",
            "metrics_listen = \"127.0.0.1:8080\"",
            "server.metrics_listen: is the address of the API",
        ),
        (
            "[server]",
            "public_origin = \"http://signer.example\"",
            "server.public_origin: is http to a host",
        ),
        (
            "[server]",
            "trusted_proxies = [\"proxy\"]",
            "server.trusted_proxies[0]: \"proxy\" is not an address range",
        ),
        (
            "[server]",
            "trusted_proxies = [\"10.0.0.1\", \"0.0.0.0/0\"]",
            "server.trusted_proxies[1]: \"0.0.0.0/0\" is as good as everyone",
        ),
        (
            "[server]",
            "trusted_proxies = [\"128.0.0.0/7\"]",
            "server.trusted_proxies[0]: \"128.0.0.0/7\" is as good as everyone",
        ),
        (
            "[server]",
            "trusted_proxies = [\"::/0\"]",
            "server.trusted_proxies[0]: \"::/0\" is as good as everyone",
        ),
        (
            "[server]",
            "trusted_proxies = [\"2001::/16\"]",
            "server.trusted_proxies[0]: \"2001::/16\" is as good as everyone",
        ),
        (
            "[server]",
            "trusted_proxies = [\"10.1.2.3/8\"]",
            "server.trusted_proxies[0]: \"10.1.2.3/8\" has bits set beyond its prefix",
        ),
        (
            "[server]",
            "trusted_proxies = [\"::ffff:10.0.0.0/104\"]",
            "server.trusted_proxies[0]: \"::ffff:10.0.0.0/104\" is an IPv4 range written as IPv6",
        ),
        (
            "[server]",
            "head_timeout = \"61s\"",
            "server.head_timeout: 61s is out of bounds",
        ),
        (
            "[server]",
            "keep_alive = \"601s\"",
            "server.keep_alive: 601s is out of bounds",
        ),
        (
            "[auth]",
            "clock_skew = \"31s\"",
            "auth.clock_skew: 31s is out of bounds",
        ),
        ("[auth]", "algorithms = []", "auth.algorithms: is empty"),
        (
            "[auth]",
            "algorithms = [\"HS256\"]",
            "auth.algorithms[0]: \"HS256\" is not a choice",
        ),
        (
            "[auth]",
            "algorithms = [\"none\"]",
            "auth.algorithms[0]: \"none\" is not a choice",
        ),
        (
            "[entitlement]",
            "positive_ttl = \"121s\"",
            "entitlement.positive_ttl: 121s is out of bounds",
        ),
        (
            "[entitlement]",
            "negative_ttl = \"11s\"",
            "entitlement.negative_ttl: 11s is out of bounds",
        ),
        (
            "[entitlement]",
            "grace = \"25h\"",
            "entitlement.grace: 25h is out of bounds",
        ),
        (
            "[entitlement]",
            "mode = \"on-line\"",
            "entitlement.mode: \"on-line\"",
        ),
        (
            "[entitlement]",
            "licence_file = \"licensing-jwks.json\"",
            "entitlement.licence_file: is for mode offline, and mode is online",
        ),
        (
            "[entitlement]",
            "licence_file = \"no-such-file\"",
            "entitlement.licence_file: cannot read",
        ),
        (
            "[release]",
            "threshold = 2",
            "release.threshold: is 2, but only 1 keys",
        ),
        (
            "[release]",
            "threshold = 0",
            "release.threshold: 0 is out of bounds",
        ),
        (
            "[release]",
            "revoked = [\"sha256:0\"]",
            "release.revoked[0]: \"sha256:0\" is not an image digest",
        ),
        ("[release]", "tls_roots = \"release.pub\"", "release.tls_roots: "),
        (
            "[release]",
            "lookup_qps = 0",
            "release.lookup_qps: 0 is out of bounds",
        ),
        (
            "[release]",
            "concurrency = 1",
            "release.concurrency: 1 is out of bounds",
        ),
        (
            "[release]",
            "circuit_pause = \"31s\"",
            "release.circuit_pause: is longer than circuit_longest_pause",
        ),
        ("[audit]", "linger = \"1s\"", "audit.linger: 1s is out of bounds"),
        (
            "[audit]",
            "checkpoint_interval = \"3601s\"",
            "audit.checkpoint_interval: 3601s is out of bounds",
        ),
        (
            "[audit]",
            "directory = \"state\"",
            "audit.directory: is the folder of state.directory",
        ),
        (
            "[log]",
            "level = \"trace\"",
            "log.level: \"trace\" is not a choice",
        ),
        (
            "[signing]",
            "predicate_types = []",
            "signing.predicate_types: is empty",
        ),
        (
            "[signing]",
            "predicate_types = [\"https://sigstore.dev/cosign/sign/v1\"]",
            "signing.predicate_types[0]: https://sigstore.dev/cosign/sign/v1 is the type of release signatures",
        ),
        (
            "[signing]",
            "predicate_types = [\"bom\"]",
            "signing.predicate_types[0]: \"bom\" is not a predicate type",
        ),
        (
            "[signing]",
            "default_key = \"other\"",
            "signing.default_key: other is not the id of an active backend",
        ),
    ] {
        let base = format!("{LOCAL}\n[server]\n[state]\n");
        check(&site, &base, section, &format!("{section}\n{line}"), expected);
    }
}

#[test]
fn registry_credentials_are_for_one_host_or_one_repository() {
    let site = Site::new();
    let host = "host = \"registry.example\"";
    let own = "repository = \"registry.example/stellaops/scanner\"";
    let settings = site.load(&PRODUCTION.replacen(host, own, 1)).expect("good");
    let scope = &settings.release.credentials[0].scope;
    let expected = CredentialScope::Repository("registry.example/stellaops/scanner".to_owned());
    assert_eq!(*scope, expected);
    let rest = "username = \"a\"\npassword = \"env:REGISTRY_PASSWORD\"\n[[release.credentials]]";
    let both = PRODUCTION.replacen(host, &format!("{own}\n{rest}\n{host}"), 1);
    assert_eq!(site.load(&both).expect("good").release.credentials.len(), 2);
    for (written, expected) in [
        (
            "host = \"other.example\"".to_owned(),
            "release.credentials[0].host: other.example is not asked",
        ),
        (
            "repository = \"registry.example/stellaops/other\"".to_owned(),
            "release.credentials[0].repository: registry.example/stellaops/other is not asked",
        ),
        (
            String::new(),
            "release.credentials[0].host: and repository: exactly one of the two",
        ),
        (
            format!("{host}\n{own}"),
            "release.credentials[0].host: and repository: exactly one of the two",
        ),
        (
            format!("{host}\n{rest}\n{host}"),
            "release.credentials[1].host: has credentials already",
        ),
    ] {
        check(&site, PRODUCTION, host, &written, expected);
    }
}

#[test]
fn a_shared_store_is_whole_or_refused() {
    let mut site = Site::new();
    site.write("redis.password", b"hunter2\n");
    site.set("NONCE_KEY", &"0f".repeat(32));
    let shared = "[state]\nstore = \"redis\"\nurl = \"rediss://redis.example:6380/2\"\nusername = \"signer\"\n\
                  password = \"file:redis.password\"\n[auth.dpop]\nnonce_key = \"env:NONCE_KEY\"\n[log]";
    let base = LOCAL.replacen("[log]", shared, 1);
    let settings = site.load(&base).expect("good");
    let store = settings.state.shared.expect("a shared store");
    assert_eq!(
        (store.host.as_str(), store.port, store.tls, store.database),
        ("redis.example", 6380, true, 2)
    );
    assert_eq!(store.password.expect("a password").expose_text(), "hunter2");
    for (from, to, expected) in [
        (
            "store = \"redis\"",
            "store = \"disk\"",
            "state.store: \"disk\" is not a choice",
        ),
        (
            "store = \"redis\"",
            "store = \"memory\"",
            "state.url: is set, and store is memory",
        ),
        (
            "url = \"rediss://redis.example:6380/2\"",
            "url = \"\"",
            "state.url: is empty, and store is redis",
        ),
        (
            "rediss://redis.example",
            "redis://redis.example",
            "state.url: is redis:// to a host that is not loopback",
        ),
        (
            "rediss://redis.example",
            "rediss://u:hunter2@redis.example",
            "state.url: has credentials in it",
        ),
        (
            "file:redis.password",
            "",
            "state.password: is empty, and username is set",
        ),
        (
            "file:redis.password",
            "hunter2",
            "state.password: is not a reference to a secret",
        ),
        (
            "[auth.dpop]",
            "timeout = \"4s\"\n[auth.dpop]",
            "state.timeout: is more than a quarter of lease_ttl",
        ),
        (
            "[auth.dpop]",
            "lease_ttl = \"301s\"\n[auth.dpop]",
            "state.lease_ttl: 301s is out of bounds",
        ),
        (
            "[auth.dpop]",
            "lease_ttl = \"9999ms\"\n[auth.dpop]",
            "state.lease_ttl: is shorter than server.request_timeout, 10s",
        ),
        (
            "[auth.dpop]",
            "prefix = \"a{b\"\n[auth.dpop]",
            "state.prefix: \"a{b\" is no prefix",
        ),
        (
            "[auth.dpop]",
            "roots = \"redis.password\"\n[auth.dpop]",
            "state.roots: ",
        ),
        (
            "env:NONCE_KEY",
            "",
            "auth.dpop.nonce_key: is empty, and state.store is redis",
        ),
        (
            "env:NONCE_KEY",
            "file:redis.password",
            "auth.dpop.nonce_key: is shorter than 32 characters",
        ),
    ] {
        check(&site, &base, from, to, expected);
        let errors = site.errors(&base.replacen(from, to, 1)).join("\n");
        assert!(!errors.contains("hunter2"), "{errors}");
    }
    let off = base.replace("nonce_key = \"env:NONCE_KEY\"", "nonce = \"off\"");
    assert!(
        site.load(&off).is_ok(),
        "without nonces there is nothing to share"
    );
    let alone = LOCAL.replacen("[log]", "[auth.dpop]\nnonce_key = \"env:NONCE_KEY\"\n[log]", 1);
    assert!(site.errors(&alone)[0].starts_with("auth.dpop.nonce_key: is set, and state.store is memory"));
}

#[test]
fn timestamps_need_an_authority_with_a_certificate_of_its_own() {
    let site = Site::new();
    let stamper = crate::dev::timestamps::Stamper::generate().unwrap();
    site.write("tsa.pem", stamper.chain_pem().unwrap().as_bytes());
    site.write("tsa-root.pem", &stamper.root_pem());
    let table = |lines: &str| format!("[timestamp]\n{lines}\n[log]");
    let good = "url = \"https://tsa.example/api/v1/timestamp\"\nchain = \"tsa.pem\"";
    let settings = site
        .load(&LOCAL.replace("[log]", &table(good)))
        .expect("it makes sense");
    let timestamp = settings.timestamp.expect("an authority");
    assert_eq!(timestamp.timeout, std::time::Duration::from_secs(2));
    assert!(site.load(LOCAL).expect("it makes sense").timestamp.is_none());
    for (lines, expected) in [
        (
            "url = \"https://tsa.example\"",
            "timestamp.chain: is empty, and there is a url",
        ),
        (
            "chain = \"tsa.pem\"",
            "timestamp.url: is empty, and there is a chain",
        ),
        (
            "url = \"http://tsa.example\"\nchain = \"tsa.pem\"",
            "timestamp.url: ",
        ),
        (
            "url = \"https://tsa.example\"\nchain = \"tsa-root.pem\"",
            "timestamp.chain: ",
        ),
        (
            &format!("{good}\ntimeout = \"9600ms\""),
            "timestamp.timeout: leaves less than 500 ms of server.request_timeout",
        ),
        (
            &format!("{good}\ntls_roots = \"release.pub\""),
            "timestamp.tls_roots: ",
        ),
    ] {
        check(&site, LOCAL, "[log]", &table(lines), expected);
    }
    // Who signs does not say when.
    site.private("signing.pem", stamper.key());
    let expected = "signing.backends[0].key: is the same key as one in timestamp.chain";
    check(&site, LOCAL, "[log]", &table(good), expected);
}

#[test]
fn proxies_are_few() {
    let site = Site::new();
    for (ranges, warned) in [
        (
            r#""10.0.0.0/8", "192.168.1.7", "100.64.0.0/10", "203.0.113.0/24""#,
            false,
        ),
        (
            r#""fd00::/8", "fe80::/64", "::1", "2001:db8:1::/48", "2001:db8::7""#,
            false,
        ),
        (r#""203.0.112.0/23""#, true),
        (r#""100.0.0.0/8""#, true),
        (r#""2001:db8::/47""#, true),
    ] {
        let text = format!("{LOCAL}\n[server]\ntrusted_proxies = [{ranges}]\n");
        let settings = site.load(&text).expect(ranges);
        let keys: Vec<&str> = settings.warnings.iter().map(|warning| &*warning.key).collect();
        assert_eq!(keys.contains(&"server.trusted_proxies"), warned, "{ranges}");
        assert_eq!(settings.server.trusted_proxies.len(), ranges.split(", ").count());
    }
}

#[test]
fn private_keys_must_be_private() {
    let site = Site::new();
    for mode in [0o640, 0o604, 0o644, 0o620, 0o602] {
        site.chmod("signing.pem", mode);
        let errors = site.errors(LOCAL);
        let expected = format!("may be used by others (mode {mode:04o})");
        assert!(errors.len() == 1 && errors[0].contains(&expected), "{errors:#?}");
    }
    site.chmod("signing.pem", 0o400);
    site.chmod("licensing.token", 0o644);
    let settings = site
        .load(LOCAL)
        .expect("a token that others may read is worth a warning only");
    assert!(
        settings
            .warnings
            .iter()
            .any(|warning| warning.key == "entitlement.credential")
    );
}

/// Each mode has what it needs, and nothing of the other.
#[test]
fn entitlement_is_online_or_offline() {
    const URL: &str = "introspection_url = \"http://127.0.0.1:9001/license/introspect\"\n";
    const CREDENTIAL: &str = "credential = \"file:licensing.token\"\n";
    const KEYS: &str = "jwks_file = \"licensing-jwks.json\"\n";
    const OFFLINE: &str = "[entitlement]\nmode = \"offline\"\nlicence_file = \"licence.jwt\"\n";
    let site = Site::new();
    site.write("licence.jwt", b"read by who uses it");
    for (without, remedy) in [(URL, "introspection_url"), (CREDENTIAL, "credential")] {
        check(
            &site,
            LOCAL,
            without,
            "",
            &format!("entitlement.{remedy}: is empty; mode online needs it"),
        );
    }
    let offline = LOCAL.replace("[entitlement]\n", OFFLINE);
    let nothing_online = offline.replace(URL, "").replace(CREDENTIAL, "");
    let loaded = site.load(&nothing_online).expect("a good offline configuration");
    let standing = loaded.entitlement.standing;
    assert!(
        matches!(standing, crate::config::Standing::Offline { licence_file } if licence_file == site.path().join("licence.jwt"))
    );
    check(
        &site,
        &offline,
        CREDENTIAL,
        "",
        "entitlement.introspection_url: is for mode online, and mode is offline",
    );
    check(
        &site,
        &offline,
        URL,
        "",
        "entitlement.credential: is for mode online, and mode is offline",
    );
    let line = "licence_file = \"licence.jwt\"\n";
    check(
        &site,
        &nothing_online,
        line,
        "",
        "entitlement.licence_file: is empty; mode offline needs it",
    );
    let uri = "jwks_uri = \"https://licensing.example/jwks\"\n";
    check(
        &site,
        &nothing_online,
        KEYS,
        uri,
        "entitlement.jwks_uri: is for mode online",
    );
    let graceful = nothing_online.replace(line, &format!("{line}grace = \"1m\"\n"));
    let warnings = site.load(&graceful).expect("valid").warnings;
    assert!(
        warnings.iter().any(|warning| warning.key == "entitlement.grace"),
        "{warnings:?}"
    );
}

#[test]
fn a_signing_key_has_no_other_use() {
    let key = p256();
    let site = Site::new();
    site.private("signing.pem", &key);
    site.load(LOCAL).expect("a key of its own");
    let public = key.public_key_to_pem().expect("PEM");
    for (file, content, expected) in [
        ("release.pub", public.as_slice(), "release.keys[0]"),
        ("authority-jwks.json", jwks(&key).as_bytes(), "auth.jwks_file"),
        (
            "licensing-jwks.json",
            jwks(&key).as_bytes(),
            "entitlement.jwks_file",
        ),
    ] {
        let good = std::fs::read(site.path().join(file)).expect("readable");
        site.write(file, content);
        let errors = site.errors(LOCAL);
        let expected = format!("signing.backends[0].key: is the same key as one in {expected}");
        assert!(
            errors.len() == 1 && errors[0].starts_with(&expected),
            "{errors:#?}"
        );
        site.write(file, &good);
    }
    let checkpoint = openssl::pkey::PKey::generate_ed25519().expect("a key");
    site.private("signing.pem", &checkpoint);
    site.private("audit.key", &checkpoint);
    let text = LOCAL.replace("ecdsa-p256-sha256", "ed25519");
    let errors = site.errors(&text);
    assert!(
        errors.len() == 1 && errors[0].contains("one in audit.checkpoint_key"),
        "{errors:#?}"
    );
}

#[test]
fn the_key_of_checkpoints_has_no_other_use() {
    let site = Site::new();
    let key = openssl::pkey::PKey::generate_ed25519().expect("a key");
    site.private("audit.key", &key);
    site.write("audit.pub", &key.public_key_to_pem().expect("PEM"));
    for (from, to, other) in [
        ("keys = [\"release.pub\"]", "keys = [\"audit.pub\"]", "keys[0]"),
        (
            "[log]",
            "[[release.signers]]\nkey = \"audit.pub\"\n[log]",
            "signers[0].key",
        ),
        (
            "[log]",
            "[[release.logs]]\nkey = \"audit.pub\"\norigin = \"log.example\"\n[log]",
            "logs[0].key",
        ),
    ] {
        let expected = format!("audit.checkpoint_key: is the same key as one in release.{other};");
        check(&site, LOCAL, from, to, &expected);
    }
}

/// The encoding of an EC point (RFC 5480 §2.2) makes no other key.
#[test]
fn a_compressed_point_hides_no_key() {
    let site = Site::new();
    let (signing, release) = (p256(), p256());
    let [plain, hidden] = [false, true].map(|hide| point_form(&release, hide));
    assert_ne!(plain, hidden);
    // A revoked key is the key that signs, whichever of the two files is compressed.
    for (revoked, counted) in [(&hidden, &hidden), (&hidden, &plain), (&plain, &hidden)] {
        site.write("release.pub", counted);
        site.write("revoked.pub", revoked);
        let text = LOCAL.replace("[release]", "[release]\nrevoked_keys = [\"revoked.pub\"]");
        let settings = site.load(&text).expect("valid").release;
        let counts = crate::crypto::parse_public_pem(&settings.keys[0].bytes).expect("a key");
        let counts = crate::crypto::PublicKey::every_pin(&counts).expect("a pin");
        assert_eq!(settings.revoked_keys, [counts[0].fingerprint()]);
    }
    // Neither is a signing key a release key, a log's key a release key or a revoked one.
    site.private("signing.pem", &signing);
    site.write("release.pub", &point_form(&signing, true));
    let errors = site.errors(LOCAL);
    let expected = "signing.backends[0].key: is the same key as one in release.keys[0]";
    assert!(
        errors.len() == 1 && errors[0].starts_with(expected),
        "{errors:#?}"
    );
    site.write("release.pub", &plain);
    site.write("log.pub", &hidden);
    let log = "[[release.logs]]\nkey = \"log.pub\"\n[log]";
    check(
        &site,
        LOCAL,
        "[log]",
        log,
        "release.logs[0].key: is a release key",
    );
    let (other, log_key) = (point_form(&p256(), false), p256());
    site.write("release.pub", &other);
    site.write("log.pub", &point_form(&log_key, true));
    site.write("revoked.pub", &point_form(&log_key, false));
    let revoked = LOCAL.replace("[release]", "[release]\nrevoked_keys = [\"revoked.pub\"]");
    let expected = "release.logs[0].key: is in release.revoked_keys";
    check(&site, &revoked, "[log]", log, expected);
}

fn point_form(key: &openssl::pkey::PKey<openssl::pkey::Private>, compressed: bool) -> Vec<u8> {
    use openssl::ec::{EcKey, EcPoint, PointConversionForm};
    let key = key.ec_key().expect("EC");
    let mut numbers = openssl::bn::BigNumContext::new().expect("numbers");
    let form = match compressed {
        true => PointConversionForm::COMPRESSED,
        false => PointConversionForm::UNCOMPRESSED,
    };
    let point = key.public_key().to_bytes(key.group(), form, &mut numbers);
    let point = point.expect("a point");
    if !compressed {
        let point = EcPoint::from_bytes(key.group(), &point, &mut numbers).expect("a point");
        let key = EcKey::from_public_key(key.group(), &point).expect("a key");
        return key.public_key_to_pem().expect("PEM");
    }
    // SubjectPublicKeyInfo of a P-256 key with a compressed point: fixed head, then 33 bytes.
    let head = hex::decode("3039301306072a8648ce3d020106082a8648ce3d030107032200").expect("hex");
    let body = openssl::base64::encode_block(&[head, point].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n").into_bytes()
}

#[test]
fn backends_fit_the_rest() {
    let site = Site::new();
    for (base, from, to, expected) in [
        (
            LOCAL,
            "default_mode = \"kms\"",
            "",
            "signing.default_mode: is keyless, but no backend of kind fulcio",
        ),
        (
            LOCAL,
            "deterministic = true",
            "state = \"retired\"\nretired_from = \"2026-10-01T00:00:00Z\"",
            "signing.default_mode: is kms, but no active backend",
        ),
        (
            LOCAL,
            "ecdsa-p256-sha256",
            "ed25519",
            "signing.backends[0].key: is not a key for ed25519",
        ),
        (
            LOCAL,
            "ecdsa-p256-sha256",
            "ecdsa-p384-sha384",
            "signing.backends[0].key: is not a key for ecdsa-p384",
        ),
        (
            PRODUCTION,
            "id = \"release-2026\"",
            "id = \"keyless\"",
            "signing.backends[1].id: keyless is the id of another",
        ),
        (
            PRODUCTION,
            "passphrase = \"env:RELEASE_2026_PASSPHRASE\"\n",
            "",
            "signing.backends[1].key: file:",
        ),
        (
            PRODUCTION,
            "https://stellaops.example/signer",
            "https://stellaops.example/release",
            "signing.backends[0].expect_subject: is also an identity in release.identities",
        ),
        (
            PRODUCTION,
            "client_ca = \"clients-ca.pem\"\n",
            "",
            "server.tls.client_ca: is not set though",
        ),
        (
            PRODUCTION,
            "file:server.key",
            "file:signing.pem",
            "server.tls.key: does not belong to the first certificate",
        ),
        (
            PRODUCTION,
            "https://signer.example:8443",
            "http://127.0.0.1:8443",
            "server.public_origin: is http though",
        ),
    ] {
        if base == PRODUCTION && to.contains("keyless") {
            // Its id also is what default_key names.
            let errors = site.errors(&base.replacen(from, to, 1));
            assert!(
                errors.iter().any(|error| error.starts_with(expected)),
                "{errors:#?}"
            );
        } else {
            check(&site, base, from, to, expected);
        }
    }
}

#[test]
fn release_identities_need_roots() {
    let site = Site::new();
    let identity =
        "[[release.identities]]\nissuer = \"https://a.example\"\nsubject = \"https://b.example\"\n[log]";
    check(
        &site,
        LOCAL,
        "[log]",
        identity,
        "release.roots: is empty, and there is no Fulcio backend",
    );
}

/// The policy of release signatures: what may not be, alone.
#[test]
fn release_signers_and_witnesses_make_sense() {
    let site = Site::new();
    let tables = |tables: &str| format!("{tables}\n[log]");
    let signer = |rest: &str| tables(&format!("[[release.signers]]\nkey = \"server.pub\"\n{rest}"));
    let log = |rest: &str| tables(&format!("[[release.logs]]\nkey = \"log.pub\"\n{rest}"));
    let server =
        openssl::x509::X509::from_pem(&std::fs::read(site.path().join("server.pem")).unwrap()).unwrap();
    let public = server.public_key().unwrap().public_key_to_pem().unwrap();
    site.write("server.pub", &public);
    site.write("log.pub", &p256().public_key_to_pem().unwrap());
    for (table, expected) in [
        (
            signer("not_before = \"2026-10-01\""),
            "release.signers[0].not_before: \"2026-10-01\" is not a moment",
        ),
        (
            signer("not_before = \"2026-10-01T00:00:00Z\"\nnot_after = \"2026-10-01T02:00:00+02:00\""),
            "release.signers[0].not_after: is not after not_before",
        ),
        (
            signer("require = [\"stamp\"]"),
            "release.signers[0].require[0]: \"stamp\" is not a choice",
        ),
        (
            signer("require = [\"timestamp\"]"),
            "release.timestamp_roots: is empty, and signatures must carry a timestamp",
        ),
        (
            signer("require = [\"inclusion\"]"),
            "release.logs: is empty, and signatures must carry a log entry",
        ),
        (log("key2 = 1"), "release.logs[0].key2: "),
        (
            tables("[[release.ct_logs]]\nkey = \"release.pub\""),
            "release.ct_logs[0].key: is a release key",
        ),
        (
            tables("[[release.ct_logs]]\nkey = \"no-such-file\""),
            "release.ct_logs[0].key: cannot read",
        ),
        (
            tables("[[release.logs]]\nkey = \"release.pub\""),
            "release.logs[0].key: is a release key",
        ),
    ] {
        check(&site, LOCAL, "[log]", &table, expected);
    }
    for (line, expected) in [
        ("require = [\"log\"]", "release.logs: is empty"),
        ("timestamp_roots = \"release.pub\"", "release.timestamp_roots: "),
        (
            "revoked_keys = [\"sha256:0\"]",
            "release.revoked_keys[0]: \"sha256:0\" is not the digest of a key",
        ),
        ("revoked_keys = [\"signing.pem\"]", "release.revoked_keys[0]: "),
    ] {
        check(&site, LOCAL, "[release]", &format!("[release]\n{line}"), expected);
    }
    // Who witnesses does not sign, neither releases nor here.
    site.write("own.pem", &server.to_pem().unwrap());
    let own = "[release]\ntimestamp_roots = \"own.pem\"";
    let both = LOCAL.replace("[log]", &signer(""));
    check(
        &site,
        &both,
        "[release]",
        own,
        "release.timestamp_roots: holds a certificate of a release key",
    );
    let key = p256();
    site.private("signing.pem", &key);
    site.write("same.pub", &key.public_key_to_pem().unwrap());
    for table in ["logs", "signers"] {
        let table = tables(&format!("[[release.{table}]]\nkey = \"same.pub\""));
        let expected = "signing.backends[0].key: is the same key as one in release.";
        check(&site, LOCAL, "[log]", &table, expected);
    }
    // A key with a life, a log, a revoked key by file and by digest.
    let good = LOCAL
        .replace("[log]", &log("not_after = \"2026-10-01T00:00:00Z\"\n[[release.signers]]\nkey = \"server.pub\"\nrequire = [\"log\"]"))
        .replace("[release]", &format!("[release]\nrevoked_keys = [\"rekor.pub\", \"sha256:{}\"]", "0".repeat(64)));
    let settings = site.load(&good).expect("it makes sense");
    assert_eq!(settings.release.revoked_keys.len(), 2);
    assert_eq!(settings.release.signers.len(), 1);
    assert!(settings.release.logs[0].life.not_after.is_some());
}
