//! A registry.

use super::*;

/// A registry that says what it is told to.
#[derive(Clone, Debug)]
pub struct FakeReleases {
    /// The answer.
    pub answer: Dial<Result<ReleaseReport, ReleaseError>>,
    /// Held back while false.
    pub open: Dial<bool>,
    /// Times asked.
    pub checks: Arc<AtomicU32>,
    /// Makes a check panic.
    pub bomb: Bomb,
}

impl Default for FakeReleases {
    fn default() -> Self {
        Self {
            answer: Dial::new(Ok(report(Verdict::Trusted))),
            open: Dial::new(true),
            checks: Arc::default(),
            bomb: Bomb::default(),
        }
    }
}

impl ReleaseSource for FakeReleases {
    fn repositories(&self) -> Vec<Arc<str>> {
        vec!["registry.example/scanner".into()]
    }

    fn check(&self, _: ImageDigest, _: Option<Arc<str>>) -> PortFuture<Result<ReleaseReport, ReleaseError>> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let this = self.clone();
        Box::pin(async move {
            this.bomb.tick();
            this.open.until(|open| *open).await;
            this.answer.get()
        })
    }
}
