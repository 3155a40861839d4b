//! The configuration of `signer dev`: the same keys as an operator writes, for the same service.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use openssl::pkey::PKey;

use super::Mode;
use crate::client::files;
use crate::crypto::generate_p256;
use crate::dev::Neighbours;

/// Id of the key of mode `kms`.
pub const KEY_ID: &str = "dev-2026";
/// File of that key, in the state folder.
const KEY_FILE: &str = "dev-2026.pem";
/// File of the key that signs checkpoints of the audit trail, in the state folder.
const CHECKPOINT_KEY_FILE: &str = "audit.key";
/// File of the configuration, in the state folder.
pub const CONFIG_FILE: &str = "signer.toml";

/// Writes a signing key and the configuration into the neighbours' folder. Answers the configuration's path.
///
/// # Errors
/// OpenSSL's and the file system's.
pub fn write(neighbours: &Neighbours, listen: SocketAddr, mode: Mode) -> io::Result<std::path::PathBuf> {
    let directory = neighbours.directory();
    let key = generate_p256()?;
    files::write_private(&directory.join(KEY_FILE), &key.private_key_to_pem_pkcs8()?)?;
    let checkpoints = PKey::generate_ed25519()?.private_key_to_pem_pkcs8()?;
    files::write_private(&directory.join(CHECKPOINT_KEY_FILE), &checkpoints)?;
    let path = directory.join(CONFIG_FILE);
    files::write_public(
        &path,
        dev_config_toml(neighbours, directory, listen, mode).as_bytes(),
    )?;
    Ok(path)
}

/// The configuration as TOML (contract §9).
pub fn dev_config_toml(neighbours: &Neighbours, directory: &Path, listen: SocketAddr, mode: Mode) -> String {
    let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let path = |value: &Path| text(&value.display().to_string());
    let secret = |value: &Path| text(&format!("file:{}", value.display()));
    let in_folder = |name: &str| directory.join(name);
    let (issuer, subject) = neighbours.signer_identity();
    let registry = neighbours.registry.running.addr.to_string();
    format!(
        r#"# Made by `signer dev`. Everything here is for this run alone.
[server]
listen = {listen}
public_origin = {origin}
metrics_listen = "127.0.0.1:0"

[auth]
issuer = {issuer}

# Right after a start, proofs need a nonce where nonces are on; so that the printed curl line works at once, they are not.
[auth.dpop]
nonce = "off"

[entitlement]
issuer = {licensing}
jwks_uri = {licensing_jwks}
introspection_url = {introspection}
credential = {credential}

# Short, so that a revoked licence is noticed while one looks on.
positive_ttl = "1s"

[state]
directory = {state}

[release]
repositories = [{repository}]
binding = "required"
keys = [{release_key}]
plain_http = [{registry}]
private_networks = ["127.0.0.0/8"]

[signing]
default_mode = {mode}
default_key = {key_id}

[[signing.backends]]
kind = "fulcio"
id = "keyless"
url = {fulcio}
roots = {roots}
identity_token = {identity}
expect_issuer = {issuer}
expect_subject = {subject}

[[signing.backends]]
kind = "file"
id = {key_id}
key = {key}
algorithm = "ecdsa-p256-sha256"
deterministic = true

[timestamp]
url = {timestamps}
chain = {timestamp_chain}

[audit]
directory = {audit}
origin = "signer.local/dev"
checkpoint_key = {checkpoint_key}

[log]
level = "warn"
format = "pretty"
"#,
        listen = text(&listen.to_string()),
        origin = text(&format!("http://{listen}")),
        issuer = text(issuer),
        licensing = text(&neighbours.licensing.running.base_url),
        licensing_jwks = text(&neighbours.licensing.jwks_uri()),
        introspection = text(&neighbours.licensing.introspection_url()),
        credential = secret(&neighbours.files.licensing_credential),
        state = path(&in_folder("state")),
        repository = text(&neighbours.registry.repository),
        release_key = path(&neighbours.files.release_key),
        registry = text(&registry),
        mode = text(mode.as_str()),
        key_id = text(KEY_ID),
        fulcio = text(&neighbours.fulcio.running.base_url),
        roots = path(&neighbours.files.fulcio_roots),
        identity = secret(&neighbours.files.identity_token),
        subject = text(subject),
        key = secret(&in_folder(KEY_FILE)),
        timestamps = text(&neighbours.timestamps.running.base_url),
        timestamp_chain = path(&neighbours.files.timestamp_chain),
        audit = path(&in_folder("audit")),
        checkpoint_key = secret(&in_folder(CHECKPOINT_KEY_FILE)),
    )
}
