//! The table against its definition, and against clocks that wander.

use super::*;

const WINDOW: Duration = Duration::from_secs(60);
/// 60 s past, 30 s ahead, 1 s for fractions (contract §3); the second in which it was recorded had begun already.
const KEPT: i64 = 92;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).expect("a time")
}

/// With a steady clock: the monotonic one began when the wall showed 0.
fn steady(second: i64) -> Moment {
    clocks(second, second)
}

fn clocks(wall: i64, monotonic: i64) -> Moment {
    Moment {
        wall: at(wall),
        monotonic: Duration::from_secs(monotonic.unsigned_abs()),
    }
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).expect("a tenant")
}

fn proof(id: u8, issued: i64) -> VerifiedProof {
    VerifiedProof {
        thumbprint: Sha256Digest([0; 32]),
        replay_id: Sha256Digest([id; 32]),
        issued: at(issued),
        nonce: None,
        body: None,
    }
}

fn table(capacity: usize) -> ReplayTable {
    ReplayTable::new(capacity, at(1000))
}

impl ReplayTable {
    fn take(&mut self, whose: &str, proof: &VerifiedProof, now: Moment) -> Result<(), ReplayError> {
        self.spend(&tenant(whose), proof, WINDOW, 0, now)
    }

    fn forget_all(&mut self, now: Moment) {
        self.forget(now, usize::MAX);
    }
}

#[test]
fn a_proof_is_spent_once_for_as_long_as_it_could_be_accepted() {
    let mut table = table(100);
    // 30 s in the future: acceptable for up to 90 s after now.
    let early = proof(1, 1030);
    assert_eq!(table.take("acme", &early, steady(1000)), Ok(()));
    for later in [1000, 1060, 1090, 1091] {
        table.forget_all(steady(later));
        assert_eq!(
            table.take("acme", &early, steady(later)),
            Err(ReplayError::Spent),
            "{later}"
        );
    }
    table.forget_all(steady(1000 + KEPT));
    assert!(table.is_empty() && table.tenants.slot_of.is_empty() && table.batches.is_empty());
}

#[test]
fn a_clock_that_leaps_ahead_and_comes_back_frees_nothing() {
    let mut table = table(100);
    let spent = proof(1, 1000);
    assert_eq!(table.take("acme", &spent, steady(1000)), Ok(()));
    // An hour ahead, for ten seconds.
    assert_eq!(table.take("acme", &proof(2, 4605), clocks(4605, 1005)), Ok(()));
    assert_eq!(table.take("acme", &spent, steady(1010)), Err(ReplayError::Spent));
    assert_eq!(
        table.take("acme", &proof(3, 1010), steady(1010)),
        Ok(()),
        "and costs honest callers nothing"
    );
    table.forget_all(steady(1200));
    assert_eq!(table.len(), 1, "what was made in that future waits for it");
    assert_eq!(
        table.take("acme", &proof(2, 4605), steady(4605)),
        Err(ReplayError::Spent)
    );
    table.forget_all(steady(4666));
    assert!(table.is_empty());
}

#[test]
fn after_a_step_back_what_may_have_been_forgotten_is_refused() {
    let mut table = table(100);
    assert_eq!(table.take("acme", &proof(1, 5000), steady(5000)), Ok(()));
    table.forget_all(steady(5000 + KEPT));
    assert!(table.is_empty());
    // Two minutes back: 5000 is in the window again.
    let now = clocks(4980, 5100);
    for issued in [4980, 4999, 5000] {
        let with_nonce = VerifiedProof {
            nonce: Some(0),
            ..proof(1, issued)
        };
        assert_eq!(
            table.take("acme", &with_nonce, now),
            Err(ReplayError::Forgotten),
            "a nonce of the first time that the clock showed this is good again"
        );
    }
    assert_eq!(table.take("acme", &proof(2, 5001), now), Ok(()));
}

