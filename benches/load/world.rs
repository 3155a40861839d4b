//! What is around the server: its neighbours on loopback, and its configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use openssl::pkey::PKey;
use serde_json::{Value, json};
use signer::adapters::jose::from_b64url;
use signer::client::files::write_private;
use signer::crypto::generate_p256;
use signer::dev::listener::{Bound, Running};
use signer::dev::{Neighbours, Options, neighbours};
use tempfile::TempDir;

use crate::Fallible;
use crate::args::{Args, Mode};
use crate::mint::{AUTHORITY, LICENSING, Mint, ORIGIN};
use crate::tls::{self, Identities};

/// Lives in the harness, so that the server's time is its own.
pub(crate) struct World {
    pub(crate) mint: Mint,
    pub(crate) folder: TempDir,
    /// The service's program.
    pub(crate) signer: PathBuf,
    /// Certificates, with TLS.
    pub(crate) tls: Option<Identities>,
    // Held: they stop when dropped.
    neighbours: Neighbours,
    licensing: Running,
    /// A registry that takes its time over every answer.
    slow: Running,
}

/// One of several servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// Of its files.
    pub(crate) name: &'static str,
    pub(crate) workers: u16,
    /// Tokens and entitlements that it remembers; shared out among the workers.
    pub(crate) remembered: usize,
}

impl Variant {
    /// The one that most scenarios use, with the service's own defaults.
    pub(crate) fn of(args: &Args) -> Self {
        Self {
            name: "signer",
            workers: args.workers,
            remembered: 100_000,
        }
    }
}

/// How long the slow registry takes over an answer: less than the server waits for one.
const SLOW: Duration = Duration::from_millis(2500);
/// For how long it holds at least whoever asks for an image: listing its signatures takes four questions.
pub(crate) const HELD_FOR: Duration = Duration::from_secs(9);

impl World {
    pub(crate) async fn start(args: &Args) -> Fallible<Self> {
        let neighbours = neighbours(Options::default()).await?;
        let tls = match (args.tls || args.mtls, args.mtls) {
            (false, _) => None,
            (true, shown) => Some(Identities {
                server: tls::certify()?,
                client: shown.then(tls::certify).transpose()?,
            }),
        };
        let client = tls.as_ref().and_then(|tls| tls.client.as_ref());
        let world = Self {
            mint: Mint::new(
                neighbours.registry.scanner_digest.clone(),
                client.map(|client| client.thumbprint),
            )?,
            folder: match &args.folder {
                Some(folder) => TempDir::new_in(folder)?,
                None => TempDir::new()?,
            },
            signer: args.signer.clone(),
            tls,
            licensing: licensing()?,
            slow: slow_registry()?,
            neighbours,
        };
        world.write_files(args)?;
        Ok(world)
    }

    fn write_files(&self, args: &Args) -> Fallible<()> {
        let (authority, licensing) = self.mint.key_sets()?;
        self.write("authority.json", authority.as_bytes())?;
        self.write("licensing.json", licensing.as_bytes())?;
        self.write("licensing.token", b"licensing-credential")?;
        self.write("bench.pem", &generate_p256()?.private_key_to_pem_pkcs8()?)?;
        self.write(
            "audit.key",
            &PKey::generate_ed25519()?.private_key_to_pem_pkcs8()?,
        )?;
        if let Some(Identities { server, client }) = &self.tls {
            self.write("server.pem", &server.certificate)?;
            self.write("server.key", &server.key)?;
            if let Some(client) = client {
                self.write("clients.pem", &client.certificate)?;
            }
        }
        self.configure(args, &Variant::of(args))
    }

    /// Writes what a server of this name is started with.
    pub(crate) fn configure(&self, args: &Args, variant: &Variant) -> Fallible<()> {
        let text = self.configuration(args, variant)?;
        self.write(&format!("{}.toml", variant.name), text.as_bytes())
    }

