//! Where a registry may want to send the service.

use super::super::Expect::Doubt;
use super::super::fake::Reply;
use super::super::{PrivateNetwork, World};
use super::Row;

pub(super) fn rows() -> Vec<Row> {
    vec![
        (
            "to the metadata address",
            |w| redirect(w, "http://169.254.169.254/latest"),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "to the metadata address, though trusted",
            |w| {
                w.settings.trusted_hosts = vec!["169.254.169.254".into()];
                redirect(w, "https://169.254.169.254/latest");
            },
            Doubt,
            "is not public",
        ),
        (
            "to another port of loopback",
            |w| redirect(w, &format!("http://127.0.0.1:{}/blob", w.trap.port)),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "to another port without a scheme",
            |w| redirect(w, &format!("//127.0.0.1:{}/blob", w.trap.port)),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "to another port with backslashes",
            |w| redirect(w, &format!("\\\\127.0.0.1:{}\\blob", w.trap.port)),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "to an address in one number",
            |w| redirect(w, &format!("http://2130706433:{}/blob", w.trap.port)),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "to an address in hexadecimal",
            |w| redirect(w, &format!("http://0x7f.1:{}/blob", w.trap.port)),
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "to an address mapped into IPv6, though trusted",
            |w| {
                let host = format!("[::ffff:7f00:1]:{}", w.trap.port);
                w.settings.trusted_hosts = vec![host.clone()];
                redirect(w, &format!("https://{host}/blob"));
            },
            Doubt,
            "is not public",
        ),
        (
            "to IPv6 loopback, though trusted",
            |w| {
                w.settings.trusted_hosts = vec![format!("[::1]:{}", w.trap.port)];
                redirect(w, &format!("https://[::1]:{}/blob", w.trap.port));
            },
            Doubt,
            "is not public",
        ),
        (
            "to a trusted name that resolves to loopback",
            |w| {
                w.settings.trusted_hosts = vec![format!("localhost:{}", w.trap.port)];
                redirect(w, &format!("https://localhost:{}/blob", w.trap.port));
            },
            Doubt,
            "has no public address",
        ),
        (
            "to a name that nobody trusts, in an allowed network",
            |w| {
                w.settings.private_networks = vec![PrivateNetwork::parse("127.0.0.0/8")];
                redirect(w, &format!("https://localhost:{}/blob", w.trap.port));
            },
            Doubt,
            "list it in extra_hosts",
        ),
        (
            "to a trusted host without TLS, which is not allowed",
            |w| {
                w.settings.trusted_hosts = vec![format!("localhost:{}", w.trap.port)];
                redirect(w, &format!("http://localhost:{}/blob", w.trap.port));
            },
            Doubt,
            "may not be asked over http",
        ),
        (
            "to itself, with credentials",
            |w| redirect(w, &format!("http://user:secret@{}/blob", w.host)),
            Doubt,
            "carries credentials",
        ),
        (
            "to another host, itself as the user",
            |w| redirect(w, &format!("http://{}@127.0.0.1:{}/blob", w.host, w.trap.port)),
            Doubt,
            "carries credentials",
        ),
        (
            "to a file",
            |w| redirect(w, "file:///etc/passwd"),
            Doubt,
            "a url without a host",
        ),
        (
            "to data",
            |w| redirect(w, "data:application/json,{}"),
            Doubt,
            "a url without a host",
        ),
        (
            "to a mail address",
            |w| redirect(w, "mailto:root@localhost"),
            Doubt,
            "a url without a host",
        ),
        (
            "to nowhere",
            |w| *w.reply(&w.blob.clone()) = Reply::status(307),
            Doubt,
            "redirected to nowhere",
        ),
        (
            "to itself",
            |w| redirect(w, &w.blob.clone()),
            Doubt,
            "answers 307 for a blob",
        ),
        (
            "to two places",
            |w| {
                let reply = Reply::status(307).with("Location", "/once");
                let content = w.routes[&w.blob].clone();
                w.routes.insert("/once".into(), content);
                *w.reply(&w.blob.clone()) = reply.with("Location", "/twice");
            },
            Doubt,
            "redirected to nowhere",
        ),
        (
            "to a place of nine thousand bytes",
            |w| redirect(w, &format!("/{}", "a".repeat(9000))),
            Doubt,
            "a url is longer than",
        ),
        (
            "twice",
            |w| {
                redirect(w, "/once");
                w.routes
                    .insert("/once".into(), Reply::status(307).with("Location", "/twice"));
            },
            Doubt,
            "answers 307 for a blob",
        ),
        (
            "by a status that is none",
            |w| {
                let content = w.routes[&w.blob].clone();
                w.routes.insert("/once".into(), content);
                *w.reply(&w.blob.clone()) = Reply::status(300).with("Location", "/once");
            },
            Doubt,
            "answers 300 for a blob",
        ),
        (
            "by way of a proxy",
            |w| {
                let location = format!("http://127.0.0.1:{}/", w.trap.port);
                *w.reply(&w.blob.clone()) = Reply::status(305).with("Location", &location);
            },
            Doubt,
            "answers 305 for a blob",
        ),
        (
            "with the content already there",
            |w| {
                let mut reply = w.routes[&w.blob].clone().with("Location", "/nowhere");
                reply.status = 302;
                *w.reply(&w.blob.clone()) = reply;
            },
            Doubt,
            "answers 404 for a blob",
        ),
        (
            "of a manifest",
            |w| {
                let found = w.routes[&w.carrier].clone();
                w.routes.insert("/elsewhere".into(), found);
                *w.reply(&w.carrier.clone()) = Reply::status(307).with("Location", "/elsewhere");
            },
            Doubt,
            "answers 307 for a listed manifest",
        ),
        (
            "of the image",
            |w| {
                let path = World::path(&format!("manifests/{}", w.digest));
                let found = w.routes[&path].clone();
                w.routes.insert("/elsewhere".into(), found);
                *w.reply(&path) = Reply::status(301).with("Location", "/elsewhere");
            },
            Doubt,
            "answers 301 for the manifest",
        ),
        (
            "to other bytes",
            |w| {
                redirect(w, "/once");
                w.routes.insert("/once".into(), Reply::ok("{}"));
            },
            Doubt,
            "not the size its descriptor says",
        ),
    ]
}

fn redirect(world: &mut World, location: &str) {
    let path = world.blob.clone();
    *world.reply(&path) = Reply::status(307).with("Location", location);
}
