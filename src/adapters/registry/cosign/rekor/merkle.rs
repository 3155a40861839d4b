//! Merkle trees of transparency logs (RFC 6962 §2.1, RFC 9162 §2.1.3).

use openssl::sha::Sha256;

/// A node's hash.
pub(super) type Hash = [u8; 32];

/// The hash of an entry: domain-separated from nodes (RFC 6962 §2.1).
pub(super) fn leaf(entry: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(&[0]);
    hash.update(entry);
    hash.finish()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update(&[1]);
    hash.update(left);
    hash.update(right);
    hash.finish()
}

/// The root that an audit path leads to, from a leaf at `index` in a tree of `size`; `None` for a path that does not fit
/// such a tree (RFC 9162 §2.1.3.2).
pub(super) fn root(leaf: &Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut fn_, mut sn) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if sn == 0 {
            return None;
        }
        if fn_ & 1 == 1 || fn_ == sn {
            hash = node(sibling, &hash);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    (sn == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree of RFC 6962 §2.1.3, seven entries; the hashes by the definition in §2.1, written out.
    fn tree(entries: &[Vec<u8>]) -> Hash {
        match entries {
            [one] => leaf(one),
            more => {
                let half = more.len().next_power_of_two() / 2;
                node(&tree(&more[..half]), &tree(&more[half..]))
            }
        }
    }

    /// `PATH(m, D[n])` of RFC 6962 §2.1.1.
    fn path(index: usize, entries: &[Vec<u8>]) -> Vec<Hash> {
        if entries.len() == 1 {
            return Vec::new();
        }
        let half = entries.len().next_power_of_two() / 2;
        let (left, right) = entries.split_at(half);
        let (mut steps, other) = if index < half {
            (path(index, left), tree(right))
        } else {
            (path(index - half, right), tree(left))
        };
        steps.push(other);
        steps
    }

    #[test]
    fn paths_lead_to_the_root_from_their_place_alone() {
        for size in 1..=17usize {
            let entries: Vec<Vec<u8>> = (0..size).map(|n| vec![u8::try_from(n).unwrap()]).collect();
            let expected = Some(tree(&entries));
            for index in 0..size {
                let (hash, steps) = (leaf(&entries[index]), path(index, &entries));
                let at =
                    |index: usize, size: usize, steps: &[Hash]| root(&hash, index as u64, size as u64, steps);
                assert_eq!(at(index, size, &steps), expected);
                for other in (0..=size).filter(|other| *other != index) {
                    assert_ne!(at(other, size, &steps), expected, "{other} for {index} of {size}");
                }
                assert_eq!(at(index, 0, &steps), None);
                assert_ne!(at(index, size, &[&steps[..], &[[0; 32]]].concat()), expected);
                for step in 0..steps.len() {
                    let mut changed = steps.clone();
                    changed[step][31] ^= 1;
                    assert_ne!(at(index, size, &changed), expected);
                    changed.remove(step);
                    assert_ne!(at(index, size, &changed), expected);
                }
            }
        }
        assert_eq!(root(&[0; 32], u64::MAX - 1, u64::MAX, &[[0; 32]; 70]), None);
    }
}
