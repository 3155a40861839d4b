//! `signer proof`: prints one DPoP proof, or the access token, for use with curl.

use std::io::Write;
use std::path::PathBuf;

use super::say;
use crate::client::key::ProofOf;
use crate::client::{Client, ClientError, Credentials, files};

/// The largest body that is hashed, in bytes.
const MAX_BODY: u64 = 1 << 30;

/// Arguments of `signer proof`.
#[derive(Clone, Debug, clap::Args)]
pub struct ProofArgs {
    /// Credentials file, as `signer dev` writes it
    #[arg(
        long,
        value_name = "FILE",
        env = "SIGNER_CREDENTIALS",
        default_value = "signer-dev/credentials.json"
    )]
    pub credentials: PathBuf,
    /// HTTP method of the request
    #[arg(long, default_value = "POST")]
    pub method: String,
    /// URL of the request
    #[arg(long, required_unless_present = "token")]
    pub url: Option<String>,
    /// File with the body of the request, to bind the proof to it
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// Nonce that the service asked for
    #[arg(long)]
    pub nonce: Option<String>,
    /// Print the access token instead of a proof; renews it if it is about to expire
    #[arg(long, conflicts_with_all = ["url", "body", "nonce"])]
    pub token: bool,
}

/// Runs the command. Answers the exit code.
pub async fn run(args: &ProofArgs, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    match print(args).await {
        Ok(line) => {
            say(out, &line);
            0
        }
        Err(error) => {
            say(err, &format!("error: {error}"));
            error.exit_code()
        }
    }
}

async fn print(args: &ProofArgs) -> Result<String, ClientError> {
    let mut client = Client::new(Credentials::read(&args.credentials)?)?;
    if client.ensure_token().await? {
        // Kept, because the proof and the token of one request come from two runs of this command.
        client.credentials().write(&args.credentials).map_err(|error| {
            let shown = args.credentials.display();
            ClientError::Usage(format!(
                "{shown} cannot be written with the renewed token: {error}"
            ))
        })?;
    }
    let token = client.credentials().access_token.clone();
    let Some(url) = args.url.as_deref().filter(|_| !args.token) else {
        return Ok(token);
    };
    let body = match &args.body {
        None => None,
        Some(path) => {
            let unreadable =
                |error| ClientError::Usage(format!("{} cannot be read: {error}", path.display()));
            Some(files::read_bounded(path, MAX_BODY).map_err(unreadable)?)
        }
    };
    let of = ProofOf {
        method: &args.method,
        url,
        token: Some(&token),
        body: body.as_deref(),
        nonce: args.nonce.as_deref(),
    };
    client.key().proof(of).map_err(ClientError::Usage)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::adapters::jose::from_b64url;
    use crate::dev::{Options, credentials, neighbours};

    async fn lines(args: &ProofArgs) -> (u8, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(args, &mut out, &mut err).await;
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[actix::test]
    async fn token_and_proof_belong_together_even_when_the_token_had_to_be_renewed() {
        let neighbours = neighbours(Options::default()).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut written = credentials::obtain(&neighbours, "http://127.0.0.1:8080")
            .await
            .unwrap();
        written.access_token = String::new();
        let path = credentials::write(directory.path(), &written).unwrap();
        let mut args = ProofArgs {
            credentials: path,
            method: "GET".to_owned(),
            url: None,
            body: None,
            nonce: None,
            token: true,
        };
        let (code, token, _) = lines(&args).await;
        assert_eq!(code, 0);
        args.token = false;
        args.url = Some("http://127.0.0.1:8080/x?y=1".to_owned());
        let (code, proof, _) = lines(&args).await;
        assert_eq!(code, 0);
        let claims = from_b64url(proof.trim().split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["htm"], "GET");
        assert_eq!(claims["htu"], "http://127.0.0.1:8080/x");
        let digest = openssl::sha::sha256(token.trim().as_bytes());
        assert_eq!(from_b64url(claims["ath"].as_str().unwrap()).unwrap(), digest);
    }

    #[actix::test]
    async fn says_what_is_missing() {
        let args = ProofArgs {
            credentials: "/nowhere/credentials.json".into(),
            method: "GET".to_owned(),
            url: None,
            body: None,
            nonce: None,
            token: true,
        };
        let (code, out, err) = lines(&args).await;
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(
            err.starts_with("error: /nowhere/credentials.json cannot be read"),
            "{err}"
        );
    }
}
