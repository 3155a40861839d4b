//! Many statements, one caller, one proof of entitlement, one scanner (contract §2.2, ADR 0023).
//!
//! What is about all of them (proof of entitlement, tenant, release) is asked once and fails all of them. What is about
//! one (mode and key, features and predicate type, rate, size, signature) fails that one. `lines.rs` is how many of them
//! run at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::context::{Context, SignOptions};
use super::error::{At, Failure, Refusal, Stage};
use super::gates::{choose, grant, lease, license, timed, verify_scanner};
use super::idempotent::{Held, begin};
use super::lines::Lines;
use super::records;
use super::services::Services;
use super::signers::{BackendHandle, Signers};
use super::signing::{make_signature, record_intent, release};
use super::state::{Authenticated, Entitled, Item, Released, Session};
use super::timestamping::{authority, timestamp};
use super::turns::{Party, turn_of};
use crate::audit::Durability;
use crate::domain::digest::ImageDigest;
use crate::domain::statement::StatementDraft;
use crate::entitlement::Poe;
use crate::evidence::{Permit, ReleaseEvidence};
use crate::quota::{QuotaError, RateStatus};
use crate::runtime::{AskError, Panicked, catch};

/// Of the time that is left, the part at whose end no item is begun any more: what runs is to end in time.
const LAST_PART: u32 = 10;
/// At most this much of it.
const LONGEST_END: Duration = Duration::from_secs(1);

/// A batch whose body was read and parsed.
#[derive(Debug)]
pub struct BatchRequest {
    /// The items that are in shape, in order.
    pub items: Vec<BatchItem>,
    /// The scanner image that made the evidence, as claimed.
    pub scanner: ImageDigest,
    /// The proof of entitlement; its absence is 403 `entitlement_required`.
    pub poe: Option<Poe>,
}

/// One statement to be signed.
#[derive(Debug)]
pub struct BatchItem {
    /// Its place in the request.
    pub place: usize,
    /// Subjects and predicate.
    pub draft: StatementDraft,
    /// Options.
    pub options: SignOptions,
}

/// What became of a batch.
#[derive(Debug)]
pub struct BatchAnswer<T> {
    /// By the items' places in the request, in no particular order; one for each item.
    pub results: Vec<(usize, Result<T, Failure>)>,
    /// How the tenant's rate stands, if it was asked.
    pub rate: Option<RateStatus>,
}

/// Signs the items, each as [`sign`](super::sign) would: with its own records, and as much else of its own as its refusal.
/// `tell` forms an item's answer at once, so that its payload need not be held until the last item has ended.
///
/// To be called in a task of its own, as [`sign`](super::sign) is.
///
/// # Errors
/// What concerns all of them: the proof of entitlement, whose it is, the release.
pub async fn sign_batch<T: 'static>(
    services: &Services,
    session: Session<Authenticated>,
    request: BatchRequest,
    context: &Context,
    tell: impl Fn(usize, Released) -> Result<T, Failure> + 'static,
) -> Result<BatchAnswer<T>, Failure> {
    let who = records::Who::of(session.principal());
    let work = async {
        let result = run(services, session, request, context, tell).await;
        records::recorded(services, context, who, false, result).await
    };
    match catch(work).await {
        Ok(result) => result,
        // The panic hook has logged where.
        Err(Panicked) => Err(Failure::new(Stage::Signing, AskError::Panicked)),
    }
}

async fn run<T: 'static>(
    services: &Services,
    session: Session<Authenticated>,
    request: BatchRequest,
    context: &Context,
    tell: impl Fn(usize, Released) -> Result<T, Failure> + 'static,
) -> Result<BatchAnswer<T>, Failure> {
    let BatchRequest { items, scanner, poe } = request;
    let mut done = Done {
        results: Vec::with_capacity(items.len()),
        who: records::Who::of(session.principal()),
        services,
        context,
    };
    // One set of keys for all of them: a reload in between changes none.
    let signers = services.signers();
    let chosen: Vec<_> = items
        .into_iter()
        .map(|item| (item.place, choice(services, &signers, item)))
        .collect();
    let session = session.of_items();
    let entitlement = license(services, session.principal(), poe, context);
    let entitlement = timed(services, "entitlement", entitlement).await?;
    let limits = entitlement.limits;
    let signing = Rc::new(Signing {
        services: services.clone(),
        context: context.clone(),
        tell,
        release: RefCell::new(None),
    });
    let mut lines = Lines::new(
        services,
        session.principal().token().tenant.clone(),
        limits,
        context,
    );
    let mut rest: Option<Failure> = None;
    for (place, chosen) in chosen {
        let entitled = chosen.and_then(|(draft, options, backend, is_other_key)| {
            let grant = grant(services, &entitlement, &backend, is_other_key, &draft)?;
            backend.check_active().at(Stage::Entitlement)?;
            Ok(Work {
                place,
                session: Arc::new(session.entitled(grant)),
                draft,
                options,
                backend,
            })
        });
        let work = match entitled {
            Ok(work) => work,
            Err(failure) => {
                done.refused(place, failure).await;
                continue;
            }
        };
        if let Some(why) = &rest {
            done.refused(place, why.clone()).await;
            continue;
        }
        let line = match lines.enter(work.draft.predicate_bytes()).await {
            Ok(line) => line,
            Err(failure) => {
                rest = ends_the_rest(&failure).then(|| failure.clone());
                done.refused(place, failure).await;
                continue;
            }
        };
        if signing.release.borrow().is_none() {
            let evidence = timed(
                services,
                "release",
                verify_scanner(services, &work.session, scanner, context),
            )
            .await;
            let evidence = evidence.map_err(|failure| failure.with_rate(lines.rate()))?;
            signing.release.replace(Some(evidence));
        }
        let rate = lines.rate();
        let signing = Rc::clone(&signing);
        lines.run(line, place, |permit| async move {
            signing.item(work, permit, rate).await
        });
        for (place, result) in lines.ended() {
            done.ended(place, result).await;
        }
    }
    let rate = lines.rate();
    for (place, result) in lines.all_ended().await {
        done.ended(place, result).await;
    }
    Ok(BatchAnswer {
        results: done.results,
        rate,
    })
}

