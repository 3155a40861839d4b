//! Names to addresses, checked where the connection is made: what was checked is what is connected to, and nothing is
//! looked up twice in between (DNS rebinding).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use super::network::NetworkPolicy;

/// Lookups of one name at once. The system's resolver cannot be called off, so one that is slow holds a thread each.
const AT_ONCE: usize = 2;

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;

/// How a name is looked up.
pub(super) type Lookup = Arc<dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Asks the system's resolver for configured names only, and drops forbidden addresses.
pub(super) struct CheckedResolver {
    policy: Arc<NetworkPolicy>,
    /// Free lookups by name; a name that is not here is not looked up.
    names: HashMap<String, Arc<Semaphore>>,
    lookup: Lookup,
}

impl CheckedResolver {
    /// For these names, by the system's resolver.
    pub(super) fn system(policy: Arc<NetworkPolicy>, names: impl Iterator<Item = String>) -> Self {
        let lookup = |name: &str| Ok((name, 0).to_socket_addrs()?.collect());
        Self::new(policy, names, Arc::new(lookup))
    }

    pub(super) fn new(
        policy: Arc<NetworkPolicy>,
        names: impl Iterator<Item = String>,
        lookup: Lookup,
    ) -> Self {
        Self {
            policy,
            names: names
                .map(|name| (name, Arc::new(Semaphore::new(AT_ONCE))))
                .collect(),
            lookup,
        }
    }
}

impl fmt::Debug for CheckedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckedResolver")
    }
}

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (policy, lookup) = (Arc::clone(&self.policy), Arc::clone(&self.lookup));
        let host = name.as_str().to_ascii_lowercase();
        let turn = self.names.get(&host).cloned();
        Box::pin(async move {
            let turn = turn.ok_or_else(|| format!("{host} is not configured"))?;
            let permit = turn.acquire_owned().await?;
            let asked = host.clone();
            let found = tokio::task::spawn_blocking(move || {
                // Given back when the lookup has ended, not when the caller has gone.
                let _permit = permit;
                lookup(&asked)
            });
            let mut allowed = policy.filter(&host, found.await??);
            allowed.truncate(MAX_ADDRESSES);
            if allowed.is_empty() {
                return Err(format!("{host} has no public address, list it in private_networks").into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::settings::{PrivateNetwork, Repository, Settings};
    use super::*;

    fn resolver(private: &[&str], lookup: Lookup) -> CheckedResolver {
        let mut settings = Settings::new(vec![Repository::parse("localhost:5000/a").unwrap()]);
        settings.private_networks = private.iter().map(|s| PrivateNetwork::parse(s)).collect();
        let policy = Arc::new(NetworkPolicy::new(&settings));
        CheckedResolver::new(policy, ["localhost".to_owned()].into_iter(), lookup)
    }

    async fn resolve(resolver: &CheckedResolver, name: &str) -> Result<Vec<SocketAddr>, String> {
        let resolved = resolver.resolve(name.parse().unwrap()).await;
        resolved.map(Iterator::collect).map_err(|error| error.to_string())
    }

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_at_connect() {
        let system = |private: &[&str]| {
            resolver(
                private,
                Arc::new(|name: &str| Ok((name, 0).to_socket_addrs()?.collect())),
            )
        };
        assert!(resolve(&system(&[]), "localhost").await.is_err());
        assert!(resolve(&system(&["localhost"]), "localhost").await.is_ok());
        assert!(
            resolve(&system(&["127.0.0.0/8", "::1"]), "localhost")
                .await
                .is_ok()
        );
    }

    /// Each connection asks once and gets what was checked, whatever the name said before.
    #[tokio::test]
    async fn a_name_that_changes_its_mind_gains_nothing() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let lookup = move |_: &str| match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Ok(addresses(&["1.1.1.1:0"])),
            1 => Ok(addresses(&["127.0.0.1:0", "[::ffff:169.254.169.254]:0"])),
            2 => Ok(addresses(&["10.0.0.1:0", "1.0.0.1:0", "[fd00::1]:0"])),
            _ => Ok(vec!["1.1.1.1:0".parse().unwrap(); 1000]),
        };
        let resolver = resolver(&[], Arc::new(lookup));
        assert_eq!(
            resolve(&resolver, "localhost").await,
            Ok(addresses(&["1.1.1.1:0"]))
        );
        assert!(resolve(&resolver, "localhost").await.is_err());
        assert_eq!(
            resolve(&resolver, "LOCALHOST").await,
            Ok(addresses(&["1.0.0.1:0"]))
        );
        assert_eq!(
            resolve(&resolver, "localhost").await.unwrap().len(),
            MAX_ADDRESSES
        );
        assert_eq!(asked.load(Ordering::SeqCst), 4);
        assert!(
            resolve(&resolver, "other.example")
                .await
                .unwrap_err()
                .contains("not configured")
        );
        assert_eq!(asked.load(Ordering::SeqCst), 4, "nothing else is looked up");
    }

    /// Callers that have given up leave no more than the allowed lookups behind.
    #[tokio::test]
    async fn lookups_that_never_end_hold_few_threads() {
        let (running, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, ends) = (Arc::clone(&running), Arc::clone(&over));
        let lookup = move |_: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
            while !ends.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
            Ok(Vec::new())
        };
        let resolver = resolver(&[], Arc::new(lookup));
        for _ in 0..20 {
            let gone = resolver.resolve("localhost".parse().unwrap());
            assert!(
                tokio::time::timeout(Duration::from_millis(10), gone)
                    .await
                    .is_err()
            );
        }
        assert_eq!(running.load(Ordering::SeqCst), AT_ONCE);
        over.store(true, Ordering::SeqCst);
    }
}
