//! Threads for calls that block: so many and no more, whatever happens to them.
//!
//! A module that hangs holds its threads. Those who wait for it give up at their deadlines; nobody gets a further thread,
//! and what hung goes on when the module does. They are threads of their own rather than the runtime's: a runtime waits
//! for its own when the service stops.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::super::remote::RemoteError;

type Job = Box<dyn FnOnce() + Send>;

/// A bounded pool.
pub(super) struct Threads {
    places: Arc<Semaphore>,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    most: usize,
}

struct Shared {
    jobs: Mutex<mpsc::Receiver<Job>>,
    running: AtomicUsize,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

impl Threads {
    /// At most so many; each begins when it is first needed.
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let (jobs, receiver) = mpsc::channel(most);
        let shared = Shared {
            jobs: Mutex::new(receiver),
            running: AtomicUsize::new(0),
        };
        Self {
            places: Arc::new(Semaphore::new(most)),
            jobs,
            shared: Arc::new(shared),
            most,
        }
    }

    /// Runs what blocks, when there is a thread for it. Who waits no longer leaves it running, and its place taken.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, RemoteError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| RemoteError::Unavailable("the threads have ended".into()))?;
        let (sender, receiver) = oneshot::channel();
        self.submit(move || {
            // Free before the answer is there: whoever has it may want the place next.
            let answer = in_place(place, work);
            drop(sender.send(answer));
        })?;
        // The sender goes without an answer when the work panics.
        receiver
            .await
            .map_err(|_| RemoteError::Failed("the call of the PKCS #11 module panicked".into()))
    }

    /// Runs what nobody waits for, if there is a thread for it now.
    pub(super) fn run_if_free(&self, work: impl FnOnce() + Send + 'static) {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            // Without a thread it is left undone.
            drop(self.submit(move || in_place(place, work)));
        }
    }

    /// The job has a place, and gives it back.
    fn submit(&self, job: impl FnOnce() + Send + 'static) -> Result<(), RemoteError> {
        let unavailable = |text: &str| RemoteError::Unavailable(text.to_owned());
        let job = Box::new(job);
        self.start_one()
            .map_err(|_| unavailable("no thread can be started for the PKCS #11 module"))?;
        // There are never more jobs than places, so there is room.
        self.jobs
            .try_send(job)
            .map_err(|_| unavailable("the threads for the PKCS #11 module have ended"))
    }

    /// Starts a thread if there is more work than threads.
    fn start_one(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let taken = self.most.saturating_sub(self.places.available_permits());
        // Looked at and counted in one step: two who start one at once would both find room for the same thread.
        let more = |running: usize| (running < taken).then_some(running + 1);
        if shared
            .running
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
            .is_err()
        {
            return Ok(());
        }
        let started = std::thread::Builder::new()
            .name("pkcs11".to_owned())
            .spawn(move || work_off(&shared));
        if started.is_err() {
            self.shared.running.fetch_sub(1, Ordering::SeqCst);
        }
        started.map(drop)
    }
}

/// The place is given back when the work ends, however it ends.
fn in_place<T>(place: OwnedSemaphorePermit, work: impl FnOnce() -> T) -> T {
    let _place = place;
    work()
}

/// Until the pool is gone.
fn work_off(shared: &Shared) {
    // Locked while it waits, not while it works: the other free threads wait for the lock.
    while let Some(job) = next(shared) {
        // Nothing that work can leave half done is looked at afterwards; the hook for panics has told of it.
        drop(catch_unwind(AssertUnwindSafe(job)));
    }
}

fn next(shared: &Shared) -> Option<Job> {
    shared.jobs.blocking_lock().blocking_recv()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as blocking;
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn work_is_done_by_few_threads() {
        let threads = Threads::new(3);
        let names = join_all((0..50).map(|_| threads.run(|| std::thread::current().id()))).await;
        let names: std::collections::HashSet<_> = names.into_iter().map(Result::unwrap).collect();
        assert!((1..=3).contains(&names.len()), "{names:?}");
    }

    #[tokio::test]
    async fn what_hangs_keeps_its_thread_and_no_more() {
        let threads = Threads::new(2);
        let (release, hold) = blocking::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        for _ in 0..5 {
            let hold = Arc::clone(&hold);
            let hung = threads.run(move || hold.blocking_lock().recv().is_ok());
            assert!(
                tokio::time::timeout(Duration::from_millis(20), hung)
                    .await
                    .is_err()
            );
        }
        assert_eq!(threads.shared.running.load(Ordering::SeqCst), 2);
        assert_eq!(threads.places.available_permits(), 0);
        // Two hang; the three that never got a place have not begun.
        drop(release);
        assert_eq!(threads.run(|| 7).await, Ok(7));
        assert_eq!(threads.shared.running.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn those_who_start_threads_at_once_start_no_more_than_there_is_work_for() {
        const AT_ONCE: usize = 2;
        for _ in 0..200 {
            let threads = Threads::new(1);
            let _place = Arc::clone(&threads.places).try_acquire_owned().unwrap();
            let ready = AtomicUsize::new(0);
            std::thread::scope(|scope| {
                for _ in 0..AT_ONCE {
                    scope.spawn(|| {
                        ready.fetch_add(1, Ordering::SeqCst);
                        while ready.load(Ordering::SeqCst) < AT_ONCE {
                            std::hint::spin_loop();
                        }
                        threads.start_one().unwrap();
                    });
                }
            });
            assert_eq!(threads.shared.running.load(Ordering::SeqCst), 1);
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_the_place_back() {
        let threads = Threads::new(1);
        for _ in 0..3 {
            let answer = threads.run(|| panic!("as a test asks")).await;
            assert!(
                matches!(answer, Err::<(), _>(RemoteError::Failed(_))),
                "{answer:?}"
            );
        }
        assert_eq!(threads.run(|| 7).await, Ok(7));
    }
}
