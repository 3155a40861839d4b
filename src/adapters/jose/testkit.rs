//! For tests of the adapters: keys, an issuer that signs whatever it is asked to, and a tiny HTTP server that lies.

use std::time::Duration;

use chrono::{DateTime, Utc};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;

use super::jwks::KeySet;
use super::mint;

/// The time of the tests, in seconds since 1970: the `iat` of the example proof in RFC 9449 §4.2.
pub(crate) const NOW: i64 = 1_562_262_616;

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

pub(crate) fn p256() -> PKey<Private> {
    ec(Nid::X9_62_PRIME256V1)
}

pub(crate) fn ec(nid: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(nid).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

pub(crate) fn rsa() -> PKey<Private> {
    rsa_of(2048)
}

pub(crate) fn rsa_of(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

pub(crate) fn one_key_of_each_kind() -> [PKey<Private>; 4] {
    [
        p256(),
        ec(Nid::SECP384R1),
        PKey::generate_ed25519().unwrap(),
        rsa(),
    ]
}

pub(crate) fn jwk_with_kid(key: &PKey<Private>, kid: &str) -> Value {
    let mut jwk = mint::jwk_of(key).unwrap();
    jwk["kid"] = json!(kid);
    jwk
}

/// An issuer with one key, `k1`.
pub(crate) struct Issuer {
    pub(crate) key: PKey<Private>,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        Self::with_key(p256())
    }

    pub(crate) fn with_key(key: PKey<Private>) -> Self {
        Self { key }
    }

    pub(crate) fn jwks(&self) -> Value {
        json!({ "keys": [jwk_with_kid(&self.key, "k1")] })
    }

    pub(crate) fn key_set(&self) -> KeySet {
        KeySet::parse(self.jwks().to_string().as_bytes()).unwrap()
    }

    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> String {
        mint::sign_compact(&json!({ "typ": typ, "kid": "k1" }), claims, &self.key).unwrap()
    }
}

/// What the server does with a connection, by the path that was asked for.
#[derive(Clone)]
pub(crate) enum Reply {
    /// These bytes, then the connection ends.
    Raw(Vec<u8>),
    /// Nothing, and the connection stays open.
    Silence,
    /// A good head and the start of a body that never goes on.
    Stall,
    /// A body without length that does not end.
    Endless,
}

impl Reply {
    pub(crate) fn json(status: &str, body: &Value) -> Self {
        Self::with_type(status, "application/json", body.to_string().as_bytes())
    }

    pub(crate) fn with_type(status: &str, content_type: &str, body: &[u8]) -> Self {
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        Self::Raw([head.as_bytes(), body].concat())
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::Raw(
            format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .into(),
        )
    }
}

/// A server on loopback; requests as received arrive on `requests`.
pub(crate) struct Server {
    pub(crate) url: Url,
    pub(crate) requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// Serves until the test's runtime ends. The reply may depend on request and own URL.
    pub(crate) async fn start(reply: impl Fn(&str, &Url) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let own = url.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read_request(&mut stream).await;
                let reply = reply(&request, &own);
                let _ = sender.send(request);
                match reply {
                    Reply::Raw(bytes) => drop(stream.write_all(&bytes).await),
                    Reply::Silence => open.push(stream),
                    Reply::Stall => {
                        let head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"";
                        drop(stream.write_all(head).await);
                        open.push(stream);
                    }
                    Reply::Endless => {
                        let head =
                            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
                        drop(stream.write_all(head).await);
                        while stream.write_all(&[b' '; 4096]).await.is_ok() {}
                    }
                }
            }
        });
        Self { url, requests }
    }

    pub(crate) fn at(&self, path: &str) -> Url {
        self.url.join(path).unwrap()
    }
}

/// The URL of a port on which nothing listens.
pub(crate) async fn nowhere() -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
}

/// A self-signed certificate for a name, as PEM, with its key.
pub(crate) fn certificate(name: &str) -> (Vec<u8>, PKey<Private>) {
    let key = p256();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(&subject).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(1).unwrap())
        .unwrap();
    let context = builder.x509v3_context(None, None);
    let names = SubjectAlternativeName::new().dns(name).build(&context).unwrap();
    builder.append_extension(names).unwrap();
    builder
        .append_extension(BasicConstraints::new().critical().ca().build().unwrap())
        .unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    (builder.build().to_pem().unwrap(), key)
}

/// An HTTPS server on loopback that answers `{}`, for as long as the process lives; gives its certificate and port.
pub(crate) fn tls_server((pem, key): (Vec<u8>, PKey<Private>)) -> (Vec<u8>, u16) {
    use std::io::{Read, Write};
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&X509::from_pem(&pem).unwrap()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    let acceptor = acceptor.build();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Ok(mut stream) = acceptor.accept(stream) {
                let _ = stream.read(&mut [0; 4096]);
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}");
                let _ = stream.shutdown();
            }
        }
    });
    (pem, port)
}

/// Short, so that tests of silence are quick.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(300);

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
        request.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length:")
                    .map(|v| v.trim().to_owned())
            })
            .map_or(0, |v| v.parse().unwrap());
        if body.len() >= length {
            break;
        }
    }
    String::from_utf8(request).unwrap()
}
