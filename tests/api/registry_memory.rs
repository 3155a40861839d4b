//! What a hostile registry can make the service hold in memory: not much (contract §6).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openssl::sha::sha256;
use serde_json::{Value, json};

use crate::support::{Child, World};

const MIB: usize = 1 << 20;

/// The most memory that answers of registries may add, in KiB.
const ALLOWED: u64 = 64 * 1024;

/// How each image is answered, by the first digit of its digest.
const HEAVY: [&str; 10] = [
    "a listing without end",
    "referrers of 200 MiB",
    "pages without end, each as long as allowed",
    "referrers as long as allowed",
    "a listing byte by byte",
    "a listing of nothing but braces",
    "bundles of nothing but log entries",
    "a head without end",
    "payloads under the signature tag, each as long as allowed",
    "a token without end",
];

/// One document of 1 MiB in many variants: its last bytes are a number.
struct Documents {
    bundles: Vec<Vec<u8>>,
    manifests: Vec<Vec<u8>>,
    /// Heavy answers begun, by kind.
    begun: [AtomicUsize; HEAVY.len()],
}

impl Documents {
    fn new() -> Self {
        let bundles: Vec<Vec<u8>> = (0..64).map(|n| filled(bundle(), n)).collect();
        let manifest = |(n, blob): (usize, &Vec<u8>)| {
            let layer = descriptor("application/vnd.dev.sigstore.bundle.v0.3+json", blob);
            filled(image(&[layer]), n)
        };
        let manifests = bundles.iter().enumerate().map(manifest).collect();
        Self {
            bundles,
            manifests,
            begun: Default::default(),
        }
    }

    fn find(&self, digest: &str) -> Option<&[u8]> {
        let all = self.bundles.iter().chain(&self.manifests);
        all.map(Vec::as_slice).find(|bytes| digest_of(bytes) == digest)
    }
}

/// The text with spaces to 1 MiB, a different one for each number.
fn filled(text: String, number: usize) -> Vec<u8> {
    let mut bytes = vec![b' '; number];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(b'\n');
    bytes.resize(MIB, b' ');
    bytes
}

/// As many log entries as fit.
fn bundle() -> String {
    let entries = "0,".repeat(MIB / 2 - 500);
    format!(r#"{{"verificationMaterial":{{"tlogEntries":[{entries}0]}},"mediaType":"x"}}"#)
}

fn image(layers: &[Value]) -> String {
    json!({ "schemaVersion": 2, "config": descriptor("a/b", b"{}"), "layers": layers }).to_string()
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len() })
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha256(bytes)))
}

/// A thread for each connection: what it sends is of no end, so it must not wait for others.
fn start() -> (String, Arc<Documents>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let documents = Arc::new(Documents::new());
    let shared = Arc::clone(&documents);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let documents = Arc::clone(&shared);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                // The client hangs up when it has had enough.
                let _ = converse(&mut stream, &documents);
            });
        }
    });
    (host, documents)
}

fn converse(stream: &mut TcpStream, documents: &Documents) -> std::io::Result<()> {
    loop {
        let (mut head, mut byte) = (Vec::new(), [0; 1]);
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        respond(stream, method, target, documents)?;
    }
}

fn respond(stream: &mut TcpStream, method: &str, target: &str, documents: &Documents) -> std::io::Result<()> {
    let digit = |text: &str| {
        text.as_bytes()
            .first()
            .map_or(0, |byte| usize::from(byte - b'0') % HEAVY.len())
    };
    let last = target.rsplit('/').next().unwrap_or_default();
    let kind = |digit: usize| {
        documents.begun[digit].fetch_add(1, Ordering::SeqCst);
        HEAVY[digit]
    };
    if target == "/token?scope=repository%3Aheavy%3Apull" {
        kind(HEAVY.len() - 1);
        return endless(stream, b" ");
    }
    if method == "HEAD" {
        let image = last.trim_start_matches("sha256:");
        return match HEAVY[digit(image)] {
            "a token without end" => {
                let host = stream.local_addr()?;
                let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"");
                write!(stream, "HTTP/1.1 401 X\r\n{realm}\r\nContent-Length: 0\r\n\r\n")
            }
            _ => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        };
    }
    if let Some(image) = target.strip_prefix("/v2/heavy/referrers/sha256:") {
        return listing(stream, kind(digit(image)), image, documents);
    }
    if let Some(tag) = target.strip_prefix("/v2/heavy/manifests/sha256-") {
        let layers: Vec<Value> = documents
            .bundles
            .iter()
            .map(|bundle| descriptor("application/vnd.dev.cosign.simplesigning.v1+json", bundle))
            .collect();
        return match HEAVY[digit(tag)] {
            name if name.starts_with("payloads") => whole(stream, image(&layers).as_bytes()),
            _ => missing(stream),
        };
    }
    match documents.find(last) {
        Some(bytes) => whole(stream, bytes),
        // What was announced as 1 MiB has no end.
        None => endless(stream, b" "),
    }
}

