//! State that replicas share, in Redis 7 or Valkey 8: spent proofs and quotas.
//!
//! `scripts` holds what is decided, as scripts that run on the server and by its clock; `link` the one connection and
//! what becomes of it; `server` which servers are fit. Why it is so: `docs/adr/0014-shared-state.md`.

mod failure;
mod keys;
mod link;
mod scripts;
mod server;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use signer_actors::domain::plan::PlanLimits;
use signer_actors::domain::tenant::TenantId;
use signer_actors::ports::{
    LeaseId, Leases, Observer, PortFuture, QuotaStore, Rate, ReplayStore, SharedRate, Spend, Spent, Standing,
    StateUnavailable, StoreEpoch,
};
use tokio::sync::watch;
use zeroize::Zeroizing;

use self::failure::Failure;
use self::link::Link;
use self::scripts::{ADMIT, Answer, CHARGE, Call, RENEW, SPEND};

/// Most difference between the server's clock and a replica's: beyond, no proof can be spent.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(30);
/// Most leases in one command.
const LEASES_AT_ONCE: usize = 512;

/// What the service is told about the store.
#[derive(Clone)]
pub struct Settings {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// PEM of the only roots to trust; `None`: the system's.
    pub roots: Option<Vec<u8>>,
    /// Number of the database.
    pub database: i64,
    /// User of an ACL; `None`: the default one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Zeroizing<String>>,
    /// What every key begins with, so that several deployments can share a server.
    pub prefix: String,
    /// Longest time for one answer.
    pub timeout: Duration,
    /// How long a unit of concurrency lives unless renewed. The same for all replicas.
    pub lease_life: Duration,
    /// How long answers to requests with an idempotency key are kept.
    pub answer_ttl: Duration,
    /// Most idempotency keys. A tenant may hold at most as many as are left free.
    pub answer_capacity: u64,
    /// How long an attempt at a request has its idempotency key to itself: longer than any may take.
    pub claim_life: Duration,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .field("database", &self.database)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// A key. All of a deployment share one hash tag: each script reads the birth besides a tenant's key, and on a
    /// cluster both must be in one slot.
    fn key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.prefix)
    }

    fn key_of(&self, kind: &str, tenant: &TenantId) -> String {
        self.key(&format!("{kind}:{tenant}"))
    }

    fn rate_key(&self, rate: SharedRate, tenant: &TenantId) -> String {
        let kind = match rate {
            SharedRate::Sign => "rate",
            SharedRate::DryRun => "rate-dry",
            SharedRate::Replay => "rate-replay",
            SharedRate::Verify => "rate-verify",
        };
        self.key_of(kind, tenant)
    }

    fn tls_connector(&self) -> Result<Option<tokio_native_tls::TlsConnector>, String> {
        if !self.tls {
            return Ok(None);
        }
        let mut builder = native_tls::TlsConnector::builder();
        builder.min_protocol_version(Some(native_tls::Protocol::Tlsv12));
        if let Some(pem) = &self.roots {
            let roots = openssl::x509::X509::stack_from_pem(pem)
                .map_err(|_| "the roots are not certificates in PEM")?;
            builder.disable_built_in_roots(true);
            for root in roots {
                let der = root.to_der().map_err(|error| error.to_string())?;
                let root = native_tls::Certificate::from_der(&der).map_err(|error| error.to_string())?;
                builder.add_root_certificate(root);
            }
        }
        let connector = builder.build().map_err(|error| error.to_string())?;
        Ok(Some(connector.into()))
    }
}

/// The store, as the core asks it. Clones share the connection.
#[derive(Clone, Debug)]
pub struct RedisState {
    link: Arc<Link>,
}

impl RedisState {
    /// Not connected yet: see [`Self::keep`]. `epoch` is told which memory the store has.
    ///
    /// # Errors
    /// The roots are not certificates, or OpenSSL fails.
    pub fn new(settings: Settings, epoch: StoreEpoch, observer: Arc<dyn Observer>) -> Result<Self, String> {
        let link = Arc::new(Link::new(settings, epoch, observer)?);
        Ok(Self { link })
    }

    /// Connects, and connects anew, for as long as it is polled: on an arbiter that outlives every request.
    pub fn keep(&self, log: slog::Logger) -> PortFuture<()> {
        Box::pin(Arc::clone(&self.link).keep(log))
    }

    /// Whether the store can be asked.
    pub fn up(&self) -> watch::Receiver<bool> {
        self.link.up()
    }

    /// Connects once; says what was found, or why it cannot be used.
    pub async fn probe(&self) -> Result<String, String> {
        let server = self.link.probe().await.map_err(|failure| failure.to_string())?;
        if server.is_in_time() {
            Ok(server.to_string())
        } else {
            Err(Failure::Clock.to_string())
        }
    }
}

impl ReplayStore for RedisState {
    fn spend(&self, spend: Spend) -> PortFuture<Result<Spent, StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let settings = &link.settings;
            let call = Call::default()
                .key(settings.key("birth"))
                .key(settings.key_of("replay", &spend.tenant));
            let answer = link.run(SPEND, spend_arguments(call, &spend)).await?;
            let spent = verdict(&answer);
            Ok(link.judged(SPEND, spent)?)
        })
    }
}