type Chosen = (StatementDraft, SignOptions, BackendHandle, bool);

fn choice(services: &Services, signers: &Signers, item: BatchItem) -> Result<Chosen, Failure> {
    let (backend, is_other_key) = choose(services, signers, &item.options)?;
    let backend = backend.clone();
    Ok((item.draft, item.options, backend, is_other_key))
}

/// Whether what kept one item from beginning keeps all later ones, too: a rate that is used up (contract §2.2), a plan's
/// concurrency of which this batch got nothing, and the end of its time.
fn ends_the_rest(failure: &Failure) -> bool {
    matches!(
        failure.refusal,
        Refusal::Quota(
            QuotaError::Rate { .. } | QuotaError::Concurrency { .. } | QuotaError::StateUnavailable
        ) | Refusal::Ask(_)
    )
}

/// When the last item is begun.
pub(super) fn last_begin(context: &Context) -> Instant {
    let remaining = context.deadline.remaining();
    let end = (remaining / LAST_PART).min(LONGEST_END);
    let latest = context.deadline.instant().checked_sub(end);
    latest.unwrap_or_else(|| context.deadline.instant())
}

/// An item that nothing but quota, release and signature can refuse any more.
struct Work {
    place: usize,
    session: Arc<Session<Entitled>>,
    draft: StatementDraft,
    options: SignOptions,
    backend: BackendHandle,
}

/// What ended, recorded where nothing has recorded it yet.
struct Done<'a, T> {
    results: Vec<(usize, Result<T, Failure>)>,
    who: records::Who,
    services: &'a Services,
    context: &'a Context,
}

impl<T> Done<'_, T> {
    async fn refused(&mut self, place: usize, failure: Failure) {
        self.ended(place, Err(failure)).await;
    }

    async fn ended(&mut self, place: usize, result: Result<T, Failure>) {
        let who = self.who.clone();
        let result = records::recorded(self.services, self.context, who, false, result).await;
        self.results.push((place, result));
    }
}

/// What signing is the same for.
struct Signing<F> {
    services: Services,
    context: Context,
    tell: F,
    /// Once the first item has asked.
    release: RefCell<Option<ReleaseEvidence>>,
}

impl<F> Signing<F> {
    async fn item<T>(&self, work: Work, permit: Permit, rate: Option<RateStatus>) -> Result<T, Failure>
    where
        F: Fn(usize, Released) -> Result<T, Failure>,
    {
        match catch(self.signed(work, permit, rate)).await {
            Ok(result) => result.map_err(|failure| failure.with_rate(rate)),
            Err(Panicked) => Err(Failure::new(Stage::Signing, AskError::Panicked)),
        }
    }

    async fn signed<T>(&self, work: Work, permit: Permit, rate: Option<RateStatus>) -> Result<T, Failure>
    where
        F: Fn(usize, Released) -> Result<T, Failure>,
    {
        let (services, context, backend) = (&self.services, &self.context, &work.backend);
        let begun = services.clock.monotonic();
        let tenant = work.session.principal().token().tenant.clone();
        let party = Party::Tenant(tenant);
        let evidence = self.release.borrow().as_ref().map(ReleaseEvidence::again);
        let evidence = evidence.ok_or(AskError::Abandoned).at(Stage::Release)?;
        let item = Item::admitted(work.session, work.draft, permit, rate).release_verified(evidence);
        let key = lease(backend, work.options.min_life, services, context).await?;
        let timestamps = authority(services, &work.options)?;
        let attempt = begin(services, &mut Held::default(), context).await?;
        // What costs a worker most is done one at a time, tenants in turn (ADR 0018): digests, and the signature.
        turn_of(&party, context.deadline).await.at(Stage::Signing)?;
        let item = record_intent(services, item, key, backend, attempt, context).await?;
        // Whoever has an intent in the trail signs, or says that nothing was signed: no refusal in between.
        let _ = turn_of(&party, context.deadline).await;
        // No key of a retry waits for what became of it.
        let durability = Durability::InOrder;
        let item = make_signature(services, item, backend, context, begun, durability).await?;
        let item = timestamp(services, item, timestamps, context, begun, durability).await?;
        let released = release(services, item, context, begun).await?;
        let place = work.place;
        (self.tell)(place, released)
    }
}
