//! Memory that a worker has for itself, read where it is needed.
//!
//! A question to an actor takes the one who asks off the worker and puts it back: two tasks are looked at anew for an answer
//! that is a look into a table. What only saves work, only this worker uses and may be gone at any time needs no mailbox.
//! Nobody ever waits for it: were it in use, it would have no answer.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::watchdog::Vitals;

/// What may be forgotten at any time.
pub trait Memory: 'static {
    /// Name in metrics and logs.
    const NAME: &'static str;

    /// Called after a panic: what it struck is not to be trusted.
    fn forget(&mut self);
}

/// Numbers of memories, none used twice.
static NEXT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread's, by number; none while it is in use.
    static MEMORIES: RefCell<BTreeMap<u64, Box<dyn Any>>> = RefCell::default();
}

/// Handle to memory of the thread that made it. Cheap to clone; on any other thread it has no answer. The memory lives as
/// long as one handle does.
pub struct Own<S> {
    place: Arc<Place>,
    vitals: Vitals,
    of: PhantomData<fn() -> S>,
}

struct Place(u64);

impl Drop for Place {
    fn drop(&mut self) {
        // On another thread, or as this one ends, there is nothing to take.
        let memory = MEMORIES.try_with(|memories| memories.try_borrow_mut().ok()?.remove(&self.0));
        drop(memory);
    }
}

impl<S> Clone for Own<S> {
    fn clone(&self) -> Self {
        Self {
            place: Arc::clone(&self.place),
            vitals: self.vitals.clone(),
            of: PhantomData,
        }
    }
}

impl<S: Memory> fmt::Debug for Own<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Own({})", S::NAME)
    }
}

impl<S: Memory> Own<S> {
    /// Memory of the thread that calls this.
    pub fn new(state: S, vitals: Vitals) -> Self {
        let place = NEXT.fetch_add(1, Ordering::Relaxed);
        MEMORIES.with_borrow_mut(|memories| memories.insert(place, Box::new(state)));
        Self {
            place: Arc::new(Place(place)),
            vitals,
            of: PhantomData,
        }
    }

    /// What it answers; `None` on another thread, while it is in use, and when it panicked and has forgotten everything.
    pub fn ask<T>(&self, ask: impl FnOnce(&mut S) -> T) -> Option<T> {
        let place = self.place.0;
        // Taken out, so that whoever asks may ask another one.
        let mut memory = MEMORIES.with_borrow_mut(|memories| memories.remove(&place))?;
        let answer = memory.downcast_mut::<S>().and_then(|state| {
            let answer = catch_unwind(AssertUnwindSafe(|| ask(state)));
            if answer.is_err() {
                self.vitals.observer.actor_panicked(S::NAME);
                slog::error!(self.vitals.log, "a worker's memory panicked and is forgotten"; "actor" => S::NAME);
                state.forget();
            }
            answer.ok()
        });
        MEMORIES.with_borrow_mut(|memories| memories.insert(place, memory));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    struct Count(u8);

    impl Memory for Count {
        const NAME: &'static str = "count";

        fn forget(&mut self) {
            self.0 = 0;
        }
    }

    fn next(count: &mut Count) -> u8 {
        count.0 += 1;
        count.0
    }

    #[test]
    fn it_answers_and_remembers() {
        let own = Own::new(Count(0), testing::vitals());
        assert_eq!(own.ask(next), Some(1));
        assert_eq!(own.clone().ask(next), Some(2));
    }

    #[test]
    fn a_panic_is_an_answer_less_and_all_is_forgotten() {
        let own = Own::new(Count(7), testing::vitals());
        assert_eq!(own.ask(|_| -> u8 { panic!("a bug") }), None);
        assert_eq!(own.ask(next), Some(1));
    }

    #[test]
    fn it_is_its_threads_own_and_ends_with_its_handles() {
        let memories = || MEMORIES.with_borrow(BTreeMap::len);
        let (first, second) = (
            Own::new(Count(0), testing::vitals()),
            Own::new(Count(7), testing::vitals()),
        );
        assert_eq!(
            (first.ask(next), second.ask(next), memories()),
            (Some(1), Some(8), 2)
        );
        let elsewhere = second.clone();
        let there = std::thread::spawn(move || elsewhere.ask(next));
        assert_eq!(there.join().expect("it ends"), None);
        assert_eq!(second.ask(next), Some(9));
        drop(second);
        assert_eq!((first.ask(next), memories()), (Some(2), 1));
    }

    #[test]
    fn nobody_waits_for_it() {
        let own = Own::new(Count(7), testing::vitals());
        let inner = own.clone();
        assert_eq!(own.ask(|_| inner.ask(next)), Some(None));
        assert_eq!(own.ask(next), Some(8));
    }
}
