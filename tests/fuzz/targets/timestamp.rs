//! Timestamps of RFC 3161: the input as an authority's answer, and as a bare token. No authority signs for the fuzzer, so
//! what is accepted must say exactly what one of the honest vectors says, and never of other bytes.
#![no_main]

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use openssl::cms::CmsContentInfo;
use signer::timestamp::{Authorities, Failure, Hash, MAX_RESPONSE, Timestamp};
use signer_fuzz::fit;

macro_rules! vector {
    ($name:expr) => {
        include_bytes!(concat!("../../../src/timestamp/testdata/", $name)).as_slice()
    };
}

const MESSAGE: &[u8] = vector!("message.bin");

static AUTHORITIES: LazyLock<Authorities> = LazyLock::new(|| {
    let all = [vector!("root.crt"), vector!("intermediate.crt"), vector!("p256.crt")].concat();
    Authorities::from_pem(&all).expect("authorities")
});

static NOW: LazyLock<DateTime<Utc>> = LazyLock::new(|| "2026-11-23T18:00:00Z".parse().expect("a time"));

/// What the honest authority said, once for each of its answers.
static HONEST: LazyLock<Vec<Said>> = LazyLock::new(|| {
    let answers = [
        vector!("good.tsr"),
        vector!("sha384.tsr"),
        vector!("sha512-rsa.tsr"),
        vector!("ess-v1.tsr"),
        vector!("cms.tsr"),
        vector!("cms-key-id.tsr"),
        vector!("no-certificates.tsr"),
    ];
    let heard = |answer: &[u8]| said(&AUTHORITIES.verify(answer, MESSAGE, *NOW).expect("an honest answer"));
    answers.into_iter().map(heard).collect()
});

type Said = (DateTime<Utc>, String, Option<Vec<u8>>, Hash);

fn said(timestamp: &Timestamp) -> Said {
    (timestamp.time, timestamp.serial.clone(), timestamp.nonce.clone(), timestamp.imprint)
}

fuzz_target!(|data: &[u8]| {
    judge(data, AUTHORITIES.verify(data, MESSAGE, *NOW));
    let token = AUTHORITIES.verify_token(data, MESSAGE, *NOW);
    if token.is_ok() {
        CmsContentInfo::from_der(data).expect("OpenSSL reads it, too");
    }
    judge(data, token);
    for other in [&b""[..], b"other bytes"] {
        assert!(AUTHORITIES.verify(data, other, *NOW).is_err(), "of other bytes");
        assert!(AUTHORITIES.verify_token(data, other, *NOW).is_err(), "of other bytes");
    }
    drop(openssl::error::ErrorStack::get());
});

fn judge(data: &[u8], verified: Result<Timestamp, Failure>) {
    match verified {
        Ok(timestamp) => {
            assert!(data.len() <= MAX_RESPONSE);
            assert!(HONEST.contains(&said(&timestamp)), "nobody has said so");
            assert_eq!(timestamp.path.len(), 3);
        }
        Err(why) => fit(&why.to_string()),
    }
}
