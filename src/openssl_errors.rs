//! OpenSSL's queue of errors, one per thread.

use openssl::error::ErrorStack;

/// Empties this thread's queue. A verification that says no may leave its reason there, and the next TLS connection of
/// the thread would take it for its own: `SSL_get_error` looks at the queue, and the binding does not clear it first.
/// So this is called after every verification or comparison that says no without returning the queue as its error.
pub(crate) fn forget() {
    drop(ErrorStack::get());
}

/// True when nothing is queued on this thread; empties it.
#[cfg(test)]
pub(crate) fn was_empty() -> bool {
    ErrorStack::get().errors().is_empty()
}
