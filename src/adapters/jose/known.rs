//! P-256 keys that a worker has verified a signature with: built, and with their thumbprint.
//!
//! A caller proves possession of one key with every request (RFC 9449 §4.2), and building it costs a tenth of a
//! verification. What is kept follows from the coordinates alone, so nothing has to be forgotten when a token expires or is
//! revoked, and only a key whose signature held gets in: a flood of made-up keys pushes nobody out.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use lru::LruCache;
use openssl::ec::EcKey;
use openssl::pkey::Public;
use signer_actors::domain::digest::Sha256Digest;

/// Keys that each worker keeps, of about 2 KiB each.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// A key that a signature has been verified with.
pub(super) struct Known {
    pub(super) key: EcKey<Public>,
    pub(super) thumbprint: Sha256Digest,
}

type Coordinates = ([u8; 32], [u8; 32]);

thread_local! {
    static KNOWN: RefCell<LruCache<Coordinates, Rc<Known>>> = RefCell::new(LruCache::new(KEPT));
}

/// The key of these coordinates, if this worker has used it.
pub(super) fn recall(x: &[u8; 32], y: &[u8; 32]) -> Option<Rc<Known>> {
    KNOWN.with_borrow_mut(|known| known.get(&(*x, *y)).map(Rc::clone))
}

/// Keeps a key of these coordinates, in place of the one that was used longest ago.
pub(super) fn remember(x: &[u8; 32], y: &[u8; 32], key: Known) {
    KNOWN.with_borrow_mut(|known| known.put((*x, *y), Rc::new(key)));
}
