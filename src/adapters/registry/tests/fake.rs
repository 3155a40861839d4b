//! A registry that says what a test wants it to say, on a free loopback port.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;

use actix_web::dev::ServerHandle;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// What follows a response's head.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// Breaks off after this.
    Broken(Vec<u8>),
    /// Never ends.
    Endless,
    /// Never begins, and neither does the head.
    Silence,
}

/// One scripted answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

impl Reply {
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: Body::Whole(body.into()),
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::ok(r#"{"errors":[]}"#)
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(body: Body) -> Self {
        Self { body, ..Self::ok("") }
    }
}

/// Answers by `path?query`, `HEAD path?query`, or `auth path?query` (only with an `Authorization`).
pub(crate) type Routes = HashMap<String, Reply>;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
}

struct Script {
    routes: Routes,
    seen: UnboundedSender<Seen>,
}

/// A running registry; it stops when the test's runtime does, or by [`Fake::stop`].
pub(crate) struct Fake {
    pub(crate) seen: UnboundedReceiver<Seen>,
    handle: ServerHandle,
}

/// A free port, held until the registry takes it over.
pub(crate) fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    (listener, host)
}

impl Fake {
    pub(crate) fn start(listener: TcpListener, routes: Routes) -> Self {
        let (sender, seen) = unbounded_channel();
        let script = Data::from(Arc::new(Script { routes, seen: sender }));
        let app = move || {
            App::new()
                .app_data(script.clone())
                .default_service(actix_web::web::to(answer))
        };
        let server = HttpServer::new(app)
            .workers(1)
            .disable_signals()
            .listen(listener)
            .unwrap()
            .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { seen, handle }
    }

    pub(crate) async fn stop(self) {
        self.handle.stop(false).await;
    }
}

async fn answer(request: HttpRequest, script: Data<Script>) -> HttpResponse {
    let target = request.uri().to_string();
    let authorization = request
        .headers()
        .get("authorization")
        .map(|v| v.to_str().unwrap().to_owned());
    let authorized = authorization.is_some();
    let _ = script.seen.send(Seen {
        target: target.clone(),
        authorization,
    });
    let head = request.method() == Method::HEAD;
    let reply = [("auth ", authorized), ("HEAD ", head), ("", true)]
        .iter()
        .filter(|(_, applies)| *applies)
        .find_map(|(prefix, _)| script.routes.get(&format!("{prefix}{target}")));
    let Some(reply) = reply else {
        return HttpResponse::NotFound().finish();
    };
    let mut response = HttpResponse::build(StatusCode::from_u16(reply.status).unwrap());
    for (name, value) in &reply.headers {
        response.append_header((name.as_str(), value.as_str()));
    }
    let broken = || Err(std::io::Error::other("broken off"));
    match &reply.body {
        _ if head => response.finish(),
        Body::Whole(bytes) => response.body(bytes.clone()),
        Body::Broken(bytes) => {
            let first = Bytes::from(bytes.clone());
            response.streaming(stream::iter([Ok(first), broken()]))
        }
        Body::Endless => {
            let chunk = Bytes::from(vec![b' '; 64 * 1024]);
            response.streaming(stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())).boxed())
        }
        Body::Silence => {
            std::future::pending::<()>().await;
            response.finish()
        }
    }
}
