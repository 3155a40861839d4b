//! The memory against a naive model that keeps the whole history and looks at all of it for every question.

use proptest::prelude::*;

use super::*;
use crate::testing;

const POSITIVE: u64 = 60;
const NEGATIVE: u64 = 5;
const GRACE: u64 = 200;
const PROOFS: u8 = 4;

fn policy() -> EntitlementPolicy {
    EntitlementPolicy {
        positive_ttl: Duration::from_secs(POSITIVE),
        negative_ttl: Duration::from_secs(NEGATIVE),
        grace: Duration::from_secs(GRACE),
        ..testing::tuning().entitlement
    }
}

fn digest(proof: u8) -> Sha256Digest {
    Sha256Digest([proof; 32])
}

/// Proofs 0 and 1 are of one licence, 2 and 3 of another.
fn license(proof: u8) -> String {
    format!("lic-{}", proof / 2)
}

fn at(second: i64) -> DateTime<Utc> {
    testing::NOW() + TimeDelta::seconds(second)
}

fn facts(proof: u8, expires: i64) -> Arc<Entitlement> {
    Arc::new(Entitlement {
        license: license(proof),
        expires: at(expires),
        ..testing::entitlement()
    })
}

#[derive(Clone, Copy, Debug)]
enum Says {
    /// Active, ending after the token (then nothing is narrowed) or before it.
    Active(i64),
    Revoked,
    Mismatch,
    Down,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A request with this proof; asks Licensing when nothing is known and no question is under way.
    Request(u8),
    /// Licensing answers the oldest question about this proof.
    Answer(u8, Says),
    /// Time passes on both clocks.
    Pass(u64),
    /// Someone sets the wall clock.
    Set(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let says = prop_oneof![
        4 => (0i64..400).prop_map(Says::Active),
        1 => Just(Says::Revoked),
        1 => Just(Says::Mismatch),
        3 => Just(Says::Down),
    ];
    let step = prop_oneof![
        6 => (0..PROOFS).prop_map(Step::Request),
        6 => (0..PROOFS, says).prop_map(|(proof, says)| Step::Answer(proof, says)),
        3 => (1u64..90).prop_map(Step::Pass),
        1 => (-300i64..300).prop_map(Step::Set),
    ];
    proptest::collection::vec(step, 1..120)
}

/// `exp` of a token.
fn own_expiry(proof: u8) -> i64 {
    150 + 100 * i64::from(proof)
}

#[derive(Clone, Debug)]
enum Event {
    Confirmed {
        proof: u8,
        at: u64,
        wall: i64,
        asked: usize,
        expires: i64,
    },
    Refused {
        proof: u8,
        at: u64,
        why: EntitlementError,
    },
    Served {
        proof: u8,
        at: u64,
    },
    Revoked {
        license: String,
    },
    Forgotten {
        proof: u8,
    },
    Asked,
}

/// Everything that happened; seconds instead of clocks.
#[derive(Debug, Default)]
struct Model {
    history: Vec<Event>,
    monotonic: u64,
    wall: i64,
}

/// The last confirmation that still counts.
struct Last {
    at: u64,
    asked: usize,
    expires: i64,
    /// Latest wall time that any confirmation of this proof implies for now.
    wall: i64,
    /// When a fallback last served it.
    served: Option<u64>,
}

impl Model {
    fn last(&self, proof: u8) -> Option<Last> {
        let mut last: Option<Last> = None;
        for event in &self.history {
            match event {
                Event::Confirmed {
                    proof: of,
                    at,
                    wall,
                    asked,
                    expires,
                } if *of == proof => {
                    let implied = wall + (self.monotonic as i64 - *at as i64);
                    let before = last.map_or(i64::MIN, |last| last.wall);
                    let wall = implied.max(before).max(self.wall);
                    last = Some(Last {
                        at: *at,
                        asked: *asked,
                        expires: *expires,
                        wall,
                        served: None,
                    });
                }
                Event::Refused { proof: of, why, .. }
                    if *of == proof && *why != EntitlementError::Expired =>
                {
                    last = None
                }
                Event::Forgotten { proof: of } if *of == proof => last = None,
                Event::Served { proof: of, at } if *of == proof => {
                    last.iter_mut().for_each(|last| last.served = Some(*at));
                }
                _ => {}
            }
        }
        last
    }

