//! The circuit alone, and against its promises.

use proptest::prelude::*;

use super::*;
use crate::domain::digest::Sha256Digest;

const POLICY: CircuitPolicy = CircuitPolicy {
    failures: 3,
    first: Duration::from_secs(1),
    longest: Duration::from_secs(8),
};
const NO_JITTER: Jitter = Jitter(0);

fn image(n: u8) -> ImageDigest {
    ImageDigest::from(Sha256Digest([n; 32]))
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A lookup from ask to answer at one instant; the witness that is to be asked, if the repository may be asked.
fn look_up(
    circuit: &mut Circuit,
    n: u8,
    outcome: Outcome,
    now: Duration,
) -> Result<Option<ImageDigest>, Duration> {
    let purpose = circuit.ask(now)?;
    Ok(circuit.told(purpose, image(n), outcome, now, NO_JITTER))
}

#[test]
fn a_repository_that_never_answered_is_left_alone_for_times_that_grow() {
    let mut circuit = Circuit::new(POLICY);
    for n in 0..3 {
        assert!(!circuit.is_open());
        assert_eq!(look_up(&mut circuit, n, Outcome::Failed, seconds(0)), Ok(None));
    }
    assert!(circuit.is_open());
    let mut now = seconds(0);
    for pause in [1, 2, 4, 8, 8, 8] {
        assert_eq!(circuit.ask(now), Err(seconds(pause)));
        now += seconds(pause);
        assert_eq!(look_up(&mut circuit, 9, Outcome::Failed, now), Ok(None));
    }
    now += seconds(8);
    assert_eq!(look_up(&mut circuit, 9, Outcome::Answered, now), Ok(None));
    assert!(!circuit.is_open());
    // And from the beginning.
    for n in 0..3 {
        look_up(&mut circuit, n, Outcome::Failed, now).expect("closed");
    }
    assert!(
        !circuit.is_open(),
        "the image that was answered is asked about first"
    );
}

#[test]
fn one_lookup_at_a_time_sees_whether_it_is_over() {
    let mut circuit = Circuit::new(POLICY);
    for n in 0..3 {
        look_up(&mut circuit, n, Outcome::Failed, seconds(0)).expect("closed");
    }
    assert_eq!(circuit.ask(seconds(1)), Ok(Purpose::Probe));
    assert_eq!(circuit.ask(seconds(1)), Err(POLICY.first));
    assert_eq!(circuit.ask(seconds(60)), Err(POLICY.first));
    // Nobody waited for its answer: the next may.
    circuit.told(Purpose::Probe, image(4), Outcome::Nothing, seconds(60), NO_JITTER);
    assert!(circuit.is_open());
    assert_eq!(circuit.ask(seconds(60)), Ok(Purpose::Probe));
    // Late news of a lookup from before changes nothing.
    circuit.told(Purpose::Lookup, image(1), Outcome::Failed, seconds(61), NO_JITTER);
    assert_eq!(circuit.ask(seconds(61)), Err(POLICY.first));
    circuit.told(Purpose::Probe, image(4), Outcome::Doubted, seconds(62), NO_JITTER);
    assert!(!circuit.is_open(), "a registry that refuses does answer");
}

#[test]
fn what_is_no_failure_of_the_registry_opens_nothing() {
    let mut circuit = Circuit::new(POLICY);
    for n in 0..100 {
        for outcome in [Outcome::Doubted, Outcome::Nothing, Outcome::Answered] {
            look_up(&mut circuit, n, outcome, seconds(0)).expect("closed");
        }
    }
    // Nor failures that are not in a row.
    for n in 0..100 {
        look_up(&mut circuit, n, Outcome::Failed, seconds(0)).expect("closed");
        look_up(&mut circuit, n, Outcome::Failed, seconds(0)).expect("closed");
        look_up(&mut circuit, n, Outcome::Trusted, seconds(0)).expect("closed");
    }
    assert!(!circuit.is_open());
}

#[test]
fn images_of_a_callers_choice_cannot_open_it() {
    let mut circuit = Circuit::new(POLICY);
    look_up(&mut circuit, 1, Outcome::Trusted, seconds(0)).expect("closed");
    // An image that is not trusted is no better witness than one that is.
    look_up(&mut circuit, 2, Outcome::Answered, seconds(0)).expect("closed");
    for round in 0..10 {
        let mut witness = None;
        for n in 10..13 {
            witness = look_up(&mut circuit, n, Outcome::Failed, seconds(round)).expect("closed");
        }
        assert_eq!(witness, Some(image(1)));
        // While it is asked about, the others go on, and it is asked about once.
        assert_eq!(
            look_up(&mut circuit, 14, Outcome::Failed, seconds(round)),
            Ok(None)
        );
        circuit.told(
            Purpose::Witness,
            image(1),
            Outcome::Trusted,
            seconds(round),
            NO_JITTER,
        );
        assert!(!circuit.is_open());
    }
    for n in 10..13 {
        look_up(&mut circuit, n, Outcome::Failed, seconds(20)).expect("closed");
    }
    circuit.told(
        Purpose::Witness,
        image(1),
        Outcome::Failed,
        seconds(20),
        NO_JITTER,
    );
    assert_eq!(circuit.ask(seconds(20)), Err(seconds(1)), "it fails, too");
    // Nor keep it open: a probe with such an image is not the last word.
    assert_eq!(
        look_up(&mut circuit, 10, Outcome::Failed, seconds(21)),
        Ok(Some(image(1)))
    );
    assert!(circuit.is_open());
    circuit.told(
        Purpose::Witness,
        image(1),
        Outcome::Trusted,
        seconds(22),
        NO_JITTER,
    );
    assert!(!circuit.is_open());
}

proptest! {
    /// Whatever happens: it is open for at most `longest` at a time, a repository that answers is asked again at once,
    /// and after every lookup has ended, it is never stuck.
    #[test]
    fn it_is_never_stuck(
        steps in prop::collection::vec((0..6_u8, 0..5_u8, 0..4000_u64, any::<u32>()), 1..200),
    ) {
        let mut circuit = Circuit::new(POLICY);
        let mut now = Duration::ZERO;
        let mut under_way: Vec<(Purpose, ImageDigest)> = Vec::new();
        for (n, what, millis, chance) in steps {
            now += Duration::from_millis(millis);
            if let Ok(purpose) = circuit.ask(now) {
                under_way.push((purpose, image(n)));
            }
            let witnesses = under_way.iter().filter(|(purpose, _)| *purpose == Purpose::Witness).count();
            prop_assert!(witnesses <= 1, "the witness is asked about twice");
            if under_way.is_empty() {
                prop_assert!(circuit.is_open());
                let wait = circuit.wait(now);
                prop_assert!(wait.is_some_and(|wait| wait <= POLICY.longest), "{wait:?}");
                continue;
            }
            let (purpose, which) = under_way.remove(usize::from(n) % under_way.len());
            let outcome = [Outcome::Trusted, Outcome::Answered, Outcome::Doubted, Outcome::Failed, Outcome::Nothing]
                [usize::from(what)];
            let witness = circuit.told(purpose, which, outcome, now, Jitter(chance));
            under_way.extend(witness.map(|witness| (Purpose::Witness, witness)));
            if matches!(outcome, Outcome::Trusted | Outcome::Answered) {
                prop_assert!(!circuit.is_open());
            }
        }
        // All ends well: what is under way does, and then the next that asks.
        for (purpose, which) in under_way {
            circuit.told(purpose, which, Outcome::Nothing, now, NO_JITTER);
        }
        now += POLICY.longest;
        prop_assert!(circuit.ask(now).is_ok());
    }
}
