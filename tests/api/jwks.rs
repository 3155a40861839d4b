//! The Authority's key set: whatever the Authority answers, callers hear 503 until there are keys, never that their token
//! is wrong; known keys go on; and when it recovers so does the service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openssl::pkey::{PKey, Private};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::support::{Answer, Mint, TestApp, World, p256};

/// What the Authority does with a connection.
#[derive(Clone, Debug)]
enum Says {
    /// Writes these bytes and closes.
    Raw(Vec<u8>),
    /// Reads, and says nothing.
    Nothing,
    /// Resets the connection.
    Reset,
}

/// An Authority that does as it is told. Until it is opened, its port refuses connections.
struct Authority {
    address: SocketAddr,
    socket: Option<TcpSocket>,
    says: watch::Sender<Says>,
    /// Requests for the key set so far.
    asked: Arc<AtomicUsize>,
    /// Requests for anything else.
    strayed: Arc<AtomicUsize>,
}

impl Authority {
    fn closed() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            address: socket.local_addr().unwrap(),
            socket: Some(socket),
            says: watch::Sender::new(Says::Nothing),
            asked: Arc::default(),
            strayed: Arc::default(),
        }
    }

    fn open(says: Says) -> Self {
        let mut this = Self::closed();
        this.says(says);
        this.listen();
        this
    }

    fn listen(&mut self) {
        let listener = self.socket.take().unwrap().listen(64).unwrap();
        let counts = (Arc::clone(&self.asked), Arc::clone(&self.strayed));
        actix_rt::spawn(serve(listener, self.says.subscribe(), counts));
    }

    fn says(&self, says: Says) {
        self.says.send_replace(says);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What makes a service read its keys here.
    fn changes(&self) -> String {
        let uri = self.url("/jwks");
        format!("auth.jwks_file = \"\"\nauth.jwks_uri = \"{uri}\"\nauth.timeout = \"500ms\"")
    }
}

type Counts = (Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn serve(listener: TcpListener, says: watch::Receiver<Says>, counts: Counts) {
    while let Ok((stream, _)) = listener.accept().await {
        let says = says.borrow().clone();
        actix_rt::spawn(answer(stream, says, counts.clone()));
    }
}

async fn answer(mut stream: TcpStream, says: Says, (asked, strayed): Counts) {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let count = if head.starts_with(b"GET /jwks ") {
        asked
    } else {
        strayed
    };
    count.fetch_add(1, Ordering::SeqCst);
    match says {
        Says::Raw(bytes) => {
            // A peer that has heard enough is no failure here.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Says::Nothing => {
            let _ = stream.read_buf(&mut head).await;
        }
        Says::Reset => stream.set_zero_linger().unwrap(),
    }
}

fn http(status: &str, content_type: &str, body: &[u8]) -> Says {
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    Says::Raw([head.as_bytes(), body].concat())
}

fn document(body: &Value) -> Says {
    http("200 OK", "application/json", body.to_string().as_bytes())
}

/// These keys under these names.
fn set(keys: &[(&PKey<Private>, &str)]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|(key, kid)| Mint::jwks(key, kid)["keys"][0].clone())
        .collect();
    json!({ "keys": keys })
}

#[track_caller]
fn unavailable(answer: &Answer) {
    answer.refused(503, "authority_unavailable", "authentication");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(
        answer.header("www-authenticate"),
        None,
        "the token is not at fault"
    );
}

