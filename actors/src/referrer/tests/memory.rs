//! Against a model, with clocks that jump.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::domain::digest::Sha256Digest;
use crate::testing;

const TTL: Duration = Duration::from_secs(160);
const NEGATIVE: Duration = Duration::from_secs(10);

fn policy() -> ReferrerPolicy {
    ReferrerPolicy {
        positive_ttl: TTL,
        negative_ttl: NEGATIVE,
        ..testing::tuning().referrer
    }
}

fn key(image: u8) -> Key {
    (ImageDigest::from(Sha256Digest([image; 32])), None)
}

fn says(verdict: Verdict) -> Verdicted {
    Ok(Arc::new(testing::report(verdict)))
}

fn at(seconds: u64) -> Now {
    let past = Duration::from_secs(seconds);
    Now {
        monotonic: past,
        wall: testing::NOW() + past,
    }
}

const FIRST: Jitter = Jitter(0);
const LAST: Jitter = Jitter(u32::MAX);

#[test]
fn what_is_in_use_is_due_in_the_last_quarter_of_its_life() {
    for (jitter, due) in [(FIRST, 120), (LAST, 140)] {
        let mut memory = Memory::new(&policy());
        memory.put(key(1), &says(Verdict::Trusted), at(0), jitter);
        memory.put(key(2), &says(Verdict::Trusted), at(0), jitter);
        assert!(memory.look_up(&key(1), at(1)).is_some());
        assert_eq!(memory.next_due(at(due - 1)), None);
        assert_eq!(memory.next_due(at(due)), Some(key(1)));
        assert_eq!(memory.next_due(at(159)), None, "it is handed out once");
        assert!(memory.look_up(&key(1), at(159)).is_some(), "it counts meanwhile");
        assert_eq!(memory.look_up(&key(1), at(160)), None, "and no longer");
        assert_eq!(memory.next_due(at(1000)), None, "nobody wants the other");
    }
}

#[test]
fn what_comes_into_use_late_is_due_at_once() {
    let mut memory = Memory::new(&policy());
    memory.put(key(1), &says(Verdict::Trusted), at(0), FIRST);
    assert_eq!(memory.next_due(at(150)), None);
    assert!(memory.look_up(&key(1), at(151)).is_some());
    assert!(memory.look_up(&key(1), at(151)).is_some());
    assert_eq!(memory.next_due(at(151)), Some(key(1)));
    assert_eq!(memory.next_due(at(151)), None);
}

#[test]
fn a_failed_refresh_is_tried_again_and_prolongs_nothing() {
    let mut memory = Memory::new(&policy());
    memory.put(key(1), &says(Verdict::Trusted), at(0), FIRST);
    memory.look_up(&key(1), at(0));
    let mut tries = Vec::new();
    for second in 0..400 {
        if let Some(key) = memory.next_due(at(second)) {
            tries.push(second);
            memory.retry(&key, at(second), LAST);
        }
    }
    // A thirty-second part of the TTL and half of it again: 7.5 s.
    assert_eq!(tries, [120, 128, 136, 144, 152]);
    assert_eq!(memory.look_up(&key(1), at(160)), None);
}

#[test]
fn an_image_that_is_no_longer_trusted_is_so_at_once() {
    for verdicted in [
        says(Verdict::Untrusted),
        says(Verdict::Unsigned),
        Err(ReferrerError::NotFound),
    ] {
        let mut memory = Memory::new(&policy());
        memory.put(key(1), &says(Verdict::Trusted), at(0), FIRST);
        memory.put(key(1), &verdicted, at(1), FIRST);
        assert_eq!(memory.look_up(&key(1), at(1)), Some(verdicted));
        assert_eq!(
            memory.look_up(&key(1), at(11)),
            None,
            "the old one does not return"
        );
        memory.put(key(1), &says(Verdict::Trusted), at(12), FIRST);
        assert_eq!(memory.look_up(&key(1), at(12)), Some(says(Verdict::Trusted)));
    }
}

#[test]
fn refusals_push_out_no_trusted_verdict() {
    let mut memory = Memory::new(&policy());
    memory.put(key(1), &says(Verdict::Trusted), at(0), FIRST);
    for n in 0..5000_u32 {
        let image = ImageDigest::from(Sha256Digest::of(&n.to_be_bytes()));
        memory.put((image, None), &Err(ReferrerError::NotFound), at(0), FIRST);
    }
    assert!(memory.look_up(&key(1), at(1)).is_some());
    assert_eq!(memory.refused.len(), 1000);
    // Of trusted ones, the least recently used goes, and its place in the schedule with it.
    for n in 0..5000_u32 {
        let image = ImageDigest::from(Sha256Digest::of(&n.to_be_bytes()));
        memory.put((image, None), &says(Verdict::Trusted), at(0), FIRST);
    }
    assert_eq!(memory.look_up(&key(1), at(1)), None);
    assert_eq!((memory.trusted.len(), memory.schedule.len()), (1000, 1000));
}

