//! The right edge of a growing tree: all that is needed to append to it and to know its root.

use super::tile::{TILE_WIDTH, Tile, tile_root};
use super::tree::{Hash, empty_root, node_hash};

/// The tiles of a tree that are not full, from level 0 up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// The edge of a tree of this size; `levels` are its tiles that are not full, from level 0 up, empty ones too. `None`
    /// if their widths are not those of such a tree.
    pub fn of(size: u64, levels: Vec<Vec<Hash>>) -> Option<Self> {
        let mut rest = size;
        for level in &levels {
            if level.len() as u64 != rest % TILE_WIDTH {
                return None;
            }
            rest /= TILE_WIDTH;
        }
        (rest == 0).then_some(Self { size, levels })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf. `full` is told of every tile that this fills, from level 0 up.
    pub fn push(&mut self, leaf: Hash, mut full: impl FnMut(Tile, &[Hash])) {
        let (mut hash, mut index) = (leaf, self.size);
        self.size += 1;
        for level in 0..=u8::MAX {
            let place = usize::from(level);
            if self.levels.len() <= place {
                self.levels.push(Vec::new());
            }
            let Some(hashes) = self.levels.get_mut(place) else {
                return;
            };
            hashes.push(hash);
            if (hashes.len() as u64) < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::take(hashes);
            index /= TILE_WIDTH;
            let tile = Tile {
                level,
                index,
                width: TILE_WIDTH,
            };
            full(tile, &hashes);
            hash = tile_root(&hashes);
        }
    }

    /// The tiles that are not full and not empty, from level 0 up.
    pub fn partial(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let tile = |(place, hashes): (usize, &Vec<Hash>)| {
            let level = u8::try_from(place).ok()?;
            let full_below = self.size.checked_shr(u32::from(level) * 8)? / TILE_WIDTH;
            let width = hashes.len() as u64;
            (width > 0).then_some(Tile {
                level,
                index: full_below,
                width,
            })
        };
        let tiles = self.levels.iter().enumerate();
        tiles.filter_map(move |(place, hashes)| Some((tile((place, hashes))?, hashes.as_slice())))
    }

    /// Root of the tree (RFC 6962 §2.1).
    pub fn root(&self) -> Hash {
        let mut right: Option<Hash> = None;
        for hashes in &self.levels {
            // Complete subtrees of decreasing size, from the left.
            let (mut rest, mut peaks) = (hashes.as_slice(), Vec::new());
            while let Some(log) = rest.len().checked_ilog2() {
                let Some((complete, after)) = rest.split_at_checked(1 << log) else {
                    break;
                };
                peaks.push(tile_root(complete));
                rest = after;
            }
            for peak in peaks.iter().rev() {
                right = Some(match right {
                    Some(right) => node_hash(peak, &right),
                    None => *peak,
                });
            }
        }
        right.unwrap_or_else(empty_root)
    }
}
