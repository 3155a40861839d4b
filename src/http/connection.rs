//! What a connection and the requests on it share: how long it may lie idle, how long a head may take, when a body is
//! invited, and whether another request may follow.
//!
//! actix-http times the head of the first request alone and stops its idle timer at the first byte of the next, so a
//! caller could hold a connection for ever with one good request and a second that never ends. It writes `100 Continue`
//! before a handler has looked at the headers. It answers what its parser refuses with a bare status. And it waits for a
//! slow reader for ever. [`Guarded`] lies between it and the socket and mends all four.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::web::Bytes;
use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::budget::time_for;

/// RFC 9110 §15.2.1, exactly as actix-http writes it.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The first head of a connection is timed by actix-http, which answers 408; its clock ticks every half second. If it
/// did not, the connection ended this much later.
const GRACE: Duration = Duration::from_secs(1);

/// How long a connection may wait for its caller.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the head of a request, from its first byte; of the first, from the connection's opening.
    pub head: Duration,
    /// Between requests.
    pub idle: Duration,
}

/// One connection, as its requests see it. Clones share it; it never leaves its worker.
#[derive(Clone)]
pub struct Connection(Rc<Shared>);

struct Shared {
    patience: Patience,
    /// Requests being worked on.
    requests: Cell<usize>,
    /// The last thing that happened and was no byte of a request.
    since: Cell<Instant>,
    /// When the first byte of the next head came.
    head_since: Cell<Option<Instant>>,
    /// The answer says `Connection: close`.
    closing: Cell<bool>,
    /// The body of the present request may come.
    invited: Cell<bool>,
    /// actix-http has written `100 Continue`, and it was kept back.
    kept_back: Cell<bool>,
    /// Counts what was read, written, begun and ended.
    progress: Cell<u64>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl Connection {
    fn new(patience: Patience) -> Self {
        let now = Instant::now();
        Self(Rc::new(Shared {
            patience,
            requests: Cell::new(0),
            since: Cell::new(now),
            head_since: Cell::new(Some(now + GRACE)),
            closing: Cell::new(false),
            invited: Cell::new(false),
            kept_back: Cell::new(false),
            progress: Cell::new(0),
        }))
    }

    /// A request begins; it is worked on until the guard is dropped.
    pub fn enter(&self) -> Entered {
        self.0.requests.set(self.0.requests.get().saturating_add(1));
        self.0.head_since.set(None);
        self.0.invited.set(false);
        self.0.kept_back.set(false);
        self.advance();
        Entered(self.clone())
    }

    /// Nothing that follows on this connection is a request any more (RFC 9112 §9.6).
    pub fn close(&self) {
        self.0.closing.set(true);
    }

    /// Whether [`close`](Self::close) was called for an earlier request.
    pub fn is_closing(&self) -> bool {
        self.0.closing.get()
    }

    /// Lets the body come: the headers are in order, and whoever waits for `100 Continue` gets it now.
    pub fn invite_body(&self) {
        self.0.invited.set(true);
    }

    /// Changes whenever something is read, written, begun or ended.
    pub(super) fn progress(&self) -> u64 {
        self.0.progress.get()
    }

    fn advance(&self) {
        self.0.progress.set(self.0.progress.get().wrapping_add(1));
    }

    /// When to give up waiting; `None` while a request is worked on.
    fn deadline(&self) -> Option<Instant> {
        let Patience { head, idle } = self.0.patience;
        let waiting = self.0.requests.get() == 0;
        waiting.then(|| match self.0.head_since.get() {
            Some(begun) => begun + head,
            None => self.0.since.get() + idle + head,
        })
    }
}

/// A request being worked on.
#[derive(Debug)]
pub struct Entered(Connection);

impl Drop for Entered {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.requests.set(shared.requests.get().saturating_sub(1));
        shared.since.set(Instant::now());
        shared.kept_back.set(false);
        self.0.advance();
    }
}

/// What a caller gets whose bytes never became a request, by the status that actix-http would send; `None`: just that.
pub type Refusals = Rc<dyn Fn(u16) -> Option<Bytes>>;

/// A socket, or TLS over one, with a watch on its caller.
pub struct Guarded<T> {
    io: T,
    connection: Connection,
    timer: Pin<Box<Sleep>>,
    refusals: Refusals,
    /// Bytes of our own, to be written before any other.
    pending: Bytes,
    /// How the answers under way are read.
    reading: Option<Reading>,
    /// All that was to be written is.
    drained: bool,
}

