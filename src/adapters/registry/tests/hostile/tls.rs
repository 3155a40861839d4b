//! What may be wrong with the registry's own certificate.

use openssl::x509::X509;

use super::super::Expect::{Doubt, Timeout};
use super::super::forge::{self, Host};
use super::super::{PrivateNetwork, World};
use super::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "expired",
            |w| {
                serve(
                    w,
                    &Host {
                        days: (-2, -1),
                        ..Host::default()
                    },
                )
            },
            Doubt,
            "certificate verify failed",
        ),
        (
            "not yet valid",
            |w| {
                serve(
                    w,
                    &Host {
                        days: (1, 2),
                        ..Host::default()
                    },
                )
            },
            Doubt,
            "certificate verify failed",
        ),
        (
            "of another address",
            |w| {
                serve(
                    w,
                    &Host {
                        address: Some("127.0.0.2"),
                        ..Host::default()
                    },
                )
            },
            Doubt,
            "certificate verify failed",
        ),
        (
            "of a name, asked by address",
            |w| {
                serve(
                    w,
                    &Host {
                        address: None,
                        ..Host::default()
                    },
                )
            },
            Doubt,
            "certificate verify failed",
        ),
        (
            "of an unknown authority",
            |w| {
                serve(w, &Host::default());
                let (other, _) = forge::host(&Host::default());
                trust(w, &other);
            },
            Doubt,
            "certificate verify failed",
        ),
        (
            "of an authority that is not configured",
            |w| {
                serve(w, &Host::default());
                w.settings.tls_roots = None;
            },
            Doubt,
            "certificate verify failed",
        ),
        (
            "none at all",
            |w| {
                serve(w, &Host::default());
                w.tls = None;
                // The server takes the handshake for the beginning of a request.
                w.settings.call_timeout = std::time::Duration::from_millis(300);
            },
            Timeout,
            "",
        ),
        (
            "in order, and a redirect that does without",
            |w| {
                serve(w, &Host::default());
                let (plain, path) = (w.host.clone(), w.blob.clone());
                w.settings.trusted_hosts = vec![format!("localhost:{}", w.trap.port)];
                w.settings.plain_http = w.settings.trusted_hosts.clone();
                let location = format!("http://localhost:{}/{plain}", w.trap.port);
                *w.reply(&path) = super::super::Reply::status(307).with("Location", &location);
            },
            Doubt,
            "named without tls",
        ),
        (
            "in order, and a realm that does without",
            |w| {
                serve(w, &Host::default());
                w.settings.trusted_hosts = vec![format!("localhost:{}", w.trap.port)];
                w.settings.plain_http = w.settings.trusted_hosts.clone();
                let path = World::path(&format!("manifests/{}", w.digest));
                let value = format!("Bearer realm=\"http://localhost:{}/token\"", w.trap.port);
                *w.reply(&path) = super::super::Reply::status(401).with("WWW-Authenticate", &value);
            },
            Doubt,
            "named without tls",
        ),
        (
            "in order, and a private address that nobody allowed for the realm",
            |w| {
                serve(w, &Host::default());
                w.settings.private_networks = vec![PrivateNetwork::Host(w.host.clone())];
                w.settings.trusted_hosts = vec![format!("localhost:{}", w.trap.port)];
                let path = World::path(&format!("manifests/{}", w.digest));
                let value = format!("Bearer realm=\"https://localhost:{}/token\"", w.trap.port);
                *w.reply(&path) = super::super::Reply::status(401).with("WWW-Authenticate", &value);
            },
            Doubt,
            "has no public address",
        ),
    ]
}

/// The registry is asked with TLS, and answers with this certificate, which is trusted.
pub(super) fn serve(world: &mut World, host: &Host) {
    let (certificate, acceptor) = forge::host(host);
    world.tls = Some(acceptor);
    world.settings.plain_http.clear();
    world.settings.private_networks = vec![PrivateNetwork::parse("127.0.0.0/8")];
    trust(world, &certificate);
}

fn trust(world: &mut World, certificate: &X509) {
    world.settings.tls_roots = Some(certificate.to_pem().unwrap());
}
