//! Listeners: the service's own, plain or TLS, and the one for operators.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request, Response};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn_factory, fn_service, map_config,
};
use actix_tls::accept::openssl::{Acceptor, TlsStream};
use actix_tls::accept::{TlsError, max_concurrent_tls_connect};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Extensions, Server, ServerHandle, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, Error};
use futures_util::future::ready;
use openssl::ssl::SslAcceptor;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};

use super::around::{around, unparsed};
use super::connection::{Guarded, Patience, Refusals};
use super::credentials::remember_client_certificate;
use super::paced::Paced;
use super::routes;
use super::state::AppState;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How long an answer may lie unread by its caller.
#[cfg(target_os = "linux")]
const STALLED: Duration = Duration::from_secs(30);
/// How long a caller whose connection is closed may go on sending before it is reset.
const LINGER: Duration = Duration::from_secs(1);
/// actix-http reads a clock that ticks this often, and would give up that much too soon.
const TICK: Duration = Duration::from_millis(500);

/// How the service listens.
pub struct Listening {
    /// The service's own listener.
    pub api: TcpListener,
    /// TLS; plain HTTP without.
    pub tls: Option<SslAcceptor>,
    /// Worker threads of the service's own listener.
    pub workers: usize,
    /// Connections per worker.
    pub max_connections: usize,
    /// Verified tokens that each worker remembers; `None`: none.
    pub remembered_tokens: Option<NonZeroUsize>,
    /// How long a connection waits for its caller.
    pub patience: Patience,
    /// The listener for operators.
    pub operations: Option<TcpListener>,
    /// How long a graceful stop may take, in seconds.
    pub shutdown_seconds: u64,
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        patience,
        operations,
        shutdown_seconds,
    } = listening;
    let for_callers = Shape {
        workers,
        max_connections,
        shutdown_seconds,
        remembered_tokens,
    };
    let mut running = vec![serve(
        &for_callers,
        api,
        tls,
        patience,
        state.clone(),
        routes::api,
    )?];
    if let Some(listener) = operations {
        let routes = routes::operations;
        running.push(serve(&FOR_OPERATORS, listener, None, patience, state, routes)?);
    }
    Ok(running)
}

/// How large a server is.
struct Shape {
    workers: usize,
    max_connections: usize,
    shutdown_seconds: u64,
    /// Verified tokens that each worker remembers; `None`: none.
    remembered_tokens: Option<NonZeroUsize>,
}

const FOR_OPERATORS: Shape = Shape {
    workers: 1,
    max_connections: 256,
    shutdown_seconds: 1,
    remembered_tokens: None,
};

/// One listener. actix-web's `HttpServer` does the same, but its connections are not [`Guarded`].
fn serve(
    shape: &Shape,
    listener: TcpListener,
    tls: Option<SslAcceptor>,
    patience: Patience,
    state: AppState,
    routes: fn(&mut ServiceConfig),
) -> io::Result<Running> {
    let builder = Server::build()
        .workers(shape.workers)
        .max_concurrent_connections(shape.max_connections)
        .shutdown_timeout(shape.shutdown_seconds)
        .disable_signals();
    let draining = builder.graceful_shutdown_signal();
    let drained = move || {
        let draining = draining.clone();
        async move { draining.notified().await }
    };
    let for_refusals = state.clone();
    let (remembered_tokens, max_connections) = (shape.remembered_tokens, shape.max_connections);
    let app = move || {
        // Called once on each worker's own thread.
        App::new()
            .app_data(Data::new(state.on_worker(remembered_tokens)))
            .wrap(from_fn(around))
            .configure(routes)
    };
    let peer = |io: &TcpStream| io.peer_addr().ok();
    let refusals = move || -> Refusals {
        let state = for_refusals.clone();
        Rc::new(move |status| unparsed(&state, status))
    };
    let builder = match tls {
        None => builder.listen("http", listener, move || {
            let refusals = refusals();
            let open = move |io: TcpStream| {
                let peer = peer(&io);
                ready(Ok((Guarded::new(io, patience, Rc::clone(&refusals)), peer)))
            };
            fn_service(open).and_then(http1(app(), patience, drained.clone()))
        }),
        Some(tls) => builder.listen("https", listener, move || {
            let refusals = refusals();
            let open = move |io: TlsStream<TcpStream>| {
                let peer = peer(io.get_ref());
                (Guarded::new(io, patience, Rc::clone(&refusals)), peer)
            };
            // Handshakes are connections like others: by default 256 that go on no further would keep everyone out.
            max_concurrent_tls_connect(max_connections);
            let mut acceptor = Acceptor::new(tls.clone());
            acceptor.set_handshake_timeout(patience.head);
            acceptor
                .map_err(TlsError::into_service_error)
                .map(open)
                .and_then(http1(app(), patience, drained.clone()).map_err(TlsError::Service))
        }),
    };
    Ok(Running::new(builder?.run()))
}

type Accepted<T> = (Guarded<T>, Option<SocketAddr>);

/// HTTP/1.1 on accepted connections.
fn http1<T, A, S, D>(
    app: A,
    patience: Patience,
    drained: impl Fn() -> D + 'static,
) -> impl ServiceFactory<Accepted<T>, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
    A: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig, Response = ServiceResponse<BoxBody>, Error = Error>,
    S: 'static,
    S::InitError: fmt::Debug,
    D: Future<Output = ()> + 'static,
{
    let app = map_config(app, |()| AppConfig::default());
    let service = HttpService::build()
        .graceful_shutdown_signal(drained)
        .keep_alive(if patience.idle.is_zero() {
            patience.idle
        } else {
            patience.idle + TICK
        })
        .client_request_timeout(patience.head + TICK)
        .client_disconnect_timeout(LINGER)
        .on_connect_ext(|io: &Guarded<T>, data: &mut Extensions| {
            data.insert(io.connection().clone());
            remember_client_certificate(io.get_ref(), data);
        })
        .h1(app.map_err(|error: Error| Response::from(error.error_response())));
    apply_fn_factory(service, |accepted: Accepted<T>, service| {
        let connection = accepted.0.connection().clone();
        Paced::new(service.call(accepted), connection)
    })
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
