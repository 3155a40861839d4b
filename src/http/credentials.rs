//! Credentials from the headers of a request; nothing else of it is looked at.

use actix_tls::accept::openssl::TlsStream;
use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use actix_web::rt::net::TcpStream;
use signer_actors::auth::AuthError;
use signer_actors::domain::caller::{Credentials, Scheme};
use signer_actors::domain::code::Code;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::pipeline::{Failure, Stage};

use super::client_cert::{self, CLIENT_CERT, Malformed, TrustedProxies};
use super::problem::Problem;
use super::state::AppState;
use crate::telemetry::metrics::{ClientCert, Metrics};

/// Longest token and longest proof, in bytes.
const MAX_JWT: usize = 8 * 1024;

/// The certificate that a TLS client has shown on this connection: SHA-256 of its DER. Set when the connection opens.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate(pub Sha256Digest);

/// The scheme that a caller tried, if it is one of ours and the only one: whose challenge tells what was wrong.
pub fn scheme_used(headers: &HeaderMap) -> Option<Scheme> {
    let mut fields = headers.get_all(AUTHORIZATION);
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    scheme(field.as_bytes().split(|b| *b == b' ').next()?)
}

/// Schemes have no case (RFC 9110 §11.1).
fn scheme(name: &[u8]) -> Option<Scheme> {
    match name {
        s if s.eq_ignore_ascii_case(b"DPoP") => Some(Scheme::Dpop),
        s if s.eq_ignore_ascii_case(b"Bearer") => Some(Scheme::Bearer),
        _ => None,
    }
}

/// Reads scheme, token, proof and client certificate.
///
/// # Errors
/// 400 if a proxy names the certificate in no way it may, 401 for all else.
pub fn credentials(request: &HttpRequest, state: &AppState) -> Result<Credentials, Problem> {
    let client_certificate = client_certificate(request, &state.proxies, &state.metrics)
        .map_err(|why| Problem::new(Code::InvalidRequest, Stage::Http, why.to_string()))?;
    let refused = |error| Failure::new(Stage::Authentication, error);
    let (scheme, token) = authorization(request.headers()).map_err(refused)?;
    Ok(Credentials {
        scheme,
        token,
        proof: proof(request.headers()).map_err(refused)?,
        client_certificate,
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
    })
}

/// The certificate of this connection (RFC 8705 §3). On a connection from a trusted proxy, the one that the proxy names
/// and never its own: without the field there is none, rather than the proxy's (RFC 9440 §2.4).
fn client_certificate(
    request: &HttpRequest,
    proxies: &TrustedProxies,
    metrics: &Metrics,
) -> Result<Option<Sha256Digest>, Malformed> {
    if !proxies.include(request.peer_addr()) {
        if request.headers().contains_key(&CLIENT_CERT) {
            metrics.client_cert(ClientCert::Ignored);
        }
        return Ok(request.conn_data::<ClientCertificate>().map(|seen| seen.0));
    }
    let named = client_cert::of_field(request.headers());
    match named {
        Ok(None) => {}
        Ok(Some(_)) => metrics.client_cert(ClientCert::Accepted),
        Err(_) => metrics.client_cert(ClientCert::Malformed),
    }
    named
}

/// One `Authorization` field (RFC 9110 §11.6.2) with the scheme `DPoP` (RFC 9449 §7.1) or `Bearer` (RFC 6750 §2.1).
fn authorization(headers: &HeaderMap) -> Result<(Scheme, String), AuthError> {
    let mut fields = headers.get_all(AUTHORIZATION);
    let Some(field) = fields.next() else {
        return Err(AuthError::Missing);
    };
    if fields.next().is_some() {
        return Err(AuthError::Token(
            "there are several Authorization fields: send one".into(),
        ));
    }
    let malformed = || {
        AuthError::Token("the Authorization field is not scheme, space and one JWT of at most 8 KiB".into())
    };
    let field = field.as_bytes();
    let space = memchr::memchr(b' ', field).ok_or_else(malformed)?;
    let (name, rest) = field.split_at(space);
    // Another scheme's credentials are none of ours.
    let scheme = scheme(name).ok_or(AuthError::Missing)?;
    let token = rest.iter().position(|b| *b != b' ').and_then(|at| rest.get(at..));
    let token = token.and_then(jwt_text).ok_or_else(malformed)?;
    Ok((scheme, token.to_owned()))
}

