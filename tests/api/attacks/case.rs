//! One attack, or one honest request that looks like one: a good request with one thing changed, and what must come of it.

use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use signer_actors::ports::{Clock, SystemClock};
use tokio::net::TcpSocket;

use crate::support::{Answer, Call, Draft, Raw, World};

/// Changes a good request.
pub(crate) type Change = Rc<dyn for<'a> Fn(Call<'a>) -> Call<'a>>;

/// What must come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// 200; from the endpoint that signs, with a bundle.
    Accepted,
    /// A problem document: status, code, stage.
    Refused(u16, &'static str, &'static str),
    /// The same, with a challenge that names no error: there are no credentials (RFC 6750 §3.1).
    Unknown,
    /// HTTP itself is broken: an error or nothing, and the connection ends.
    Unread,
}

/// 401 by the token.
pub(crate) const TOKEN: Expected = Expected::Refused(401, "invalid_token", "authentication");
/// 401 by the proof.
pub(crate) const PROOF: Expected = Expected::Refused(401, "invalid_dpop_proof", "authentication");
/// 401 by the missing nonce.
pub(crate) const NONCE: Expected = Expected::Refused(401, "use_dpop_nonce", "authentication");
/// 403 by the proof of entitlement.
pub(crate) const POE: Expected = Expected::Refused(403, "entitlement_invalid", "entitlement");

/// What happens before the request that counts.
enum Before {
    Nothing,
    /// The very same bytes are accepted once.
    Itself,
    /// This other request is accepted.
    Another(Change),
}

/// One row of a table.
pub(crate) struct Case {
    pub(crate) name: String,
    change: Change,
    before: Before,
    pub(crate) expected: Expected,
    /// Holds only if the answer is there within a second of the request being made.
    timely: bool,
    /// How much later than what happens before, in seconds.
    later: i64,
    /// The address that the request comes from.
    from: [u8; 4],
}

/// The service's wall clock, which can be put forward and back.
#[derive(Debug, Default)]
pub(crate) struct Shifted {
    clock: SystemClock,
    seconds: AtomicI64,
}

impl Shifted {
    pub(crate) fn put(&self, seconds: i64) {
        self.seconds.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for Shifted {
    fn now(&self) -> DateTime<Utc> {
        self.clock.now() + TimeDelta::seconds(self.seconds.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// The service under attack.
pub(crate) struct Target<'a> {
    pub(crate) world: &'a World,
    pub(crate) base: &'a str,
    /// Its clock; without, cases cannot be [`Case::later`].
    pub(crate) clock: Option<&'a Shifted>,
    /// What a good request is there.
    pub(crate) good: &'a Change,
}

/// A request changed as a whole; refused unless said otherwise.
pub(crate) fn call(name: impl Into<String>, change: impl for<'a> Fn(Call<'a>) -> Call<'a> + 'static) -> Case {
    Case {
        name: name.into(),
        change: Rc::new(change),
        before: Before::Nothing,
        expected: TOKEN,
        timely: false,
        later: 0,
        from: [127, 0, 0, 1],
    }
}

/// A request with another token.
pub(crate) fn token(name: impl Into<String>, edit: impl Fn(&mut Draft) + 'static) -> Case {
    call(name, move |call| call.token(&edit))
}

/// A request with another proof.
pub(crate) fn proof(name: impl Into<String>, edit: impl Fn(&mut Draft) + 'static) -> Case {
    let edit = Rc::new(edit);
    call(name, move |call| {
        let edit = Rc::clone(&edit);
        call.proof(move |proof| edit(proof))
    })
    .expect(PROOF)
}

/// A request with another proof of entitlement.
pub(crate) fn poe(name: impl Into<String>, edit: impl Fn(&mut Draft) + 'static) -> Case {
    call(name, move |call| call.poe(&edit)).expect(POE)
}

impl Case {
    pub(crate) fn expect(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }

    pub(crate) fn refused(self, status: u16, code: &'static str, stage: &'static str) -> Self {
        self.expect(Expected::Refused(status, code, stage))
    }

    pub(crate) fn accepted(self) -> Self {
        self.expect(Expected::Accepted)
    }

    pub(crate) fn unread(self) -> Self {
        self.expect(Expected::Unread)
    }

    /// After this request, which is accepted.
    pub(crate) fn after(self, before: impl for<'a> Fn(Call<'a>) -> Call<'a> + 'static) -> Self {
        let before = Before::Another(Rc::new(before));
        Self { before, ..self }
    }

    /// After the very same bytes, which are accepted once.
    pub(crate) fn again(self) -> Self {
        let before = Before::Itself;
        Self { before, ..self }
    }

    /// At the edge of a second.
    pub(crate) fn timely(self) -> Self {
        Self { timely: true, ..self }
    }

    /// So many seconds after what happens before.
    pub(crate) fn later(self, seconds: i64) -> Self {
        Self {
            later: seconds,
            ..self
        }
    }

    /// From this address of the machine's own.
    pub(crate) fn from(self, from: [u8; 4]) -> Self {
        Self { from, ..self }
    }

    /// With one more change.
    pub(crate) fn but(self, more: impl for<'a> Fn(Call<'a>) -> Call<'a> + 'static) -> Self {
        let change = Rc::clone(&self.change);
        Self {
            change: Rc::new(move |call| more(change(call))),
            ..self
        }
    }

    /// A good request, changed.
    pub(crate) fn changed<'a>(&self, good: Call<'a>) -> Call<'a> {
        (self.change)(good)
    }

    /// Does it, and says how many signatures that should have made. Panics tell what went wrong.
    pub(crate) async fn check(&self, target: &Target<'_>) -> usize {
        let good = || (target.good)(target.world.sign());
        let put = |seconds: i64| match target.clock {
            Some(clock) => clock.put(seconds),
            None => assert_eq!(seconds, 0, "this service has no clock to put forward"),
        };
        let mut signed = 0;
        for _ in 0..20 {
            let begun = Instant::now();
            put(0);
            if let Before::Another(before) = &self.before {
                let (wire, secrets) = before(good()).on_the_wire();
                let answer = exchange(self.from, target.base, &wire, secrets).await.0;
                signed += accepted(&answer.expect("an answer"));
            }
            let (wire, secrets) = self.changed(good()).on_the_wire();
            if let Before::Itself = self.before {
                let answer = exchange(self.from, target.base, &wire, secrets.clone()).await.0;
                signed += accepted(&answer.expect("an answer"));
            }
            put(self.later);
            let (answer, closed) = exchange(self.from, target.base, &wire, secrets).await;
            if self.timely && begun.elapsed() > Duration::from_millis(950) {
                // Too slow to prove anything; whatever it was, it counts.
                signed += usize::from(answer.is_some_and(|answer| is_signed(&answer)));
                continue;
            }
            return signed + self.judge(answer, closed).await;
        }
        panic!("this machine is too slow to send a request within a second");
    }

    async fn judge(&self, answer: Option<Answer>, mut connection: Raw) -> usize {
        let Some(answer) = answer else {
            assert_eq!(self.expected, Expected::Unread, "there is no answer");
            return 0;
        };
        judge(self.expected, &answer);
        match self.expected {
            Expected::Accepted => usize::from(is_signed(&answer)),
            Expected::Unread => {
                assert!(connection.is_closed().await, "the connection goes on");
                0
            }
            Expected::Refused(..) | Expected::Unknown => 0,
        }
    }
}

