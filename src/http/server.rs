//! Listeners: the service's own, plain or TLS, and the one for operators.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
#[cfg(target_os = "linux")]
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use openssl::ssl::SslAcceptorBuilder;
use socket2::{Domain, Protocol, Socket, Type};

use super::around::around;
use super::credentials::remember_client_certificate;
use super::routes;
use super::state::AppState;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long an answer may lie unread by its caller.
#[cfg(target_os = "linux")]
const STALLED: Duration = Duration::from_secs(30);

/// How the service listens.
pub struct Listening {
    /// The service's own listener.
    pub api: TcpListener,
    /// TLS; plain HTTP without.
    pub tls: Option<SslAcceptorBuilder>,
    /// Worker threads of the service's own listener.
    pub workers: usize,
    /// Connections per worker.
    pub max_connections: usize,
    /// Verified tokens that each worker remembers; `None`: none.
    pub remembered_tokens: Option<NonZeroUsize>,
    /// The listener for operators.
    pub operations: Option<TcpListener>,
    /// How long a graceful stop may take, in seconds.
    pub shutdown_seconds: u64,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening")
            .field("api", &self.api)
            .field("operations", &self.operations)
            .finish_non_exhaustive()
    }
}

/// Binds a listener. `TCP_NODELAY` is set here because accepted connections inherit it: set after the handshake it
/// would be too late for the first answer.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    // Inherited like the option above: a caller that reads nothing of its answer is hung up on (RFC 5482).
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(STALLED))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Starts both servers. They run on arbiters of their own until stopped through their handles; signals are ours to
/// handle, because actix's own handling stops the system before actors could drain.
pub fn start(state: AppState, listening: Listening) -> io::Result<Vec<Running>> {
    let Listening {
        api,
        tls,
        workers,
        max_connections,
        remembered_tokens,
        operations,
        shutdown_seconds,
    } = listening;
    let for_operations = state.clone();
    let api_server = HttpServer::new(move || {
        // Called once on each worker's own thread.
        App::new()
            .app_data(Data::new(state.on_worker(remembered_tokens)))
            .wrap(from_fn(around))
            .configure(routes::api)
    })
    .on_connect(remember_client_certificate)
    .workers(workers)
    .max_connections(max_connections)
    .shutdown_timeout(shutdown_seconds)
    .disable_signals();
    let api_server = match tls {
        Some(tls) => api_server.listen_openssl(api, tls)?,
        None => api_server.listen(api)?,
    };
    let mut running = vec![Running::new(api_server.run())];
    if let Some(listener) = operations {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(Data::new(for_operations.clone()))
                .wrap(from_fn(around))
                .configure(routes::operations)
        })
        .workers(1)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?;
        running.push(Running::new(server.run()));
    }
    Ok(running)
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    handle: ServerHandle,
}

impl Running {
    fn new(server: Server) -> Self {
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { handle }
    }

    /// Accepts no more connections.
    pub async fn pause(&self) {
        self.handle.pause().await;
    }

    /// Stops; gracefully, connections end with their requests.
    pub async fn stop(&self, graceful: bool) {
        self.handle.stop(graceful).await;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn accepted_connections_inherit_the_options() {
        let listener = bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        listener.set_nonblocking(false).expect("blocking");
        let _client =
            std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        let accepted = socket2::SockRef::from(&accepted);
        assert_eq!(accepted.tcp_user_timeout().expect("an option"), Some(STALLED));
        assert!(accepted.tcp_nodelay().expect("an option"));
    }
}
