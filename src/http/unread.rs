//! Bodies of unknown length that nobody reads to their end.
//!
//! After an early answer (a 401, a 413, a 408) actix-http closes the connection when a body with a `Content-Length` is
//! left unread, but goes on to read and discard a chunked one for as long as the client cares to send it: no timer runs,
//! so strangers could hold connections for ever. A payload that is still held when the answer has been sent is closed
//! in either case, so the answer holds it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::web::Bytes;
use futures_util::Stream;

/// The payload of a chunked request, shared by who reads it and by the answer.
pub(super) struct Unread(Rc<RefCell<Payload>>);

impl Unread {
    /// Shares the payload of a request whose end is not known.
    pub(super) fn of(request: &mut ServiceRequest) -> Option<Self> {
        if !request.headers().contains_key(TRANSFER_ENCODING) {
            return None;
        }
        let shared = Rc::new(RefCell::new(request.take_payload()));
        request.set_payload(Payload::Stream {
            payload: Box::pin(Reader(Rc::clone(&shared))),
        });
        Some(Self(shared))
    }

    /// The body of the answer, holding the payload until it has been sent.
    pub(super) fn held_by(self, body: BoxBody) -> BoxBody {
        BoxBody::new(Holder {
            body,
            _payload: self.0,
        })
    }
}

struct Reader(Rc<RefCell<Payload>>);

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

struct Holder {
    body: BoxBody,
    _payload: Rc<RefCell<Payload>>,
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
