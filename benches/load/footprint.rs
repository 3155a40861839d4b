//! What the actors remember, and how much memory that takes: the growth of this process's resident memory. Their clock
//! stands still, so that nothing expires and no bucket fills.

use std::io::Write;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use serde::{Deserialize, Serialize};
use signer_actors::auth::SpendProof;
use signer_actors::domain::caller::{AccessToken, VerifiedProof};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::entitlement::Entitlement;
use signer_actors::domain::plan::PlanLimits;
use signer_actors::domain::tenant::TenantId;
use signer_actors::entitlement::{Poe, Resolve};
use signer_actors::pipeline::Services;
use signer_actors::quota::Admit;
use signer_actors::runtime::Deadline;
use signer_actors::system::{Placement, start_actors};
use signer_actors::testing::{self, Fakes};

use crate::Fallible;
use crate::args::Footprint;
use crate::process::resident_kib;

/// Tenants among which proofs are spread: one may hold an eighth of the store.
const SPREAD: u32 = 1_000;
/// As contract §3 has it.
const WINDOW: i64 = 60;
const AHEAD: i64 = 30;

/// Growth by so many things of a kind.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) what: String,
    pub(crate) count: u32,
    pub(crate) bytes: u64,
}

/// Writes what it finds as JSON.
pub(crate) fn tell(options: &Footprint) -> ExitCode {
    let told = actix::System::new().block_on(measure(*options));
    let written = told.and_then(|told| {
        let text = serde_json::to_string(&told)?;
        Ok(writeln!(std::io::stdout(), "{text}")?)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Memory {
    fakes: Fakes,
    services: Services,
    deadline: Deadline,
}

async fn measure(options: Footprint) -> Fallible<Vec<Told>> {
    let here = Arbiter::current();
    let placement = Placement {
        state: here.clone(),
        more_state: Vec::new(),
        audit: here,
    };
    let room = NonZeroUsize::MIN.saturating_add(2 * options.others as usize);
    let mut tuning = testing::tuning();
    tuning.replay_capacity = 2 * options.proofs as usize;
    tuning.entitlement.capacity = room;
    let fakes = Fakes::default();
    let services = start_actors(fakes.parts(), tuning, &placement).on_worker(Some(room));
    let memory = Memory {
        fakes,
        services,
        deadline: Deadline::after(Duration::from_secs(1800)),
    };
    let mut told = Vec::new();
    // One of each first: what every table begins with is not counted.
    for warm in [true, false] {
        let count = |full: u32| if warm { 1 } else { full };
        told.clear();
        told.push(memory.spent_proofs(count(options.proofs)).await?);
        told.push(memory.remembered_tokens(count(options.others))?);
        told.push(memory.entitlements(count(options.others)).await?);
        told.push(memory.buckets(count(options.others)).await?);
    }
    Ok(told)
}

/// Unlike any other number's of any kind.
fn named(what: &str, n: u32, of: u32) -> String {
    format!("0192f0e4-{what}-{of:08x}-{n:012x}")
}

fn tenant(what: &str, n: u32, of: u32) -> Fallible<TenantId> {
    TenantId::parse(&named(what, n, of)).ok_or_else(|| "this is no tenant".into())
}

fn grown(what: &str, count: u32, before: u64) -> Fallible<Told> {
    Ok(Told {
        what: what.to_owned(),
        count,
        bytes: resident_kib("self")?.saturating_sub(before) * 1024,
    })
}

impl Memory {
    async fn spent_proofs(&self, count: u32) -> Fallible<Told> {
        let before = resident_kib("self")?;
        let tenants: Vec<TenantId> = (0..SPREAD)
            .map(|n| tenant("spent", n, 0))
            .collect::<Fallible<_>>()?;
        for (n, tenant) in (0..count).zip(tenants.iter().cycle()) {
            let proof = VerifiedProof {
                replay_id: Sha256Digest::of(named("spent", n, count).as_bytes()),
                // Surely younger than the store.
                issued: testing::NOW() + chrono::Duration::seconds(AHEAD + 1),
                ..testing::proof()
            };
            let spend = SpendProof {
                tenant: tenant.clone(),
                proof,
                window_seconds: WINDOW,
                ahead_seconds: AHEAD,
            };
            let shard = self.services.auth.of(tenant.as_str());
            let answer = shard.ask(spend, self.deadline).await;
            if !matches!(answer, Ok(Ok(()))) {
                return Err(format!("a proof was not spent: {answer:?}").into());
            }
        }
        grown("spent proofs", count, before)
    }

    fn remembered_tokens(&self, count: u32) -> Fallible<Told> {
        let before = resident_kib("self")?;
        let tokens = self.services.tokens.as_ref().ok_or("no token is remembered")?;
        for n in 0..count {
            let name = named("token", n, count);
            let token = AccessToken {
                digest: Sha256Digest::of(name.as_bytes()),
                subject: name.as_str().into(),
                client_id: name.as_str().into(),
                token_id: name.as_str().into(),
                tenant: tenant("token", n, count)?,
                scopes: vec!["signer.sign".into(), "signer.verify".into()],
                ..testing::access_token()
            };
            let answer = tokens.ask(|tokens| tokens.remember(Arc::new(token)));
            answer.ok_or("a token was not remembered")?;
        }
        grown("remembered tokens", count, before)
    }

    async fn entitlements(&self, count: u32) -> Fallible<Told> {
        let before = resident_kib("self")?;
        for n in 0..count {
            let name = named("poe", n, count);
            let tenant = tenant("poe", n, count)?;
            self.fakes.licensing.local.set(Ok(Entitlement {
                license: name.as_str().into(),
                tenant: tenant.clone(),
                ..testing::entitlement()
            }));
            let shard = self.services.entitlement.of(tenant.as_str());
            let poe = Poe::new(&name).ok_or("a proof of entitlement is empty")?;
            let answer = shard.ask(Resolve { poe, tenant }, self.deadline).await;
            if !matches!(answer, Ok(Ok(_))) {
                return Err(format!("an entitlement was not resolved: {answer:?}").into());
            }
        }
        grown("entitlements", count, before)
    }

    async fn buckets(&self, count: u32) -> Fallible<Told> {
        let before = resident_kib("self")?;
        for n in 0..count {
            let tenant = tenant("plan", n, count)?;
            let shard = self.services.quota.of(tenant.as_str());
            let admit = Admit {
                tenant: tenant.clone(),
                limits: PlanLimits {
                    qps: 10,
                    burst: 100,
                    concurrency: 4,
                    max_artifact_bytes: 1_000_000,
                },
                artifact_bytes: 1_000,
            };
            match shard.ask(admit, self.deadline).await {
                Ok((_, Ok(_))) => {}
                answer => return Err(format!("a tenant was not admitted: {answer:?}").into()),
            }
        }
        grown("tenants' buckets", count, before)
    }
}
