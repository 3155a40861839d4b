//! `credentials.json` of `signer dev` (contract §9).

use std::io;
use std::path::{Path, PathBuf};

use super::neighbours::Neighbours;
use crate::client::{Client, ClientError, Credentials};

/// Name of the file.
pub const FILE: &str = "credentials.json";

/// Credentials for the service at this origin, with a fresh token from the embedded authority.
///
/// # Errors
/// The client's, when the authority does not answer.
pub async fn obtain(neighbours: &Neighbours, base_url: &str) -> Result<Credentials, ClientError> {
    let dpop_private_jwk = neighbours.dpop_key.private_jwk().map_err(ClientError::Usage)?;
    let mut client = Client::new(Credentials {
        base_url: base_url.to_owned(),
        token_endpoint: neighbours.authority.token_endpoint(),
        client_id: neighbours.client_id().to_owned(),
        client_secret: neighbours.authority.client_secret.clone(),
        access_token: String::new(),
        dpop_private_jwk,
        poe: neighbours.entitlement.poe.clone(),
        scanner_image_digest: neighbours.registry.scanner_digest.clone(),
        revoke_url: Some(neighbours.entitlement.revoke_url.clone()),
        trust_url: Some(format!("{base_url}/api/v1/signer/trust")),
    })?;
    client.ensure_token().await?;
    Ok(client.credentials().clone())
}

/// Writes the file into a folder, which is made if need be. Only its owner can read it, from the first byte on.
///
/// # Errors
/// The file system's.
pub fn write(directory: &Path, credentials: &Credentials) -> io::Result<PathBuf> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join(FILE);
    credentials.write(&path)?;
    Ok(path)
}
