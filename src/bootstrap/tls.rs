//! TLS of the service's own listener, by OpenSSL.

use openssl::pkey::PKey;
use openssl::ssl::{AlpnError, SslAcceptor, SslMethod, SslOptions, SslVerifyMode, select_next_proto};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;

use crate::config::{ClientAuth, Tls};

/// HTTP/1.1 in a list of protocols (RFC 7301 §3.1, §6).
const HTTP_1_1: &[u8] = b"\x08http/1.1";

/// An acceptor with Mozilla's intermediate settings (TLS 1.2 and 1.3), and client certificates as configured. The server
/// offers HTTP/1.1 alone: HTTP/2's streams and header lists would need bounds that actix-web has no setting for.
pub(super) fn acceptor(tls: &Tls) -> Result<SslAcceptor, String> {
    build(tls).map_err(|error| format!("certificate or key cannot be used: {error}"))
}

fn build(tls: &Tls) -> Result<SslAcceptor, openssl::error::ErrorStack> {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    let mut chain = X509::stack_from_pem(&tls.certificate.bytes)?.into_iter();
    if let Some(leaf) = chain.next() {
        acceptor.set_certificate(&leaf)?;
    }
    for certificate in chain {
        acceptor.add_extra_chain_cert(certificate)?;
    }
    acceptor.set_private_key(&*PKey::private_key_from_pem(tls.key.expose())?)?;
    acceptor.check_private_key()?;
    let mode = match tls.client_auth {
        ClientAuth::Off => SslVerifyMode::NONE,
        ClientAuth::Optional => SslVerifyMode::PEER,
        ClientAuth::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
    };
    if let Some(authorities) = &tls.client_ca {
        let mut store = X509StoreBuilder::new()?;
        for authority in X509::stack_from_pem(&authorities.bytes)? {
            acceptor.add_client_ca(&authority)?;
            store.add_cert(authority)?;
        }
        acceptor.set_verify_cert_store(store.build())?;
    }
    acceptor.set_verify(mode);
    // Resumption needs a context id when client certificates are asked for; the certificate of the first handshake
    // comes back with the session.
    acceptor.set_session_id_context(b"stellaops-signer")?;
    // The client certificate is read once for each connection: nobody shows another one later.
    acceptor.set_options(SslOptions::NO_RENEGOTIATION);
    // A client of another protocol is told so rather than answered (RFC 7301 §3.2).
    acceptor.set_alpn_select_callback(|_, offered| {
        select_next_proto(HTTP_1_1, offered).ok_or(AlpnError::ALERT_FATAL)
    });
    Ok(acceptor.build())
}
