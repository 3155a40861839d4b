//! A server that speaks just enough of Redis, and does with it what it is told to. Also used by `tests/api`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of a script that is run, and of connections.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mood {
    /// Everything is allowed, and nothing remembered.
    Good,
    /// It reads and never answers, from the very first command.
    Hung,
    /// Scripts answer, after this long.
    Slow(Duration),
    /// Scripts are answered with this error.
    Error(&'static str),
    /// This script is answered with this error, the others as they should be.
    ErrorFor(&'static str, &'static str),
    /// Scripts are answered with these bytes.
    Raw(&'static [u8]),
    /// Scripts are answered with half an answer, and then the connection is cut.
    Half,
    /// The connection is cut at the first script.
    Cut,
    /// It is a replica, and says so when it is asked.
    Replica,
    /// It has forgotten each script once.
    Forgetful,
    /// This is the word that scripts answer.
    Word(&'static str),
}

/// The server. It ends with its last clone.
#[derive(Clone)]
pub(crate) struct FakeRedis {
    pub(crate) address: SocketAddr,
    mood: Arc<watch::Sender<Mood>>,
    born: Arc<watch::Sender<i64>>,
    /// Names of the commands received, scripts by theirs.
    seen: Arc<watch::Sender<Vec<String>>>,
}

impl FakeRedis {
    pub(crate) async fn start(mood: Mood) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), mood).await
    }

    pub(crate) async fn start_at(address: SocketAddr, mood: Mood) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let fake = Self {
            address: listener.local_addr().expect("an address"),
            mood: Arc::new(watch::Sender::new(mood)),
            born: Arc::new(watch::Sender::new(1_790_000_000_000_000)),
            seen: Arc::default(),
        };
        let (this, mut gone) = (fake.clone(), fake.mood.subscribe());
        // The task's own clone must not keep it alive.
        let weak = (
            Arc::downgrade(&this.mood),
            this.born.clone(),
            this.seen.clone(),
            this.address,
        );
        drop(this);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    closed = gone.changed() => if closed.is_err() { return },
                    accepted = listener.accept() => {
                        let (Ok((stream, _)), Some(mood)) = (accepted, weak.0.upgrade()) else { return };
                        let receiver = mood.subscribe();
                        let (born, seen) = (weak.1.clone(), weak.2.clone());
                        tokio::spawn(async move {
                            // Whoever is connected to it has gone when this fails.
                            let _ = serve(stream, receiver, born, seen).await;
                        });
                    }
                }
            }
        });
        fake
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub(crate) fn born(&self, micros: i64) {
        self.born.send_replace(micros);
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.borrow().clone()
    }
}

const INFO: &str = "redis_version:7.0.15\r\nloading:0\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\ncluster_enabled:0\r\nrole:";