    fn revoked_since(&self, proof: u8, asked: usize) -> bool {
        let mine = license(proof);
        self.history[asked..]
            .iter()
            .any(|event| matches!(event, Event::Revoked { license } if *license == mine))
    }

    fn refusal(&self, proof: u8) -> Option<EntitlementError> {
        self.history.iter().rev().find_map(|event| match event {
            Event::Confirmed { proof: of, .. } if *of == proof => Some(None),
            Event::Refused { proof: of, at, why } if *of == proof => {
                Some((self.monotonic < at + NEGATIVE).then(|| why.clone()))
            }
            _ => None,
        })?
    }

    /// `None`: has to be asked.
    fn look_up(&mut self, proof: u8) -> Option<Result<i64, EntitlementError>> {
        if let Some(why) = self.refusal(proof) {
            return Some(Err(why));
        }
        let last = self.last(proof)?;
        if self.revoked_since(proof, last.asked) {
            self.history.push(Event::Forgotten { proof });
            return None;
        }
        if own_expiry(proof) <= last.wall {
            return Some(Err(EntitlementError::Expired));
        }
        let fresh = match last.served {
            Some(served) => self.monotonic < served + NEGATIVE && self.monotonic < last.at + GRACE,
            None => self.monotonic < last.at + POSITIVE,
        };
        match (fresh, last.expires <= last.wall) {
            (false, _) => None,
            (true, true) => Some(Err(EntitlementError::Expired)),
            (true, false) => Some(Ok(last.expires)),
        }
    }

    fn confirm(&mut self, proof: u8, asked: usize, expires: i64) -> Option<Result<i64, EntitlementError>> {
        if self.revoked_since(proof, asked) {
            return None;
        }
        let (at, wall) = (self.monotonic, self.wall);
        self.history.push(Event::Confirmed {
            proof,
            at,
            wall,
            asked,
            expires,
        });
        if self.last(proof)?.wall >= expires {
            return Some(self.refuse(proof, EntitlementError::Expired));
        }
        Some(Ok(expires))
    }

    fn refuse(&mut self, proof: u8, why: EntitlementError) -> Result<i64, EntitlementError> {
        let at = self.monotonic;
        self.history.push(Event::Refused {
            proof,
            at,
            why: why.clone(),
        });
        Err(why)
    }

