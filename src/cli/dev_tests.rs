use super::*;

fn args(out: &Path) -> DevArgs {
    DevArgs {
        sign: None,
        out: out.to_owned(),
        mode: Mode::Keyless,
        listen: "127.0.0.1:0".parse().unwrap(),
        once: false,
        referrers: Referrers::Api,
    }
}

#[actix::test]
async fn prepares_credentials_and_says_ready_last() {
    let directory = tempfile::tempdir().unwrap();
    let args = args(&directory.path().join("out"));
    let prepared = prepare(&args).await.unwrap();
    assert!(prepared.credentials_file.is_file() && prepared.config.is_file());
    let service = Service {
        measured: std::sync::Arc::new(crate::telemetry::metrics::Metrics::new("test").unwrap()),
        listen: "127.0.0.1:8080".parse().unwrap(),
        metrics: Some("127.0.0.1:9464".parse().unwrap()),
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(prepared.announce(&args, service, &mut out, &mut err).await, 0);
    let out = String::from_utf8(out).unwrap();
    let last = out.lines().last().unwrap();
    assert_eq!(
        last,
        r#"{"ready":true,"listen":"127.0.0.1:8080","metrics":"127.0.0.1:9464"}"#
    );
    assert!(out.contains(&prepared.base_url));
    let secret = &prepared.neighbours.authority.client_secret;
    assert!(!out.contains(secret.as_str()));
}

#[actix::test]
async fn the_configuration_is_toml_that_names_the_neighbours() {
    let directory = tempfile::tempdir().unwrap();
    let prepared = prepare(&args(directory.path())).await.unwrap();
    let text = std::fs::read_to_string(&prepared.config).unwrap();
    let config: toml::Table = text.parse().unwrap();
    assert_eq!(
        config["server"]["public_origin"].as_str(),
        Some(prepared.base_url.as_str())
    );
    let issuer = prepared.neighbours.authority.running.base_url.as_str();
    assert_eq!(config["auth"]["issuer"].as_str(), Some(issuer));
    let backends = config["signing"]["backends"].as_array().unwrap();
    assert_eq!(backends[0]["expect_issuer"].as_str(), Some(issuer));
    for reference in [
        &config["entitlement"]["credential"],
        &backends[0]["identity_token"],
        &backends[1]["key"],
    ] {
        let path = reference.as_str().unwrap().strip_prefix("file:").unwrap();
        assert!(Path::new(path).is_file(), "{path}");
    }
}

#[actix::test]
async fn the_service_accepts_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let prepared = prepare(&args(directory.path())).await.unwrap();
    let inputs = crate::config::Inputs {
        file: Some(crate::config::ConfigFile::Path(prepared.config.clone())),
        ..Default::default()
    };
    match crate::config::load(inputs) {
        Ok(settings) => {
            // The key of this run is not encrypted; nothing else is unusual.
            let keys: Vec<_> = settings
                .warnings
                .iter()
                .map(|warning| warning.key.as_str())
                .collect();
            assert_eq!(keys, ["signing.backends[1].key"]);
        }
        Err(errors) => panic!("{}", errors.iter().map(|e| format!("{e}\n")).collect::<String>()),
    }
}

#[actix::test]
async fn refuses_addresses_beyond_loopback_and_files_that_are_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut open = args(directory.path());
    open.listen = "0.0.0.0:0".parse().unwrap();
    assert_eq!(prepare(&open).await.unwrap_err().exit_code(), 2);
    let mut absent = args(directory.path());
    absent.sign = Some(directory.path().join("absent"));
    assert_eq!(prepare(&absent).await.unwrap_err().exit_code(), 2);
}

#[test]
fn paths_are_single_words_of_a_shell() {
    assert_eq!(quoted(Path::new("/tmp/a-b.json")), "/tmp/a-b.json");
    assert_eq!(quoted(Path::new("/tmp/it's me")), r"'/tmp/it'\''s me'");
    assert_eq!(quoted(Path::new("/tmp/$(x)")), "'/tmp/$(x)'");
}
