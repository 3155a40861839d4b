//! Spent proofs, exact and bounded. Pure: time comes in.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::caller::VerifiedProof;
use crate::domain::digest::Sha256Digest;
use crate::domain::tenant::TenantId;

/// One tenant may hold this fraction of the store (contract §3).
const TENANT_FRACTION: usize = 8;

/// Why a proof cannot be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayError {
    /// It was spent before.
    Spent,
    /// No room; evicting an id would let it be used again (RFC 9449 §11.1), so the newcomer is refused.
    Full,
    /// It was made before this store was, which therefore cannot know whether it was spent: a nonce would tell.
    OlderThanStore,
}

/// The ids of spent proofs until none of them could be accepted any more.
#[derive(Debug)]
pub struct ReplayTable {
    capacity: usize,
    born: i64,
    spent: HashMap<Sha256Digest, ()>,
    /// Ids by the second from which they may be forgotten.
    by_expiry: BTreeMap<i64, Vec<(Sha256Digest, TenantId)>>,
    by_tenant: HashMap<TenantId, usize>,
}

impl ReplayTable {
    /// Empty, for at most `capacity` ids.
    pub fn new(capacity: usize, born: DateTime<Utc>) -> Self {
        Self {
            capacity,
            born: born.timestamp(),
            spent: HashMap::new(),
            by_expiry: BTreeMap::new(),
            by_tenant: HashMap::new(),
        }
    }

    /// Spends a proof, once. It is remembered until `iat` + window + 1 s, and never for less than a second. `ahead` is
    /// how far, in seconds, `iat` may lie ahead of our clock: so much later than the store's birth a proof must say it
    /// was made to be surely younger than the store.
    pub fn spend(
        &mut self,
        tenant: &TenantId,
        proof: &VerifiedProof,
        window: Duration,
        ahead: i64,
        now: DateTime<Utc>,
    ) -> Result<(), ReplayError> {
        let now = now.timestamp();
        self.forget(now);
        if self.spent.contains_key(&proof.replay_id) {
            return Err(ReplayError::Spent);
        }
        if proof.issued.timestamp() < self.born.saturating_add(ahead) && !proof.has_nonce {
            return Err(ReplayError::OlderThanStore);
        }
        let held = self.by_tenant.get(tenant).copied().unwrap_or(0);
        if self.spent.len() >= self.capacity || held >= (self.capacity / TENANT_FRACTION).max(1) {
            return Err(ReplayError::Full);
        }
        let window = i64::try_from(window.as_secs()).unwrap_or(i64::MAX);
        let expiry = proof
            .issued
            .timestamp()
            .saturating_add(window)
            .max(now)
            .saturating_add(1);
        self.spent.insert(proof.replay_id, ());
        self.by_expiry
            .entry(expiry)
            .or_default()
            .push((proof.replay_id, tenant.clone()));
        *self.by_tenant.entry(tenant.clone()).or_default() += 1;
        Ok(())
    }

    fn forget(&mut self, now: i64) {
        while let Some(entry) = self.by_expiry.first_entry().filter(|entry| *entry.key() < now) {
            for (id, tenant) in entry.remove() {
                self.spent.remove(&id);
                if let Some(held) = self.by_tenant.get_mut(&tenant) {
                    *held -= 1;
                    if *held == 0 {
                        self.by_tenant.remove(&tenant);
                    }
                }
            }
        }
    }

    /// Ids remembered.
    pub fn len(&self) -> usize {
        self.spent.len()
    }

