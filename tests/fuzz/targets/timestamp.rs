//! Answers of timestamp authorities (RFC 3161): no panic; no time but those that the authority has signed, and over what it
//! has signed alone.
#![no_main]

use std::sync::LazyLock;

use chrono::DateTime;
use libfuzzer_sys::fuzz_target;
use signer::timestamp::Authorities;
use signer_fuzz::fit;

/// What the seeds are over.
const MESSAGE: &[u8] = include_bytes!("../../../src/timestamp/testdata/message.bin");
/// The minutes in which the seeds were made, as `openssl ts -reply -text` shows: 2026-11-22T19:31Z to 19:33Z.
const MADE: std::ops::Range<i64> = 1_795_375_860..1_795_375_980;

static AUTHORITIES: LazyLock<Authorities> = LazyLock::new(|| {
    let root = include_bytes!("../../../src/timestamp/testdata/root.crt");
    let intermediate = include_bytes!("../../../src/timestamp/testdata/intermediate.crt");
    Authorities::from_pem(&[&root[..], &intermediate[..]].concat()).expect("certificates")
});

fuzz_target!(|answer: &[u8]| {
    let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
    for outcome in [
        AUTHORITIES.verify(answer, MESSAGE, now),
        AUTHORITIES.verify_token(answer, MESSAGE, now),
    ] {
        match outcome {
            Ok(timestamp) => assert!(MADE.contains(&timestamp.time.timestamp()), "{timestamp:?}"),
            Err(why) => fit(&why.to_string()),
        }
    }
    assert!(AUTHORITIES.verify(answer, b"another message", now).is_err());
});