fn listing(stream: &mut TcpStream, name: &str, image: &str, documents: &Documents) -> std::io::Result<()> {
    let index = |manifests: &[Value]| json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
    match name {
        "a listing without end" => endless(stream, b" "),
        "referrers of 200 MiB" => {
            let entry =
                |n: u32| json!({ "mediaType": "a/b", "digest": digest_of(&n.to_be_bytes()), "size": MIB });
            let entries: Vec<Value> = (0..64).map(entry).collect();
            whole(stream, index(&entries).as_bytes())
        }
        "pages without end, each as long as allowed" => {
            let mut page = index(&[]).into_bytes();
            page.resize(MIB, b' ');
            let number: u64 = image.rsplit('=').next().and_then(|n| n.parse().ok()).unwrap_or(0);
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nLink: <?n={}>; rel=\"next\"\r\nContent-Length: {MIB}\r\n\r\n",
                number + 1
            )?;
            stream.write_all(&page)
        }
        "a listing byte by byte" => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {MIB}\r\n\r\n")?;
            loop {
                stream.write_all(b" ")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        "a listing of nothing but braces" => {
            let entry = r#"{"mediaType":"","digest":"","size":0,"annotations":{}},"#;
            let mut page = format!("{{\"schemaVersion\":2,\"manifests\":[{}", entry.repeat(MIB / 56));
            page.truncate(MIB);
            whole(stream, page.as_bytes())
        }
        "a head without end" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nX: ")?;
            loop {
                stream.write_all(&[b'a'; 64 * 1024])?;
            }
        }
        "payloads under the signature tag, each as long as allowed" => whole(stream, index(&[]).as_bytes()),
        _ => {
            let entries: Vec<Value> = documents
                .manifests
                .iter()
                .map(|bytes| descriptor("a/b", bytes))
                .collect();
            whole(stream, index(&entries).as_bytes())
        }
    }
}

fn whole(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        bytes.len()
    )?;
    stream.write_all(bytes)
}

fn missing(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
}

/// In chunks of 64 KiB.
fn endless(stream: &mut TcpStream, filling: &[u8]) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let chunk = [b"10000\r\n".as_slice(), &filling.repeat(0x10000), b"\r\n"].concat();
    loop {
        stream.write_all(&chunk)?;
    }
}

/// A line of `/proc/<pid>/status`, in KiB.
fn memory(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

/// `digit` begins it.
fn image_digest(digit: usize, number: usize) -> String {
    let mut hash = hex::encode(sha256(format!("{digit} {number}").as_bytes()));
    hash.replace_range(0..1, &digit.to_string());
    format!("digest=sha256:{hash}")
}

#[actix::test]
async fn a_hostile_registry_takes_little_memory_and_nothing_else() {
    let (host, documents) = start();
    let world = World::new(&format!(
        "release.repositories = [\"{host}/heavy\"]\nrelease.plain_http = [\"{host}\"]\nrelease.timeout = \"3s\"\n\
         release.verify_qps = 1000\nrelease.verify_burst = 1000\nrelease.lookup_burst = 1000\nlog.level = \"error\""
    ))
    .await;
    let child = Child::serve(&world, "memory");
    // Buffers that stay, once anything was asked.
    let warm = world
        .referrers(&image_digest(5, 1000))
        .try_send(&child.base)
        .await
        .unwrap();
    warm.refused(502, "registry_error", "release");
    let idle = memory(child.pid(), "VmRSS:");
    std::fs::write(format!("/proc/{}/clear_refs", child.pid()), "5").unwrap();
    let begun = Instant::now();
    // More at once than are looked up at once, each kind several times.
    let mut asked = FuturesUnordered::new();
    for number in 0..6 {
        for (digit, kind) in HEAVY.iter().enumerate() {
            let call = world.referrers(&image_digest(digit, number));
            let base = child.base.clone();
            asked.push(async move { (*kind, call.try_send(&base).await.unwrap()) });
        }
    }
    while let Some((kind, answer)) = asked.next().await {
        match answer.status {
            200 => assert!(answer.ok()["verdict"] != "trusted", "{kind}"),
            502..=504 => {}
            other => panic!("{kind}: {other} {}", answer.text()),
        }
    }
    let took = begun.elapsed();
    let peak = memory(child.pid(), "VmHWM:");
    let more = peak.saturating_sub(idle);
    for (kind, begun) in HEAVY.iter().zip(&documents.begun) {
        let begun = begun.load(Ordering::SeqCst);
        println!("{begun:>4} times {kind}");
        assert!(begun > 0, "{kind}: nobody came for it");
    }
    println!("idle {idle} KiB, peak {peak} KiB, {more} KiB more, in {took:?}");
    assert!(more < ALLOWED, "idle {idle} KiB, peak {peak} KiB");
    // It still answers, and owes nobody an answer.
    let again = world
        .referrers(&image_digest(5, 2000))
        .try_send(&child.base)
        .await
        .unwrap();
    again.refused(502, "registry_error", "release");
}
