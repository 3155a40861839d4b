//! `kind = "fulcio"`

use std::time::Duration;

use signer_actors::domain::ids::KeyId;
use url::Url;

use super::super::files::PublicFile;
use super::super::reader::{Section, key, required};
use super::super::secret::{Secret, Use};
use super::super::{net, parse, pem};
use super::key_id;

/// Ephemeral keys certified by Fulcio.
#[derive(Clone, Debug, PartialEq)]
pub struct Fulcio {
    /// Backend id.
    pub id: KeyId,
    /// Base address of Fulcio.
    pub url: Url,
    /// Roots of its certificates, PEM.
    pub roots: PublicFile,
    /// OIDC identity token of the service. A file is read again for each certificate: such tokens are rotated.
    pub identity_token: Secret,
    /// OIDC issuer that the leaf must carry.
    pub expect_issuer: String,
    /// Subject alternative name that the leaf must carry.
    pub expect_subject: String,
    /// How long one certificate is used; never into its last 60 s, whatever this says.
    pub certificate_reuse: Duration,
    /// Time for one certificate.
    pub timeout: Duration,
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
    let identity_token = s.needed_secret(
        required(
            "identity_token",
            "file:identity.jwt",
            "OIDC token of the service for audience sigstore, by reference. A file is read again for each certificate.",
        ),
        Use::Text,
    );
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
            "How long one certificate and its key are used; never into the last 60 s of the certificate. 0s: once.",
        ),
        Duration::ZERO..=Duration::from_secs(3600),
    );
    let timeout = s.duration(
        key("timeout", "5s", "Time for obtaining one certificate."),
        Duration::from_millis(100)..=Duration::from_secs(60),
    );
    Some(Fulcio {
        id: id?,
        url: url?,
        roots: roots?,
        identity_token: identity_token?,
        expect_issuer: expect_issuer?,
        expect_subject: expect_subject?,
        certificate_reuse: certificate_reuse?,
        timeout: timeout?,
    })
}
