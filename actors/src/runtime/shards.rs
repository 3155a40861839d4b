//! Several mailboxes of one kind, routed by a stable hash.

use super::host::ActorState;
use super::mailbox::Mailbox;

/// Shards of an actor. A key always reaches the same one, so that its state is exact without a lock.
#[derive(Debug)]
pub struct Shards<S: ActorState> {
    first: Mailbox<S>,
    others: Vec<Mailbox<S>>,
}

impl<S: ActorState> Clone for Shards<S> {
    fn clone(&self) -> Self {
        Self {
            first: self.first.clone(),
            others: self.others.clone(),
        }
    }
}

impl<S: ActorState> Shards<S> {
    /// One shard or more.
    pub fn new(first: Mailbox<S>, others: Vec<Mailbox<S>>) -> Self {
        Self { first, others }
    }

    /// The shard of a key.
    pub fn of(&self, key: &str) -> &Mailbox<S> {
        if self.others.is_empty() {
            return &self.first;
        }
        let count = self.others.len() as u64 + 1;
        let index = usize::try_from(stable_hash(key) % count).unwrap_or(0);
        index
            .checked_sub(1)
            .and_then(|index| self.others.get(index))
            .unwrap_or(&self.first)
    }

    /// The shard that holds what is not sharded.
    pub fn first(&self) -> &Mailbox<S> {
        &self.first
    }

    /// Every shard.
    pub fn iter(&self) -> impl Iterator<Item = &Mailbox<S>> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

/// FNV-1a, 64 bit: the same on every run and machine. Keys come from verified tokens, so nobody gains by collisions
/// beyond sharing a shard.
pub fn stable_hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::stable_hash;

    #[test]
    fn hash_is_fnv_1a() {
        // Test vectors of the FNV reference (http://www.isthe.com/chongo/tech/comp/fnv/).
        assert_eq!(stable_hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stable_hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(stable_hash("foobar"), 0x85944171f73967e8);
    }
}
