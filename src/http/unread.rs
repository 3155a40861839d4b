//! Bodies that nobody reads to their end.
//!
//! An answer to a request whose body has not come yet ends the connection, and actix-http says so. But it says so of the
//! bytes that it has looked at: if the rest lay in its buffer already, it goes on with the next request behind
//! `Connection: close`, whose answer no client would take (RFC 9112 §9.6). So whether the body has come is looked at here.
//!
//! After an early answer (a 401, a 413, a 408) actix-http closes the connection when a body with a `Content-Length` is
//! left unread, but goes on to read and discard a chunked one for as long as the client cares to send it: no timer runs,
//! so strangers could hold connections for ever. A payload that is still held when the answer has been sent is closed
//! in either case, so the answer holds it.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use actix_web::web::Bytes;
use futures_util::{FutureExt, Stream, StreamExt};

/// The payload of a request, shared by who reads it and by the answer.
pub(super) struct Unread {
    shared: Rc<Shared>,
    is_chunked: bool,
}

struct Shared {
    payload: RefCell<Payload>,
    /// It was read to its end.
    ended: Cell<bool>,
}

impl Unread {
    /// Shares the payload of a request that has one.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
        if !is_chunked && !request.headers().contains_key(CONTENT_LENGTH) {
            return None;
        }
        let shared = Rc::new(Shared {
            payload: RefCell::new(request.take_payload()),
            ended: Cell::new(false),
        });
        request.set_payload(Payload::Stream {
            payload: Box::pin(Reader(Rc::clone(&shared))),
        });
        Some(Self { shared, is_chunked })
    }

    /// Whether the whole body has come by now; what is there of an unread one is thrown away.
    pub(super) fn has_ended(&self) -> bool {
        let mut reader = Reader(Rc::clone(&self.shared));
        while !self.shared.ended.get() {
            match reader.next().now_or_never() {
                Some(Some(Ok(_)) | None) => {}
                Some(Some(Err(_))) | None => return false,
            }
        }
        true
    }

    /// The body of the answer; of a chunked request it holds the payload until it has been sent.
    pub(super) fn held_by(self, body: BoxBody) -> BoxBody {
        if !self.is_chunked {
            return body;
        }
        BoxBody::new(Holder {
            body,
            _payload: self.shared,
        })
    }
}

struct Reader(Rc<Shared>);

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut *self.0.payload.borrow_mut()).poll_next(cx);
        if matches!(next, Poll::Ready(None)) {
            self.0.ended.set(true);
        }
        next
    }
}

struct Holder {
    body: BoxBody,
    _payload: Rc<Shared>,
}

impl MessageBody for Holder {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
