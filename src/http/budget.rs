//! How many bytes of bodies are held at once, over all workers and requests.
//!
//! A body limit alone bounds nothing: a thousand callers may each send the largest body slowly. So every byte of a body
//! is taken out of one budget as it arrives and given back when the request is over, its answer (which repeats the
//! payload) included. A budget that is used up refuses at once (503 `overloaded`) and never queues: bodies that wait for
//! one another's bytes would wait for ever.
//!
//! A tenant may hold as much as is left free for all: alone half of the budget, so that one whose callers read large answers
//! slowly, or send many bodies at once, leaves room for the others.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::web::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What one permit stands for, in bytes: a semaphore counts no more than 2^32 at once.
const BLOCK: usize = 1024;
/// An answer is handed to the connection in pieces of this size, in bytes: most go in one, as each is a system call and may
/// wake the caller.
const PIECE: usize = 256 * 1024;
/// How long a caller may take over an answer before its pace counts.
const PATIENCE: Duration = Duration::from_secs(10);
/// The least pace at which an answer is read, in bytes per second; a slower caller is hung up on.
const LEAST_PACE: u64 = 128 * 1024;

/// In how many counters tenants are counted. Two tenants in one share what a tenant may hold; which do, nobody can choose.
const COUNTERS: usize = 1024;

/// Bytes of bodies that may be held at once. Clones share it.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    blocks: Arc<Semaphore>,
    /// Blocks held by the tenants of each counter.
    held: Box<[AtomicUsize]>,
    /// Keyed at random, for each process anew.
    counter: RandomState,
}

/// Bytes held by one request of a tenant; given back when dropped.
#[derive(Debug)]
pub struct HeldBytes {
    budget: BodyBudget,
    counter: usize,
    permit: Option<OwnedSemaphorePermit>,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp;

impl BodyBudget {
    /// For at most this many bytes.
    pub fn new(bytes: usize) -> Self {
        let blocks = (bytes / BLOCK).clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Budget {
            blocks: Arc::new(Semaphore::new(blocks)),
            held: (0..COUNTERS).map(|_| AtomicUsize::new(0)).collect(),
            counter: RandomState::new(),
        }))
    }

    /// Holds nothing yet.
    pub fn begin(&self, tenant: &str) -> HeldBytes {
        let hash = usize::try_from(self.0.counter.hash_one(tenant) % COUNTERS as u64);
        HeldBytes {
            budget: self.clone(),
            counter: hash.unwrap_or_default(),
            permit: None,
        }
    }

    /// Bytes that may still be held.
    pub fn left(&self) -> usize {
        self.0.blocks.available_permits().saturating_mul(BLOCK)
    }

    /// Takes so many blocks more for the tenants of this counter, unless they would hold more than is left free.
    fn take(&self, more: u32, counter: usize) -> Option<OwnedSemaphorePermit> {
        let taken = Arc::clone(&self.0.blocks).try_acquire_many_owned(more).ok()?;
        let held = self.0.held.get(counter)?;
        let before = held.fetch_add(more as usize, Ordering::Relaxed);
        if before.saturating_add(more as usize) > self.0.blocks.available_permits() {
            held.fetch_sub(more as usize, Ordering::Relaxed);
            return None;
        }
        Some(taken)
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let blocks = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if let Some(held) = self.budget.0.held.get(self.counter) {
            held.fetch_sub(blocks, Ordering::Relaxed);
        }
    }
}

impl HeldBytes {
    /// Holds this many bytes in all, in whole blocks; takes what is missing, or refuses at once: when there are not as
    /// many, or the tenant would hold more than is left free.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), UsedUp> {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(BLOCK).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).map_err(|_| UsedUp)?;
        let taken = self.budget.take(more, self.counter).ok_or(UsedUp)?;
        match &mut self.permit {
            Some(permit) => permit.merge(taken),
            None => self.permit = Some(taken),
        }
        Ok(())
    }

    /// Keeps the bytes until the answer has been read, at some pace, or the caller is gone.
    pub fn until_read(self, response: HttpResponse) -> HttpResponse {
        response.map_body(|_, body| match body.try_into_bytes() {
            Ok(rest) => BoxBody::new(Answer::new(vec![rest], self)),
            Err(body) => body,
        })
    }

    /// The same of an answer whose body is all of these, one after the other.
    pub fn until_all_is_read(self, response: HttpResponse, body: Vec<Bytes>) -> HttpResponse {
        response.set_body(BoxBody::new(Answer::new(body, self)))
    }
}

/// An answer that holds bytes of the budget.
struct Answer {
    size: u64,
    /// Bytes that were handed on.
    sent: u64,
    rest: VecDeque<Bytes>,
    begun: Instant,
    _held: HeldBytes,
}

impl Answer {
    fn new(pieces: Vec<Bytes>, held: HeldBytes) -> Self {
        Self {
            size: pieces.iter().map(|piece| piece.len() as u64).sum(),
            sent: 0,
            rest: pieces.into_iter().filter(|piece| !piece.is_empty()).collect(),
            begun: Instant::now(),
            _held: held,
        }
    }
}

impl MessageBody for Answer {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size)
    }

    /// Asked whenever the connection has room: so a slow reader is seen here, and one that reads nothing at all by
    /// TCP's own timeout.
    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        let this = self.get_mut();
        let Some(mut next) = this.rest.pop_front() else {
            return Poll::Ready(None);
        };
        if !keeps_pace(this.sent, this.begun.elapsed()) {
            return Poll::Ready(Some(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the answer is read too slowly",
            ))));
        }
        let piece = next.split_to(next.len().min(PIECE));
        if !next.is_empty() {
            this.rest.push_front(next);
        }
        this.sent = this.sent.saturating_add(piece.len() as u64);
        Poll::Ready(Some(Ok(piece)))
    }
}