#[test]
fn a_proof_that_was_checked_long_before_it_is_spent_is_not_spent_twice() {
    // Sixty seconds old when both copies were checked; the second waited in the mailbox.
    let mut table = table(100);
    let ahead = proof(1, 1030);
    assert_eq!(table.take("acme", &ahead, steady(1000)), Ok(()));
    table.forget_all(steady(1092));
    assert_eq!(
        table.take("acme", &ahead, steady(1095)),
        Err(ReplayError::Forgotten)
    );
}

#[test]
fn a_full_store_refuses_and_forgets_nothing() {
    let mut table = table(16);
    for (id, name) in (0..16u8).zip((0..8).flat_map(|t| [format!("t{t}"), format!("t{t}")])) {
        assert_eq!(table.take(&name, &proof(id, 1000), steady(1000)), Ok(()));
    }
    let newcomer = proof(99, 1000);
    assert_eq!(table.take("new", &newcomer, steady(1000)), Err(ReplayError::Full));
    assert_eq!(
        table.take("t0", &proof(0, 1000), steady(1000)),
        Err(ReplayError::Spent)
    );
    let later = 1000 + KEPT;
    assert_eq!(table.take("new", &proof(99, later), steady(later)), Ok(()));
}

#[test]
fn one_tenant_holds_an_eighth_at_most() {
    let mut table = table(16);
    assert_eq!(table.take("acme", &proof(1, 1000), steady(1000)), Ok(()));
    assert_eq!(table.take("acme", &proof(2, 1000), steady(1000)), Ok(()));
    let third = proof(3, 1000);
    assert_eq!(table.take("acme", &third, steady(1000)), Err(ReplayError::Full));
    assert_eq!(table.take("other", &third, steady(1000)), Ok(()));
}

#[test]
fn a_proof_from_before_the_store_needs_a_nonce() {
    let mut table = table(16);
    let old = proof(1, 999);
    let mut spend =
        |proof: &VerifiedProof, ahead| table.spend(&tenant("a"), proof, WINDOW, ahead, steady(1001));
    assert_eq!(spend(&old, 0), Err(ReplayError::OlderThanStore));
    assert_eq!(spend(&proof(2, 1029), 30), Err(ReplayError::OlderThanStore));
    assert_eq!(spend(&proof(3, 1030), 30), Ok(()));
    let with_nonce = VerifiedProof {
        nonce: Some(0),
        ..old
    };
    assert_eq!(spend(&with_nonce, 0), Ok(()));
}

#[test]
fn forgetting_in_passing_keeps_up() {
    let mut table = table(100_000);
    let id = |n: u32| VerifiedProof {
        replay_id: Sha256Digest::of_parts(&[&n.to_be_bytes()]),
        ..proof(0, 1000)
    };
    for n in 0..5000 {
        assert_eq!(table.take("acme", &id(n), steady(1000)), Ok(()));
    }
    for n in 5000..5400 {
        let late = VerifiedProof {
            issued: at(2000),
            ..id(n)
        };
        assert_eq!(table.take("acme", &late, steady(2000)), Ok(()));
    }
    assert_eq!(table.len(), 400, "5000 in some 5000 / 16 spends");
}

/// The definition, without indexes.
#[derive(Default)]
struct Naive {
    /// Id, whose, second of its `iat`, second of the monotonic clock in which it was recorded.
    held: Vec<(u8, u8, i64, i64)>,
    forgotten: Option<i64>,
}

impl Naive {
    fn spend(
        &mut self,
        capacity: usize,
        tenant: u8,
        proof: &VerifiedProof,
        id: u8,
        ahead: i64,
        (wall, monotonic): (i64, i64),
    ) -> Result<(), ReplayError> {
        let issued = proof.issued.timestamp();
        let (kept, gone): (Vec<_>, Vec<_>) = self
            .held
            .iter()
            .partition(|(_, _, issued, recorded)| wall <= issued + 60 || monotonic < recorded + KEPT);
        self.held = kept;
        self.forgotten = self
            .forgotten
            .max(gone.iter().map(|(_, _, issued, _)| *issued).max());
        if self.held.iter().any(|(spent, ..)| *spent == id) {
            return Err(ReplayError::Spent);
        }
        if self.forgotten.is_some_and(|forgotten| issued <= forgotten) {
            return Err(ReplayError::Forgotten);
        }
        if issued < 1000 + ahead && proof.nonce.is_none() {
            return Err(ReplayError::OlderThanStore);
        }
        let held = self.held.iter().filter(|(_, whose, ..)| *whose == tenant).count();
        if self.held.len() == capacity || held >= std::cmp::max(1, capacity / 8) {
            return Err(ReplayError::Full);
        }
        self.held.push((id, tenant, issued, monotonic));
        Ok(())
    }
}

