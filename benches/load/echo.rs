//! A bare actix-web server that answers with the body it got: what HTTP alone costs, in a process of its own.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;

use actix_web::web::{self, Bytes, PayloadConfig};
use actix_web::{App, HttpResponse, HttpServer};
use openssl::error::ErrorStack;
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod};

use crate::args::Echo;

/// The largest body.
const MOST: usize = 32 * 1024 * 1024;

/// Runs until it is told to end.
pub(crate) fn serve(options: &Echo) -> ExitCode {
    match actix::System::new().block_on(run(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Echo) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let app = || {
        App::new()
            .app_data(PayloadConfig::new(MOST))
            .default_service(web::to(|body: Bytes| async { HttpResponse::Ok().body(body) }))
    };
    let mut server = HttpServer::new(app);
    if options.threads > 0 {
        server = server.workers(options.threads);
    }
    let server = match options.tls_files.as_slice() {
        [certificate, key] => server.listen_openssl(listener, acceptor(certificate, key)?)?,
        _ => server.listen(listener)?,
    };
    let running = server.run();
    writeln!(std::io::stdout(), "{{\"ready\":true,\"listen\":\"{address}\"}}")?;
    running.await
}

fn acceptor(certificate: &Path, key: &Path) -> Result<SslAcceptorBuilder, ErrorStack> {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    acceptor.set_certificate_chain_file(certificate)?;
    acceptor.set_private_key_file(key, SslFiletype::PEM)?;
    Ok(acceptor)
}
