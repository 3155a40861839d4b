//! The one actix actor of this crate: it hosts a state, serves requests to it, and survives its panics.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::time::Duration;

use actix::fut::{ActorFutureExt, ready};
use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Supervised};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::guard::{Panicked, catch};
use super::mailbox::AskError;
use super::pace::{Pace, REST};
use super::watchdog::Vitals;

/// More panics than this within [`INTENSITY_WINDOW`] and the actor is beyond saving.
const INTENSITY: usize = 50;
/// See [`INTENSITY`].
const INTENSITY_WINDOW: Duration = Duration::from_secs(10);

/// A question to an actor.
pub trait Request: Send + 'static {
    /// What it is answered with.
    type Answer: Send + 'static;
}

/// State that lives in a mailbox.
pub trait ActorState: Sized + Unpin + 'static {
    /// Name in metrics and logs.
    const NAME: &'static str;

    /// Called when the actor starts and after each panic: schedule timers here.
    fn started(&mut self, _cx: &mut Cx<'_, Self>) {}

    /// Whether its thread may rest for a moment while it is asked often, for questions to gather. For exact state that every
    /// request asks and that answers at once: a rest holds up whatever an answer waits for on this thread.
    fn gathers(&self) -> bool {
        false
    }

    /// Called after a panic: bring the state back to something certain. What would open a gate if it were forgotten
    /// (spent replay ids, taken quota) is kept; what can be fetched again is dropped.
    fn recover(&mut self);
}

/// Serves one kind of request.
pub trait Serve<M: Request>: ActorState {
    /// Answers at once, or later without holding the mailbox.
    fn serve(&mut self, request: M, cx: &mut Cx<'_, Self>) -> Reply<M::Answer>;
}

/// Takes one kind of request and the duty to answer it: for an answer that comes with many others, which would take a
/// task each to be passed on. Whatever [`Serve`]s a request takes it.
pub trait Take<M: Request>: ActorState {
    /// Answers at once, or keeps the duty.
    fn take(&mut self, request: M, answer: Due<M::Answer>, cx: &mut Cx<'_, Self>);
}

impl<M: Request, S: Serve<M>> Take<M> for S {
    fn take(&mut self, request: M, answer: Due<M::Answer>, cx: &mut Cx<'_, Self>) {
        match self.serve(request, cx) {
            Reply::Now(value) => answer.tell(value),
            Reply::Later(receiver) => {
                actix::spawn(async move {
                    if let Ok(value) = receiver.await {
                        answer.tell(value);
                    }
                });
            }
        }
    }
}

/// The duty to answer a request, with the permit that admitted it. Dropped, it is [`AskError::Abandoned`], and
/// [`AskError::Panicked`] in a panic.
#[derive(Debug)]
pub struct Due<T> {
    answer: Option<oneshot::Sender<Result<T, AskError>>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<T> Due<T> {
    /// Answers.
    pub fn tell(mut self, value: T) {
        self.send(Ok(value));
    }

    fn send(&mut self, result: Result<T, AskError>) {
        drop(self.permit.take());
        if let Some(answer) = self.answer.take() {
            // A closed receiver means that the asker has given up: nobody is left to tell.
            drop(answer.send(result));
        }
    }
}

impl<T> Drop for Due<T> {
    fn drop(&mut self) {
        self.send(Err(if std::thread::panicking() {
            AskError::Panicked
        } else {
            AskError::Abandoned
        }));
    }
}

/// An answer, now or later.
pub enum Reply<T> {
    /// The answer.
    Now(T),
    /// The answer comes on this channel; a dropped sender is [`AskError::Abandoned`].
    Later(oneshot::Receiver<T>),
}

impl<T> std::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Now(_) => "Now",
            Self::Later(_) => "Later",
        })
    }
}

/// The actor around a state.
#[derive(Debug)]
pub struct Host<S: ActorState> {
    state: S,
    vitals: Vitals,
    panics: VecDeque<Instant>,
    pace: Pace,
}

impl<S: ActorState> Host<S> {
    pub(super) fn new(state: S, vitals: Vitals) -> Self {
        Self {
            state,
            vitals,
            panics: VecDeque::new(),
            pace: Pace::new(Instant::now()),
        }
    }

    /// Runs code of the state; a panic in it rebuilds the state and restarts the actor.
    fn guarded<T>(
        &mut self,
        ctx: &mut Context<Self>,
        run: impl FnOnce(&mut S, &mut Cx<'_, S>) -> T,
    ) -> Result<T, Panicked> {
        let result = catch_unwind(AssertUnwindSafe(|| run(&mut self.state, &mut Cx { ctx })));
        result.map_err(|_| {
            self.note_panic();
            ctx.stop();
            Panicked
        })
    }

    fn note_panic(&mut self) {
        self.vitals.observer.actor_panicked(S::NAME);
        slog::error!(self.vitals.log, "actor panicked and is rebuilt"; "actor" => S::NAME);
        let now = Instant::now();
        self.panics.push_back(now);
        while self
            .panics
            .front()
            .is_some_and(|at| now.duration_since(*at) > INTENSITY_WINDOW)
        {
            self.panics.pop_front();
        }
        if self.panics.len() > INTENSITY {
            slog::crit!(self.vitals.log, "actor panics without end"; "actor" => S::NAME);
            self.vitals.watchdog.report(S::NAME);
        }
    }
}

impl<S: ActorState> Actor for Host<S> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // A panic here would kill the actor for good, supervised or not.
        let _ = self.guarded(ctx, |state, cx| state.started(cx));
    }
}

