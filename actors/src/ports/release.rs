//! Registries: does a scanner image carry a release signature?

use std::fmt;
use std::sync::Arc;

use super::PortFuture;
use crate::domain::digest::ImageDigest;
use crate::domain::release::{ReleaseReport, Verdict};

/// Looks an image up in a configured repository and verifies what it finds there (contract §6).
pub trait ReleaseSource: Send + Sync + fmt::Debug {
    /// Configured repositories as `host/name`, in order.
    fn repositories(&self) -> Vec<Arc<str>>;

    /// Checks one image in one configured repository. Bounded in time, bytes and counts by the implementation. What
    /// several repositories say together, [`combine`] decides.
    fn look_up(
        &self,
        digest: ImageDigest,
        repository: Arc<str>,
    ) -> PortFuture<Result<ReleaseReport, ReleaseError>>;
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// The image is not in the repository: a fact, cached like a verdict.
    #[error("the image is in no configured repository")]
    NotFound,
    /// 502 `registry_error`: the registry answered, and its answer leaves a doubt. The text names repository and reason
    /// for logs and operators; it holds no credential.
    #[error("{0}")]
    Doubt(String),
    /// 502 `registry_error`: the registry could not be asked, or says that it is not able to answer now. As doubtful to
    /// the caller; but whoever goes on asking may be part of the trouble.
    #[error("{0}")]
    Unavailable(String),
    /// 504 `deadline_exceeded`: no registry answer in time.
    #[error("the registry did not answer in time")]
    Timeout,
}

/// What repositories say together, in their configured order (contract §2.3): any that says trusted wins; else any doubt
/// is doubt, then no answer in time; else untrusted before unsigned before absent. Nobody asked: absent.
///
/// # Errors
/// Never [`ReleaseError::Unavailable`]: of several, it is a doubt like others.
pub fn combine(
    answers: impl IntoIterator<Item = Result<ReleaseReport, ReleaseError>>,
) -> Result<ReleaseReport, ReleaseError> {
    let rank = |verdict| match verdict {
        Verdict::Trusted => 2,
        Verdict::Untrusted => 1,
        Verdict::Unsigned => 0,
    };
    let (mut best, mut doubt, mut late) = (None::<ReleaseReport>, None, false);
    for answer in answers {
        match answer {
            Ok(report) => {
                if best
                    .as_ref()
                    .is_none_or(|best| rank(report.verdict) > rank(best.verdict))
                {
                    best = Some(report);
                }
            }
            Err(ReleaseError::NotFound) => {}
            Err(ReleaseError::Doubt(text) | ReleaseError::Unavailable(text)) => {
                doubt.get_or_insert(text);
            }
            Err(ReleaseError::Timeout) => late = true,
        }
    }
    match (best, doubt) {
        (Some(best), _) if best.verdict == Verdict::Trusted => Ok(best),
        (_, Some(text)) => Err(ReleaseError::Doubt(text)),
        _ if late => Err(ReleaseError::Timeout),
        (best, None) => best.ok_or(ReleaseError::NotFound),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// Contract §2.3, as a table over every pair of answers.
    #[test]
    fn trusted_wins_and_any_doubt_is_doubt() {
        let says = |verdict| Ok(testing::report(verdict));
        let doubt = |text: &str| Err(ReleaseError::Doubt(text.to_owned()));
        // From the strongest to the weakest.
        let order = [
            says(Verdict::Trusted),
            doubt("403"),
            Err(ReleaseError::Timeout),
            says(Verdict::Untrusted),
            says(Verdict::Unsigned),
            Err(ReleaseError::NotFound),
        ];
        for (strength, strong) in order.iter().enumerate() {
            for weak in order.iter().skip(strength) {
                for pair in [[strong, weak], [weak, strong]] {
                    assert_eq!(combine(pair.into_iter().cloned()), *strong, "{pair:?}");
                }
            }
        }
        let unavailable = Err(ReleaseError::Unavailable("503".into()));
        assert_eq!(combine([unavailable.clone()]), doubt("503"));
        assert_eq!(combine([unavailable, says(Verdict::Untrusted)]), doubt("503"));
        assert_eq!(combine([]), Err(ReleaseError::NotFound));
    }
}