async fn serve(
    stream: TcpStream,
    mut mood: watch::Receiver<Mood>,
    born: Arc<watch::Sender<i64>>,
    seen: Arc<watch::Sender<Vec<String>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut forgotten: HashMap<String, bool> = HashMap::new();
    loop {
        let command = tokio::select! {
            command = read_command(&mut stream) => command?,
            // The server has ended.
            () = async { while mood.changed().await.is_ok() {} } => return Ok(()),
        };
        let name = script_of(&command).unwrap_or_else(|| command[0].to_ascii_lowercase());
        seen.send_modify(|seen| seen.push(name.clone()));
        if name == "meet" && command.len() > 4 {
            seen.send_modify(|seen| seen.push(format!("left {}", command[4..].join(" "))));
        }
        let now = mood.borrow().clone();
        if now == Mood::Hung {
            // Until it is told otherwise, or for good.
            if mood.wait_for(|mood| *mood != Mood::Hung).await.is_err() {
                return Ok(());
            }
        }
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let answer = match (command[0].to_ascii_uppercase().as_str(), &now) {
            ("INFO", Mood::Replica) => bulk(&format!("{INFO}slave\r\n")),
            ("INFO", _) => bulk(&format!("{INFO}master\r\n")),
            ("SCRIPT", _) => bulk(&name),
            ("ZREM", _) => ":1\r\n".to_owned(),
            ("EVALSHA", Mood::Forgetful) if forgotten.insert(name.clone(), true).is_none() => {
                "-NOSCRIPT No matching script. Please use EVAL.\r\n".to_owned()
            }
            ("EVALSHA" | "EVAL", Mood::Slow(delay)) if name != "meet" => {
                tokio::time::sleep(*delay).await;
                good(&name, "ok", *born.borrow())
            }
            ("EVALSHA" | "EVAL", Mood::Error(text)) if name != "meet" => format!("-{text}\r\n"),
            ("EVALSHA" | "EVAL", Mood::ErrorFor(script, text)) if name == *script => format!("-{text}\r\n"),
            ("EVALSHA" | "EVAL", Mood::Raw(bytes)) if name != "meet" => {
                stream.get_mut().write_all(bytes).await?;
                continue;
            }
            ("EVALSHA" | "EVAL", Mood::Half) if name != "meet" => {
                stream.get_mut().write_all(b"*3\r\n$2\r\nok").await?;
                return Ok(());
            }
            ("EVALSHA" | "EVAL", Mood::Cut) if name != "meet" => return Ok(()),
            ("EVALSHA" | "EVAL", Mood::Word(word)) if name != "meet" => good(&name, word, *born.borrow()),
            ("EVALSHA" | "EVAL", _) => good(&name, "ok", *born.borrow()),
            _ => "+OK\r\n".to_owned(),
        };
        stream.get_mut().write_all(answer.as_bytes()).await?;
    }
}

/// What a script would answer: a token taken and a lease held, with room for more.
fn good(name: &str, word: &str, born: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_micros());
    let rest: &[u64] = match name {
        "admit" => &[1, 1_000_000, 0, 1],
        "charge" => &[1, 1_000_000],
        "renew" => &[0],
        _ => &[],
    };
    let rest: String = rest.iter().map(|number| format!(":{number}\r\n")).collect();
    let members = 3 + rest.matches(':').count();
    format!(
        "*{members}\r\n${}\r\n{word}\r\n:{now}\r\n:{born}\r\n{rest}",
        word.len()
    )
}

/// Digests are names here: a script is known by the file it ends with.
fn script_of(command: &[String]) -> Option<String> {
    let text = match command[0].to_ascii_uppercase().as_str() {
        "SCRIPT" => command.get(2)?,
        "EVAL" => command.get(1)?,
        "EVALSHA" => return command.get(1).cloned(),
        _ => return None,
    };
    // The last that matches: a script begins with what it shares with others.
    let known = [
        ("Spends a proof", "spend"),
        ("Rate, then concurrency", "admit"),
        ("Charges one call", "charge"),
        ("Makes leases live on", "renew"),
        ("Claims a key for an attempt", "claim"),
        ("Notes that an attempt is about to sign", "begin"),
        ("Keeps an answer", "keep"),
        ("Ends an attempt without an answer", "give_up"),
        ("Asks for the birth alone", "meet"),
    ];
    known
        .iter()
        .find(|(mark, _)| text.contains(mark))
        .map(|(_, name)| (*name).to_owned())
}

/// An array of bulk strings.
async fn read_command(stream: &mut BufReader<TcpStream>) -> std::io::Result<Vec<String>> {
    let count = read_length(stream, '*').await?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let mut bytes = vec![0; read_length(stream, '$').await? + 2];
        stream.read_exact(&mut bytes).await?;
        bytes.truncate(bytes.len() - 2);
        parts.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(parts)
}

async fn read_length(stream: &mut BufReader<TcpStream>, mark: char) -> std::io::Result<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let length = line
        .trim_end()
        .strip_prefix(mark)
        .and_then(|length| length.parse().ok());
    length.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}
