//! A connection that costs little: blocking HTTP/1.1, one request at a time, answers read and thrown away.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use openssl::ssl::SslStream;

use crate::payload::Template;
use crate::server::Target;
use crate::tls;

/// For one read or write: longer than any answer takes that the server gives in time.
const PATIENCE: Duration = Duration::from_secs(45);
/// Heads of answers, in bytes.
const MOST_HEAD: usize = 16 * 1024;
/// What is kept of a refusal, in bytes.
const MOST_KEPT: usize = 16 * 1024;
/// Bodies up to this size, in bytes, are sent with their head in one write.
const TOGETHER: usize = 16 * 1024;

enum Stream {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

/// An open connection.
pub(crate) struct Wire {
    stream: Stream,
    out: Vec<u8>,
    seen: Vec<u8>,
    chunk: Box<[u8]>,
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of a problem document.
    pub(crate) code: Option<String>,
    /// The server ends the connection.
    pub(crate) closes: bool,
}

impl Wire {
    pub(crate) fn open(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&target.addr, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let stream = match &target.tls {
            None => Stream::Plain(stream),
            Some(connector) => {
                let handshaken = connector.connect(tls::NAME, stream).map_err(io::Error::other)?;
                Stream::Tls(Box::new(handshaken))
            }
        };
        Ok(Self {
            stream,
            out: Vec::with_capacity(TOGETHER),
            seen: Vec::with_capacity(MOST_HEAD),
            chunk: vec![0; 64 * 1024].into(),
        })
    }

    /// Sends the request and reads its answer.
    pub(crate) fn exchange(&mut self, request: &Template, proof: Option<&str>) -> io::Result<Answer> {
        self.out.clear();
        self.out.extend_from_slice(&request.head);
        if let Some(proof) = proof {
            self.out.extend_from_slice(b"dpop: ");
            self.out.extend_from_slice(proof.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
        self.out.extend_from_slice(b"\r\n");
        let together = request.body.len() <= TOGETHER;
        if together {
            self.out.extend_from_slice(&request.body);
        }
        self.stream.write_all(&self.out)?;
        if !together {
            self.stream.write_all(&request.body)?;
        }
        self.answer()
    }

    fn answer(&mut self) -> io::Result<Answer> {
        self.seen.clear();
        let end = loop {
            if let Some(at) = self.seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.seen.len() > MOST_HEAD {
                return Err(broken("the head of an answer is too long"));
            }
            self.read_more()?;
        };
        let body = self.seen.split_off(end);
        let head = std::str::from_utf8(&self.seen).map_err(|_| broken("an answer is not text"))?;
        let (status, length, closes) = read_head(head)?;
        let mut missing = length
            .checked_sub(body.len())
            .ok_or_else(|| broken("more than one answer came"))?;
        self.seen = body;
        while missing > 0 {
            let read = self.read_more()?;
            missing = missing
                .checked_sub(read)
                .ok_or_else(|| broken("more than one answer came"))?;
            if status == 200 || self.seen.len() > MOST_KEPT {
                self.seen.clear();
            }
        }
        let code = (status != 200).then(|| code_of(&self.seen)).flatten();
        Ok(Answer { status, code, closes })
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let read = self.stream.read(&mut self.chunk)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.seen
            .extend_from_slice(self.chunk.get(..read).unwrap_or_default());
        Ok(read)
    }
}

impl Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes),
        }
    }
}

/// Status, length of the body, whether the connection ends.
fn read_head(head: &str) -> io::Result<(u16, usize, bool)> {
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let (mut length, mut closes) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().ok();
        }
        closes |= name.eq_ignore_ascii_case("connection") && value.trim().eq_ignore_ascii_case("close");
    }
    match (status, length) {
        (Some(status), Some(length)) => Ok((status, length, closes)),
        // RFC 9110 §8.6: 204 has neither content nor a length.
        (Some(204), None) => Ok((204, 0, closes)),
        _ => Err(broken("an answer has no status or no length")),
    }
}

/// Member `code` of a problem document as this service writes it.
fn code_of(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(r#""code":""#)?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
