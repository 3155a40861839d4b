//! A Licensing.

use super::*;

/// A Licensing that says what it is told to.
#[derive(Clone, Debug)]
pub struct FakeLicensing {
    /// What local verification yields.
    pub local: Dial<Result<Entitlement, PoeRejection>>,
    /// What introspection yields; `None` inside `Ok`: whatever the token said.
    pub online: Dial<Result<Option<Introspection>, SourceUnavailable>>,
    /// Whether keys can be fetched.
    pub keys_up: Dial<bool>,
    /// Held back while false, to let requests pile up.
    pub open: Dial<bool>,
    /// Proofs that begin like this are held back.
    pub held: Dial<Option<String>>,
    /// Times introspected.
    pub introspections: Arc<AtomicU32>,
    /// What answers hang on.
    pub basis: Dial<Option<u64>>,
    /// Introspections under way, and the most there ever were.
    under_way: Arc<(AtomicU32, AtomicU32)>,
    /// Times the keys were fetched.
    pub fetches: Arc<AtomicU32>,
    /// Makes introspection panic.
    pub bomb: Bomb,
}

impl Default for FakeLicensing {
    fn default() -> Self {
        Self {
            local: Dial::new(Ok(entitlement())),
            online: Dial::new(Ok(None)),
            keys_up: Dial::new(true),
            open: Dial::new(true),
            held: Dial::new(None),
            introspections: Arc::default(),
            basis: Dial::new(Some(0)),
            under_way: Arc::default(),
            fetches: Arc::default(),
            bomb: Bomb::default(),
        }
    }
}

impl FakeLicensing {
    /// Introspections under way.
    pub fn under_way(&self) -> u32 {
        self.under_way.0.load(Ordering::SeqCst)
    }

    /// The most introspections that were under way at once.
    pub fn most_at_once(&self) -> u32 {
        self.under_way.1.load(Ordering::SeqCst)
    }
}

impl LicensingSource for FakeLicensing {
    fn fetch_keys(&self) -> PortFuture<Result<Arc<dyn PoeVerifier>, SourceUnavailable>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let this = self.clone();
        Box::pin(async move {
            if !this.keys_up.get() {
                return Err(SourceUnavailable("down".into()));
            }
            Ok(Arc::new(FakePoeKeys(this)) as Arc<dyn PoeVerifier>)
        })
    }

    fn introspect(
        &self,
        poe: Arc<str>,
        facts: Entitlement,
    ) -> PortFuture<Result<Introspection, SourceUnavailable>> {
        self.introspections.fetch_add(1, Ordering::SeqCst);
        self.bomb.tick();
        let this = self.clone();
        let now = this.under_way.0.fetch_add(1, Ordering::SeqCst) + 1;
        this.under_way.1.fetch_max(now, Ordering::SeqCst);
        Box::pin(async move {
            this.open.until(|open| *open).await;
            this.held
                .until(|held| !held.as_deref().is_some_and(|prefix| poe.starts_with(prefix)))
                .await;
            this.under_way.0.fetch_sub(1, Ordering::SeqCst);
            this.online
                .get()
                .map(|answer| answer.unwrap_or_else(|| Introspection::Active(Box::new(facts))))
        })
    }

    fn basis(&self) -> Option<u64> {
        self.basis.get()
    }
}

#[derive(Debug)]
struct FakePoeKeys(FakeLicensing);

impl PoeVerifier for FakePoeKeys {
    fn knows(&self, kid: &str) -> bool {
        kid == "p1"
    }

    fn verify(&self, _: &str, _: DateTime<Utc>) -> Result<Entitlement, PoeRejection> {
        self.0.local.get()
    }
}
