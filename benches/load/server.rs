//! The server: the built binary as a process of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use openssl::ssl::SslConnector;
use serde_json::Value;

use crate::payload::livez;
use crate::process::{Usage, read_usage, resident_kib};
use crate::wire::Wire;
use crate::world::World;
use crate::{Fallible, tls};

/// To be ready in, and later to end in.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) addr: SocketAddr,
    pub(crate) tls: Option<SslConnector>,
}

/// Killed when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) target: Target,
}

/// How it ended.
pub(crate) struct Ended {
    /// Of the drain; `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Peak of its resident memory since the start, in KiB.
    pub(crate) peak_kib: u64,
}

impl Ended {
    /// Of two servers: it counts what went worse.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            code: if self.code == Some(0) {
                other.code
            } else {
                self.code
            },
            peak_kib: self.peak_kib.max(other.peak_kib),
        }
    }
}

impl Server {
    /// Started from the configuration of this name, and ready by its own word.
    pub(crate) fn start(world: &World, name: &str, pass: &[String]) -> Fallible<Self> {
        Self::start_program(&world.signer, world, name, pass)
    }

    /// See [`start`](Self::start), of another build.
    pub(crate) fn start_program(
        program: &Path,
        world: &World,
        name: &str,
        pass: &[String],
    ) -> Fallible<Self> {
        let mut command = Command::new(program);
        command
            .args(["serve", "--config"])
            .arg(world.path().join(format!("{name}.toml")));
        let mut server = Self::spawn(command, world.path(), name, pass, ready_line)?;
        server.target.tls = world.tls.as_ref().map(tls::connector).transpose()?;
        let target = server.target.clone();
        let log = world.path().join(format!("{name}.log"));
        server.polled("readiness", &log, || is_ready(&target).then_some(()))?;
        Ok(server)
    }

    /// Any server, in an environment of what `pass` names; `find` finds its address in what it says. It speaks no TLS.
    pub(crate) fn spawn(
        mut command: Command,
        folder: &Path,
        name: &str,
        pass: &[String],
        find: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Fallible<Self> {
        let said = folder.join(format!("{name}.txt"));
        let log = folder.join(format!("{name}.log"));
        let process = command
            .env_clear()
            .env("HOME", folder)
            .envs(
                pass.iter()
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
            )
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .stderr(File::create(&log)?)
            .spawn()?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self {
            process,
            target: Target {
                addr: nowhere,
                tls: None,
            },
        };
        server.target.addr =
            server.polled("its ready line", &log, || find(&fs::read_to_string(&said).ok()?))?;
        Ok(server)
    }

    fn polled<T>(&mut self, what: &str, log: &PathBuf, mut look: impl FnMut() -> Option<T>) -> Fallible<T> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && self.process.try_wait()?.is_none() {
            if let Some(found) = look() {
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(log).unwrap_or_default();
        Err(format!("the server did not come to {what}; it says:\n{log}").into())
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Fallible<Usage> {
        read_usage(&self.process.id().to_string())
    }

    /// Its resident memory now, in KiB.
    pub(crate) fn resident_kib(&self) -> Fallible<u64> {
        resident_kib(&self.process.id().to_string())
    }

    /// Memory's peak counts from here (proc(5), `clear_refs`).
    pub(crate) fn forget_peak(&self) -> Fallible<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5")?)
    }

    /// Told to end, by its id, and waited for.
    pub(crate) fn stop(mut self) -> Fallible<Ended> {
        let peak_kib = self.usage()?.peak_kib;
        let pid = self.process.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE * 2 {
            if let Some(status) = self.process.try_wait()? {
                let code = status.code();
                return Ok(Ended { code, peak_kib });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("the server does not end when told to".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The address in the line of JSON that says so.
pub(crate) fn ready_line(said: &str) -> Option<SocketAddr> {
    let mut lines = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ready = lines.find(|line| line.get("ready") == Some(&Value::Bool(true)))?;
    ready.get("listen")?.as_str()?.parse().ok()
}

fn is_ready(target: &Target) -> bool {
    let mut asking = livez();
    asking.head = b"GET /readyz HTTP/1.1\r\nhost: signer.bench\r\n".to_vec();
    let answer = Wire::open(target).and_then(|mut wire| wire.exchange(&asking, None));
    answer.is_ok_and(|answer| answer.status == 200)
}
