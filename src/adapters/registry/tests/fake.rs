//! A registry that says what a test wants it to say, on a free loopback port, down to single bytes.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_native_tls::TlsAcceptor;

/// What follows a response's head.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// In chunks, as long as anybody reads.
    Endless,
    /// Chunked, and broken off after this.
    Broken(Vec<u8>),
    /// Begins, and goes on byte by byte.
    Drip(Vec<u8>),
    /// Never begins, and neither does the head.
    Silence,
    /// These bytes in place of head and body; then nothing, on an open connection.
    Wire(Vec<u8>),
    /// The same again and again.
    Flood(Vec<u8>),
    /// The connection ends.
    Gone,
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

    pub(crate) fn wire(bytes: impl Into<Vec<u8>>) -> Self {
        Self::body(Body::Wire(bytes.into()))
    }

    /// The body, which must be a whole one.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.body {
            Body::Whole(bytes) => bytes,
            other => panic!("not a whole body: {other:?}"),
        }
    }
}

/// Answers by `path?query`. More specific ones come first: `again …` (from the second request on), `auth …` (only with
/// an `Authorization`), `HEAD …`.
pub(crate) type Routes = HashMap<String, Reply>;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) authorization: Option<String>,
}

struct Script {
    routes: RefCell<Routes>,
    asked: RefCell<HashSet<String>>,
    seen: UnboundedSender<Seen>,
}

/// A running registry; it stops when the test's runtime does, or by [`Fake::stop`].
pub(crate) struct Fake {
    pub(crate) seen: UnboundedReceiver<Seen>,
    script: Rc<Script>,
    accepting: JoinHandle<()>,
}

/// A free port, held until the registry takes it over.
pub(crate) fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    (listener, host)
}

impl Fake {
    pub(crate) fn start(listener: TcpListener, routes: Routes) -> Self {
        Self::start_with(listener, routes, None)
    }

    pub(crate) fn start_with(listener: TcpListener, routes: Routes, tls: Option<TlsAcceptor>) -> Self {
        let (sender, seen) = unbounded_channel();
        let script = Rc::new(Script {
            routes: RefCell::new(routes),
            asked: RefCell::default(),
            seen: sender,
        });
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let served = Rc::clone(&script);
        let accepting = actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, tls) = (Rc::clone(&served), tls.clone());
                actix_web::rt::spawn(async move {
                    // A client that hangs up is no mistake here.
                    let _ = match tls {
                        None => serve(stream, &script).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &script).await,
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        });
        Self {
            seen,
            script,
            accepting,
        }
    }

    /// Changes what it says from now on.
    pub(crate) fn set(&self, path: &str, reply: Reply) {
        self.script.routes.borrow_mut().insert(path.to_owned(), reply);
    }

    pub(crate) async fn stop(self) {
        self.accepting.abort();
        let _ = self.accepting.await;
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script) -> io::Result<()> {
    let mut read = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut read).await? else {
            return Ok(());
        };
        let mut first = head.lines().next().unwrap_or_default().split(' ');
        let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let authorization = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| value.to_owned());
        let reply = script.reply(method, target, authorization);
        if !answer(&mut stream, method == "HEAD", reply).await? {
            return Ok(());
        }
    }
}

/// The next request's head; requests here have no body.
async fn read_head(stream: &mut (impl AsyncRead + Unpin), read: &mut Vec<u8>) -> io::Result<Option<String>> {
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            let head = std::mem::replace(read, rest);
            return Ok(Some(String::from_utf8(head).unwrap()));
        }
        if stream.read_buf(read).await? == 0 {
            return Ok(None);
        }
    }
}

impl Script {
    fn reply(&self, method: &str, target: &str, authorization: Option<String>) -> Reply {
        let again = !self.asked.borrow_mut().insert(format!("{method} {target}"));
        let applies = [
            ("again ", again),
            ("auth ", authorization.is_some()),
            ("HEAD ", method == "HEAD"),
            ("", true),
        ];
        let target = target.to_owned();
        let routes = self.routes.borrow();
        let found = applies
            .iter()
            .filter(|(_, applies)| *applies)
            .find_map(|(prefix, _)| routes.get(&format!("{prefix}{target}")).cloned());
        let _ = self.seen.send(Seen {
            target,
            authorization,
        });
        found.unwrap_or_else(|| Reply::status(404))
    }
}

/// Writes an answer; false when nothing can follow it.
async fn answer(stream: &mut (impl AsyncWrite + Unpin), head_only: bool, reply: Reply) -> io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let whole = |length: usize| format!("{head}Content-Length: {length}\r\n\r\n").into_bytes();
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    match reply.body {
        Body::Silence => std::future::pending().await,
        Body::Gone => return Ok(false),
        Body::Wire(bytes) => {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            std::future::pending().await
        }
        Body::Flood(bytes) => loop {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
        },
        Body::Whole(bytes) => {
            stream.write_all(&whole(bytes.len())).await?;
            if !head_only {
                stream.write_all(&bytes).await?;
            }
        }
        _ if head_only => stream.write_all(&whole(0)).await?,
        Body::Broken(bytes) => {
            stream.write_all(&chunked).await?;
            stream.write_all(&chunk(&bytes)).await?;
            stream.flush().await?;
            return Ok(false);
        }
        Body::Endless => {
            stream.write_all(&chunked).await?;
            let spaces = chunk(&[b' '; 64 * 1024]);
            loop {
                stream.write_all(&spaces).await?;
            }
        }
        Body::Drip(bytes) => {
            stream.write_all(&whole(bytes.len())).await?;
            for byte in bytes {
                stream.write_all(&[byte]).await?;
                stream.flush().await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    stream.flush().await?;
    Ok(true)
}

/// A place where nobody may ever connect to.
pub(crate) struct Trap {
    pub(crate) port: u16,
    visits: Arc<AtomicUsize>,
}

impl Trap {
    pub(crate) fn set() -> Self {
        let (listener, _) = listener();
        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let visits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&visits);
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        actix_web::rt::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { port, visits }
    }

    /// How many have come. Connections that are already made are counted first.
    pub(crate) async fn visits(&self) -> usize {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.visits.load(Ordering::SeqCst)
    }
}
