//! Turns the panic of a future into an error.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

/// The work panicked. The panic hook has logged where; the payload is not kept, as it may hold anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the work panicked")]
pub struct Panicked;

/// Runs a future; a panic inside becomes [`Panicked`].
///
/// `AssertUnwindSafe` is sound in spirit here because nothing of the future outlives its panic: its state is dropped,
/// and an actor's state is rebuilt by `ActorState::recover` before it serves again.
pub async fn catch<F: Future>(future: F) -> Result<F::Output, Panicked> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .map_err(|_| Panicked)
}