/// One request on a connection of its own.
async fn exchange(from: [u8; 4], base: &str, wire: &[u8], secrets: Vec<String>) -> (Option<Answer>, Raw) {
    let address = base.trim_start_matches("http://").parse().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut raw = Raw::of(socket.connect(address).await.unwrap());
    raw.secret(secrets);
    raw.send(wire).await;
    let answer = raw.answer().await;
    (answer, raw)
}

fn accepted(answer: &Answer) -> usize {
    judge(Expected::Accepted, answer);
    usize::from(is_signed(answer))
}

/// True when there is anything of a signature in it.
fn is_signed(answer: &Answer) -> bool {
    let text = answer.text();
    text.contains("\"signatures\":[{") && text.contains("\"sig\"")
}

/// An answer is what was expected, wholly.
pub(crate) fn judge(expected: Expected, answer: &Answer) {
    let (status, code, stage) = match expected {
        Expected::Accepted => {
            answer.ok();
            return;
        }
        Expected::Unread => {
            assert!((400..=505).contains(&answer.status), "{}", answer.status);
            assert!(!is_signed(answer));
            return;
        }
        Expected::Unknown => (401, "invalid_token", "authentication"),
        Expected::Refused(status, code, stage) => (status, code, stage),
    };
    assert!(!is_signed(answer), "it is signed");
    let problem = answer.refused(status, code, stage);
    assert_eq!(answer.text().matches("bundle").count(), 0);
    let challenge = answer.header("www-authenticate");
    let algorithms = r#"algs="ES256 ES384 EdDSA Ed25519 PS256""#;
    // RFC 6750 §3: error_description has no quotes and no backslashes.
    let detail = problem["detail"].as_str().unwrap().replace(['"', '\\'], "");
    let error = match (expected, status) {
        (Expected::Unknown, _) => String::new(),
        _ if code == "insufficient_scope" => {
            let scope = detail.rsplit(' ').next().unwrap();
            assert!(["signer.sign", "signer.verify"].contains(&scope), "{scope}");
            format!(r#"error="{code}", error_description="{detail}", scope="{scope}""#)
        }
        (_, 401) => format!(r#"error="{code}", error_description="{detail}""#),
        _ => return assert_eq!(challenge, None),
    };
    let told = if error.is_empty() {
        format!("DPoP {algorithms}")
    } else {
        format!("DPoP {error}, {algorithms}")
    };
    // Where certificates count, Bearer is a scheme, too, and the one that was used tells the error (RFC 9449 §7.2).
    let whole = [
        told.clone(),
        format!(r#"{told}, Bearer realm="signer""#),
        format!("{told}, Bearer {error}"),
        format!("DPoP {algorithms}, Bearer {error}"),
    ];
    assert!(
        whole.iter().any(|whole| challenge == Some(whole)),
        "{challenge:?}"
    );
}