    /// True when none is.
    pub fn is_empty(&self) -> bool {
        self.spent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(90);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).expect("a time")
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).expect("a tenant")
    }

    fn proof(id: u8, issued: i64) -> VerifiedProof {
        VerifiedProof {
            thumbprint: Sha256Digest([0; 32]),
            replay_id: Sha256Digest([id; 32]),
            issued: at(issued),
            has_nonce: false,
            body: None,
        }
    }

    #[test]
    fn a_proof_is_spent_once_for_as_long_as_it_could_be_accepted() {
        let mut table = ReplayTable::new(100, at(1000));
        let acme = tenant("acme");
        // 30 s in the future: acceptable for up to 90 s after now.
        let early = proof(1, 1030);
        assert_eq!(table.spend(&acme, &early, WINDOW, 0, at(1000)), Ok(()));
        for later in [1000, 1060, 1120] {
            assert_eq!(
                table.spend(&acme, &early, WINDOW, 0, at(later)),
                Err(ReplayError::Spent),
                "{later}"
            );
        }
        table.forget(1122);
        assert!(table.is_empty() && table.by_tenant.is_empty());
    }

    #[test]
    fn a_full_store_refuses_and_forgets_nothing() {
        let mut table = ReplayTable::new(16, at(1000));
        for (id, name) in (0..16u8).zip((0..8).flat_map(|t| [format!("t{t}"), format!("t{t}")])) {
            assert_eq!(
                table.spend(&tenant(&name), &proof(id, 1000), WINDOW, 0, at(1000)),
                Ok(())
            );
        }
        assert_eq!(
            table.spend(&tenant("new"), &proof(99, 1000), WINDOW, 0, at(1000)),
            Err(ReplayError::Full)
        );
        assert_eq!(
            table.spend(&tenant("t0"), &proof(0, 1000), WINDOW, 0, at(1000)),
            Err(ReplayError::Spent)
        );
    }

    #[test]
    fn one_tenant_holds_an_eighth_at_most() {
        let mut table = ReplayTable::new(16, at(1000));
        let acme = tenant("acme");
        assert_eq!(table.spend(&acme, &proof(1, 1000), WINDOW, 0, at(1000)), Ok(()));
        assert_eq!(table.spend(&acme, &proof(2, 1000), WINDOW, 0, at(1000)), Ok(()));
        assert_eq!(
            table.spend(&acme, &proof(3, 1000), WINDOW, 0, at(1000)),
            Err(ReplayError::Full)
        );
        assert_eq!(
            table.spend(&tenant("other"), &proof(3, 1000), WINDOW, 0, at(1000)),
            Ok(())
        );
    }

    /// The definition, without indexes: what was spent, whose, and until when it is remembered.
    #[derive(Default)]
    struct Naive(Vec<(u8, u8, i64)>);

    impl Naive {
        fn spend(
            &mut self,
            capacity: usize,
            tenant: u8,
            proof: &VerifiedProof,
            id: u8,
            ahead: i64,
            now: i64,
        ) -> Result<(), ReplayError> {
            self.0.retain(|(_, _, until)| now <= *until);
            if self.0.iter().any(|(spent, ..)| *spent == id) {
                return Err(ReplayError::Spent);
            }
            if proof.issued < at(1000 + ahead) && !proof.has_nonce {
                return Err(ReplayError::OlderThanStore);
            }
            let held = self.0.iter().filter(|(_, whose, _)| *whose == tenant).count();
            if self.0.len() == capacity || held >= std::cmp::max(1, capacity / 8) {
                return Err(ReplayError::Full);
            }
            let until = std::cmp::max(proof.issued.timestamp() + 90, now) + 1;
            self.0.push((id, tenant, until));
            Ok(())
        }
    }

    proptest::proptest! {
        #[test]
        fn the_table_is_its_naive_model(
            capacity in 1usize..40,
            ahead in proptest::sample::select(vec![0i64, 30]),
            steps in proptest::collection::vec((0u8..12, 0u8..24, -80i64..40, proptest::bool::ANY, 0i64..40), 1..200),
        ) {
            let (mut table, mut naive) = (ReplayTable::new(capacity, at(1000)), Naive::default());
            // When each id was last accepted, and until when a proof with it could be accepted again.
            let mut acceptable: HashMap<u8, i64> = HashMap::new();
            let mut now = 1000;
            for (whose, id, age, has_nonce, pause) in steps {
                now += pause;
                let proof = VerifiedProof { has_nonce, ..proof(id, now + age) };
                let expected = naive.spend(capacity, whose, &proof, id, ahead, now);
                let result = table.spend(&tenant(&format!("t{whose}")), &proof, WINDOW, ahead, at(now));
                proptest::prop_assert_eq!(result, expected);
                proptest::prop_assert_eq!(table.len(), naive.0.len());
                proptest::prop_assert_eq!(table.by_tenant.values().sum::<usize>(), naive.0.len());
                if result.is_ok() {
                    let until = acceptable.insert(id, now + age + 90);
                    proptest::prop_assert!(until.is_none_or(|until| until < now), "spent twice");
                }
            }
        }
    }

    #[test]
    fn a_proof_from_before_the_store_needs_a_nonce() {
        let mut table = ReplayTable::new(16, at(1000));
        let old = proof(1, 999);
        assert_eq!(
            table.spend(&tenant("a"), &old, WINDOW, 0, at(1001)),
            Err(ReplayError::OlderThanStore)
        );
        let ahead = proof(2, 1029);
        assert_eq!(
            table.spend(&tenant("a"), &ahead, WINDOW, 30, at(1001)),
            Err(ReplayError::OlderThanStore)
        );
        let with_nonce = VerifiedProof {
            has_nonce: true,
            ..old
        };
        assert_eq!(
            table.spend(&tenant("a"), &with_nonce, WINDOW, 0, at(1001)),
            Ok(())
        );
    }
}
