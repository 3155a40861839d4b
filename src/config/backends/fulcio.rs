//! `kind = "fulcio"`

use std::time::Duration;

use signer_actors::domain::ids::KeyId;
use url::Url;

use super::super::error::Problem;
use super::super::files::{self, PublicFile};
use super::super::layers::Layers;
use super::super::reader::{Section, key, required};
use super::super::secret::{Secret, Use};
use super::super::{net, parse, pem};
use super::key_id;

/// No key is replaced earlier than this, so that nobody can make us hammer an authority (`signer_actors::signer`).
const LEAST_REUSE: Duration = Duration::from_secs(30);

/// Ephemeral keys certified by Fulcio.
#[derive(Clone, Debug, PartialEq)]
pub struct Fulcio {
    /// Backend id.
    pub id: KeyId,
    /// Base address of Fulcio.
    pub url: Url,
    /// Roots of its certificates, PEM.
    pub roots: PublicFile,
    /// Who the service is.
    pub identity: FulcioIdentity,
    /// Keys of certificate logs, PEM.
    pub ct_keys: Vec<PublicFile>,
    /// A certificate without a promise of one of these logs is refused.
    pub require_sct: bool,
    /// OIDC issuer that the leaf must carry.
    pub expect_issuer: String,
    /// Subject alternative name that the leaf must carry.
    pub expect_subject: String,
    /// How long one certificate is used; never into its last 60 s, whatever this says.
    pub certificate_reuse: Duration,
    /// Time for one certificate.
    pub timeout: Duration,
}

/// Where the OIDC identity token of the service comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum FulcioIdentity {
    /// The token. A file is read again for each certificate: such tokens are rotated.
    Token(Secret),
    /// A token endpoint that gives it.
    Endpoint(TokenEndpoint),
}

/// A token endpoint, with client credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenEndpoint {
    /// Its address.
    pub url: Url,
    /// Name of the service there.
    pub client_id: String,
    /// Its secret there.
    pub client_secret: Secret,
    /// Empty: none is asked for.
    pub scope: String,
    /// Empty: none is asked for.
    pub audience: String,
    /// Empty: none is asked for.
    pub resource: String,
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Fulcio> {
    let id = s.text(required("id", "keyless", "Id of the backend."), |text, _| {
        key_id(text)
    });
    let url = s.text(
        required("url", "https://fulcio.example", "Base address of Fulcio."),
        net::url,
    );
    let roots = s.text(
        required(
            "roots",
            "fulcio-root.pem",
            "Root and intermediate certificates of Fulcio in PEM.",
        ),
        pem::certificates_file,
    );
    let identity = read_identity(s);
    let expect_issuer = s.text(
        required(
            "expect_issuer",
            "https://authority.example",
            "OIDC issuer that the certificate must carry.",
        ),
        net::issuer,
    );
    let expect_subject = s.text(
        required(
            "expect_subject",
            "https://stellaops.example/signer",
            "Subject alternative name that the certificate must carry: the identity of this service.",
        ),
        |text, _| parse::visible(text, 1024),
    );
    let certificate_reuse = s.duration(
        key(
            "certificate_reuse",
            "5m",
            "How long one certificate and its key are used, 30s at least; never into the last 60 s of the certificate.",
        ),
        LEAST_REUSE..=Duration::from_secs(3600),
    );
    let ct_keys = s.list(
        key(
            "ct_keys",
            Vec::<String>::new(),
            "Keys of the certificate logs that Fulcio writes to, PEM: promises of a log (SCT) in or beside a certificate must \
             hold. Empty: they are not looked at.",
        ),
        8,
        log_key,
    );
    let require_sct = s.switch(key(
        "require_sct",
        false,
        "Refuse certificates without a promise of one of these logs.",
    ));
    let timeout = s.duration(
        key(
            "timeout",
            "5s",
            "Time for obtaining one certificate, tokens and further tries included.",
        ),
        Duration::from_millis(100)..=Duration::from_secs(60),
    );
    let (ct_keys, require_sct) = (ct_keys?, require_sct?);
    if require_sct && ct_keys.is_empty() {
        let remedy = "give the keys of the logs, or leave it false";
        s.refuse("require_sct", "is true and ct_keys is empty", remedy);
        return None;
    }
    Some(Fulcio {
        id: id?,
        url: url?,
        roots: roots?,
        identity: identity?,
        ct_keys,
        require_sct,
        expect_issuer: expect_issuer?,
        expect_subject: expect_subject?,
        certificate_reuse: certificate_reuse?,
        timeout: timeout?,
    })
}

fn read_identity(s: &mut Section<'_>) -> Option<FulcioIdentity> {
    let token_doc = "OIDC token of the service for audience sigstore, by reference. A file is read again for each \
        certificate. Empty: token_url gives it.";
    let token = s.secret(key("identity_token", "", token_doc), Use::Text);
    let url_doc = "Token endpoint that gives the OIDC token (client credentials, client_secret_basic), instead of \
        identity_token.";
    let url = s.optional(key("token_url", "", url_doc), net::url);
    let client_id = s.optional(
        key("token_client_id", "", "Client id of the service there."),
        |text, _| parse::visible(text, 1024),
    );
    let secret_doc = "Its client secret there, by reference. A file is read again for each token.";
    let client_secret = s.secret(key("token_client_secret", "", secret_doc), Use::Text);
    let mut parameter = |name, doc| {
        s.optional(key(name, "", doc), |text, _| words(text))
            .map(Option::unwrap_or_default)
    };
    let scope = parameter("token_scope", "scope to ask for there.");
    let audience = parameter(
        "token_audience",
        "audience to ask for there, where the server wants it so.",
    );
    let resource = parameter("token_resource", "resource to ask for there (RFC 8707).");
    match (token?, url?, client_id?, client_secret?) {
        (Some(token), None, None, None) => Some(FulcioIdentity::Token(token)),
        (None, Some(url), Some(client_id), Some(client_secret)) => {
            Some(FulcioIdentity::Endpoint(TokenEndpoint {
                url,
                client_id,
                client_secret,
                scope: scope?,
                audience: audience?,
                resource: resource?,
            }))
        }
        (Some(_), ..) => {
            s.refuse(
                "identity_token",
                "is set beside a token endpoint",
                "keep one of them",
            );
            None
        }
        (None, None, None, None) => {
            let remedy = "refer to the token with \"file:PATH\" or \"env:NAME\", or give token_url";
            s.refuse("identity_token", "is not set, nor is token_url", remedy);
            None
        }
        _ => {
            let remedy = "give token_url, token_client_id and token_client_secret";
            s.refuse("token_url", "is set in part", remedy);
            None
        }
    }
}

fn log_key(text: &str, layers: &Layers) -> Result<PublicFile, Problem> {
    let file = files::public(text, layers)?;
    pem::public_key(&file)?;
    Ok(file)
}

/// Visible ASCII with single blanks between.
fn words(text: &str) -> Result<String, Problem> {
    let good = text.len() <= 1024 && text.split(' ').all(|word| parse::visible(word, 1024).is_ok());
    good.then(|| text.to_owned()).ok_or_else(|| {
        let remedy = "use visible ASCII characters, with single spaces between words";
        Problem::new(format!("{text:?} is not acceptable here"), remedy)
    })
}
