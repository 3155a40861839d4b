//! HTTP/1.1 by hand, for requests that no client would send.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Answer, Call, SIGN};

/// A connection.
pub(crate) struct Raw {
    stream: TcpStream,
    /// What has come beyond the last answer.
    seen: Vec<u8>,
    secrets: Vec<String>,
}

impl Raw {
    pub(crate) async fn connect(base: &str) -> Self {
        let address = base.trim_start_matches("http://");
        Self::of(TcpStream::connect(address).await.unwrap())
    }

    /// The same over a stream of one's own.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self {
            stream,
            seen: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Sends the head of a request to sign, with these lines added; answers the body that belongs to it.
    pub(crate) async fn head(&mut self, call: Call<'_>, more: &[&str]) -> Vec<u8> {
        let (fields, body, secrets) = call.into_parts();
        self.secrets = secrets;
        let mut head = format!("POST {SIGN} HTTP/1.1\r\nhost: signer.test\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        for line in more {
            head.push_str(&format!("{line}\r\n"));
        }
        head.push_str("\r\n");
        self.send(head.as_bytes()).await;
        body
    }

    /// What answers must not repeat.
    pub(crate) fn secret(&mut self, secrets: Vec<String>) {
        self.secrets = secrets;
    }

    /// Sends bytes; a peer that has closed already is no failure here.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// The next answer; `None` when the connection ends without one.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let reading = self.read();
        let waited = tokio::time::timeout(Duration::from_secs(10), reading).await;
        waited.expect("an answer or an end")
    }

    async fn read(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.seen.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.stream.read_buf(&mut self.seen).await.unwrap_or(0) == 0 {
                return None;
            }
        };
        let mut body = self.seen.split_off(end);
        let head = String::from_utf8(std::mem::take(&mut self.seen)).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let length = headers
            .get("content-length")
            .map_or(0, |length| length.to_str().unwrap().parse::<usize>().unwrap());
        while body.len() < length {
            if self.stream.read_buf(&mut body).await.unwrap_or(0) == 0 {
                break;
            }
        }
        self.seen = body.split_off(length.min(body.len()));
        Some(Answer {
            status,
            headers,
            body,
            secrets: self.secrets.clone(),
        })
    }

    /// True when the peer closes the connection, or says so by resetting it.
    pub(crate) async fn is_closed(&mut self) -> bool {
        if !self.seen.is_empty() {
            return false;
        }
        let mut rest = [0; 64];
        let reading = self.stream.read(&mut rest);
        match tokio::time::timeout(Duration::from_secs(15), reading).await {
            Ok(Ok(0) | Err(_)) => true,
            Ok(Ok(_)) | Err(_) => false,
        }
    }
}
