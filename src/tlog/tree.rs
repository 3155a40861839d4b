//! The Merkle tree of RFC 6962 §2.1, over SHA-256: hashes, proofs and their verification.

use openssl::sha::Sha256;

/// A node of the tree.
pub type Hash = [u8; 32];

/// Hash of a leaf: `SHA-256(0x00 || entry)` (RFC 6962 §2.1).
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(&[0]);
    hash.update(entry);
    hash.finish()
}

/// Hash of an inner node: `SHA-256(0x01 || left || right)` (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new();
    hash.update(&[1]);
    hash.update(left);
    hash.update(right);
    hash.finish()
}

/// Root of the empty tree: SHA-256 of nothing (RFC 6962 §2.1).
pub fn empty_root() -> Hash {
    Sha256::new().finish()
}

/// Where hashes of complete subtrees come from.
pub trait Nodes {
    /// Why one cannot be had.
    type Error;

    /// Hash of the subtree over the leaves `index * 2^level` to `(index + 1) * 2^level`, which all exist.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Root of the tree over the first `size` leaves.
pub fn root<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, N::Error> {
    if size == 0 {
        Ok(empty_root())
    } else {
        range(nodes, 0, size)
    }
}

/// The audit path of leaf `index` in the tree over the first `size` leaves, from the leaf's sibling up (RFC 6962
/// §2.1.1). Empty when there is no such leaf.
pub fn inclusion_proof<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, N::Error> {
    let mut path = Vec::new();
    let (mut low, mut high) = (0, size);
    while index < size && high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(range(nodes, middle, high)?);
            high = middle;
        } else {
            path.push(range(nodes, low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proof that the tree over the first `to` leaves goes on from the one over the first `from` (RFC 6962 §2.1.2). Empty
/// when `from` is 0 (every tree goes on from the empty one), equal to `to`, or beyond it.
pub fn consistency_proof<N: Nodes>(nodes: &N, from: u64, to: u64) -> Result<Vec<Hash>, N::Error> {
    let mut proof = Vec::new();
    if from == 0 || from >= to {
        return Ok(proof);
    }
    // SUBPROOF(m, D[low:high], b) of the RFC; `whole` is its b: the subtree is the old tree itself, whose root the
    // verifier knows.
    let (mut low, mut high, mut whole) = (0, to, true);
    while from != high {
        let middle = low + split(high - low);
        if from <= middle {
            proof.push(range(nodes, middle, high)?);
            high = middle;
        } else {
            proof.push(range(nodes, low, middle)?);
            low = middle;
            whole = false;
        }
    }
    if !whole {
        proof.push(range(nodes, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The largest power of two below `n`, which is at least 2.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// MTH(D[low:high]); `low` is a multiple of the power of two that covers the range, as in every split of a tree.
fn range<N: Nodes>(nodes: &N, low: u64, high: u64) -> Result<Hash, N::Error> {
    // Complete subtrees from the left, folded from the right.
    let (mut at, mut peaks) = (low, Vec::new());
    while at < high {
        let level = (high - at).ilog2();
        // A level of a u64 is below 64.
        let level_byte = u8::try_from(level).unwrap_or(u8::MAX);
        peaks.push(nodes.node(level_byte, at >> level)?);
        at += 1 << level;
    }
    let folded = peaks
        .into_iter()
        .rev()
        .reduce(|right, left| node_hash(&left, &right));
    Ok(folded.unwrap_or_else(empty_root))
}

/// Whether `proof` shows the leaf at `index` in the tree of this size and root (RFC 9162 §2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut number, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if number & 1 == 1 || number == last {
            hash = node_hash(sibling, &hash);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        number >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the second tree goes on from the first (RFC 9162 §2.1.4.2). From the empty tree nothing
/// has to be shown.
pub fn verify_consistency(first: (u64, &Hash), second: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((from, old_root), (to, new_root)) = (first, second);
    if from == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    if from == to {
        return proof.is_empty() && old_root == new_root;
    }
    if from > to {
        return false;
    }
    let (start, rest) = match proof.split_first() {
        // The old tree is a complete subtree of the new one: its root begins the path.
        _ if from.is_power_of_two() => (*old_root, proof),
        Some((start, rest)) => (*start, rest),
        None => return false,
    };
    let (mut number, mut last) = (from - 1, to - 1);
    while number & 1 == 1 {
        number >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (start, start);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if number & 1 == 1 || number == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, hash);
        }
        number >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}
