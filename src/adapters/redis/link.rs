//! The one connection to the store: made, watched and made anew in the background, so that whoever asks while it is
//! down is told at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use signer_actors::ports::{Observer, StoreEpoch};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Settings;
use super::failure::{Failure, sound};
use super::scripts::{Answer, Call, Digests, MEET, Script, run_text};
use super::server::Server;

/// Time to connect and to look at the server; nobody waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle connection is tried, and the birth learned.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// First and longest pause between attempts to connect.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How many births are remembered that were left for others; more failovers than this need time enough.
const LEFT: usize = 16;
/// Commands on their way at once before senders wait.
const IN_FLIGHT: usize = 1024;

/// An open connection to a server that was looked at.
#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    digests: Arc<Digests>,
    number: u64,
}

/// Everything that calls share.
pub(super) struct Link {
    pub(super) settings: Settings,
    tls: Option<tokio_native_tls::TlsConnector>,
    epoch: StoreEpoch,
    observer: Arc<dyn Observer>,
    open: watch::Sender<Option<Open>>,
    up: watch::Sender<bool>,
    /// The newest connection that somebody found broken.
    broken: watch::Sender<u64>,
    /// Told when an answer was late.
    late: Notify,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Not connected yet.
    ///
    /// # Errors
    /// The roots are not certificates, or OpenSSL fails.
    pub(super) fn new(
        settings: Settings,
        epoch: StoreEpoch,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, String> {
        Ok(Self {
            tls: settings.tls_connector()?,
            settings,
            epoch,
            observer,
            open: watch::Sender::new(None),
            up: watch::Sender::new(false),
            broken: watch::Sender::new(0),
            late: Notify::new(),
        })
    }

    /// Whether the store can be asked.
    pub(super) fn up(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    /// Runs a script, once. No later than the store's timeout; at once while it is known to be down.
    pub(super) async fn run(&self, script: Script, call: Call) -> Result<Answer, Failure> {
        let begun = Instant::now();
        let result = self.on_connection(async |open: &mut Open, end| {
            let first = open.digests.run(script, &call);
            match send(&mut open.connection, &first, end).await {
                // The server was restarted or its scripts flushed: nothing has happened yet.
                Err(Failure::Refused(why)) if why.ends_with("NOSCRIPT") => {
                    send(&mut open.connection, &run_text(script, &call), end).await
                }
                other => other,
            }
        });
        let result = result.await.and_then(Answer::of);
        if let Ok(answer) = &result {
            self.epoch.set(answer.born);
        }
        self.observed(script.name, begun, result)
    }

    /// Runs a script for each of several tenants, or a plain command, in one round trip.
    pub(super) async fn run_all(
        &self,
        name: &'static str,
        commands: impl FnOnce(&Digests) -> redis::Pipeline,
    ) -> Result<Vec<Value>, Failure> {
        let begun = Instant::now();
        let result = self.on_connection(async |open: &mut Open, end| {
            let all = commands(&open.digests);
            let sent = open.connection.send_packed_commands(&all, 0, all.len());
            let answers = timeout_at(end, sent).await.map_err(|_| Failure::Timeout)??;
            // A server that has forgotten the scripts is connected to anew, which teaches it them.
            answers.into_iter().map(sound).collect()
        });
        let result = result.await;
        self.observed(name, begun, result)
    }

    /// Counts how a call ended.
    pub(super) fn observed<T>(
        &self,
        name: &'static str,
        begun: Instant,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let failure = result.as_ref().err().map(Failure::kind);
        self.observer.state(name, begun.elapsed(), failure);
        result
    }

    /// An answer that came, but says no, or nothing that makes sense.
    pub(super) fn judged<T>(&self, script: Script, result: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(failure) = &result {
            self.observer
                .state(script.name, Duration::ZERO, Some(failure.kind()));
        }
        result
    }

    async fn on_connection<T>(
        &self,
        ask: impl AsyncFnOnce(&mut Open, Instant) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let end = Instant::now() + self.settings.timeout;
        let mut open = self.open.borrow().clone().ok_or(Failure::Down)?;
        let result = ask(&mut open, end).await;
        match &result {
            Err(Failure::Timeout) => self.late.notify_one(),
            Err(failure) if failure.breaks_the_connection() => self.give_up(open.number),
            _ => {}
        }
        result
    }

    /// Nobody asks this connection any more; the keeper makes another.
    fn give_up(&self, number: u64) {
        self.open.send_if_modified(|open| {
            let same = open.as_ref().is_some_and(|open| open.number == number);
            if same {
                *open = None;
            }
            same
        });
        self.broken.send_modify(|broken| *broken = number.max(*broken));
    }

    /// Keeps the connection for as long as it is polled.
    pub(super) async fn keep(self: Arc<Self>, log: slog::Logger) {
        self.observer.state_up(false);
        let (mut number, mut pause, mut last) = (0u64, PAUSES.0, String::new());
        let mut left = VecDeque::new();
        loop {
            number += 1;
            let begun = Instant::now();
            let attempt = timeout(CONNECT_TIMEOUT, self.connect(number, &mut left)).await;
            let attempt = self.observed("connect", begun, attempt.unwrap_or(Err(Failure::Timeout)));
            let why = match attempt {
                Ok((open, driver, server)) => {
                    (pause, last) = (PAUSES.0, String::new());
                    slog::info!(log, "the shared state is available"; "server" => %server);
                    self.stay(open, driver).await
                }
                Err(failure) => failure.to_string(),
            };
            if why != last {
                slog::warn!(log, "the shared state is not available"; "reason" => &why);
                last = why;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Lets callers use a connection until it is found broken; says why.
    async fn stay(&self, open: Open, driver: tokio::task::JoinHandle<()>) -> String {
        let number = open.number;
        self.open.send_replace(Some(open));
        self.up.send_replace(true);
        self.observer.state_up(true);
        let why = loop {
            tokio::select! {
                () = self.found_broken(number) => break "a call failed: see signer_state_errors_total".to_owned(),
                () = self.late.notified() => {}
                () = sleep(HEARTBEAT) => {}
            }
            // The least that can be asked. If this is late, too, or refused, the connection is of no use.
            if let Err(failure) = self
                .run(MEET, Call::default().key(self.settings.key("birth")))
                .await
                && failure != Failure::Memory
            {
                break failure.to_string();
            }
        };
        // Down before anything else can happen, so that nobody is told the opposite.
        self.up.send_replace(false);
        self.observer.state_up(false);
        self.give_up(number);
        driver.abort();
        why
    }

    async fn found_broken(&self, number: u64) {
        let mut broken = self.broken.subscribe();
        // The sender lives as long as we do.
        let _ = broken.wait_for(|broken| *broken >= number).await;
    }

    /// Connects, looks at the server, teaches it the scripts, and learns its birth.
    /// `left` are births that were known before others were.
    async fn connect(
        &self,
        number: u64,
        left: &mut VecDeque<u64>,
    ) -> Result<(Open, tokio::task::JoinHandle<()>, Server), Failure> {
        let (mut connection, driver) = self.dial().await?;
        let looked = async {
            let server = Server::look_at(&mut connection).await?;
            let load = Digests::load();
            let answers = connection.send_packed_commands(&load, 0, load.len()).await?;
            let answers = answers.into_iter().map(sound).collect::<Result<_, _>>()?;
            let digests =
                Digests::of(answers).ok_or_else(|| Failure::Answer("no digests of scripts".into()))?;
            let meet = Call::default().key(self.settings.key("birth"));
            let meet = left.iter().fold(meet, |call, birth| call.number(*birth));
            let meet = digests.run(MEET, &meet);
            let met = Answer::of(sound(connection.send_packed_command(&meet).await?)?)?;
            self.moved(met.born, left);
            Ok((Arc::new(digests), server.at(met.now)))
        };
        match looked.await {
            Ok((digests, server)) => Ok((
                Open {
                    connection,
                    digests,
                    number,
                },
                driver,
                server,
            )),
            Err(failure) => {
                driver.abort();
                Err(failure)
            }
        }
    }

    /// Another server may decide from now on. Should the one before come back as it was, it is to know.
    fn moved(&self, born: u64, left: &mut VecDeque<u64>) {
        let before = self.epoch.get();
        if before != 0 && before != born {
            left.push_back(before);
            if left.len() > LEFT {
                left.pop_front();
            }
        }
        self.epoch.set(born);
    }

    async fn dial(&self) -> Result<(MultiplexedConnection, tokio::task::JoinHandle<()>), Failure> {
        let settings = &self.settings;
        let unreachable = |error: std::io::Error| Failure::Connection(error.to_string());
        let stream = TcpStream::connect((settings.host.as_str(), settings.port))
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        match &self.tls {
            None => self.greet(stream).await,
            Some(tls) => {
                let stream = tls.connect(&settings.host, stream).await;
                self.greet(stream.map_err(|error| Failure::Connection(error.to_string()))?)
                    .await
            }
        }
    }

    async fn greet<S>(
        &self,
        stream: S,
    ) -> Result<(MultiplexedConnection, tokio::task::JoinHandle<()>), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let settings = &self.settings;
        let mut info = RedisConnectionInfo::default()
            .set_db(settings.database)
            .set_skip_set_lib_name();
        if let Some(username) = &settings.username {
            info = info.set_username(username);
        }
        if let Some(password) = &settings.password {
            info = info.set_password(password.as_str());
        }
        // Every wait has a limit of ours.
        let config = AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(None)
            .set_pipeline_buffer_size(IN_FLIGHT);
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
        Ok((connection, tokio::spawn(driver)))
    }

    /// Connects once and says what is found, for `signer check`.
    pub(super) async fn probe(&self) -> Result<Server, Failure> {
        let attempt = timeout(CONNECT_TIMEOUT, self.connect(0, &mut VecDeque::new())).await;
        let (_, driver, server) = attempt.unwrap_or(Err(Failure::Timeout))?;
        driver.abort();
        Ok(server)
    }
}

async fn send(connection: &mut MultiplexedConnection, command: &Cmd, end: Instant) -> Result<Value, Failure> {
    let sent = timeout_at(end, connection.send_packed_command(command)).await;
    sound(sent.map_err(|_| Failure::Timeout)??)
}
