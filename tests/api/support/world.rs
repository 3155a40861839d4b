//! The neighbours, their files, and the configuration that names them.

use std::cell::OnceCell;
use std::path::PathBuf;

use signer::config::{self, ConfigFile, Inputs, Settings};
use signer::dev::{Neighbours, Options, neighbours};
use tempfile::TempDir;
use toml::{Table, Value};

use super::licensing::{CREDENTIAL, Licensing};
use super::mint::{AUTHORITY, LICENSING};
use super::{Call, Mint, ORIGIN, REFERRERS, SIGN, Wire, p256};

/// The default key.
pub(crate) const KEY: &str = "main-2026";
/// A key that a plan has to name.
pub(crate) const OTHER_KEY: &str = "other-2026";
/// Name of the log.
pub(crate) const AUDIT_ORIGIN: &str = "signer.test/audit/1";
/// A key that signs no more.
pub(crate) const RETIRED_KEY: &str = "main-2025";
/// Since when.
pub(crate) const RETIRED_FROM: &str = "2026-01-31T23:00:00Z";

/// Changes to the configuration: there is a timestamp authority.
pub(crate) const TIMESTAMPS: &str =
    "timestamp = { url = \"http://localhost/timestamps\", chain = \"timestamps.pem\", timeout = \"1s\" }\n";

/// Everything around the service.
pub(crate) struct World {
    /// Registry, certificate authority and the service's own identity.
    pub(crate) neighbours: Neighbours,
    pub(crate) registry: Wire,
    pub(crate) fulcio: Wire,
    pub(crate) timestamps: Wire,
    pub(crate) licensing: Licensing,
    pub(crate) mint: Mint,
    pub(crate) folder: TempDir,
    pub(crate) http: reqwest::Client,
    /// Where the service listens, once it does.
    pub(crate) base: OnceCell<String>,
    config: String,
}

impl World {
    /// With these changes to the configuration, in TOML.
    pub(crate) async fn new(changes: &str) -> Self {
        Self::built(changes, |config| config).await
    }

    /// Whose service expects another subject in its certificates than the authority writes.
    pub(crate) async fn expecting(subject: &str) -> Self {
        let real = format!("expect_subject = \"{}\"", signer::dev::neighbours::SIGNER_SUBJECT);
        let other = format!("expect_subject = \"{subject}\"");
        Self::built("", |config| {
            assert!(config.contains(&real));
            config.replace(&real, &other)
        })
        .await
    }

    async fn built(changes: &str, edit: impl FnOnce(String) -> String) -> Self {
        let neighbours = neighbours(Options::default()).await.unwrap();
        let registry = Wire::to(&neighbours.registry.running.base_url);
        let fulcio = Wire::to(&neighbours.fulcio.running.base_url);
        let timestamps = Wire::to(&neighbours.timestamps.running.base_url);
        let mut world = Self {
            mint: Mint::new(neighbours.registry.scanner_digest.clone()),
            registry,
            fulcio,
            timestamps,
            licensing: Licensing::start(),
            folder: TempDir::new().unwrap(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: OnceCell::new(),
            config: String::new(),
            neighbours,
        };
        world.write_files();
        let mut config: Table = edit(world.standard()).parse().unwrap();
        merge(&mut config, changes.parse().unwrap());
        world.config = config
            .to_string()
            .replace("http://localhost/timestamps", &world.timestamps.running.base_url);
        world
    }

    fn write_files(&self) {
        let mint = &self.mint;
        self.write(
            "authority.json",
            Mint::jwks(&mint.authority, "authority-1").to_string(),
        );
        self.write(
            "licensing.json",
            Mint::jwks(&mint.licensing, "licensing-1").to_string(),
        );
        self.write("licensing.token", CREDENTIAL);
        for name in [KEY, OTHER_KEY] {
            self.write(&format!("{name}.pem"), p256().private_key_to_pem_pkcs8().unwrap());
        }
        let checkpoints = openssl::pkey::PKey::generate_ed25519().unwrap();
        self.write("audit.key", checkpoints.private_key_to_pem_pkcs8().unwrap());
        self.write("timestamps.pem", &self.neighbours.timestamps.chain_pem);
        self.write("retired.pub", p256().public_key_to_pem().unwrap());
        self.write("release.pub", &self.neighbours.registry.release_public_pem);
        self.write("foreign.pub", p256().public_key_to_pem().unwrap());
    }

    /// A file beside the configuration.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        signer::client::files::write_private(&self.folder.path().join(name), content.as_ref()).unwrap();
    }