/// At most one `DPoP` field (RFC 9449 §4.3 step 1).
fn proof(headers: &HeaderMap) -> Result<Option<String>, AuthError> {
    let mut fields = headers.get_all(HeaderName::from_static("dpop"));
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    if fields.next().is_some() {
        return Err(AuthError::Proof(
            "there are several DPoP fields: send one proof".into(),
        ));
    }
    jwt_text(field.as_bytes())
        .map(|text| Some(text.to_owned()))
        .ok_or_else(|| AuthError::Proof("the DPoP field is not one JWT of at most 8 KiB".into()))
}

/// Base64url parts and dots, bounded (RFC 7515 §3.1).
fn jwt_text(bytes: &[u8]) -> Option<&str> {
    let bounded = (1..=MAX_JWT).contains(&bytes.len());
    // Without an early end, so that many bytes are looked at in one step.
    let is_jwt = |bytes: &[u8]| bytes.iter().fold(true, |all, b| all & is_jwt_byte(*b));
    let text = Some(bytes).filter(|bytes| bounded && is_jwt(bytes))?;
    std::str::from_utf8(text).ok()
}

fn is_jwt_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | matches!(byte, b'-' | b'_' | b'.')
}

/// For the server's `on_connect`: remembers the client certificate of a TLS connection (RFC 8705 §3).
pub fn remember_client_certificate(connection: &dyn std::any::Any, data: &mut Extensions) {
    let Some(tls) = connection.downcast_ref::<TlsStream<TcpStream>>() else {
        return;
    };
    if let Some(der) = tls.ssl().peer_certificate().and_then(|leaf| leaf.to_der().ok()) {
        data.insert(ClientCertificate(Sha256Digest::of(&der)));
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn one_authorization_field_of_a_known_scheme() {
        let read = |fields: &[&str]| {
            let mut request = TestRequest::default();
            for field in fields {
                request = request.append_header(("Authorization", *field));
            }
            authorization(request.to_http_request().headers())
        };
        assert_eq!(read(&["DPoP a.b.c"]), Ok((Scheme::Dpop, "a.b.c".into())));
        assert_eq!(read(&["dpop a.b.c"]), Ok((Scheme::Dpop, "a.b.c".into())));
        assert_eq!(read(&["BEARER a.b.c"]), Ok((Scheme::Bearer, "a.b.c".into())));
        assert_eq!(read(&[]), Err(AuthError::Missing));
        assert_eq!(read(&["Basic eDp5"]), Err(AuthError::Missing));
        for bad in [
            &["DPoP a.b.c", "DPoP a.b.c"][..],
            &["DPoP"],
            &["DPoP "],
            &["DPoP a b"],
            &["DPoP a.b.c,"],
        ] {
            assert!(matches!(read(bad), Err(AuthError::Token(_))), "{bad:?}");
        }
        assert!(matches!(
            read(&[&format!("DPoP {}", "a".repeat(MAX_JWT + 1))]),
            Err(AuthError::Token(_))
        ));
    }

    #[test]
    fn at_most_one_proof() {
        let read = |fields: &[&str]| {
            let mut request = TestRequest::default();
            for field in fields {
                request = request.append_header(("DPoP", *field));
            }
            proof(request.to_http_request().headers())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["a.b.c"]), Ok(Some("a.b.c".into())));
        for bad in [&["a.b.c", "a.b.c"][..], &["a.b.c, d.e.f"], &[""]] {
            assert!(matches!(read(bad), Err(AuthError::Proof(_))), "{bad:?}");
        }
    }
}