    fn fall_back(&mut self, proof: u8) -> Result<i64, EntitlementError> {
        let Some(last) = self.last(proof) else {
            return Err(EntitlementError::Unavailable);
        };
        if self.revoked_since(proof, last.asked) {
            return Err(EntitlementError::Unavailable);
        }
        if last.expires <= last.wall {
            return Err(EntitlementError::Expired);
        }
        if self.monotonic >= last.at + GRACE {
            return Err(EntitlementError::Unavailable);
        }
        let at = self.monotonic;
        self.history.push(Event::Served { proof, at });
        Ok(last.expires)
    }
}

fn seen(resolved: &Resolved) -> Result<i64, EntitlementError> {
    let seconds = |facts: &Arc<Entitlement>| (facts.expires - testing::NOW()).num_seconds();
    resolved.as_ref().map(seconds).map_err(Clone::clone)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_memory_is_that_of_a_perfect_witness(steps in steps()) {
        let (mut memory, mut model) = (Memory::new(&policy()), Model { wall: 0, ..Model::default() });
        // Questions under way, by proof: one at most, as flights are shared.
        let mut flights: Vec<Option<(Turn, usize)>> = vec![None; usize::from(PROOFS)];
        let mut online: Vec<Option<u64>> = vec![None; usize::from(PROOFS)];
        for step in steps {
            let now = Now { monotonic: Duration::from_secs(model.monotonic), wall: at(model.wall) };
            match step {
                Step::Pass(seconds) => {
                    model.monotonic += seconds;
                    model.wall += seconds as i64;
                }
                Step::Set(by) => model.wall += by,
                Step::Request(proof) => {
                    let got = memory.look_up(&digest(proof), now);
                    let expected = model.look_up(proof);
                    prop_assert_eq!(got.as_ref().map(seen), expected.clone());
                    if let Some(Ok(_)) = got {
                        let confirmed = online[usize::from(proof)].expect("confirmed online");
                        prop_assert!(model.monotonic < confirmed + POSITIVE.max(GRACE));
                    }
                    let flight = &mut flights[usize::from(proof)];
                    if expected.is_none() && flight.is_none() {
                        model.history.push(Event::Asked);
                        *flight = Some((memory.ask(), model.history.len()));
                    }
                }
                Step::Answer(proof, says) => {
                    let Some((turn, asked)) = flights[usize::from(proof)].take() else { continue };
                    let (got, expected) = match says {
                        Says::Active(expires) => {
                            let expires = expires.min(own_expiry(proof));
                            let active = Active {
                                facts: facts(proof, expires),
                                own_expiry: at(own_expiry(proof)),
                                asked: turn,
                            };
                            let got = memory.confirm(digest(proof), active, now);
                            let expected = model.confirm(proof, asked, expires);
                            if got.is_some() {
                                online[usize::from(proof)] = Some(model.monotonic);
                            }
                            (got, expected)
                        }
                        Says::Revoked => {
                            let got = memory.revoke(digest(proof), &license(proof), now);
                            model.history.push(Event::Revoked { license: license(proof) });
                            (Some(got), Some(model.refuse(proof, EntitlementError::Revoked)))
                        }
                        Says::Mismatch => {
                            let why = EntitlementError::Invalid("another".into());
                            let got = memory.refuse(digest(proof), why.clone(), now);
                            (Some(got), Some(model.refuse(proof, why)))
                        }
                        Says::Down => (Some(memory.fall_back(&digest(proof), now)), Some(model.fall_back(proof))),
                    };
                    prop_assert_eq!(got.as_ref().map(seen), expected);
                }
            }
        }
    }
}

#[test]
fn a_revocation_forgotten_by_name_counts_for_every_licence() {
    let two = NonZeroUsize::MIN.saturating_add(1);
    let mut memory = Memory::with_room_for(&policy(), two);
    let now = Now {
        monotonic: Duration::ZERO,
        wall: testing::NOW(),
    };
    let confirm = |memory: &mut Memory, proof: u8| {
        let asked = memory.ask();
        let active = Active {
            facts: facts(proof, 500),
            own_expiry: at(500),
            asked,
        };
        assert!(memory.confirm(digest(proof), active, now).is_some());
    };
    confirm(&mut memory, 0);
    let _ = memory.revoke(digest(100), "lic-0", now);
    for other in ["x", "y"] {
        let _ = memory.revoke(digest(101), other, now);
    }
    confirm(&mut memory, 2);
    assert_eq!(
        memory.look_up(&digest(0), now),
        None,
        "lic-0 is forgotten, not forgiven"
    );
    assert!(
        matches!(memory.look_up(&digest(2), now), Some(Ok(_))),
        "confirmed after all of them"
    );
    assert_eq!(
        memory.fall_back(&digest(0), now),
        Err(EntitlementError::Unavailable)
    );
}

#[test]
fn no_answer_is_believed_longer_than_the_contract_allows() {
    let hour = Duration::from_secs(3600);
    let lenient = EntitlementPolicy {
        positive_ttl: hour,
        negative_ttl: hour,
        ..policy()
    };
    let mut memory = Memory::new(&lenient);
    let now = |second| Now {
        monotonic: Duration::from_secs(second),
        wall: testing::NOW(),
    };
    let asked = memory.ask();
    let active = Active {
        facts: facts(0, 4000),
        own_expiry: at(4000),
        asked,
    };
    assert!(memory.confirm(digest(0), active, now(0)).is_some());
    let _ = memory.refuse(digest(1), EntitlementError::Revoked, now(0));
    assert!(memory.look_up(&digest(0), now(119)).is_some());
    assert_eq!(memory.look_up(&digest(0), now(120)), None);
    assert!(memory.look_up(&digest(1), now(9)).is_some());
    assert_eq!(memory.look_up(&digest(1), now(10)), None);
}
