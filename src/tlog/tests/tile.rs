use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn paths_are_those_of_the_specification() {
    let tile = |level, index, width| Tile { level, index, width };
    for (named, path) in [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(1, 5, 17), "tile/1/005.p/17"),
        (tile(0, 273, 112), "tile/0/273.p/112"),
        (tile(63, 999, 256), "tile/63/999"),
        (tile(0, 1000, 256), "tile/0/x001/000"),
        // The example of tlog-tiles.
        (tile(2, 1_234_067, 256), "tile/2/x001/x234/067"),
        (tile(0, 1_234_067, 8), "tile/0/x001/x234/067.p/8"),
    ] {
        assert_eq!(named.path(), path);
        let entries = path.replacen(&format!("/{}/", named.level), "/entries/", 1);
        assert_eq!(named.entries_path(), entries);
    }
}

/// The example of tlog-tiles: a tree of 70,000 leaves, and one of 256.
#[test]
fn widths_are_those_of_the_specification() {
    let width = |level, index, size| Tile::in_tree(level, index, size).map(|tile| tile.width);
    assert_eq!(width(0, 272, 70_000), Some(256));
    assert_eq!(width(0, 273, 70_000), Some(112));
    assert_eq!(width(0, 274, 70_000), None);
    assert_eq!(width(1, 0, 70_000), Some(256));
    assert_eq!(width(1, 1, 70_000), Some(17));
    assert_eq!(width(2, 0, 70_000), Some(1));
    assert_eq!(width(3, 0, 70_000), None);
    assert_eq!(width(0, 0, 256), Some(256));
    assert_eq!(width(1, 0, 256), Some(1));
    assert_eq!(width(9, 0, u64::MAX), None);
}

#[test]
fn bundles_are_taken_apart_as_they_were_put_together() {
    let mut bundle = Vec::new();
    let longest = vec![7; MAX_ENTRY_BYTES];
    for entry in [&b"one"[..], b"", &longest] {
        assert!(push_entry(&mut bundle, entry));
    }
    assert_eq!(&bundle[..7], b"\0\x03one\0\0");
    assert!(!push_entry(&mut bundle, &[0; MAX_ENTRY_BYTES + 1]));
    let parts: Vec<_> = entries(&bundle).collect();
    assert_eq!(parts, [Ok(&b"one"[..]), Ok(b""), Ok(&longest)]);
    for cut in [1, 2, 4, 6, bundle.len() - 1] {
        let last = entries(&bundle[..cut]).last();
        assert!(matches!(last, Some(Err(_))), "{cut}");
    }
    assert_eq!(entries(&bundle[..6]).last(), Some(Err(BundleError { whole: 1 })));
    assert_eq!(entries(b"").next(), None);
}

/// A log as it is published: full tiles as they fill, the others at one size.
#[derive(Default)]
struct Published(BTreeMap<Tile, Vec<Hash>>);

impl TileSource for &Published {
    type Error = String;

    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, String> {
        self.0.get(&tile).cloned().ok_or(format!("{tile:?}"))
    }

    fn absent(&self) -> String {
        "absent".into()
    }
}

fn publish(size: u64) -> (Published, Edge) {
    let (mut published, mut edge) = (Published::default(), Edge::default());
    for n in 0..size {
        edge.push(leaf(n), |tile, hashes| {
            published.0.insert(tile, hashes.to_vec());
        });
    }
    for (tile, hashes) in edge.partial() {
        published.0.insert(tile, hashes.to_vec());
    }
    (published, edge)
}

#[test]
fn a_large_tree_is_tiled_as_specified() {
    let (published, edge) = publish(70_000);
    assert_eq!(published.0.keys().filter(|tile| tile.level == 0).count(), 274);
    assert_eq!(published.0.keys().filter(|tile| tile.level == 1).count(), 2);
    assert_eq!(published.0.keys().filter(|tile| tile.level == 2).count(), 1);
    for tile in published.0.keys() {
        assert_eq!(Tile::in_tree(tile.level, tile.index, 70_000), Some(*tile));
    }
    let all = leaves(70_000);
    assert_eq!(edge.root(), naive_root(&all));
    let nodes = TileNodes::new(&published, 70_000);
    assert_eq!(root(&nodes, 70_000), Ok(edge.root()));
    for from in [1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999] {
        let proof = consistency_proof(&nodes, from, 70_000).unwrap();
        let old = naive_root(&all[..from as usize]);
        assert!(
            verify_consistency((from, &old), (70_000, &edge.root()), &proof),
            "{from}"
        );
        let proof = inclusion_proof(&nodes, from, 70_000).unwrap();
        assert!(
            verify_inclusion(&leaf(from), from, 70_000, &proof, &edge.root()),
            "{from}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tiles_hold_the_whole_tree(size in 1u64..1500, a in any::<u64>()) {
        let (published, edge) = publish(size);
        let all = leaves(size);
        prop_assert_eq!(edge.root(), naive_root(&all));
        prop_assert_eq!(edge.size(), size);
        let nodes = TileNodes::new(&published, size);
        let (tree, at) = (Naive(all), a % size);
        prop_assert_eq!(inclusion_proof(&nodes, at, size), Ok(inclusion_proof(&tree, at, size).unwrap()));
        prop_assert_eq!(consistency_proof(&nodes, at, size), Ok(consistency_proof(&tree, at, size).unwrap()));
        prop_assert_eq!(root(&nodes, at), Ok(naive_root(&tree.0[..at as usize])));
        // What is loaded again is the same edge.
        let levels = edge.partial().fold(Vec::new(), |mut levels: Vec<Vec<Hash>>, (tile, hashes)| {
            levels.resize(usize::from(tile.level) + 1, Vec::new());
            levels[usize::from(tile.level)] = hashes.to_vec();
            levels
        });
        let again = Edge::of(size, levels.clone()).unwrap();
        prop_assert_eq!(again.root(), edge.root());
        prop_assert_eq!(Edge::of(size + 1, levels), None);
    }
}