/// Times in ms. What a replica's clock said is kept, and compared, with a margin for how far it may be off.
fn spend_arguments(call: Call, spend: &Spend) -> Call {
    let (issued, asked) = (spend.issued.timestamp_millis(), spend.now.timestamp_millis());
    let ahead = if spend.ahead.is_zero() {
        Duration::ZERO
    } else {
        spend.ahead.saturating_add(MAX_CLOCK_DIFFERENCE)
    };
    let keep = spend.window.saturating_add(MAX_CLOCK_DIFFERENCE);
    let nonce = spend.nonce_epoch.map(|epoch| epoch.to_string());
    call.bytes(spend.id.0)
        .number(issued)
        .number(asked)
        .number(millis(keep))
        .number(millis(ahead))
        .bytes(nonce.unwrap_or_default())
        .number(i64::try_from(spend.most).unwrap_or(i64::MAX))
        .number(millis(MAX_CLOCK_DIFFERENCE))
}

fn verdict(answer: &Answer) -> Result<Spent, Failure> {
    match answer.word.as_str() {
        "ok" => Ok(Spent::Recorded),
        "spent" => Ok(Spent::Replayed),
        "older" => Ok(Spent::OlderThanStore),
        "full" => Ok(Spent::Full),
        "clock" => Err(Failure::Clock),
        other => Err(Failure::Answer(format!("an unexpected answer {other:?}"))),
    }
}

impl RedisState {
    /// Rate and concurrency in one.
    fn admission(
        &self,
        tenant: TenantId,
        limits: PlanLimits,
        act: &'static str,
        lease: Option<LeaseId>,
    ) -> PortFuture<Result<Standing, StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let settings = &link.settings;
            let call = Call::default()
                .key(settings.key("birth"))
                .key(settings.rate_key(SharedRate::Sign, &tenant))
                .key(settings.key_of("leases", &tenant))
                .number(limits.qps)
                .number(limits.burst)
                .number(limits.concurrency)
                .number(millis(settings.lease_life))
                .bytes(act)
                .bytes(lease.map(|id| id.to_string()).unwrap_or_default());
            let standing = link.run(ADMIT, call).await?.numbers().map(standing);
            Ok(link.judged(ADMIT, standing)?)
        })
    }
}

fn standing([taken, missing, in_use, leased]: [u64; 4]) -> Standing {
    Standing {
        rate: Rate {
            taken: taken == 1,
            missing,
        },
        in_use: u32::try_from(in_use).unwrap_or(u32::MAX),
        leased: leased == 1,
    }
}

impl QuotaStore for RedisState {
    fn admit(
        &self,
        tenant: TenantId,
        limits: PlanLimits,
        lease: Option<LeaseId>,
    ) -> PortFuture<Result<Standing, StateUnavailable>> {
        let act = if lease.is_some() { "hold" } else { "charge" };
        self.admission(tenant, limits, act, lease)
    }

    fn look(&self, tenant: TenantId, limits: PlanLimits) -> PortFuture<Result<Standing, StateUnavailable>> {
        self.admission(tenant, limits, "look", None)
    }

    fn charge(
        &self,
        tenant: TenantId,
        limits: PlanLimits,
        rate: SharedRate,
    ) -> PortFuture<Result<Rate, StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let settings = &link.settings;
            let call = Call::default()
                .key(settings.key("birth"))
                .key(settings.rate_key(rate, &tenant))
                .number(limits.qps)
                .number(limits.burst);
            let rate = link.run(CHARGE, call).await?.numbers();
            let [taken, missing] = link.judged(CHARGE, rate)?;
            Ok(Rate {
                taken: taken == 1,
                missing,
            })
        })
    }

    fn renew(&self, leases: Leases) -> PortFuture<Result<u64, StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let mut lost = 0u64;
            let answers = link.run_all(RENEW.name, |digests| renewals(&link.settings, digests, &leases));
            for answer in answers.await? {
                let [gone] = link.judged(RENEW, Answer::of(answer).and_then(|answer| answer.numbers()))?;
                lost = lost.saturating_add(gone);
            }
            Ok(lost)
        })
    }

    fn release(&self, leases: Leases) -> PortFuture<Result<(), StateUnavailable>> {
        let link = Arc::clone(&self.link);
        Box::pin(async move {
            let released = link.run_all("release", |_| {
                let mut all = redis::pipe();
                for (tenant, ids) in &leases {
                    for some in ids.chunks(LEASES_AT_ONCE) {
                        let command = all.cmd("ZREM").arg(link.settings.key_of("leases", tenant));
                        some.iter().for_each(|id| {
                            command.arg(id.to_string());
                        });
                    }
                }
                all
            });
            Ok(released.await.map(drop)?)
        })
    }

    fn lease_life(&self) -> Duration {
        self.link.settings.lease_life
    }
}

fn renewals(settings: &Settings, digests: &scripts::Digests, leases: &Leases) -> redis::Pipeline {
    let mut all = redis::pipe();
    for (tenant, ids) in leases {
        for some in ids.chunks(LEASES_AT_ONCE) {
            let call = Call::default()
                .key(settings.key("birth"))
                .key(settings.key_of("leases", tenant))
                .number(millis(settings.lease_life));
            let call = some.iter().fold(call, |call, id| call.bytes(id.to_string()));
            all.add_command(digests.run(RENEW, &call));
        }
    }
    all
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
