//! Controls of fakes.

use super::*;

/// How a fake behaves now; changed while it runs.
#[derive(Clone, Debug)]
pub struct Dial<T: Clone>(pub(super) Arc<watch::Sender<T>>);

impl<T: Clone> Dial<T> {
    /// At this position.
    pub fn new(value: T) -> Self {
        Self(Arc::new(watch::Sender::new(value)))
    }

    /// Sets it.
    pub fn set(&self, value: T) {
        self.0.send_replace(value);
    }

    /// Resolves once it stands so.
    pub async fn until(&self, wanted: impl FnMut(&T) -> bool) {
        let mut receiver = self.0.subscribe();
        // The sender lives in `self`.
        drop(receiver.wait_for(wanted).await);
    }

    /// Where it stands.
    pub fn get(&self) -> T {
        self.0.borrow().clone()
    }
}

/// A switch that makes the next call panic.
#[derive(Clone, Debug, Default)]
pub struct Bomb(Arc<AtomicBool>);

impl Bomb {
    /// The next call panics.
    pub fn arm(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub(super) fn tick(&self) {
        assert!(!self.0.swap(false, Ordering::SeqCst), "a fake was told to panic");
    }
}