/// Answers on their way to their reader.
struct Reading {
    since: Instant,
    /// What the socket has taken since, in bytes.
    written: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Reading {
    fn begins() -> Self {
        Self {
            since: Instant::now(),
            written: 0,
            timer: None,
        }
    }

    /// Whether the caller, for whom the socket has no room, reads more slowly than it may. Wakes the task when that may
    /// be so.
    fn is_too_slow(&mut self, cx: &mut Context<'_>) -> bool {
        let until = self.since + time_for(self.written);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        timer.as_mut().reset(until);
        timer.as_mut().poll(cx).is_ready()
    }
}

impl<T> fmt::Debug for Guarded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Guarded<T> {
    /// A connection that was just accepted.
    pub fn new(io: T, patience: Patience, refusals: Refusals) -> Self {
        let connection = Connection::new(patience);
        let timer = Box::pin(sleep_until(Instant::now() + patience.head));
        Self {
            io,
            connection,
            timer,
            refusals,
            pending: Bytes::new(),
            reading: None,
            drained: true,
        }
    }

    /// What is watched.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// What its requests see.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Bytes have come. Between two requests they begin a head; the timer may be set to later than that allows.
    fn heard(&mut self) {
        let shared = &self.connection.0;
        if shared.requests.get() > 0 || shared.head_since.get().is_some() {
            return;
        }
        let now = Instant::now();
        shared.head_since.set(Some(now));
        let deadline = now + shared.patience.head;
        if self.timer.deadline() > deadline {
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Whether the caller was waited for long enough. Wakes the task when that may be so.
    fn overdue(&mut self, cx: &mut Context<'_>) -> bool {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let next = match self.connection.deadline() {
                Some(deadline) if deadline <= now => return true,
                Some(deadline) => deadline,
                None => now + self.connection.0.patience.head,
            };
            self.timer.as_mut().reset(next);
        }
        false
    }

    /// Writes what is our own: also the invitation that was kept back, once the body is invited.
    fn poll_pending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = &self.connection.0;
        if shared.invited.get() && shared.kept_back.replace(false) {
            self.pending = Bytes::from_static(CONTINUE);
        }
        while !self.pending.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.pending))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.pending.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// What to write in place of these bytes, if they are no answer to a request.
    fn instead_of(&self, bytes: &[u8]) -> Option<Bytes> {
        let idle = self.connection.0.requests.get() == 0;
        let status = idle.then(|| bare_status(bytes)).flatten()?;
        (self.refusals)(status)
    }

    /// Where such an answer begins behind others; the end where there is none.
    fn bare_from(&self, bytes: &[u8]) -> usize {
        const BEGIN: &[u8] = b"HTTP/1.1 ";
        let idle = self.connection.0.requests.get() == 0;
        let last = || {
            let tail = bytes.len().saturating_sub(MAX_BARE);
            let begins = bytes
                .get(tail..)?
                .windows(BEGIN.len())
                .rposition(|window| window == BEGIN)?;
            bare_status(bytes.get(tail + begins..)?).map(|_| tail + begins)
        };
        idle.then(last)
            .flatten()
            .filter(|at| *at > 0)
            .unwrap_or(bytes.len())
    }
}

/// An answer that actix-http makes itself is shorter than this, in bytes.
const MAX_BARE: usize = 256;

/// The status of an answer that actix-http has made itself: one short head, nothing behind it, and without the field that
/// every answer of ours has.
fn bare_status(bytes: &[u8]) -> Option<u16> {
    let short = Some(bytes).filter(|bytes| bytes.len() < MAX_BARE)?;
    let head = std::str::from_utf8(short).ok()?;
    let rest = head.strip_prefix("HTTP/1.1 ")?;
    let whole = rest.find("\r\n\r\n")? == rest.len() - 4;
    let ours = rest.to_ascii_lowercase().contains("x-correlation-id");
    let status = rest.get(..3)?.parse().ok()?;
    (whole && !ours && status >= 400).then_some(status)
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guarded<T> {
    /// An overdue caller is answered as if it had hung up.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.drained {
            this.reading = None;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buffer) {
            Poll::Pending if this.overdue(cx) => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
            Poll::Ready(result) => {
                this.connection.advance();
                if buffer.filled().len() > before {
                    this.heard();
                }
                Poll::Ready(result)
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        let shared = &this.connection.0;
        if bytes.starts_with(CONTINUE) && !shared.invited.get() {
            // Not before the headers are in order (RFC 9110 §10.1.1: a final answer that they decide comes at once).
            shared.kept_back.set(shared.requests.get() > 0);
            return Poll::Ready(Ok(CONTINUE.len()));
        }
        if let Some(answer) = this.instead_of(bytes) {
            this.pending = answer;
            return Poll::Ready(Ok(bytes.len()));
        }
        let bytes = bytes.get(..this.bare_from(bytes)).unwrap_or(bytes);
        this.drained = false;
        let reading = this.reading.get_or_insert_with(Reading::begins);
        let written = match Pin::new(&mut this.io).poll_write(cx, bytes) {
            Poll::Ready(result) => result?,
            Poll::Pending if reading.is_too_slow(cx) => {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Poll::Pending => return Poll::Pending,
        };
        reading.written = reading.written.saturating_add(written as u64);
        if written > 0 {
            this.connection.0.since.set(Instant::now());
            this.connection.advance();
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(cx))?;
        // actix-http flushes when its buffer is empty; if more of an answer follows, nothing is read before.
        this.drained = true;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
