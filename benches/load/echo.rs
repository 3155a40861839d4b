//! A bare actix-web server that answers with the body it got: what HTTP alone costs, in a process of its own.

use std::io::Write;
use std::net::TcpListener;
use std::process::ExitCode;

use actix_web::web::{self, Bytes, PayloadConfig};
use actix_web::{App, HttpResponse, HttpServer};

use crate::args::Echo;

/// The largest body.
const MOST: usize = 32 * 1024 * 1024;

/// Runs until it is told to end.
pub(crate) fn serve(options: &Echo) -> ExitCode {
    match actix::System::new().block_on(run(options.threads)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(threads: usize) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let app = || {
        App::new()
            .app_data(PayloadConfig::new(MOST))
            .default_service(web::to(|body: Bytes| async { HttpResponse::Ok().body(body) }))
    };
    let mut server = HttpServer::new(app);
    if threads > 0 {
        server = server.workers(threads);
    }
    let running = server.listen(listener)?.run();
    writeln!(std::io::stdout(), "{{\"ready\":true,\"listen\":\"{address}\"}}")?;
    running.await
}