/// Refused for want of keys, again and again until this has happened. Without keys the Authority is asked once a second.
async fn refused_until(app: &TestApp, what: &str, mut happened: impl FnMut() -> bool) {
    let polling = async {
        loop {
            unavailable(&app.sign().send().await);
            if happened() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), polling).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// Refused for want of keys until a token of this issuer is served.
async fn recovers(app: &TestApp, issuer: &str) {
    let polling = async {
        loop {
            let answer = app.sign().token(|token| token.claim("iss", issuer)).send().await;
            if answer.status == 200 {
                return;
            }
            unavailable(&answer);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), polling).await;
    waited.expect("it recovers without a restart");
}

/// Everything that an Authority should not say, each with the good key in it where that is possible.
fn nonsense(authority: &Authority, key: &PKey<Private>) -> Vec<(&'static str, Says)> {
    let good = set(&[(key, "authority-1")]);
    let text = good.to_string();
    let raw = |head: &str, body: &[u8]| Says::Raw([head.as_bytes(), body].concat());
    let changed = |name: &str, value: Value| {
        let mut set = good.clone();
        set["keys"][0][name] = value;
        document(&set)
    };
    let many: Vec<(PKey<Private>, String)> = (1..=17).map(|n| (p256(), format!("authority-{n}"))).collect();
    let mut many: Vec<(&PKey<Private>, &str)> = many.iter().map(|(key, kid)| (key, kid.as_str())).collect();
    many[0].0 = key;
    let redirect = format!(
        "HTTP/1.1 301 Moved Permanently\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        authority.url("/moved")
    );
    let mut padded = text.clone().into_bytes();
    padded.resize(65 * 1024, b' ');
    let length = text.len();
    vec![
        ("silence", Says::Nothing),
        ("a reset connection", Says::Reset),
        ("no HTTP", Says::Raw(b"keys, keys, keys\r\n\r\n".to_vec())),
        ("nothing at all", Says::Raw(Vec::new())),
        (
            "a page",
            http("200 OK", "text/html", b"<html><body>Sign in</body></html>"),
        ),
        (
            "an error",
            http("500 Internal Server Error", "application/json", text.as_bytes()),
        ),
        ("no content", http("204 No Content", "application/json", b"")),
        (
            "not found",
            http("404 Not Found", "application/json", text.as_bytes()),
        ),
        ("moved", raw(&redirect, b"")),
        ("65 KiB", http("200 OK", "application/json", &padded)),
        (
            "65 KiB without a length",
            raw("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", &padded),
        ),
        (
            "a truncated body",
            raw(
                &format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", length + 1),
                text.as_bytes(),
            ),
        ),
        (
            "a truncated document",
            http("200 OK", "application/json", &text.as_bytes()[..length - 1]),
        ),
        ("17 keys", document(&set(&many))),
        (
            "one name for two keys",
            document(&set(&[(key, "authority-1"), (&p256(), "authority-1")])),
        ),
        ("no keys", document(&json!({ "keys": [] }))),
        ("an array", document(&good["keys"])),
        (
            "another document",
            document(&json!({ "issuer": "https://authority.test" })),
        ),
        ("a key for encryption", changed("use", json!("enc"))),
        ("a private key", changed("d", json!("AAAA"))),
        ("a key without a name", changed("kid", Value::Null)),
        ("a key of another algorithm", changed("alg", json!("ES384"))),
        (
            "a symmetric key",
            document(&json!({ "keys": [{ "kty": "oct", "kid": "authority-1", "k": "AAAA" }] })),
        ),
    ]
}

#[actix::test]
async fn whatever_the_authority_answers_at_the_start_the_service_waits_and_recovers() {
    // Each answer takes a second; four services share them.
    const SERVICES: usize = 4;
    let service = async |nth: usize| {
        let mut authority = Authority::closed();
        let app = TestApp::with(&authority.changes()).await;
        unavailable(&app.sign().send().await);
        authority.listen();
        let cases = nonsense(&authority, &app.mint.authority);
        for (what, says) in cases.into_iter().skip(nth).step_by(SERVICES) {
            println!("{what}");
            authority.says(says);
            let asked = authority.asked();
            refused_until(&app, what, || authority.asked() > asked).await;
            unavailable(&app.sign().send().await);
        }
        assert_eq!(
            authority.strayed.load(Ordering::SeqCst),
            0,
            "redirects are not followed"
        );
        authority.says(document(&set(&[(&app.mint.authority, "authority-1")])));
        recovers(&app, "https://authority.test").await;
    };
    futures_util::future::join_all((0..SERVICES).map(service)).await;
}

#[actix::test]
async fn the_bounds_are_inclusive_and_unusable_keys_are_left_out() {
    let authority = Authority::open(Says::Nothing);
    let world = World::new(&authority.changes()).await;
    let mut keys = set(&[(&world.mint.authority, "authority-1"), (&p256(), "authority-2")]);
    let listed = keys["keys"].as_array_mut().unwrap();
    listed.push(json!({ "kty": "oct", "kid": "oct", "k": "AAAA" }));
    listed.push(json!("rubbish"));
    while listed.len() < 16 {
        let kid = format!("enc-{}", listed.len());
        let mut key = Mint::jwks(&p256(), &kid)["keys"][0].clone();
        key["use"] = json!("enc");
        listed.push(key);
    }
    let mut body = keys.to_string().into_bytes();
    body.resize(64 * 1024, b' ');
    // The type of content is the Authority's affair: many say text/plain.
    authority.says(http("200 OK", "text/plain", &body));
    let app = TestApp::within(world).await;
    app.sign().send().await.ok();
    let encryption = |token: &mut crate::support::Draft| token.header["kid"] = json!("enc-5");
    let answer = app.sign().token(encryption).send().await;
    answer.refused(401, "invalid_token", "authentication");
}

#[actix::test]
async fn old_and_new_keys_pass_side_by_side_and_outlive_their_authority() {
    let authority = Authority::open(Says::Nothing);
    let world = World::new(&authority.changes()).await;
    let next = p256();
    let both = [(&world.mint.authority, "authority-1"), (&next, "authority-2")];
    authority.says(document(&set(&both)));
    let app = TestApp::within(world).await;
    let rotated = || {
        let next = next.clone();
        app.sign().token(move |token| {
            token.header["kid"] = json!("authority-2");
            token.key = next;
        })
    };
    app.sign().send().await.ok();
    rotated().send().await.ok();
    // The name of one with the signature of the other.
    let mixed = app
        .sign()
        .token(|token| token.header["kid"] = json!("authority-2"));
    mixed.send().await.refused(401, "invalid_token", "authentication");
    for says in [
        Says::Reset,
        Says::Nothing,
        http("503 Service Unavailable", "text/html", b""),
    ] {
        authority.says(says);
        app.sign().send().await.ok();
        rotated().send().await.ok();
    }
    assert_eq!(authority.asked(), 1, "no request waits for the Authority");
}

#[actix::test]
async fn a_flood_cannot_make_the_service_hammer_the_authority() {
    let authority = Authority::open(Says::Reset);
    let app = TestApp::with(&authority.changes()).await;
    let begun = std::time::Instant::now();
    for _ in 0..4 {
        let calls = (0..16).map(|n| {
            let kid = format!("made-up-{n}");
            app.sign()
                .token(move |token| token.header["kid"] = json!(kid))
                .send()
        });
        for answer in futures_util::future::join_all(calls).await {
            unavailable(&answer);
        }
    }
    // Without keys: once a second.
    let allowed = 1 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(authority.asked() <= allowed, "{} of {allowed}", authority.asked());
    authority.says(document(&set(&[(&app.mint.authority, "authority-1")])));
    recovers(&app, "https://authority.test").await;
    // With keys: once in half a minute, by any number of ids, long ones too.
    let (asked, begun) = (authority.asked(), std::time::Instant::now());
    for n in 0..200 {
        let kid = format!("made-up-{n}-{}", "x".repeat(200));
        let answer = app
            .sign()
            .token(move |token| token.header["kid"] = json!(kid))
            .send()
            .await;
        answer.refused(401, "invalid_token", "authentication");
    }
    let allowed = usize::try_from(begun.elapsed().as_secs() / 30).unwrap();
    assert!(authority.asked() - asked <= allowed);
}

#[actix::test]
async fn metadata_of_another_issuer_leads_nowhere() {
    let mut authority = Authority::closed();
    let (issuer, jwks) = (authority.url(""), authority.url("/jwks"));
    let changes = format!("auth.issuer = \"{issuer}\"\nauth.jwks_file = \"\"\nauth.timeout = \"500ms\"");
    let app = TestApp::with(&changes).await;
    unavailable(&app.sign().send().await);
    authority.listen();
    let metadata = |issuer: &str, jwks: &str| document(&json!({ "issuer": issuer, "jwks_uri": jwks }));
    for (what, says) in [
        ("another issuer", metadata("https://another.test", &jwks)),
        ("nearly the issuer", metadata(&format!("{issuer}/"), &jwks)),
        (
            "keys in the clear",
            metadata(&issuer, "http://authority.test/jwks"),
        ),
        ("no keys", document(&json!({ "issuer": issuer }))),
        ("no metadata", http("404 Not Found", "text/html", b"")),
    ] {
        println!("{what}");
        authority.says(says);
        let seen = authority.strayed.load(Ordering::SeqCst);
        refused_until(&app, what, || authority.strayed.load(Ordering::SeqCst) > seen).await;
        unavailable(&app.sign().send().await);
    }
    assert_eq!(authority.asked(), 0, "no key set was fetched");
    // One document for both, as each ignores what the other has.
    let mut both = set(&[(&app.mint.authority, "authority-1")]);
    both["issuer"] = json!(issuer);
    both["jwks_uri"] = json!(jwks);
    authority.says(document(&both));
    recovers(&app, &issuer).await;
    let answer = app.sign().send().await;
    answer.refused(401, "invalid_token", "authentication");
}
