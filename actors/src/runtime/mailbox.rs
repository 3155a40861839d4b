//! A bounded mailbox: asks with a permit and a deadline.

use std::fmt;
use std::sync::Arc;

use actix::{Addr, ArbiterHandle, Supervisor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::deadline::Deadline;
use super::host::{ActorState, Ask, Host, Request, Take};
use super::watchdog::Vitals;

/// Why an ask has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The mailbox holds as many requests as it may: 503 `overloaded`, at once.
    #[error("too many requests wait already")]
    Overloaded,
    /// No answer in time: 504 `deadline_exceeded`.
    #[error("no answer in time")]
    Deadline,
    /// The handler panicked: 500 `internal`; the actor is healthy again.
    #[error("the handler panicked")]
    Panicked,
    /// The actor was rebuilt while this request waited for work in progress: 500 `internal`.
    #[error("the request was abandoned when its actor was rebuilt")]
    Abandoned,
    /// The actor has stopped for good: the service is shutting down.
    #[error("the actor has stopped")]
    Stopped,
}

/// Handle to an actor. Cheap to clone; the actor lives as long as one handle does.
pub struct Mailbox<S: ActorState> {
    address: Addr<Host<S>>,
    permits: Arc<Semaphore>,
    capacity: usize,
    vitals: Vitals,
}

impl<S: ActorState> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        Self {
            address: self.address.clone(),
            permits: Arc::clone(&self.permits),
            capacity: self.capacity,
            vitals: self.vitals.clone(),
        }
    }
}

impl<S: ActorState> fmt::Debug for Mailbox<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mailbox({}, {}/{})", S::NAME, self.in_use(), self.capacity)
    }
}

/// Starts a supervised actor on an arbiter. `capacity` bounds how many requests it holds, queued or running.
pub fn start<S: ActorState>(
    arbiter: &ArbiterHandle,
    capacity: usize,
    vitals: Vitals,
    make: impl FnOnce() -> S + Send + 'static,
) -> Mailbox<S> {
    let for_host = vitals.clone();
    let address = Supervisor::start_in_arbiter(arbiter, move |_ctx| Host::new(make(), for_host));
    Mailbox {
        address,
        permits: Arc::new(Semaphore::new(capacity)),
        capacity,
        vitals,
    }
}

impl<S: ActorState> Mailbox<S> {
    /// Requests the actor holds, queued or running.
    pub fn in_use(&self) -> usize {
        self.capacity.saturating_sub(self.permits.available_permits())
    }

    /// Makes the actor panic, for tests of what becomes of the others.
    #[cfg(any(test, feature = "test-util"))]
    pub async fn crash(&self) {
        #[allow(clippy::disallowed_methods, reason = "for tests alone")]
        let panicked = self.address.send(super::host::Crash);
        // It panics, and answers nothing that could be of use.
        let _ = panicked.await;
    }

    /// Tells the observer how full the mailbox is.
    pub fn observe(&self) {
        self.vitals
            .observer
            .mailbox(S::NAME, self.in_use(), self.capacity);
    }

    /// Asks and waits for the answer until the deadline. Dropping the future gives up on the answer, not on the work:
    /// the permit stays with the request until it is handled.
    pub async fn ask<M>(&self, request: M, deadline: Deadline) -> Result<M::Answer, AskError>
    where
        M: Request,
        S: Take<M>,
    {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| {
            self.vitals.observer.throttled("overload");
            AskError::Overloaded
        })?;
        self.post(request, permit, deadline).await
    }

    /// Asks like [`Self::ask`], but waits for a place where the mailbox is full: for what must be heard, such as a key
    /// that has to be disabled.
    pub async fn insist<M>(&self, request: M, deadline: Deadline) -> Result<M::Answer, AskError>
    where
        M: Request,
        S: Take<M>,
    {
        let place = Arc::clone(&self.permits).acquire_owned();
        let permit = tokio::time::timeout_at(deadline.instant(), place).await;
        // The semaphore is never closed.
        let permit = permit
            .map_err(|_| AskError::Deadline)?
            .map_err(|_| AskError::Stopped)?;
        self.post(request, permit, deadline).await
    }

    /// Asks without waiting for the answer, if there is a place: the last word of an actor that ends.
    pub fn tell<M>(&self, request: M)
    where
        M: Request,
        S: Take<M>,
    {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return;
        };
        let (answer, _) = oneshot::channel();
        #[allow(clippy::disallowed_methods, reason = "bounded by the permit, like an ask")]
        self.address.do_send(Ask {
            request,
            permit,
            answer,
        });
    }

    async fn post<M>(
        &self,
        request: M,
        permit: OwnedSemaphorePermit,
        deadline: Deadline,
    ) -> Result<M::Answer, AskError>
    where
        M: Request,
        S: Take<M>,
    {
        let (answer, receiver) = oneshot::channel();
        #[allow(
            clippy::disallowed_methods,
            reason = "this is the bounded ask that all others go through"
        )]
        self.address.do_send(Ask {
            request,
            permit,
            answer,
        });
        match tokio::time::timeout_at(deadline.instant(), receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) if self.address.connected() => Err(AskError::Abandoned),
            Ok(Err(_)) => {
                self.vitals.watchdog.report(S::NAME);
                Err(AskError::Stopped)
            }
            Err(_) => Err(AskError::Deadline),
        }
    }
}
