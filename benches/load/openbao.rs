//! OpenBao's transit engine as others use it: over HTTP, with its own audit device, signing a digest with P-256.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::payload::Template;
use crate::server::Server;
use crate::wire::Wire;

const TOKEN: &str = "bench-root";
/// To answer in.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts it with everything in memory but the audit log, and makes a key.
pub(crate) fn start(program: &Path, folder: &Path) -> Fallible<Server> {
    let program = fs::canonicalize(program)?;
    let config = folder.join("openbao.hcl");
    let log = folder.join("openbao-audit.log");
    let device = format!("audit \"file\" \"file\" {{ options = {{ file_path = {log:?} }} }}\n");
    fs::write(&config, device)?;
    // It takes no port 0: one that was just free is as good as any.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(program);
    command.args(["server", "-dev", "-dev-no-store-token"]);
    command.arg(format!("-dev-root-token-id={TOKEN}"));
    command.arg(format!("-dev-listen-address={address}"));
    command.arg(format!("-config={}", config.display()));
    let server = Server::spawn(command, folder, "openbao", &[], |said| {
        said.contains("Development mode should NOT be used")
            .then_some(address)
    })?;
    prepare(&server, address)?;
    Ok(server)
}

fn prepare(server: &Server, address: SocketAddr) -> Fallible<()> {
    let begun = Instant::now();
    let mount = request(address, "sys/mounts/transit", r#"{"type":"transit"}"#);
    while send(server, &mount).is_none_or(|status| status >= 300) {
        if begun.elapsed() > PATIENCE {
            return Err("OpenBao does not mount its transit engine".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let key = request(address, "transit/keys/bench", r#"{"type":"ecdsa-p256"}"#);
    match (send(server, &key), send(server, &sign(address))) {
        (Some(200..300), Some(200)) => Ok(()),
        answers => Err(format!("OpenBao does not sign: {answers:?}").into()),
    }
}

fn send(server: &Server, request: &Template) -> Option<u16> {
    let answer = Wire::open(&server.target).and_then(|mut wire| wire.exchange(request, None));
    Some(answer.ok()?.status)
}

/// One signature over a SHA-256 digest; the statement itself stays with who asks, as with a KMS.
pub(crate) fn sign(address: SocketAddr) -> Template {
    let body = r#"{"input":"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=","prehashed":true,"marshaling_algorithm":"asn1"}"#;
    request(address, "transit/sign/bench/sha2-256", body)
}

fn request(address: SocketAddr, path: &str, body: &str) -> Template {
    let head = format!(
        "POST /v1/{path} HTTP/1.1\r\nhost: {address}\r\nx-vault-token: {TOKEN}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n",
        body.len()
    );
    Template {
        head: head.into_bytes(),
        body: body.as_bytes().to_vec(),
    }
}
