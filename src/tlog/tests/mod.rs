//! Vectors of the specifications, and properties against a model that is the RFC's definition, word for word.

mod note;
mod tile;
mod tree;

use super::*;

/// MTH(D[n]) as RFC 6962 §2.1 defines it.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        _ => {
            let mut k = 1;
            while k * 2 < leaves.len() {
                k *= 2;
            }
            node_hash(&naive_root(&leaves[..k]), &naive_root(&leaves[k..]))
        }
    }
}

fn leaf(n: u64) -> Hash {
    leaf_hash(&n.to_be_bytes())
}

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(leaf).collect()
}

/// A tree whose nodes are computed from all leaves each time.
struct Naive(Vec<Hash>);

impl Nodes for Naive {
    type Error = ();

    fn node(&self, level: u8, index: u64) -> Result<Hash, ()> {
        let (from, to) = ((index << level) as usize, ((index + 1) << level) as usize);
        self.0.get(from..to).map(naive_root).ok_or(())
    }
}