/// Mostly none, else small, else large, in milliseconds: what a wall clock does beside the monotonic one.
fn steps() -> impl proptest::strategy::Strategy<Value = i64> {
    proptest::prop_oneof![
        12 => proptest::strategy::Just(0i64),
        2 => -3_000i64..3_000,
        2 => -120_000i64..120_000,
        1 => -7_200_000i64..7_200_000,
    ]
}

/// A caller, an eavesdropper, and the checks of the verifier: window and nonce (RFC 9449 §4.3, §8).
struct Scene {
    table: ReplayTable,
    wall: i64,
    monotonic: i64,
    made: Vec<(VerifiedProof, Option<i64>)>,
    accepted: Vec<u32>,
}

impl Scene {
    const BIRTH: i64 = 1_000_000_000;

    fn new() -> Self {
        Self {
            table: ReplayTable::new(1_000_000, millis(Self::BIRTH)),
            wall: Self::BIRTH,
            monotonic: 0,
            made: Vec::new(),
            accepted: Vec::new(),
        }
    }

    fn pass(&mut self, time: i64, step: i64) {
        self.monotonic += time;
        self.wall = (self.wall + time + step).max(0);
    }

    fn nonce(&self) -> i64 {
        self.wall.div_euclid(60_000)
    }

    fn make(&mut self, age: i64, with_nonce: bool) -> usize {
        let id = u32::try_from(self.made.len()).expect("a small number");
        let proof = VerifiedProof {
            replay_id: Sha256Digest::of_parts(&[&id.to_be_bytes()]),
            issued: millis((self.wall - age).max(0)),
            nonce: with_nonce.then_some(0),
            ..proof(0, 0)
        };
        let nonce = with_nonce.then(|| self.nonce());
        self.made.push((proof, nonce));
        self.accepted.push(0);
        self.made.len() - 1
    }

    fn in_window(&self, which: usize) -> bool {
        let age = self.wall - self.made[which].0.issued.timestamp_millis();
        (-30_000..=60_000).contains(&age)
    }

    fn verifies(&self, which: usize) -> bool {
        let nonce = self.made[which].1;
        self.in_window(which) && nonce.is_none_or(|nonce| matches!(self.nonce() - nonce, 0 | 1))
    }

    fn spend(&mut self, which: usize) -> Result<(), ReplayError> {
        let now = Moment {
            wall: millis(self.wall),
            monotonic: Duration::from_millis(self.monotonic.unsigned_abs()),
        };
        let proof = &self.made[which].0;
        let result = self.table.spend(&tenant("acme"), proof, WINDOW, 30, now);
        self.accepted[which] += u32::from(result.is_ok());
        result
    }
}

fn millis(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at).expect("a time")
}

