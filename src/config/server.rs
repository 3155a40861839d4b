//! `[server]`: listeners, limits, TLS.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::files::{self, PublicFile};
use super::reader::{Section, key, required};
use super::secret::{Secret, Use};
use super::{net, pem, proxies};

/// Settings of the HTTP listener.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Scheme, host and port that clients use: what `htu` of a DPoP proof must name (RFC 9449 §4.3).
    pub public_origin: Url,
    /// Worker threads, 1 to 256; `None`: one per core.
    pub workers: Option<usize>,
    /// From the first byte of a request to its answer.
    pub request_timeout: Duration,
    /// For the body alone.
    pub body_timeout: Duration,
    /// For the head of a request, from its first byte (on a new connection, from its opening).
    pub head_timeout: Duration,
    /// How long a connection may lie idle between requests; zero closes it after each answer.
    pub keep_alive: Duration,
    /// How long requests in flight may take once the service is told to stop.
    pub drain_timeout: Duration,
    /// Largest request body, in bytes.
    pub max_body_bytes: usize,
    /// Bytes of request bodies held at once, over all requests; more is `overloaded`.
    pub max_body_bytes_in_flight: usize,
    /// Open connections per worker.
    pub max_connections: usize,
    /// Addresses that may send `Client-Cert` (RFC 9440).
    pub trusted_proxies: Vec<IpNet>,
    /// Where Prometheus scrapes; `None`: nowhere.
    pub metrics_listen: Option<SocketAddr>,
    /// TLS of the API listener; `None`: plain HTTP.
    pub tls: Option<Tls>,
}

/// TLS of the API listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificate chain, PEM, leaf first. Belongs to the key.
    pub certificate: PublicFile,
    /// Private key, PEM.
    pub key: Secret,
    /// CAs that client certificates must chain to, PEM. Present unless `client_auth` is off.
    pub client_ca: Option<PublicFile>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Not asked for.
    Off,
    /// Asked for; a connection without one is fine.
    Optional,
    /// A handshake without one fails.
    Required,
}

const DOC: &str = "The HTTP listener.";
const TLS_DOC: &str = "TLS of the listener. Without this section the listener speaks plain HTTP, for use behind a \
    proxy that ends TLS or on loopback.";

pub(crate) fn section(root: &mut Section<'_>) -> Option<Server> {
    root.section("server", DOC, read)
}

fn read(s: &mut Section<'_>) -> Option<Server> {
    let seconds = Duration::from_secs;
    let listen = s.text(
        key(
            "listen",
            "127.0.0.1:8080",
            "Address and port of the API. Port 0 picks a free one.",
        ),
        net::socket_address,
    );
    let public_origin = s.text(
        key(
            "public_origin",
            "http://127.0.0.1:8080",
            "Scheme, host and port by which clients reach the API: what htu of a DPoP proof must name. Forwarding \
             headers are never consulted.",
        ),
        net::origin,
    );
    let workers = s.integer::<usize>(
        key("workers", 0, "Worker threads; 0 means one per core."),
        0..=256,
    );
    let request_timeout = s.duration(
        key(
            "request_timeout",
            "10s",
            "Time for a whole request; then 504 deadline_exceeded.",
        ),
        Duration::from_millis(100)..=seconds(300),
    );
    let body_timeout = s.duration(
        key(
            "body_timeout",
            "10s",
            "Time for receiving a body; then 408 request_timeout.",
        ),
        Duration::from_millis(100)..=seconds(300),
    );
    let head_timeout = s.duration(
        key(
            "head_timeout",
            "5s",
            "Time for a TLS handshake, and for the head of each request; then the connection is closed.",
        ),
        seconds(1)..=seconds(60),
    );
    let keep_alive = s.duration(
        key(
            "keep_alive",
            "15s",
            "How long a connection may lie idle between requests; 0s closes it after each answer. Let proxies give up \
             idle connections sooner than this.",
        ),
        seconds(0)..=seconds(600),
    );
    let drain_timeout = s.duration(
        key(
            "drain_timeout",
            "20s",
            "Time for requests in flight when the service stops.",
        ),
        seconds(0)..=seconds(600),
    );
    let max_body_bytes = s.integer(
        key(
            "max_body_bytes",
            115_343_360,
            "Largest request body in bytes; then 413 artifact_too_large.",
        ),
        1024..=1 << 30,
    );
    let max_body_bytes_in_flight = s.integer(
        key(
            "max_body_bytes_in_flight",
            536_870_912,
            "Bytes of bodies held at once over all requests; then 503 overloaded. Bounds the memory of the service. A tenant \
             may hold as much as is left free: alone half of it.",
        ),
        1024..=1 << 36,
    );
    let max_connections = s.integer(
        key(
            "max_connections",
            10_000,
            "Open connections per worker; more wait to be accepted.",
        ),
        1..=1_000_000,
    );
    let trusted_proxies = s.list(
        key(
            "trusted_proxies",
            Vec::<String>::new(),
            "Address ranges of proxies that end TLS and name the client's certificate in Client-Cert (RFC 9440). Whoever \
             connects from them is believed; from all others the field is ignored.",
        ),
        64,
        proxies::range,
    );
    let metrics_listen = s.optional(
        key(
            "metrics_listen",
            "127.0.0.1:9464",
            "Address and port of /metrics; empty means none.",
        ),
        net::socket_address,
    );
    let tls = s.optional_section("tls", TLS_DOC, read_tls);
    let server = Server {
        listen: listen?,
        public_origin: public_origin?,
        workers: workers.map(|count| (count > 0).then_some(count))?,
        request_timeout: request_timeout?,
        body_timeout: body_timeout?,
        head_timeout: head_timeout?,
        keep_alive: keep_alive?,
        drain_timeout: drain_timeout?,
        max_body_bytes: max_body_bytes?,
        max_body_bytes_in_flight: max_body_bytes_in_flight?,
        max_connections: max_connections?,
        trusted_proxies: trusted_proxies?,
        metrics_listen: metrics_listen?,
        tls: tls?,
    };
    check(s, &server);
    Some(server)
}