    fn write(&self, name: &str, content: &[u8]) -> Fallible<()> {
        Ok(write_private(&self.folder.path().join(name), content)?)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Defaults wherever they can be.
    fn configuration(&self, args: &Args, variant: &Variant) -> Fallible<String> {
        let (issuer, subject) = self.neighbours.signer_identity();
        let files = &self.neighbours.files;
        let registry = &self.neighbours.registry;
        Ok(format!(
            r#"
            [server]
            listen = "127.0.0.1:0"
            public_origin = "{ORIGIN}"
            metrics_listen = "127.0.0.1:0"
            workers = {workers}
            request_timeout = "40s"
            {tls}
            [auth]
            issuer = "{AUTHORITY}"
            jwks_file = "authority.json"
            max_token_lifetime = "4h"
            remembered_tokens = {remembered}
            [auth.dpop]
            nonce = "off"
            [entitlement]
            issuer = "{LICENSING}"
            jwks_file = "licensing.json"
            introspection_url = "{licensing}/introspect"
            credential = "file:licensing.token"
            positive_ttl = "120s"
            timeout = "20s"
            cache_capacity = {remembered}
            [release]
            repositories = ["{repository}", "{slow}/stellaops/slow"]
            keys = ["{release_key}"]
            timeout = "30s"
            plain_http = ["{host}", "{slow}"]
            private_networks = ["127.0.0.0/8"]
            [signing]
            default_mode = "{mode}"
            default_key = "{key}"
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
            id = "bench-2026"
            key = "file:bench.pem"
            algorithm = "ecdsa-p256-sha256"
            deterministic = true
            [state]
            directory = "{name}-state"
            [audit]
            directory = "{name}-audit"
            origin = "signer.bench/audit/1"
            checkpoint_key = "file:audit.key"
            {backends}
            "#,
            key = args.key,
            backends = args
                .backends
                .as_ref()
                .map(fs::read_to_string)
                .transpose()?
                .unwrap_or_default(),
            name = variant.name,
            workers = variant.workers,
            remembered = variant.remembered,
            tls = self.tls.as_ref().map_or("", |tls| match tls.client {
                None => SERVER_TLS,
                Some(_) => CLIENT_TLS,
            }),
            licensing = self.licensing.base_url,
            repository = registry.repository,
            host = registry.running.addr,
            slow = self.slow.addr,
            release_key = files.release_key.display(),
            mode = match args.mode {
                Mode::Kms => "kms",
                Mode::Keyless => "keyless",
            },
            fulcio = self.neighbours.fulcio.running.base_url,
            roots = files.fulcio_roots.display(),
            identity = files.identity_token.display(),
        ))
    }
}

const SERVER_TLS: &str = r#"
            [server.tls]
            certificate = "server.pem"
            key = "file:server.key""#;

const CLIENT_TLS: &str = r#"
            [server.tls]
            certificate = "server.pem"
            key = "file:server.key"
            client_ca = "clients.pem"
            client_auth = "required""#;

/// Knows every image and no signature, slowly.
fn slow_registry() -> Fallible<Running> {
    async fn answer(request: HttpRequest) -> HttpResponse {
        tokio::time::sleep(SLOW).await;
        let digest = request.path().rsplit('/').next().unwrap_or_default();
        if request.method() != Method::HEAD || !digest.starts_with("sha256:") {
            return HttpResponse::NotFound().finish();
        }
        HttpResponse::Ok()
            .insert_header(("docker-content-digest", digest))
            .insert_header(("content-type", "application/vnd.oci.image.manifest.v1+json"))
            .body(vec![b' '; 2])
    }

    let running = Bound::any_port()?.serve(|routes| {
        routes.default_service(web::to(answer));
    })?;
    Ok(running)
}

/// Introspection that calls every entitlement active, with its own claims (RFC 7662 §2.2).
fn licensing() -> Fallible<Running> {
    #[derive(serde::Deserialize)]
    struct Form {
        token: String,
    }

    async fn introspect(form: web::Form<Form>) -> HttpResponse {
        let claims = form.token.split('.').nth(1).and_then(from_b64url);
        let claims = claims.and_then(|claims| serde_json::from_slice::<Value>(&claims).ok());
        let Some(Value::Object(mut members)) = claims else {
            return HttpResponse::BadRequest().finish();
        };
        members.insert("active".to_owned(), json!(true));
        HttpResponse::Ok().json(members)
    }

    let running = Bound::any_port()?.serve(|routes| {
        routes.route("/introspect", web::post().to(introspect));
    })?;
    Ok(running)
}