proptest::proptest! {
    #[test]
    fn the_table_is_its_naive_model(
        capacity in 1usize..40,
        ahead in proptest::sample::select(vec![0i64, 30]),
        walk in proptest::collection::vec(
            (0u8..12, 0u8..24, -30i64..61, proptest::bool::ANY, 0i64..40, steps()), 1..200),
    ) {
        let (mut table, mut naive) = (table(capacity), Naive::default());
        let (mut wall, mut monotonic) = (1000, 1000);
        for (whose, id, age, has_nonce, pause, step) in walk {
            monotonic += pause;
            wall = (wall + pause + step / 1000).max(0);
            let nonce = has_nonce.then_some(0);
            let proof = VerifiedProof { nonce, ..proof(id, (wall - age).max(0)) };
            let expected = naive.spend(capacity, whose, &proof, id, ahead, (wall, monotonic));
            let now = clocks(wall, monotonic);
            table.forget_all(now);
            let result = table.spend(&tenant(&format!("t{whose}")), &proof, WINDOW, ahead, now);
            proptest::prop_assert_eq!(result, expected);
            proptest::prop_assert_eq!(table.len(), naive.held.len());
            let held = table.tenants.slots.iter().flatten().map(|(_, held)| held).sum::<usize>();
            proptest::prop_assert_eq!(held, naive.held.len());
        }
    }

    /// Whatever the clocks do, also between the check of a proof and its spending.
    #[test]
    fn no_walk_of_the_clocks_spends_a_proof_twice(
        walk in proptest::collection::vec(
            (0i64..60_000, steps(), -30_000i64..60_001, proptest::bool::ANY, 0i64..12_000, steps(),
             proptest::collection::vec(proptest::sample::Index::arbitrary(), 0..6)), 1..150),
    ) {
        let mut scene = Scene::new();
        for (pause, step, age, with_nonce, wait, step_meanwhile, again) in walk {
            scene.pass(pause, step);
            let fresh = scene.make(age, with_nonce);
            let tried = again.iter().map(|which| which.index(scene.made.len())).chain([fresh]);
            let verified: Vec<_> = tried.filter(|which| scene.verifies(*which)).collect();
            scene.pass(wait, step_meanwhile);
            for which in verified {
                let _ = scene.spend(which);
                proptest::prop_assert!(scene.accepted[which] <= 1);
            }
        }
    }

    #[test]
    fn with_a_steady_clock_every_fresh_proof_is_accepted(
        walk in proptest::collection::vec(
            (0i64..60_000, -30_000i64..60_001, proptest::bool::ANY, 0i64..12_000), 1..200),
    ) {
        let mut scene = Scene::new();
        for (pause, age, with_nonce, wait) in walk {
            scene.pass(pause, 0);
            let which = scene.make(age, with_nonce);
            scene.pass(wait, 0);
            let surely_ours = with_nonce || scene.made[which].0.issued >= millis(Scene::BIRTH + 30_000);
            if scene.in_window(which) && surely_ours {
                proptest::prop_assert_eq!(scene.spend(which), Ok(()));
                proptest::prop_assert_eq!(scene.spend(which), Err(ReplayError::Spent));
            }
        }
    }
}

use proptest::arbitrary::Arbitrary as _;

use crate::domain::digest::Sha256Digest;

/// `cargo test --release -p signer-actors --lib -- --ignored --nocapture figures`
#[test]
#[ignore = "a measurement"]
fn figures() {
    let resident = || -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
        statm
            .split(' ')
            .nth(1)
            .expect("pages")
            .parse::<usize>()
            .expect("a number")
            * 4096
    };
    let tenants: Vec<_> = (0..100).map(|n| tenant(&format!("t{n}"))).collect();
    for count in [1_000_000u32, 4_000_000] {
        let (before, mut table) = (resident(), ReplayTable::new(8_000_000, at(0)));
        let mut worst = Duration::ZERO;
        let (mut spent, mut extra) = (Duration::ZERO, 0u32);
        // Half as many again, so that forgetting is in it.
        for n in 0..count * 3 / 2 {
            let (second, millis) = (i64::from(n / (count / 92)), u64::from(n % 1000));
            let proof = VerifiedProof {
                replay_id: Sha256Digest::of_parts(&[&n.to_be_bytes()]),
                ..proof(0, 1000 + second)
            };
            let now = Moment {
                wall: at(1000 + second),
                monotonic: Duration::from_millis((1000 + second).unsigned_abs() * 1000 + millis),
            };
            let begun = std::time::Instant::now();
            let result = table.spend(&tenants[n as usize % 100], &proof, WINDOW, 0, now);
            let took = begun.elapsed();
            assert_eq!(result, Ok(()));
            worst = worst.max(took);
            spent += took;
            extra += 1;
        }
        let bytes = resident().saturating_sub(before) / table.len();
        println!(
            "{} ids: {bytes} bytes each, {:?} a spend, {worst:?} the longest",
            table.len(),
            spent / extra
        );
    }
}
