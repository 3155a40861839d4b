//! What a signature cannot do without, with the same library and keys: the floor that its cost is compared with.

use std::hint::black_box;

use openssl::sha::Sha256;
use rustix::time::{ClockId, clock_gettime};
use signer::crypto::{Nonce, PrivateKey, generate_p256};
use signer_actors::domain::signing::Algorithm;

use crate::Fallible;

/// Operations of each kind in a round: some 0.2 s in all.
const TIMES: u32 = 1000;

/// CPU time of one operation each, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    /// ECDSA P-256: the caller's proof.
    pub(crate) verify: f64,
    /// ECDSA P-256 with a random nonce.
    pub(crate) sign: f64,
    /// SHA-256 of the body.
    pub(crate) hash: f64,
}

impl Floor {
    /// Measures on this thread.
    pub(crate) fn measure(body: &[u8]) -> Fallible<Self> {
        let key = PrivateKey::new(generate_p256()?, Algorithm::EcdsaP256Sha256, Nonce::Random)?;
        let message: &[u8] = b"the floor";
        let signature = key.sign(message)?;
        let sign = each(|| drop(black_box(key.sign(black_box(message)))));
        let verify = each(|| {
            black_box(key.public().verify(black_box(message), &signature));
        });
        let hash = each(|| {
            let mut hash = Sha256::new();
            hash.update(black_box(body));
            black_box(hash.finish());
        });
        Ok(Self { verify, sign, hash })
    }

    /// A proof verified, the body hashed, a signature made; with a key whose signatures are all verified before they
    /// leave (deterministic nonces), one verification more.
    pub(crate) fn of_a_signature(self, verified: bool) -> f64 {
        let more = if verified { self.verify } else { 0.0 };
        self.verify + self.hash + self.sign + more
    }
}

/// CPU microseconds of one call, by this thread's clock.
fn each(mut work: impl FnMut()) -> f64 {
    for _ in 0..TIMES / 20 {
        work();
    }
    let before = on_cpu();
    for _ in 0..TIMES {
        work();
    }
    let nanos = on_cpu().saturating_sub(before);
    nanos as f64 / 1000.0 / f64::from(TIMES)
}

/// Nanoseconds that this thread was on a CPU.
fn on_cpu() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}
