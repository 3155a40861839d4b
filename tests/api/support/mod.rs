//! What every topic shares: a world of neighbours that do as told, the service in it, and a caller that can send
//! anything. Tokens, proofs and keys are made here with OpenSSL alone, so that the service is not measured by itself.

mod answer;
mod app;
mod call;
mod child;
mod described;
mod licensing;
mod mint;
mod raw;
mod wire;
mod world;

pub(crate) use answer::Answer;
pub(crate) use app::TestApp;
pub(crate) use call::Call;
pub(crate) use child::{Child, SIGNER};
pub(crate) use described::{document, resolved, violations};
pub(crate) use licensing::{CREDENTIAL, Says};
pub(crate) use mint::{
    AUTHORITY, Draft, LICENSING, Mint, b64, jwk, now, p256, sha256_hex, thumbprint, thumbprint_of, unb64,
};
pub(crate) use raw::Raw;
pub(crate) use wire::Wire;
pub(crate) use world::{
    AUDIT_ORIGIN, KEY, OTHER_KEY, RETIRED_FROM, RETIRED_KEY, TIMESTAMPS, World, journal_groups,
};

use std::time::Duration;

/// `POST` here to sign.
pub(crate) const SIGN: &str = "/api/v1/signer/sign/dsse";
/// `POST` here to sign many.
pub(crate) const BATCH: &str = "/api/v1/signer/sign/dsse/batch";
/// `GET` here to check a scanner image.
pub(crate) const REFERRERS: &str = "/api/v1/signer/verify/referrers";
/// `POST` here to verify an envelope.
pub(crate) const VERIFY: &str = "/api/v1/signer/verify/dsse";
/// What proofs must name: unlike where the tests connect to.
pub(crate) const ORIGIN: &str = "https://signer.test";

/// Polls until something is there; a test that waits in vain fails.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), polling).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
