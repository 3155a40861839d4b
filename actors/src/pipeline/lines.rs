//! How many items of a batch run at once: as many as the plan's concurrency leaves, the others wait.
//!
//! A permit that the batch has got is a line: one item after the other runs on it, so there is one permit for each item
//! that runs. An item that finds no line free asks for one more permit; if there is none it waits until a line is free,
//! and only a batch that got none at all is refused. Each item takes a token of the rate when it is begun, in order.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::batch::last_begin;
use super::context::Context;
use super::error::{AskedAt, At, Failure, Stage};
use super::gates::timed;
use super::services::Services;
use crate::domain::plan::PlanLimits;
use crate::domain::tenant::TenantId;
use crate::evidence::{Line, Permit};
use crate::quota::{Admit, Charge, Lane, QuotaError, RateStatus};
use crate::runtime::AskError;

/// How long after the plan had no permit left it is asked for another one at the earliest: what the tenant's other
/// requests give back meanwhile is used, and they are not crowded out by questions.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// An item's place and what became of it.
pub(super) type Ended<T> = (usize, Result<T, Failure>);

/// The lines of one batch.
pub(super) struct Lines<'a, T> {
    services: &'a Services,
    context: &'a Context,
    tenant: TenantId,
    limits: PlanLimits,
    /// From then on no item begins.
    until: Instant,
    free: Vec<Line>,
    running: FuturesUnordered<LocalBoxFuture<'static, (Line, Ended<T>)>>,
    ended: Vec<Ended<T>>,
    /// When the plan last had no permit left.
    none_left: Option<Duration>,
    rate: Option<RateStatus>,
}

impl<'a, T: 'static> Lines<'a, T> {
    pub(super) fn new(
        services: &'a Services,
        tenant: TenantId,
        limits: PlanLimits,
        context: &'a Context,
    ) -> Self {
        Self {
            services,
            context,
            tenant,
            limits,
            until: last_begin(context),
            free: Vec::new(),
            running: FuturesUnordered::new(),
            ended: Vec::new(),
            none_left: None,
            rate: None,
        }
    }

    /// How the tenant's rate stands, if it was asked.
    pub(super) fn rate(&self) -> Option<RateStatus> {
        self.rate
    }

    /// Rate, concurrency, size of the next item: a line for it.
    pub(super) async fn enter(&mut self, artifact_bytes: u64) -> Result<Line, Failure> {
        timed(self.services, "quota", self.admit(artifact_bytes)).await
    }

    async fn admit(&mut self, artifact_bytes: u64) -> Result<Line, Failure> {
        self.look();
        if Instant::now() >= self.until {
            return Err(Failure::new(Stage::Quota, AskError::Deadline));
        }
        let line = if self.free.is_empty() && self.may_have_more() {
            match self.one_more(artifact_bytes).await? {
                Some(line) => return Ok(line),
                None => self.wait().await?,
            }
        } else {
            let line = self.wait().await?;
            if let Err(failure) = self.charge().await {
                self.free.push(line);
                return Err(failure);
            }
            line
        };
        let limit = self.limits.max_artifact_bytes;
        if artifact_bytes > limit {
            self.free.push(line);
            let error = QuotaError::Size {
                bytes: artifact_bytes,
                limit,
            };
            self.services.observer.throttled(error.kind());
            return Err(Failure::new(Stage::Quota, error).with_rate(self.rate));
        }
        Ok(line)
    }

    fn may_have_more(&self) -> bool {
        let now = self.services.clock.monotonic();
        self.running.len() < self.limits.concurrency as usize
            && self
                .none_left
                .is_none_or(|asked| now.saturating_sub(asked) >= ASK_AGAIN)
    }

    /// A token, and a permit if there is one: `None` if this batch has others.
    async fn one_more(&mut self, artifact_bytes: u64) -> Result<Option<Line>, Failure> {
        let ask = Admit {
            tenant: self.tenant.clone(),
            limits: self.limits,
            artifact_bytes,
        };
        let shard = self.services.quota.of(self.tenant.as_str());
        let (rate, admission) = shard.ask(ask, self.context.deadline).await.at(Stage::Quota)?;
        self.rate = rate.or(self.rate);
        match admission {
            Ok(admission) => Ok(Some(Line::new(admission.permit))),
            Err(QuotaError::Concurrency { .. }) if !self.running.is_empty() => {
                self.none_left = Some(self.services.clock.monotonic());
                Ok(None)
            }
            Err(error) => Err(Failure::new(Stage::Quota, error).with_rate(self.rate)),
        }
    }

    async fn charge(&mut self) -> Result<(), Failure> {
        let charge = Charge {
            tenant: self.tenant.clone(),
            limits: self.limits,
            lane: Lane::Sign,
        };
        let shard = self.services.quota.of(self.tenant.as_str());
        let charged = shard
            .ask(charge, self.context.deadline)
            .await
            .asked_at(Stage::Quota);
        let rate = match &charged {
            Ok(rate) => Some(*rate),
            Err(failure) => failure.rate,
        };
        self.rate = rate.or(self.rate);
        charged.map(drop)
    }

    /// A free line, as soon as there is one.
    async fn wait(&mut self) -> Result<Line, Failure> {
        loop {
            if let Some(line) = self.free.pop() {
                return Ok(line);
            }
            match tokio::time::timeout_at(self.until, self.running.next()).await {
                Ok(Some(end)) => self.end(end),
                // There is a line for each item that runs.
                Ok(None) => return Err(Failure::new(Stage::Quota, AskError::Abandoned)),
                Err(_) => return Err(Failure::new(Stage::Quota, AskError::Deadline)),
            }
        }
    }

    /// Has an item's work done on a line, as a task of its own.
    pub(super) fn run<F>(&mut self, mut line: Line, place: usize, work: impl FnOnce(Permit) -> F)
    where
        F: Future<Output = Result<T, Failure>> + 'static,
    {
        let Some(permit) = line.next() else {
            let failure = Failure::new(Stage::Quota, AskError::Abandoned);
            self.ended.push((place, Err(failure)));
            return;
        };
        let task = actix::spawn(work(permit));
        let run = async move {
            let result = task.await;
            // The panic hook has logged where.
            let result = result.unwrap_or_else(|_| Err(Failure::new(Stage::Signing, AskError::Panicked)));
            (line, (place, result))
        };
        self.running.push(run.boxed_local());
    }

    /// What has ended since it was asked for.
    pub(super) fn ended(&mut self) -> Vec<Ended<T>> {
        self.look();
        std::mem::take(&mut self.ended)
    }

    /// The rest, when it has ended.
    pub(super) async fn all_ended(mut self) -> Vec<Ended<T>> {
        while let Some(end) = self.running.next().await {
            self.end(end);
        }
        self.ended
    }

    /// Takes notice of what has ended, without waiting.
    fn look(&mut self) {
        while let Some(Some(end)) = self.running.next().now_or_never() {
            self.end(end);
        }
    }

    fn end(&mut self, (line, ended): (Line, Ended<T>)) {
        self.free.push(line);
        self.ended.push(ended);
    }
}
