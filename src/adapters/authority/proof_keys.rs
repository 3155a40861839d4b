//! Keys of proofs that a worker has verified a proof with: built, with the header that brought them.
//!
//! A caller proves possession of one key with every request (RFC 9449 §4.2), and its proofs' headers are alike: the same
//! key, type and algorithm. Reading one costs a twentieth of a verification, building the key a tenth. What is kept follows
//! from the header alone, so nothing has to be forgotten when a token expires or is revoked. Only a header whose key is
//! that of the caller's token, and whose signature held, gets in, and each key has one place: a flood of made-up keys, or of
//! spellings of one, pushes nobody out.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;
use signer_actors::domain::digest::Sha256Digest;

use crate::adapters::jose::verifying::VerifyingKey;

/// Keys that each worker keeps, of about 2 KiB each and at most twice that.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// A key that a proof has been verified with.
pub(super) struct ProofKey {
    /// The proof's header, as it was received.
    pub(super) header: Box<str>,
    pub(super) key: VerifyingKey,
}

thread_local! {
    static KNOWN: RefCell<LruCache<Sha256Digest, Rc<ProofKey>>> = RefCell::new(LruCache::new(KEPT));
}

/// The key of this thumbprint, if this worker has used it and this header brought it.
pub(super) fn recall(thumbprint: &Sha256Digest, header: &str) -> Option<Rc<ProofKey>> {
    KNOWN.with_borrow_mut(|known| {
        let found = known.get(thumbprint)?;
        (*found.header == *header).then(|| Rc::clone(found))
    })
}

/// Keeps the key of this thumbprint, in place of the one that was used longest ago.
pub(super) fn remember(thumbprint: Sha256Digest, key: ProofKey) {
    KNOWN.with_borrow_mut(|known| known.put(thumbprint, Rc::new(key)));
}
