//! Idempotency keys: what is sent, and how answers are understood.

use bytes::Bytes;
use signer_actors::domain::idempotency::{IdempotencyKey, Scope, ScopedKey};
use signer_actors::domain::ids::AuditId;
use signer_actors::domain::tenant::InstallationId;
use signer_actors::ports::{Claim, Claimed, End, IdempotencyStore, Ownership};
use uuid::Uuid;

use super::*;

fn claim() -> Claim {
    let tenant = TenantId::parse("acme").expect("a tenant");
    let installation = InstallationId::parse("i").expect("an installation");
    let scope = Scope {
        tenant: &tenant,
        installation: &installation,
        client: "c",
        subject: "s",
        route: "r",
    };
    let key = IdempotencyKey::parse(b"k").expect("a key");
    Claim {
        key: ScopedKey::new(&scope, &key),
        request: Sha256Digest([1; 32]),
        attempt: AuditId(Uuid::from_u128(1)),
        void: None,
    }
}

/// As the server would send it: a word, its time, the birth, and these strings.
macro_rules! answer {
    ($count:literal, $word:literal $(, $text:literal)*) => {
        Mood::Raw(concat!("*", $count, "\r\n", $word, ":1790000000000000\r\n:1790000000000000\r\n" $(, $text)*).as_bytes())
    };
}

#[tokio::test]
async fn what_a_claim_is_told_is_understood() {
    let attempt = AuditId(Uuid::from_bytes(*b"0123456789abcdef"));
    for (mood, expected) in [
        (Mood::Word("ok"), Claimed::Taken { earlier: None }),
        (Mood::Word("other"), Claimed::OtherRequest),
        (Mood::Word("busy"), Claimed::InFlight),
        (Mood::Word("full"), Claimed::Full),
        (
            answer!("4", "$5\r\nagain\r\n", "$16\r\n0123456789abcdef\r\n"),
            Claimed::Taken {
                earlier: Some(attempt),
            },
        ),
        (
            answer!(
                "5",
                "$4\r\nkept\r\n",
                "$16\r\n0123456789abcdef\r\n",
                "$6\r\nanswer\r\n"
            ),
            Claimed::Kept {
                attempt,
                answer: Bytes::from_static(b"answer"),
            },
        ),
    ] {
        let bench = bench(mood.clone()).await;
        assert_eq!(bench.state.claim(claim()).await, Ok(expected), "{mood:?}");
        assert!(bench.counts.0.borrow().is_empty(), "{mood:?}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_no_answer() {
    for mood in [
        Mood::Word("again"),
        Mood::Word("kept"),
        Mood::Word("whatever"),
        Mood::Hung,
        Mood::Cut,
        Mood::Error("OOM command not allowed when used memory > 'maxmemory'."),
        answer!("4", "$5\r\nagain\r\n", "$5\r\nshort\r\n"),
        answer!("4", "$4\r\nkept\r\n", "$16\r\n0123456789abcdef\r\n"),
        answer!("4", "$2\r\nok\r\n", "$16\r\n0123456789abcdef\r\n"),
        answer!("5", "$5\r\nagain\r\n", "$16\r\n0123456789abcdef\r\n", ":1\r\n"),
    ] {
        let bench = bench(mood.clone()).await;
        let claimed = bench.state.claim(claim()).await;
        assert!(claimed.is_err(), "{mood:?}: {claimed:?}");
        let failed = bench
            .counts
            .0
            .borrow()
            .iter()
            .any(|(operation, _)| *operation == "claim");
        assert!(failed, "{mood:?}");
    }
}

#[tokio::test]
async fn answers_are_kept_for_the_owner() {
    let bench = bench(Mood::Good).await;
    assert_eq!(bench.state.begin(claim()).await, Ok(Ownership::Own));
    let kept = IdempotencyStore::keep(&bench.state, claim(), Bytes::from_static(b"answer")).await;
    assert_eq!(kept, Ok(Ownership::Own));
    assert_eq!(bench.state.give_up(claim(), End::Unknown).await, Ok(()));
    let seen = bench.fake.seen();
    let count = |name: &str| seen.iter().filter(|seen| *seen == name).count();
    // Each was loaded once, too.
    assert_eq!(
        (count("begin"), count("keep"), count("give_up"), count("claim")),
        (2, 2, 2, 1),
        "one round trip each"
    );
    bench.fake.set(Mood::Word("taken"));
    let late = IdempotencyStore::keep(&bench.state, claim(), Bytes::new()).await;
    assert_eq!(late, Ok(Ownership::TakenOver));
    assert_eq!(bench.state.begin(claim()).await, Ok(Ownership::TakenOver));
    bench.fake.set(Mood::Word("whatever"));
    assert!(
        IdempotencyStore::keep(&bench.state, claim(), Bytes::new())
            .await
            .is_err()
    );
    assert_eq!(bench.state.claim_life(), Some(Duration::from_secs(20)));
}
