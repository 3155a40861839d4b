//! Where the neighbours listen: loopback, and nowhere else.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};

/// Bodies the neighbours accept, in bytes: tokens and keys are small.
const MAX_BODY: usize = 64 * 1024;

/// A neighbour that listens. It stops when [`Running::stop`] is called, or with the process.
pub struct Running {
    /// The loopback address.
    pub addr: SocketAddr,
    /// `http://<addr>`, without a trailing slash.
    pub base_url: String,
    /// To stop it.
    pub handle: ServerHandle,
}

impl Running {
    /// Stops at once: the neighbours hold nothing worth a drain.
    pub async fn stop(&self) {
        self.handle.stop(false).await;
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// A bound address that is not served yet, so that a neighbour can know its own URL while it makes its keys.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    addr: SocketAddr,
    /// `http://<addr>`, without a trailing slash.
    pub base_url: String,
}

/// Refuses every address that other machines could reach. The neighbours hand out entitlements and certificates to
/// whoever holds the development credentials, so they must never leave this machine.
pub fn loopback_only(addr: SocketAddr) -> io::Result<SocketAddr> {
    if addr.ip().to_canonical().is_loopback() {
        return Ok(addr);
    }
    Err(io::Error::new(
        io::ErrorKind::AddrNotAvailable,
        format!("{addr} is not a loopback address: development neighbours listen on 127.0.0.1 only"),
    ))
}

impl Bound {
    /// Binds a free port of 127.0.0.1.
    pub fn any_port() -> io::Result<Self> {
        Self::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Binds this address if it is loopback.
    pub fn at(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(loopback_only(addr)?)?;
        let addr = loopback_only(listener.local_addr()?)?;
        Ok(Self {
            listener,
            addr,
            base_url: format!("http://{addr}"),
        })
    }

    /// The bound address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves these routes in the background, on one worker.
    pub fn serve<F>(self, routes: F) -> io::Result<Running>
    where
        F: Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    {
        let server = HttpServer::new(move || {
            App::new()
                .app_data(web::PayloadConfig::new(MAX_BODY))
                .configure(routes.clone())
        })
        .workers(1)
        .disable_signals()
        .listen(self.listener)?
        .run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok(Running {
            addr: self.addr,
            base_url: self.base_url,
            handle,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_addresses_are_bound() {
        for good in ["127.0.0.1:0", "127.8.9.10:80", "[::1]:0", "[::ffff:127.0.0.1]:1"] {
            assert!(loopback_only(good.parse().unwrap()).is_ok(), "{good}");
        }
        for bad in [
            "0.0.0.0:0",
            "192.168.1.1:80",
            "[::]:0",
            "[::ffff:10.0.0.1]:1",
            "8.8.8.8:53",
        ] {
            let error = loopback_only(bad.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{bad}");
            assert!(Bound::at(bad.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[actix::test]
    async fn serves_and_stops() {
        let running = Bound::any_port()
            .unwrap()
            .serve(|routes| {
                routes.route("/", web::get().to(|| async { "here" }));
            })
            .unwrap();
        assert!(running.addr.ip().is_loopback());
        let answer = reqwest::get(&running.base_url).await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "here");
        running.stop().await;
        assert!(reqwest::get(&running.base_url).await.is_err());
    }
}
