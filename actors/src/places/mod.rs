//! PlacesActor: hands out the few places for work that takes a core and memory each, tenants in turn.
//!
//! A place is a permit: whoever has it gives it back by dropping it, on whatever thread and however the work ends. What must be
//! exact is here: who waits, and that no tenant's many keep the one of another waiting.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::domain::tenant::TenantId;
use crate::runtime::{ActorState, Cx, Deadline, Reply, Request, Serve, Turns};

/// One of the places.
#[derive(Debug)]
pub struct TakePlace {
    /// Whose work it is for.
    pub tenant: TenantId,
    /// When nobody waits for it any more.
    pub until: Deadline,
}

impl Request for TakePlace {
    /// `None`: as many of the tenant wait already as there is room for others.
    type Answer = Option<OwnedSemaphorePermit>;
}

#[derive(Debug)]
struct Waiter {
    until: Deadline,
    answer: oneshot::Sender<Option<OwnedSemaphorePermit>>,
}

/// State of the actor.
#[derive(Debug)]
pub struct Places {
    free: Arc<Semaphore>,
    waiting: Turns<TenantId, Waiter>,
    /// How many may wait. A tenant that has as many as are left gets no more.
    room: usize,
    /// The next place to become free is waited for. That outlives a panic, and reports back.
    asking: bool,
}

impl Places {
    /// So many places, at least one, and room for so many to wait.
    pub fn new(places: usize, room: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(places.clamp(1, Semaphore::MAX_PERMITS))),
            waiting: Turns::default(),
            room,
            asking: false,
        }
    }

    fn is_crowded(&self, tenant: &TenantId) -> bool {
        self.waiting.of(tenant) >= self.room.saturating_sub(self.waiting.len())
    }

    /// Waits for a place as long as somebody wants one. Only one is ever waited for, so that whose it is, is decided when it is
    /// there.
    fn ask(&mut self, cx: &mut Cx<'_, Self>) {
        if self.asking || self.waiting.is_empty() {
            return;
        }
        self.asking = true;
        let free = Arc::clone(&self.free).acquire_owned();
        cx.run(Box::pin(free), |this, place, cx| {
            this.asking = false;
            // The semaphore is never closed.
            if let Ok(Ok(place)) = place {
                this.give(place);
            }
            this.ask(cx);
        });
    }

    fn give(&mut self, place: OwnedSemaphorePermit) {
        let in_time = |waiter: &Waiter| !waiter.until.remaining().is_zero();
        if let Some((_, waiter)) = self.waiting.next(|_| true, in_time) {
            // Whoever has gone lets it fall, and it is free again.
            drop(waiter.answer.send(Some(place)));
        }
    }
}

impl ActorState for Places {
    const NAME: &'static str = "places";

    fn recover(&mut self) {
        self.waiting = Turns::default();
    }
}

impl Serve<TakePlace> for Places {
    fn serve(
        &mut self,
        TakePlace { tenant, until }: TakePlace,
        cx: &mut Cx<'_, Self>,
    ) -> Reply<Option<OwnedSemaphorePermit>> {
        // Who waits comes first, also for a place that has just become free.
        if self.waiting.is_empty()
            && let Ok(place) = Arc::clone(&self.free).try_acquire_owned()
        {
            return Reply::Now(Some(place));
        }
        if self.is_crowded(&tenant) {
            return Reply::Now(None);
        }
        let (answer, receiver) = oneshot::channel();
        self.waiting.push(&tenant, Waiter { until, answer });
        self.ask(cx);
        Reply::Later(receiver)
    }
}
