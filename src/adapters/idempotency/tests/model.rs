//! Whatever happens in whatever order, with crashes in between: the store does what the model does.

use proptest::prelude::*;
use signer_actors::testing::IdempotencyModel;

use super::*;

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Event {
    Claim {
        key: u8,
        tenant: bool,
        request: u8,
        void: bool,
    },
    Begin(usize),
    Keep(usize),
    GiveUp(usize, End),
    Crash,
    Pass(u16),
    SetBack,
}

fn event() -> impl Strategy<Value = Event> {
    let end = prop_oneof![Just(End::Nothing), Just(End::Unknown)];
    prop_oneof![
        6 => (0..4u8, any::<bool>(), 0..2u8, any::<bool>())
            .prop_map(|(key, tenant, request, void)| Event::Claim { key, tenant, request, void }),
        4 => (0..6usize).prop_map(Event::Begin),
        4 => (0..6usize).prop_map(Event::Keep),
        3 => ((0..6usize), end).prop_map(|(which, end)| Event::GiveUp(which, end)),
        1 => Just(Event::Crash),
        2 => (0..2400u16).prop_map(Event::Pass),
        1 => Just(Event::SetBack),
    ]
}

async fn run(events: Vec<Event>, capacity: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = FakeClock::default();
    let mut model = IdempotencyModel::new(TTL, None, capacity);
    let open = || open_sized(folder.path(), &clock, capacity as u64).expect("opened");
    let mut store = Some(open());
    // Newest first: attempts that may still do something.
    let mut attempts: Vec<Claim> = Vec::new();
    for (number, event) in events.into_iter().enumerate() {
        let (this, now) = (store.as_ref().expect("open"), clock.monotonic());
        let attempt = |which: usize| attempts.get(which % attempts.len().max(1)).copied();
        match event {
            Event::Claim {
                key,
                tenant,
                request,
                void,
            } => {
                let tenant = if tenant { "acme" } else { "globex" };
                let mut claim = claim(tenant, &format!("k{key}"), request, number as u128 + 1);
                let mut found = this.claim(claim).await.expect("an answer");
                assert_eq!(found, model.claim(claim, now), "{event:?}");
                if let (true, Claimed::Kept { attempt, .. }) = (void, &found) {
                    claim.void = Some(*attempt);
                    found = this.claim(claim).await.expect("an answer");
                    assert_eq!(found, model.claim(claim, now), "{event:?}");
                }
                if matches!(found, Claimed::Taken { .. }) {
                    attempts.insert(0, claim);
                }
            }
            Event::Begin(which) => {
                if let Some(claim) = attempt(which) {
                    assert_eq!(this.begin(claim).await, Ok(model.begin(claim, now)), "{event:?}");
                }
            }
            Event::Keep(which) => {
                if let Some(claim) = attempt(which) {
                    let answer = Bytes::from(format!("answer of {}", claim.attempt));
                    let found = this.keep(claim, answer.clone()).await;
                    assert_eq!(found, Ok(model.keep(claim, answer, now)), "{event:?}");
                    // Like every hold, it is used up.
                    attempts.retain(|other| *other != claim);
                }
            }
            Event::GiveUp(which, end) => {
                if let Some(claim) = attempt(which) {
                    assert_eq!(this.give_up(claim, end).await, Ok(()));
                    model.give_up(claim, end);
                    attempts.retain(|other| *other != claim);
                }
            }
            Event::Crash => {
                // What was answered was durable, so that a clean end and a crash are the same to whoever asks next.
                drop(store.take());
                store = Some(open());
                model.crash();
                attempts.clear();
            }
            Event::Pass(seconds) => {
                clock.advance(Duration::from_secs(seconds.into()));
                model.tend(clock.monotonic());
                this.tend().await;
            }
            Event::SetBack => clock.set_back(Duration::from_secs(86_400)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_store_is_the_model(events in prop::collection::vec(event(), 1..60), capacity in 1..7usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(run(events, capacity));
    }
}