#[test]
fn a_machine_that_slept_believes_nothing_from_before() {
    let mut memory = Memory::new(&policy());
    memory.put(key(1), &says(Verdict::Trusted), at(0), FIRST);
    // The monotonic clock may not have moved meanwhile.
    let awake = Now {
        monotonic: Duration::from_secs(1),
        ..at(3600)
    };
    assert_eq!(memory.look_up(&key(1), awake), None);
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u8),
    Found(u8, Option<Verdict>),
    Pass(u64),
    Set(i64),
    /// Takes what is due, as far as there is room, and lets refreshes end so.
    Refresh(Vec<Option<Verdict>>),
}

fn verdict() -> impl Strategy<Value = Option<Verdict>> {
    prop_oneof![
        4 => Just(Some(Verdict::Trusted)),
        1 => Just(Some(Verdict::Untrusted)),
        1 => Just(Some(Verdict::Unsigned)),
        2 => Just(None),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..4_u8).prop_map(Step::Ask),
        2 => (0..4_u8, verdict()).prop_map(|(image, verdict)| Step::Found(image, verdict)),
        4 => (0..60_u64).prop_map(Step::Pass),
        1 => (-400..400_i64).prop_map(Step::Set),
        3 => prop::collection::vec(verdict(), 0..5).prop_map(Step::Refresh),
    ]
}

/// What is known of an image by the rules alone.
#[derive(Clone, Debug)]
struct Known {
    verdicted: Verdicted,
    born: Now,
    /// Some clock has said that it is too old. It may be gone, even if the clock is set back.
    was_old: bool,
    used: bool,
    /// Not due before this.
    rests_until: Duration,
}

impl Known {
    fn is_trusted(&self) -> bool {
        self.verdicted == says(Verdict::Trusted)
    }

    fn is_old(&self, now: Now) -> bool {
        let ttl = if self.is_trusted() { TTL } else { NEGATIVE };
        let wall = (now.wall - self.born.wall).num_seconds();
        now.monotonic - self.born.monotonic >= ttl || wall >= ttl.as_secs() as i64
    }
}

proptest! {
    #[test]
    fn memory_keeps_to_the_rules(steps in prop::collection::vec((step(), any::<u32>()), 1..120)) {
        let mut memory = Memory::new(&policy());
        let mut known: HashMap<Key, Known> = HashMap::new();
        let mut now = at(1000);
        for (step, chance) in steps {
            let jitter = Jitter(chance);
            let put = |memory: &mut Memory, known: &mut HashMap<Key, Known>, key: Key, verdicted: Verdicted| {
                memory.put(key.clone(), &verdicted, now, jitter);
                known.insert(key, Known { verdicted, born: now, was_old: false, used: false, rests_until: Duration::ZERO });
            };
            match step {
                Step::Ask(image) => {
                    let key = key(image);
                    let answer = memory.look_up(&key, now);
                    match known.get_mut(&key) {
                        None => prop_assert_eq!(answer, None),
                        Some(entry) => {
                            if entry.is_old(now) {
                                prop_assert_eq!(&answer, &None);
                            } else if !entry.was_old {
                                prop_assert_eq!(&answer, &Some(entry.verdicted.clone()));
                            }
                            if answer.is_none() {
                                known.remove(&key);
                            } else {
                                entry.used = true;
                            }
                        }
                    }
                }
                Step::Found(image, verdict) => {
                    let verdicted = verdict.map_or(Err(ReferrerError::NotFound), says);
                    put(&mut memory, &mut known, key(image), verdicted);
                }
                Step::Pass(seconds) => {
                    let past = Duration::from_secs(seconds);
                    now = Now { monotonic: now.monotonic + past, wall: now.wall + past };
                }
                Step::Set(seconds) => now.wall += chrono::TimeDelta::seconds(seconds),
                Step::Refresh(ends) => {
                    let mut handed = Vec::new();
                    for end in &ends {
                        let Some(key) = memory.next_due(now) else { break };
                        let entry = known.get(&key).expect("it was established");
                        let age = now.monotonic - entry.born.monotonic;
                        prop_assert!(entry.is_trusted() && entry.used && !entry.is_old(now));
                        prop_assert!(age >= TTL * 3 / 4 && now.monotonic >= entry.rests_until);
                        prop_assert!(!handed.contains(&key), "handed out twice");
                        handed.push(key.clone());
                        match end {
                            Some(verdict) => put(&mut memory, &mut known, key, says(*verdict)),
                            None => {
                                memory.retry(&key, now, jitter);
                                known.get_mut(&key).expect("as before").rests_until = now.monotonic + TTL / 32;
                            }
                        }
                    }
                    if handed.len() < ends.len() {
                        // Nothing that has to be refreshed was left out.
                        for (key, entry) in &known {
                            let age = now.monotonic - entry.born.monotonic;
                            let overdue = entry.is_trusted() && entry.used && !entry.was_old && !entry.is_old(now)
                                && age >= TTL * 7 / 8 && now.monotonic >= entry.rests_until + TTL / 64;
                            prop_assert!(!overdue, "{:?} is overdue", key.0);
                        }
                    }
                }
            }
            for entry in known.values_mut() {
                entry.was_old |= entry.is_old(now);
            }
            prop_assert!(memory.schedule.len() <= memory.trusted.len());
        }
    }
}
