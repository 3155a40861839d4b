//! What a signature cannot do without, with the same library: the floor that its cost is compared with.
//!
//! By OpenSSL's own calls, none of the service's: keys, contexts, digests and parsed signatures are ready before, and of two
//! ways to do the same the cheaper one counts. By this thread's CPU clock, on a CPU that was warmed up.

use std::hint::black_box;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use openssl::ecdsa::EcdsaSig;
use openssl::pkey_ctx::PkeyCtx;
use openssl::sha::{Sha256, sha256};
use rustix::time::{ClockId, clock_gettime};
use signer::crypto::generate_p256;
use signer_actors::domain::canonical::canonicalize;

use crate::Fallible;

/// Batches of each kind in one measurement: their median counts.
const BATCHES: usize = 9;
/// Operations on keys in a batch: some 0.2 s for everything.
const TIMES: u32 = 60;
/// Bytes that a batch goes over, at least.
const BYTES: usize = 600_000;
/// Before the first batch, in operations.
const WARM: u32 = 300;

/// CPU time of one operation each, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    /// ECDSA P-256: the caller's proof.
    pub(crate) verify: f64,
    /// ECDSA P-256 with a random nonce.
    pub(crate) sign: f64,
    /// SHA-256 of the body, one pass.
    pub(crate) hash: f64,
    /// The project's own pass that writes the predicate in canonical form.
    pub(crate) canonical: f64,
    /// Base64 of as many bytes, into a buffer that is there.
    pub(crate) base64: f64,
}

/// What of the floor a request needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// A proof (DPoP): the certificate of a connection was verified when it was opened.
    pub(crate) proof: bool,
    /// Signatures by a key with deterministic nonces are all verified before they leave.
    pub(crate) own_check: bool,
}

impl Floor {
    /// Measures on this thread.
    pub(crate) fn measure(body: &str) -> Fallible<Self> {
        let (verify, sign) = keys()?;
        let bytes = body.as_bytes();
        let times = u32::try_from(BYTES / bytes.len().max(1))
            .unwrap_or(1)
            .clamp(3, 200);
        let hash = each(times, || {
            let mut hash = Sha256::new();
            hash.update(black_box(bytes));
            black_box(hash.finish());
        });
        let mut out = Vec::with_capacity(bytes.len() * 2);
        if canonicalize(body, 1, &mut out).is_err() {
            return Err("the predicate has no canonical form".into());
        }
        let canonical = each(times, || {
            out.clear();
            let _ = black_box(canonicalize(black_box(body), 1, &mut out));
        });
        let mut text = vec![0; bytes.len().div_ceil(3) * 4];
        let base64 = each(times, || {
            let _ = black_box(STANDARD.encode_slice(black_box(bytes), &mut text));
        });
        Ok(Self {
            verify,
            sign,
            hash,
            canonical,
            base64,
        })
    }

    /// The mean of two, as measured before and after what is compared with it.
    pub(crate) fn mean(self, other: Self) -> Self {
        let mean = |a: f64, b: f64| f64::midpoint(a, b);
        Self {
            verify: mean(self.verify, other.verify),
            sign: mean(self.sign, other.sign),
            hash: mean(self.hash, other.hash),
            canonical: mean(self.canonical, other.canonical),
            base64: mean(self.base64, other.base64),
        }
    }

    /// Cryptography alone: a proof verified, the body hashed, a signature made and where needed verified.
    pub(crate) fn of_a_signature(self, needs: Needs) -> f64 {
        let verifications = f64::from(u8::from(needs.proof) + u8::from(needs.own_check));
        verifications * self.verify + self.hash + self.sign
    }

    /// The same, and the statement written and encoded once.
    pub(crate) fn with_passes(self, needs: Needs) -> f64 {
        self.of_a_signature(needs) + self.canonical + self.base64
    }
}

/// One verification and one signature.
fn keys() -> Fallible<(f64, f64)> {
    let key = generate_p256()?;
    let private = key.ec_key()?;
    let public = openssl::ec::EcKey::from_public_key(private.group(), private.public_key())?;
    let pkey = openssl::pkey::PKey::from_ec_key(public.clone())?;
    let digest = sha256(b"the floor");
    let signature = EcdsaSig::sign(&digest, &private)?;
    let der = signature.to_der()?;
    let mut signing = PkeyCtx::new(&key)?;
    signing.sign_init()?;
    let mut verifying = PkeyCtx::new(&pkey)?;
    verifying.verify_init()?;
    if !signature.verify(&digest, &public)? || !verifying.verify(&digest, &der)? {
        return Err("OpenSSL does not verify its own signature".into());
    }
    let mut room = [0; 128];
    for _ in 0..WARM {
        let _ = black_box(signature.verify(&digest, &public));
    }
    let verify = each(TIMES, || {
        let _ = black_box(signature.verify(black_box(&digest), &public));
    })
    .min(each(TIMES, || {
        let _ = black_box(verifying.verify(black_box(&digest), &der));
    }));
    let sign = each(TIMES, || {
        let _ = black_box(EcdsaSig::sign(black_box(&digest), &private));
    })
    .min(each(TIMES, || {
        let _ = black_box(signing.sign(black_box(&digest), Some(&mut room)));
    }));
    Ok((verify, sign))
}

/// CPU microseconds of one call: the median of the batches.
fn each(times: u32, mut work: impl FnMut()) -> f64 {
    let mut batches: Vec<i64> = (0..=BATCHES)
        .map(|_| {
            let before = on_cpu();
            (0..times).for_each(|_| work());
            on_cpu().saturating_sub(before)
        })
        .skip(1)
        .collect();
    batches.sort_unstable();
    let median = batches.get(batches.len() / 2).copied().unwrap_or(0);
    median as f64 / 1000.0 / f64::from(times)
}

/// Nanoseconds that this thread was on a CPU.
fn on_cpu() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec)
}
