use proptest::prelude::*;

use super::*;

/// The reference leaves and roots of the Certificate Transparency implementations (merkle_tree_test of
/// google/certificate-transparency, later transparency-dev/merkle).
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn reference() -> Vec<Hash> {
    LEAVES
        .iter()
        .map(|leaf| leaf_hash(&hex::decode(leaf).unwrap()))
        .collect()
}

#[test]
fn roots_are_those_of_the_reference_implementation() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex::encode(empty_root()), empty);
    for (count, expected) in (1..).zip(ROOTS) {
        let leaves = reference()[..count].to_vec();
        assert_eq!(hex::encode(naive_root(&leaves)), expected);
        let mut edge = Edge::default();
        leaves.iter().for_each(|leaf| edge.push(*leaf, |_, _| ()));
        assert_eq!(hex::encode(edge.root()), expected);
        let computed = root(&Naive(leaves), count as u64).unwrap();
        assert_eq!(hex::encode(computed), expected);
    }
}

/// The paths of RFC 6962 §2.1.3: seven leaves a to g named by number, subtrees by their leaves.
#[test]
fn proofs_are_those_of_the_rfcs_example() {
    let all = leaves(7);
    let tree = Naive(all.clone());
    let sub = |from: usize, to: usize| naive_root(&all[from..to]);
    let (a, b, c, d, e, f, j) = (all[0], all[1], all[2], all[3], all[4], all[5], all[6]);
    let (g, h, i, k, l) = (sub(0, 2), sub(2, 4), sub(4, 6), sub(0, 4), sub(4, 7));
    assert_eq!(inclusion_proof(&tree, 0, 7), Ok(vec![b, h, l]));
    assert_eq!(inclusion_proof(&tree, 3, 7), Ok(vec![c, g, l]));
    assert_eq!(inclusion_proof(&tree, 4, 7), Ok(vec![f, j, k]));
    assert_eq!(inclusion_proof(&tree, 6, 7), Ok(vec![i, k]));
    assert_eq!(consistency_proof(&tree, 3, 7), Ok(vec![c, d, g, l]));
    assert_eq!(consistency_proof(&tree, 4, 7), Ok(vec![l]));
    assert_eq!(consistency_proof(&tree, 6, 7), Ok(vec![i, j, k]));
    assert_ne!(a, e);
}

#[test]
fn proofs_of_nothing_are_empty_and_show_nothing() {
    let tree = Naive(leaves(4));
    let whole = naive_root(&tree.0);
    for (from, to) in [(0, 4), (4, 4), (5, 4)] {
        assert_eq!(consistency_proof(&tree, from, to), Ok(vec![]));
    }
    assert!(verify_consistency((0, &empty_root()), (4, &whole), &[]));
    assert!(!verify_consistency((0, &leaf(1)), (4, &whole), &[]));
    assert!(!verify_consistency((0, &empty_root()), (4, &whole), &[leaf(1)]));
    assert!(verify_consistency((4, &whole), (4, &whole), &[]));
    assert!(!verify_consistency((4, &leaf(1)), (4, &whole), &[]));
    assert!(!verify_consistency((5, &whole), (4, &whole), &[]));
    assert!(!verify_consistency(
        (3, &naive_root(&leaves(3))),
        (4, &whole),
        &[]
    ));
    assert_eq!(inclusion_proof(&tree, 4, 4), Ok(vec![]));
    assert!(!verify_inclusion(&whole, 4, 4, &[], &whole));
    assert!(verify_inclusion(&leaf(0), 0, 1, &[], &leaf(0)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn inclusion_is_shown_and_nothing_else(size in 1u64..300, a in any::<u64>(), b in any::<u64>(), bit in any::<usize>()) {
        let tree = Naive(leaves(size));
        let (index, other) = (a % size, b % size);
        let root = naive_root(&tree.0);
        let proof = inclusion_proof(&tree, index, size).unwrap();
        prop_assert!(verify_inclusion(&leaf(index), index, size, &proof, &root));
        prop_assert_eq!(verify_inclusion(&leaf(other), index, size, &proof, &root), other == index);
        prop_assert!(!verify_inclusion(&leaf(index), index, size, &[proof.clone(), vec![root]].concat(), &root));
        if other != index {
            prop_assert!(!verify_inclusion(&leaf(index), other, size, &proof, &root));
        }
        if !proof.is_empty() {
            prop_assert!(!verify_inclusion(&leaf(index), index, size, &proof[1..], &root));
            let mut bent = proof.clone();
            let place = bit % (bent.len() * 256);
            bent[place / 256][place % 256 / 8] ^= 1 << (place % 8);
            prop_assert!(!verify_inclusion(&leaf(index), index, size, &bent, &root));
        }
    }

    #[test]
    fn consistency_is_shown_and_nothing_else(to in 1u64..300, a in any::<u64>(), bit in any::<usize>()) {
        let from = 1 + a % to;
        let tree = Naive(leaves(to));
        let (old, new) = (naive_root(&tree.0[..from as usize]), naive_root(&tree.0));
        let proof = consistency_proof(&tree, from, to).unwrap();
        prop_assert!(verify_consistency((from, &old), (to, &new), &proof));
        prop_assert!(!verify_consistency((from, &old), (to, &new), &[proof.clone(), vec![new]].concat()));
        // A tree that was rewritten before `from`.
        let mut forked = tree.0.clone();
        forked[(bit as u64 % from) as usize] = leaf(999);
        let other = naive_root(&forked[..from as usize]);
        prop_assert!(!verify_consistency((from, &other), (to, &new), &proof));
        prop_assert!(!verify_consistency((from, &old), (to, &naive_root(&forked)), &proof));
        if !proof.is_empty() {
            prop_assert!(!verify_consistency((from, &old), (to, &new), &proof[1..]));
            let mut bent = proof.clone();
            let place = bit % (bent.len() * 256);
            bent[place / 256][place % 256 / 8] ^= 1 << (place % 8);
            prop_assert!(!verify_consistency((from, &old), (to, &new), &bent));
        }
    }
}
