//! Quotas that replicas share: the store decides, this actor holds the leases.
//!
//! One round trip admits. Giving back and renewing happen in the background: a permit that is dropped says so on a
//! channel; whatever has gathered there is given back with one call, and all that is held is renewed with one call every
//! third of a lease's life. A replica that dies gives nothing back, and its leases end by themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::leases::{Book, by_tenant};
use super::{Admission, Admit, Charge, Lane, Look, Quota, QuotaError, RateStatus, check_capacity};
use crate::domain::tenant::TenantId;
use crate::evidence::{Permit, Seat};
use crate::ports::{LeaseId, QuotaStore, Rate, SharedRate, Standing, StateUnavailable};
use crate::runtime::{Cx, Panicked, Reply};

/// Most leases given back with one call.
const BATCH: usize = 512;

type Admitted = (Option<RateStatus>, Result<Admission, QuotaError>);
type Returned = (TenantId, LeaseId);
type Outcome<T> = Result<Result<T, StateUnavailable>, Panicked>;

/// What a shard of quotas needs of a shared store.
pub(super) struct Shared {
    store: Arc<dyn QuotaStore>,
    book: Book,
    /// Cloned into every permit.
    returns: mpsc::UnboundedSender<Returned>,
    /// Here until the actor listens, and whenever it does not. As many messages at most as there are permits.
    returned: Option<mpsc::UnboundedReceiver<Returned>>,
    /// When it was last looked for leases that lapsed.
    looked: Duration,
    /// Which timer is the one that renews: those from before a panic are not.
    timer: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// A permit's lease: says when it is dropped.
#[derive(Debug)]
struct Lease {
    tenant: TenantId,
    id: LeaseId,
    returns: mpsc::UnboundedSender<Returned>,
}

impl Seat for Lease {}

impl Drop for Lease {
    fn drop(&mut self) {
        // Without an actor to hear it the lease ends by itself.
        let _ = self.returns.send((self.tenant.clone(), self.id));
    }
}

impl Shared {
    pub(super) fn new(store: Arc<dyn QuotaStore>, holder: u64) -> Self {
        let (returns, returned) = mpsc::unbounded_channel();
        let book = Book::new(holder, store.lease_life());
        Self {
            store,
            book,
            returns,
            returned: Some(returned),
            looked: Duration::ZERO,
            timer: 0,
        }
    }

    fn period(&self, failed: bool) -> Duration {
        let life = self.store.lease_life();
        // Soon again, while what is held still lives.
        if failed { life / 15 } else { life / 3 }
    }

    fn permit(&self, tenant: &TenantId, id: LeaseId) -> Permit {
        Permit::new(Arc::new(Lease {
            tenant: tenant.clone(),
            id,
            returns: self.returns.clone(),
        }))
    }
}

/// Calls of the store that this state waits for; `shared` is `Some` in all of them.
impl Quota {
    pub(super) fn admit_shared(&mut self, ask: Admit, cx: &mut Cx<'_, Self>) -> Reply<Admitted> {
        let now = self.clock.monotonic();
        let Some(shared) = &mut self.shared else {
            return Reply::Now((None, Err(QuotaError::StateUnavailable)));
        };
        if shared.book.is_overdue(&ask.tenant, now) {
            return Reply::Now((None, Err(QuotaError::StateUnavailable)));
        }
        // What is too large takes its token and is told about the concurrency first, but holds nothing.
        let fits = ask.artifact_bytes <= ask.limits.max_artifact_bytes;
        let lease = fits.then(|| shared.book.next());
        let call = shared.store.admit(ask.tenant.clone(), ask.limits, lease);
        let (sender, receiver) = oneshot::channel();
        cx.run(call, move |this: &mut Self, outcome, cx| {
            let answer = this.admitted(&ask, lease, now, outcome);
            if let Err(error) = &answer.1
                && *error != QuotaError::StateUnavailable
            {
                this.observer.throttled(error.kind());
            }
            // An asker that has gone drops its permit here, which gives the lease back.
            drop(sender.send(answer));
            this.give_back(cx);
        });
        Reply::Later(receiver)
    }

