//! Asks repositories about one image, all at once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::circuit::{Outcome, Purpose};
use crate::domain::digest::ImageDigest;
use crate::domain::release::{ReleaseReport, Verdict};
use crate::ports::{Clock, ReleaseError, ReleaseSource, combine};
use crate::runtime::{Panicked, catch};

type Answer = Result<ReleaseReport, ReleaseError>;

/// A repository to ask.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Its place in the configuration.
    pub(super) index: usize,
    /// `host/name`.
    pub(super) name: Arc<str>,
    pub(super) purpose: Purpose,
}

/// What came of asking one repository.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) outcome: Outcome,
    /// For metrics; `None`: nobody waited for the answer.
    pub(super) label: Option<&'static str>,
    pub(super) elapsed: Duration,
}

impl Told {
    /// Of a repository whose answer nobody waited for.
    pub(super) const NOTHING: Self = Self {
        outcome: Outcome::Nothing,
        label: None,
        elapsed: Duration::ZERO,
    };

    fn of(answer: &Answer, elapsed: Duration) -> Self {
        let (outcome, label) = match answer {
            Ok(report) => match report.verdict {
                Verdict::Trusted => (Outcome::Trusted, "trusted"),
                Verdict::Untrusted => (Outcome::Answered, "untrusted"),
                Verdict::Unsigned => (Outcome::Answered, "unsigned"),
            },
            Err(ReleaseError::NotFound) => (Outcome::Answered, "absent"),
            Err(ReleaseError::Doubt(_)) => (Outcome::Doubted, "doubt"),
            Err(ReleaseError::Unavailable(_)) => (Outcome::Failed, "unavailable"),
            Err(ReleaseError::Timeout) => (Outcome::Failed, "timeout"),
        };
        Self {
            outcome,
            label: Some(label),
            elapsed,
        }
    }
}

/// What the repositories say together, and what came of each, in the order given. The first *in that order* that trusts
/// answers for all, so that which of them is quicker decides nothing; those behind it are given up on.
pub(super) async fn ask_all(
    source: Arc<dyn ReleaseSource>,
    clock: Arc<dyn Clock>,
    image: ImageDigest,
    repositories: Vec<Asked>,
) -> (Answer, Vec<Told>) {
    let begun = clock.monotonic();
    let mut told = vec![Told::NOTHING; repositories.len()];
    let mut answers: Vec<Option<Answer>> = repositories.iter().map(|_| None).collect();
    let mut running: FuturesUnordered<_> = repositories
        .into_iter()
        .enumerate()
        .map(|(place, Asked { name, .. })| {
            let source = Arc::clone(&source);
            async move { (place, catch(async { source.look_up(image, name).await }).await) }
        })
        .collect();
    while let Some((place, answer)) = running.next().await {
        let answer = match answer {
            Ok(answer) => {
                let elapsed = clock.monotonic().saturating_sub(begun);
                if let Some(told) = told.get_mut(place) {
                    *told = Told::of(&answer, elapsed);
                }
                answer
            }
            // A defect of ours, and none of the repository's.
            Err(Panicked) => Err(ReleaseError::Doubt("the check panicked".into())),
        };
        if let Some(slot) = answers.get_mut(place) {
            *slot = Some(answer);
        }
        if is_settled(&answers) {
            break;
        }
    }
    (combine(answers.into_iter().flatten()), told)
}

/// One trusts, and all before it have answered.
fn is_settled(answers: &[Option<Answer>]) -> bool {
    let mut known = answers.iter().map_while(Option::as_ref);
    known.any(|answer| matches!(answer, Ok(report) if report.verdict == Verdict::Trusted))
}