    fn standard(&self) -> String {
        let (issuer, subject) = self.neighbours.signer_identity();
        let files = &self.neighbours.files;
        format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            public_origin = "{ORIGIN}"
            metrics_listen = "127.0.0.1:0"
            workers = 1
            max_body_bytes = 1000000
            [auth]
            issuer = "{AUTHORITY}"
            jwks_file = "authority.json"
            [auth.dpop]
            nonce = "off"
            [entitlement]
            issuer = "{LICENSING}"
            jwks_file = "licensing.json"
            introspection_url = "{introspection}/introspect"
            credential = "file:licensing.token"
            [release]
            repositories = ["{repository}"]
            keys = ["{release_key}"]
            plain_http = ["{registry}"]
            private_networks = ["127.0.0.0/8"]
            [signing]
            default_mode = "kms"
            default_key = "{KEY}"
            predicate_types = ["https://cyclonedx.org/bom", "https://stella.ops/*"]
            [[signing.backends]]
            kind = "fulcio"
            id = "keyless"
            url = "{fulcio}"
            roots = "{roots}"
            identity_token = "file:{identity}"
            expect_issuer = "{issuer}"
            expect_subject = "{subject}"
            [[signing.backends]]
            kind = "file"
            id = "{KEY}"
            key = "file:{KEY}.pem"
            algorithm = "ecdsa-p256-sha256"
            deterministic = true
            [[signing.backends]]
            kind = "file"
            id = "{OTHER_KEY}"
            key = "file:{OTHER_KEY}.pem"
            algorithm = "ecdsa-p256-sha256"
            [[signing.backends]]
            kind = "file"
            id = "{RETIRED_KEY}"
            public_key = "retired.pub"
            algorithm = "ecdsa-p256-sha256"
            state = "retired"
            retired_from = "{RETIRED_FROM}"
            [state]
            directory = "state"
            [audit]
            directory = "audit"
            origin = "{AUDIT_ORIGIN}"
            checkpoint_key = "file:audit.key"
            [log]
            level = "debug"
            "#,
            introspection = self.licensing.running.base_url,
            repository = self.repository(),
            registry = self.registry.running.addr,
            release_key = files.release_key.display(),
            fulcio = self.fulcio.running.base_url,
            roots = files.fulcio_roots.display(),
            identity = files.identity_token.display(),
        )
    }

    /// As configured.
    pub(crate) fn repository(&self) -> String {
        format!("{}/stellaops/scanner", self.registry.running.addr)
    }

    /// As the service reads it.
    pub(crate) fn settings(&self) -> Settings {
        let file = ConfigFile::Text {
            text: self.config.clone(),
            folder: self.folder.path().to_owned(),
        };
        let inputs = Inputs {
            file: Some(file),
            ..Inputs::default()
        };
        config::load(inputs).unwrap_or_else(|errors| panic!("{errors:#?}"))
    }

    /// The same, as a file for a process of its own.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.write("signer.toml", &self.config);
        self.folder.path().join("signer.toml")
    }

    /// A request to sign that would succeed.
    pub(crate) fn sign(&self) -> Call<'_> {
        Call::sign(self)
    }

    /// A question about an image that would be answered.
    pub(crate) fn referrers(&self, query: &str) -> Call<'_> {
        Call::get(self, REFERRERS, query)
    }

    /// A fresh proof for signing with this token.
    pub(crate) fn signing_proof(&self, token: &str) -> String {
        self.mint.proof("POST", SIGN, token, |_| ())
    }

    /// The trail's folder.
    pub(crate) fn audit_folder(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    /// Every record of the trail, in order.
    pub(crate) fn audit(&self) -> Vec<serde_json::Value> {
        let mut segments: Vec<PathBuf> = std::fs::read_dir(self.audit_folder().join("journal"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_none())
            .collect();
        segments.sort();
        let journal: Vec<u8> = segments
            .iter()
            .flat_map(|path| std::fs::read(path).unwrap())
            .collect();
        let entries = journal_groups(&journal).flat_map(|(_, entries)| entries);
        entries
            .map(|entry| serde_json::from_slice(&entry).unwrap())
            .collect()
    }

    /// The public half of the key that signs checkpoints.
    pub(crate) fn checkpoint_key(&self) -> signer::tlog::VerifierKey {
        let pem = std::fs::read(self.folder.path().join("audit.key")).unwrap();
        let key = openssl::pkey::PKey::private_key_from_pem(&pem).unwrap();
        signer::tlog::NoteSigner::new(AUDIT_ORIGIN, key)
            .unwrap()
            .verifier()
            .clone()
    }

    /// The records of one audit id.
    pub(crate) fn audited(&self, id: &serde_json::Value) -> Vec<serde_json::Value> {
        let mut records = self.audit();
        records.retain(|record| record["auditId"] == *id);
        records
    }
}

/// Offset and entries of every whole group of a journal, as `docs/reference/audit.md` describes them.
pub(crate) fn journal_groups(journal: &[u8]) -> impl Iterator<Item = (usize, Vec<Vec<u8>>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let header = journal.get(at..at + 52)?;
        assert_eq!(&header[..4], b"SLJ1");
        let length = u32::from_be_bytes(header[8..12].try_into().unwrap()) as usize;
        // The last group may be under way.
        let entries = journal.get(at + 52..at + 52 + length)?;
        at += 52 + length;
        let entries = signer::tlog::entries(entries).map(|entry| entry.unwrap().to_vec());
        Some((start, entries.collect()))
    })
}

/// Tables are merged, all else is replaced.
fn merge(into: &mut Table, changes: Table) {
    for (name, change) in changes {
        match (into.get_mut(&name), change) {
            (Some(Value::Table(table)), Value::Table(change)) => merge(table, change),
            (_, change) => {
                into.insert(name, change);
            }
        }
    }
}