    fn admitted(
        &mut self,
        ask: &Admit,
        lease: Option<LeaseId>,
        asked: Duration,
        outcome: Outcome<Standing>,
    ) -> Admitted {
        let now = self.clock.monotonic();
        let Some(shared) = &mut self.shared else {
            return (None, Err(QuotaError::StateUnavailable));
        };
        let Ok(Ok(standing)) = outcome else {
            // It may be held all the same.
            if let Some(id) = lease {
                shared.book.owe(&ask.tenant, id, now);
            }
            return (None, Err(QuotaError::StateUnavailable));
        };
        let status = RateStatus::of_missing(&ask.limits, standing.rate.missing);
        let result = match lease.filter(|_| standing.leased) {
            Some(id) => {
                shared.book.taken(&ask.tenant, id, asked);
                self.observer.leases_held(1);
                Ok(Admission {
                    permit: shared.permit(&ask.tenant, id),
                })
            }
            None if !standing.rate.taken => Err(QuotaError::Rate { status }),
            None => check_capacity(standing.in_use as usize, &ask.limits, ask.artifact_bytes)
                // Held by others although there seemed to be room, which the store never says.
                .and(Err(QuotaError::StateUnavailable)),
        };
        (Some(status), result)
    }

    pub(super) fn charge_shared(
        &mut self,
        ask: Charge,
        rate: SharedRate,
        cx: &mut Cx<'_, Self>,
    ) -> Reply<Result<RateStatus, QuotaError>> {
        let Some(shared) = &self.shared else {
            return Reply::Now(Err(QuotaError::StateUnavailable));
        };
        let call = shared.store.charge(ask.tenant, ask.limits, rate);
        let (sender, receiver) = oneshot::channel();
        cx.run(call, move |this: &mut Self, outcome: Outcome<Rate>, _cx| {
            let answer = match outcome {
                Ok(Ok(rate)) => {
                    let status = RateStatus::of_missing(&ask.limits, rate.missing);
                    rate.taken.then_some(status).ok_or(QuotaError::Rate { status })
                }
                _ => Err(QuotaError::StateUnavailable),
            };
            if let Err(error @ QuotaError::Rate { .. }) = &answer {
                this.observer.throttled(error.kind());
            }
            // Nobody is told who has gone.
            let _ = sender.send(answer);
        });
        Reply::Later(receiver)
    }

    pub(super) fn look_shared(&mut self, ask: Look, cx: &mut Cx<'_, Self>) -> Reply<Result<(), QuotaError>> {
        let now = self.clock.monotonic();
        let shared = self.shared.as_ref();
        let Some(shared) = shared.filter(|shared| !shared.book.is_overdue(&ask.tenant, now)) else {
            return Reply::Now(Err(QuotaError::StateUnavailable));
        };
        let call = shared.store.look(ask.tenant, ask.limits);
        let (sender, receiver) = oneshot::channel();
        cx.run(call, move |_: &mut Self, outcome: Outcome<Standing>, _cx| {
            let answer = match outcome {
                Ok(Ok(standing)) => {
                    let status = RateStatus::of_missing(&ask.limits, standing.rate.missing);
                    if status.remaining == 0 {
                        Err(QuotaError::Rate { status })
                    } else {
                        check_capacity(standing.in_use as usize, &ask.limits, ask.artifact_bytes)
                    }
                }
                _ => Err(QuotaError::StateUnavailable),
            };
            let _ = sender.send(answer);
        });
        Reply::Later(receiver)
    }

    /// Called at the start and after each panic, which forgets timers.
    pub(super) fn tend(&mut self, cx: &mut Cx<'_, Self>) {
        self.listen(cx);
        if let Some(shared) = &mut self.shared {
            shared.timer += 1;
        }
        self.renew_again(false, cx);
    }

