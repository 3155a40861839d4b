//! A registry.

use std::collections::BTreeMap;

use super::*;

/// What a repository says of an image.
pub type Answer = Result<ReleaseReport, ReleaseError>;

/// Registries that say what they are told to.
#[derive(Clone, Debug)]
pub struct FakeReleases {
    /// Repositories, in order.
    pub names: Vec<Arc<str>>,
    /// The answer, unless there is another in the next two.
    pub answer: Dial<Answer>,
    /// Answers of single repositories.
    pub of: Dial<BTreeMap<String, Answer>>,
    /// Answers about single images; they count before those of repositories.
    pub about: Dial<BTreeMap<ImageDigest, Answer>>,
    /// Held back while false.
    pub open: Dial<bool>,
    /// This repository's answers are held back.
    pub held: Dial<Option<String>>,
    /// Times asked.
    pub checks: Arc<AtomicU32>,
    /// What was asked, in order.
    pub asked: Dial<Vec<(ImageDigest, String)>>,
    /// Makes a check panic.
    pub bomb: Bomb,
}

impl Default for FakeReleases {
    fn default() -> Self {
        Self::named(&["registry.example/scanner"])
    }
}

impl FakeReleases {
    /// Repositories of these names that trust everything.
    pub fn named(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|name| Arc::from(*name)).collect(),
            answer: Dial::new(Ok(report(Verdict::Trusted))),
            of: Dial::new(BTreeMap::new()),
            about: Dial::new(BTreeMap::new()),
            open: Dial::new(true),
            held: Dial::new(None),
            checks: Arc::default(),
            asked: Dial::new(Vec::new()),
            bomb: Bomb::default(),
        }
    }

    fn says(&self, digest: ImageDigest, repository: &str) -> Answer {
        let (about, of) = (self.about.get(), self.of.get());
        let answer = about.get(&digest).or_else(|| of.get(repository)).cloned();
        answer.unwrap_or_else(|| self.answer.get())
    }
}

impl ReleaseSource for FakeReleases {
    fn repositories(&self) -> Vec<Arc<str>> {
        self.names.clone()
    }

    fn look_up(&self, digest: ImageDigest, repository: Arc<str>) -> PortFuture<Answer> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        let mut asked = self.asked.get();
        asked.push((digest, repository.to_string()));
        self.asked.set(asked);
        let this = self.clone();
        Box::pin(async move {
            this.bomb.tick();
            this.open.until(|open| *open).await;
            this.held.until(|held| held.as_deref() != Some(&repository)).await;
            this.says(digest, &repository)
        })
    }
}