impl<S: ActorState> Supervised for Host<S> {
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        // What would have told it that the mailbox is empty is gone.
        self.pace = Pace::new(Instant::now());
        if catch_unwind(AssertUnwindSafe(|| self.state.recover())).is_err() {
            self.note_panic();
            self.vitals.watchdog.report(S::NAME);
        }
    }
}

/// A request with the permit that admitted it to the mailbox, and where its answer goes.
///
/// The answer has a channel of its own because actix skips a message whose asker has gone. Here it is served all the
/// same: a record is written, a key disabled, whoever still waits.
pub(super) struct Ask<M: Request> {
    pub(super) request: M,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) answer: oneshot::Sender<Result<M::Answer, AskError>>,
}

impl<M: Request> Message for Ask<M> {
    type Result = ();
}

impl<S, M> Handler<Ask<M>> for Host<S>
where
    S: Take<M>,
    M: Request,
{
    type Result = ();

    fn handle(&mut self, ask: Ask<M>, ctx: &mut Self::Context) {
        let due = Due {
            answer: Some(ask.answer),
            permit: Some(ask.permit),
        };
        // Whoever asked learns of a panic from the duty that is dropped.
        let taken = self.guarded(ctx, |state, cx| state.take(ask.request, due, cx));
        if taken.is_ok() && self.state.gathers() && self.pace.asked(Instant::now()) {
            // The thread, not the task: timers count in milliseconds, and whatever else lives here can wait as long.
            std::thread::sleep(REST);
            // Looked at when the mailbox is empty.
            ctx.spawn(ready(()).map(|(), host: &mut Self, _| host.pace.done()));
        }
    }
}

/// Makes the actor panic as a bug in a handler would.
#[cfg(any(test, feature = "test-util"))]
pub(super) struct Crash;

#[cfg(any(test, feature = "test-util"))]
impl Message for Crash {
    type Result = ();
}

#[cfg(any(test, feature = "test-util"))]
impl<S: ActorState> Handler<Crash> for Host<S> {
    type Result = ();

    #[allow(clippy::panic, reason = "this is what it is for")]
    fn handle(&mut self, _: Crash, ctx: &mut Self::Context) {
        let _ = self.guarded(ctx, |_, _| panic!("the actor was told to panic"));
    }
}

type Step<S> = Box<dyn FnOnce(&mut S, &mut Cx<'_, S>) + Send>;

/// Brings the outcome of work outside the mailbox back into it.
struct Resume<S: ActorState>(Step<S>);

impl<S: ActorState> Message for Resume<S> {
    type Result = ();
}

impl<S: ActorState> Handler<Resume<S>> for Host<S> {
    type Result = ();

    fn handle(&mut self, resume: Resume<S>, ctx: &mut Self::Context) {
        let _ = self.guarded(ctx, |state, cx| resume.0(state, cx));
    }
}

/// What a state may do besides answering.
pub struct Cx<'a, S: ActorState> {
    ctx: &'a mut Context<Host<S>>,
}

impl<S: ActorState> std::fmt::Debug for Cx<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(S::NAME)
    }
}

impl<S: ActorState> Cx<'_, S> {
    /// Runs a future beside the mailbox, then `step` inside it. The future outlives a panic of the actor and the
    /// caller that caused it; each is caused by a request that held a permit, so their number is bounded too.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that resumes an actor; bounded as said above"
    )]
    pub fn run<T: Send + 'static>(
        &mut self,
        future: Pin<Box<dyn Future<Output = T> + Send>>,
        step: impl FnOnce(&mut S, Result<T, Panicked>, &mut Cx<'_, S>) + Send + 'static,
    ) {
        let address = self.ctx.address();
        actix::spawn(async move {
            let output = catch(future).await;
            address.do_send(Resume(Box::new(move |state: &mut S, cx: &mut Cx<'_, S>| {
                step(state, output, cx)
            })));
        });
    }

    /// Runs `step` in the mailbox once no further request waits there. Forgotten on a panic, as `after` is. A timer of no time
    /// at all would take a millisecond or two.
    pub fn when_idle(&mut self, step: impl FnOnce(&mut S, &mut Cx<'_, S>) + 'static) {
        self.ctx.spawn(ready(()).map(move |(), host: &mut Host<S>, ctx| {
            let _ = host.guarded(ctx, step);
        }));
    }

    /// Runs `step` in the mailbox after a while. Forgotten on a panic: `started` schedules anew.
    pub fn after(&mut self, delay: Duration, step: impl FnOnce(&mut S, &mut Cx<'_, S>) + 'static) {
        self.ctx.run_later(delay, move |host, ctx| {
            let _ = host.guarded(ctx, step);
        });
    }
}