    fn renew_again(&mut self, failed: bool, cx: &mut Cx<'_, Self>) {
        if let Some(shared) = &self.shared {
            let timer = shared.timer;
            cx.after(shared.period(failed), move |this: &mut Self, cx| {
                if this.shared.as_ref().is_some_and(|shared| shared.timer == timer) {
                    this.renew(cx);
                }
            });
        }
    }

    /// Waits for permits that are dropped. After a panic the wait that was under way still is, and `returned` away.
    fn listen(&mut self, cx: &mut Cx<'_, Self>) {
        let taken = self.shared.as_mut().and_then(|shared| shared.returned.take());
        let Some(mut returned) = taken else { return };
        let gathering = async move {
            let mut gathered = Vec::new();
            returned.recv_many(&mut gathered, BATCH).await;
            (returned, gathered)
        };
        cx.run(Box::pin(gathering), |this: &mut Self, outcome, cx| {
            let Ok((returned, gathered)) = outcome else { return };
            let now = this.clock.monotonic();
            if let Some(shared) = &mut this.shared {
                shared.returned = Some(returned);
                for (tenant, id) in gathered {
                    if shared.book.give_back(&tenant, id, now) {
                        this.observer.leases_held(-1);
                    }
                }
            }
            this.listen(cx);
            this.give_back(cx);
        });
    }

    /// Tells the store of leases that nobody uses any more.
    fn give_back(&mut self, cx: &mut Cx<'_, Self>) {
        let now = self.clock.monotonic();
        let Some(shared) = &mut self.shared else { return };
        let owed = shared.book.take_owed(now);
        if owed.is_empty() {
            return;
        }
        let call = shared.store.release(by_tenant(&owed));
        cx.run(call, move |this: &mut Self, outcome: Outcome<()>, _cx| {
            if !matches!(outcome, Ok(Ok(())))
                && let Some(shared) = &mut this.shared
            {
                // Tried again with the next renewal.
                shared.book.still_owed(owed);
            }
        });
    }

    fn renew(&mut self, cx: &mut Cx<'_, Self>) {
        self.count_lapsed();
        self.give_back(cx);
        let now = self.clock.monotonic();
        let Some(shared) = &self.shared else { return };
        let (leases, timer) = (shared.book.to_renew(), shared.timer);
        if leases.is_empty() {
            return self.renew_again(false, cx);
        }
        let call = shared.store.renew(leases.clone());
        cx.run(call, move |this: &mut Self, outcome: Outcome<u64>, cx| {
            this.count_lapsed();
            let Some(shared) = &mut this.shared else { return };
            let renewed = outcome.ok().and_then(Result::ok);
            if let Some(lost) = renewed {
                shared.book.renewed(&leases, now);
                this.observer.leases_broken("lost", lost);
            }
            if shared.timer == timer {
                this.renew_again(renewed.is_none(), cx);
            }
        });
    }

    /// Counts each lease once that ended while its work was running.
    fn count_lapsed(&mut self) {
        let now = self.clock.monotonic();
        let Some(shared) = &mut self.shared else { return };
        let lapsed = shared.book.lapsed(shared.looked, now);
        shared.looked = now;
        self.observer.leases_broken("lapsed", lapsed as u64);
    }
}

/// The shared rate of a lane; `None` for what each replica limits by itself.
pub(super) fn shared_rate(lane: Lane) -> Option<SharedRate> {
    match lane {
        Lane::Sign => Some(SharedRate::Sign),
        Lane::DryRun => Some(SharedRate::DryRun),
        Lane::Replay => Some(SharedRate::Replay),
        Lane::Verify => Some(SharedRate::Verify),
        // What a tenant is refused may not fill *this replica's* audit trail.
        Lane::Refusal => None,
    }
}

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
