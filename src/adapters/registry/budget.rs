//! How much memory registries' answers may take, all checks together. Each registry has a share of its own, so that one
//! that answers with much, or slowly, keeps no other from being read.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::settings::Repository;

/// For all registries together, in KiB.
const TOTAL: u32 = 24 * 1024;

/// Least share of one registry, in KiB: two large answers.
const LEAST: u32 = 3 * 1024;

/// What an answer takes at first, in KiB: more than honest ones are long.
pub(super) const SMALL: u32 = 64;

/// What a longer one takes, in KiB: 1 MiB of body and the buffer of its connection.
const LARGE: u32 = 1024 + 448;

/// Candidates that are looked at at once, in all registries together; each has a manifest of up to 1 MiB in memory.
const TURNS: usize = 16;

/// Least of them for one registry.
const LEAST_TURNS: usize = 2;

/// What is free of each registry's share, by host.
#[derive(Debug)]
pub(super) struct Budget(HashMap<String, Share>);

#[derive(Debug)]
struct Share {
    /// KiB of bodies.
    memory: Arc<Semaphore>,
    /// Candidates. Whoever has a turn may wait for memory; nobody who holds memory waits for a turn.
    turns: Arc<Semaphore>,
}

/// The right to look at one candidate.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A part of a registry's share, held as long as the answer that it was taken for.
#[derive(Debug)]
pub(super) struct Held {
    share: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(super) fn new(repositories: &[Repository]) -> Self {
        let mut hosts: Vec<&str> = repositories.iter().map(|r| r.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1);
        let share = (TOTAL / count).max(LEAST) as usize;
        let turns = (TURNS / hosts.len().max(1)).max(LEAST_TURNS);
        let shares = hosts.into_iter().map(|host| {
            let share = Share {
                memory: Arc::new(Semaphore::new(share)),
                turns: Arc::new(Semaphore::new(turns)),
            };
            (host.to_owned(), share)
        });
        Self(shares.collect())
    }

    /// Waits until the registry's share has room for a small answer.
    ///
    /// # Errors
    /// The host is no repository's: a mistake of the caller.
    pub(super) async fn small(&self, host: &str) -> Result<Held, String> {
        let mut held = Held {
            share: Arc::clone(&self.share(host)?.memory),
            permit: None,
        };
        held.take(SMALL).await?;
        Ok(held)
    }

    /// Waits until one more candidate of the registry may be looked at.
    ///
    /// # Errors
    /// As [`Self::small`].
    pub(super) async fn turn(&self, host: &str) -> Result<Turn, String> {
        let turns = Arc::clone(&self.share(host)?.turns);
        let permit = turns.acquire_owned().await;
        let _permit = permit.map_err(|_| "the registry's turns are gone")?;
        Ok(Turn { _permit })
    }

    fn share(&self, host: &str) -> Result<&Share, String> {
        let share = self.0.get(host);
        share.ok_or_else(|| "the registry has no share of the memory".to_owned())
    }
}

impl Held {
    /// Exchanges it for room for a large answer. What was held is given back first: two that wait for each other's would
    /// wait for ever.
    pub(super) async fn grow(&mut self) -> Result<(), String> {
        self.permit = None;
        self.take(LARGE).await
    }

    async fn take(&mut self, kibibytes: u32) -> Result<(), String> {
        let permit = Arc::clone(&self.share).acquire_many_owned(kibibytes).await;
        self.permit = Some(permit.map_err(|_| "the registry's share of the memory is gone")?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn budget(hosts: usize) -> Budget {
        let repositories: Vec<Repository> = (0..hosts)
            .map(|n| Repository::parse(&format!("r{n}.example/a")).unwrap())
            .collect();
        Budget::new(&repositories)
    }

    #[test]
    fn one_registry_cannot_take_anothers_share() {
        let budget = budget(2);
        let mut held = Vec::new();
        while let Some(one) = budget.small("r0.example").now_or_never() {
            held.push(one.unwrap());
        }
        assert_eq!(held.len(), (TOTAL / 2 / SMALL) as usize);
        assert!(budget.small("r1.example").now_or_never().is_some());
        assert!(budget.small("other.example").now_or_never().unwrap().is_err());
        held.pop();
        assert!(budget.small("r0.example").now_or_never().is_some());
    }

    #[tokio::test]
    async fn those_that_grow_never_wait_for_each_other() {
        for hosts in [1, 2, 16] {
            let budget = budget(hosts);
            let mut all = Vec::new();
            while let Some(one) = budget.small("r0.example").now_or_never() {
                all.push(one.unwrap());
            }
            // Each in turn gets room as those before it end.
            let grow = all
                .into_iter()
                .map(|mut one| async move { one.grow().await.map(|()| drop(one)) });
            assert!(
                futures_util::future::join_all(grow)
                    .await
                    .iter()
                    .all(Result::is_ok)
            );
        }
    }
}