/// Whether a caller that has read so much by now reads fast enough.
fn keeps_pace(sent: u64, elapsed: Duration) -> bool {
    elapsed <= time_for(sent)
}

/// How long a caller may take to read so many bytes.
pub(super) fn time_for(sent: u64) -> Duration {
    PATIENCE.saturating_add(Duration::from_secs(sent / LEAST_PACE))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn bytes_are_taken_once_and_given_back() {
        let budget = BodyBudget::new(12 * BLOCK);
        let mut first = budget.begin("acme");
        assert_eq!(budget.left(), 12 * BLOCK, "nothing is held on a promise");
        for (bytes, left) in [(1, 11), (BLOCK, 11), (BLOCK + 1, 10), (10, 10), (6 * BLOCK, 6)] {
            assert_eq!(first.grow_to(bytes), Ok(()));
            assert_eq!(budget.left(), left * BLOCK, "{bytes}");
        }
        let mut second = budget.clone().begin(other_than(&budget, "acme"));
        assert_eq!(second.grow_to(7 * BLOCK), Err(UsedUp));
        assert_eq!(second.grow_to(4 * BLOCK), Err(UsedUp), "more than would be left");
        assert_eq!(budget.left(), 6 * BLOCK, "a refusal takes nothing");
        assert_eq!(second.grow_to(3 * BLOCK), Ok(()));
        assert_eq!(first.grow_to(6 * BLOCK + 1), Err(UsedUp));
        drop(first);
        assert_eq!(budget.left(), 9 * BLOCK);
        drop(second);
        assert_eq!(budget.left(), 12 * BLOCK);
        assert_eq!(budget.begin("acme").grow_to(usize::MAX), Err(UsedUp));
    }

    /// A tenant that is counted elsewhere.
    fn other_than(budget: &BodyBudget, tenant: &str) -> &'static str {
        let theirs = budget.begin(tenant).counter;
        let mut names = ["globex", "initech", "umbrella", "hooli"].into_iter();
        names
            .find(|name| budget.begin(name).counter != theirs)
            .expect("one of four")
    }

    #[test]
    fn one_tenant_leaves_room_for_others_however_many_requests_it_has() {
        let budget = BodyBudget::new(100 * BLOCK);
        let mut held = Vec::new();
        for _ in 0..200 {
            let mut one = budget.begin("acme");
            if one.grow_to(BLOCK).is_ok() {
                held.push(one);
            }
        }
        assert_eq!(held.len(), 50);
        let mut other = budget.begin(other_than(&budget, "acme"));
        assert_eq!(other.grow_to(25 * BLOCK), Ok(()));
        held.truncate(10);
        let mut again = budget.begin("acme");
        assert_eq!(
            again.grow_to(27 * BLOCK),
            Ok(()),
            "given back, it may be taken again"
        );
        drop((held, other, again));
        assert_eq!(budget.begin("acme").grow_to(50 * BLOCK), Ok(()));
    }

    async fn next(body: &mut BoxBody) -> Option<Result<Bytes, Box<dyn std::error::Error>>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await
    }

    fn answer(budget: &BodyBudget, size: usize) -> BoxBody {
        let mut held = budget.begin("acme");
        held.grow_to(BLOCK).expect("room");
        let response = held.until_read(HttpResponse::Ok().body(vec![7; size]));
        assert_eq!(response.body().size(), BodySize::Sized(size as u64));
        response.into_body()
    }

    #[tokio::test]
    async fn an_answer_holds_its_bytes_until_it_is_read_or_dropped() {
        let budget = BodyBudget::new(4 * BLOCK);
        let mut body = answer(&budget, PIECE + 1);
        assert_eq!(
            next(&mut body).await.expect("a piece").expect("bytes").len(),
            PIECE
        );
        assert_eq!(next(&mut body).await.expect("a piece").expect("bytes").len(), 1);
        assert!(next(&mut body).await.is_none());
        assert_eq!(budget.left(), 3 * BLOCK, "the connection still writes it");
        drop(body);
        assert_eq!(budget.left(), 4 * BLOCK);
        drop(answer(&budget, 10 * PIECE));
        assert_eq!(budget.left(), 4 * BLOCK, "the caller is gone");
    }

    #[test]
    fn an_answer_that_is_read_too_slowly_ends() {
        let seconds = Duration::from_secs;
        assert!(keeps_pace(0, seconds(10)), "patience");
        assert!(!keeps_pace(0, seconds(11)));
        assert!(keeps_pace(100 * LEAST_PACE, seconds(110)));
        assert!(!keeps_pace(100 * LEAST_PACE - 1, seconds(110)));
        assert!(keeps_pace(u64::MAX, Duration::MAX.min(seconds(1 << 40))));
    }

    #[tokio::test]
    async fn a_caller_behind_the_pace_is_hung_up_on() {
        let budget = BodyBudget::new(4 * BLOCK);
        let mut held = budget.begin("acme");
        held.grow_to(BLOCK).expect("room");
        let Some(begun) = Instant::now().checked_sub(Duration::from_secs(11)) else {
            return; // The machine has not run for that long.
        };
        let mut body = BoxBody::new(Answer {
            begun,
            ..Answer::new(vec![Bytes::from_static(b"x")], held)
        });
        assert!(next(&mut body).await.expect("an end").is_err());
    }
}
