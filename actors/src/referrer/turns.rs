//! Whose lookup is next: registries are asked about a bounded number of images at once, tenants in turn, and no tenant
//! has more than half of the places, so that one which names image after image keeps nobody else waiting. Refreshes come
//! out of what is left over. Pure.

use std::collections::HashMap;

use super::memory::Key;
use crate::domain::tenant::TenantId;
use crate::runtime;

/// A place among the lookups under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Of this tenant.
    Of(TenantId),
    /// Of a refresh.
    Refresh,
}

/// Lookups under way, and who waits for their turn.
#[derive(Debug)]
pub(super) struct Turns {
    places: usize,
    running: usize,
    refreshing: usize,
    of_tenant: HashMap<TenantId, usize>,
    waiting: runtime::Turns<TenantId, Key>,
}

impl Turns {
    pub(super) fn new(places: usize) -> Self {
        Self {
            places: places.max(1),
            running: 0,
            refreshing: 0,
            of_tenant: HashMap::new(),
            waiting: runtime::Turns::default(),
        }
    }

    /// Puts a lookup behind the tenant's others.
    pub(super) fn queue(&mut self, tenant: &TenantId, key: Key) {
        self.waiting.push(tenant, key);
    }

    /// Takes a lookup back out of the tenant's queue: it is no longer wanted, or under way on another's turn.
    pub(super) fn withdraw(&mut self, tenant: &TenantId, key: &Key) {
        self.waiting.retain(tenant, |queued| queued != key);
    }

    /// Begins the next lookup, if one may begin.
    pub(super) fn next(&mut self) -> Option<(TenantId, Key)> {
        if self.running >= self.places {
            return None;
        }
        let most = (self.places / 2).max(1);
        let of = |tenant: &TenantId| self.of_tenant.get(tenant).copied().unwrap_or(0);
        let (tenant, key) = self.waiting.next(|tenant| of(tenant) < most, |_| true)?;
        self.running += 1;
        *self.of_tenant.entry(tenant.clone()).or_default() += 1;
        Some((tenant, key))
    }

    /// Whether a refresh may begin: at most a quarter of the places, and only such as are free.
    pub(super) fn may_refresh(&self) -> bool {
        self.refreshing < (self.places / 4).max(1) && self.running + self.refreshing < self.places
    }

    /// Begins a refresh. It takes no place from a lookup: those may always be as many as there are places.
    pub(super) fn begin_refresh(&mut self) {
        self.refreshing += 1;
    }

    /// Gives a place back.
    pub(super) fn end(&mut self, turn: &Turn) {
        match turn {
            Turn::Refresh => self.refreshing = self.refreshing.saturating_sub(1),
            Turn::Of(tenant) => {
                self.running = self.running.saturating_sub(1);
                if let Some(count) = self.of_tenant.get_mut(tenant) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.of_tenant.remove(tenant);
                    }
                }
            }
        }
    }

    /// Forgets what runs and what waits.
    pub(super) fn abandon(&mut self) {
        *self = Self::new(self.places);
    }
}

#[cfg(test)]
#[path = "tests/turns.rs"]
mod tests;