fn read_tls(s: &mut Section<'_>) -> Option<Tls> {
    let certificate = s.text(
        required(
            "certificate",
            "server.pem",
            "Certificate chain in PEM, leaf first.",
        ),
        files::public,
    );
    let key_doc = "Private key in PEM, by reference. Its file must be readable by the service's user alone.";
    let private = s.needed_secret(required("key", "file:server.key", key_doc), Use::PrivateKey);
    let client_ca = s.optional(
        key(
            "client_ca",
            "",
            "CAs in PEM that client certificates must chain to.",
        ),
        files::public,
    );
    let client_auth = s.choice(
        key(
            "client_auth",
            "off",
            "Whether clients show certificates: off, optional, required. Tokens bound to a certificate need it.",
        ),
        &[
            ("off", ClientAuth::Off),
            ("optional", ClientAuth::Optional),
            ("required", ClientAuth::Required),
        ],
    );
    check_pair(s, certificate.as_ref(), private.as_ref());
    let (client_ca, client_auth) = (client_ca?, client_auth?);
    match &client_ca {
        None if client_auth != ClientAuth::Off => {
            s.refuse(
                "client_ca",
                "is not set though client_auth asks for certificates",
                "name the CAs of your clients",
            );
        }
        Some(file) => {
            if let Err(problem) = pem::certificates(file) {
                s.refuse("client_ca", problem.problem, problem.remedy);
            }
        }
        None => {}
    }
    Some(Tls {
        certificate: certificate?,
        key: private?,
        client_ca,
        client_auth,
    })
}

/// The certificate must belong to the key.
fn check_pair(s: &mut Section<'_>, certificate: Option<&PublicFile>, private: Option<&Secret>) {
    let leaf = certificate.and_then(|file| match pem::certificates(file) {
        Ok(chain) => chain.into_iter().next(),
        Err(problem) => {
            s.refuse("certificate", problem.problem, problem.remedy);
            None
        }
    });
    let private = private.and_then(|secret| match pem::private_key(secret, None) {
        Ok(private) => Some(private),
        Err(problem) => {
            s.refuse("key", problem.problem, problem.remedy);
            None
        }
    });
    if let (Some(leaf), Some(private)) = (leaf, private)
        && !leaf.public_key().is_ok_and(|public| public.public_eq(&private))
    {
        let remedy = "give the certificate's own key, and the leaf first in the certificate file";
        s.refuse("key", "does not belong to the first certificate", remedy);
    }
}

fn check(s: &mut Section<'_>, server: &Server) {
    if server.tls.is_some() && server.public_origin.scheme() == "http" {
        s.refuse(
            "public_origin",
            "is http though the listener speaks TLS",
            "write the https origin that clients use",
        );
    }
    if server.tls.is_none() && !server.listen.ip().is_loopback() {
        let remedy = "add [server.tls], or make sure that only a proxy that ends TLS reaches this address";
        s.warn("listen", "plain HTTP on an address that is not loopback", remedy);
    }
    proxies::check(s, &server.trusted_proxies);
    if server.listen.port() != 0 && server.metrics_listen == Some(server.listen) {
        s.refuse(
            "metrics_listen",
            "is the address of the API",
            "choose another port",
        );
    }
    if server.max_body_bytes_in_flight / 2 < server.max_body_bytes {
        s.refuse(
            "max_body_bytes_in_flight",
            "is less than two largest bodies, and a tenant may hold half of it",
            "raise it, or lower max_body_bytes",
        );
    }
}
