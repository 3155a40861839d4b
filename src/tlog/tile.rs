//! Tiles and entry bundles (C2SP tlog-tiles).

use std::cell::RefCell;
use std::fmt::Write as _;
use std::num::NonZeroUsize;

use lru::LruCache;

use super::tree::{Hash, Nodes, node_hash};

/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;
/// Levels of the tree in one tile.
const TILE_HEIGHT: u8 = 8;
/// The longest entry: its length is written in 16 bits.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;
/// Tiles that a proof touches at most, with room: two for each of eight levels.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

/// Names a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// 0: hashes of entries; above: roots of full tiles one level below.
    pub level: u8,
    /// Number of the tile in its level.
    pub index: u64,
    /// Hashes in it, 1 to [`TILE_WIDTH`].
    pub width: u64,
}

impl Tile {
    /// The tile as it is in a tree of this size; `None` when it would be empty.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        let shift = u32::from(level) * u32::from(TILE_HEIGHT);
        let hashes = size.checked_shr(shift).unwrap_or(0);
        let width = hashes
            .saturating_sub(index.checked_mul(TILE_WIDTH)?)
            .min(TILE_WIDTH);
        (width > 0).then_some(Self { level, index, width })
    }

    /// Whether it will grow no more.
    pub fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The same, full.
    pub fn full(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }

    /// Path below the log's prefix: `tile/<L>/<N>[.p/<W>]`.
    pub fn path(self) -> String {
        format!("tile/{}/{}", self.level, self.number_and_width())
    }

    /// Path of the entry bundle with these entries: `tile/entries/<N>[.p/<W>]`.
    pub fn entries_path(self) -> String {
        format!("tile/entries/{}", self.number_and_width())
    }

    /// Three digits to a path element, all but the last with an `x` before them.
    fn number_and_width(self) -> String {
        let digits = self.index.to_string();
        let padded = format!("{:0>width$}", digits, width = digits.len().div_ceil(3) * 3);
        let mut out = String::new();
        for (place, digit) in padded.chars().enumerate() {
            if place % 3 == 0 {
                let ahead = padded.len() - place;
                out.push_str(match (place, ahead) {
                    (0, 3) => "",
                    (0, _) => "x",
                    (_, 3) => "/",
                    _ => "/x",
                });
            }
            out.push(digit);
        }
        if !self.is_full() {
            // Writing to a string does not fail.
            let _ = write!(out, ".p/{}", self.width);
        }
        out
    }
}

/// Root of a complete subtree over these hashes, whose number is a power of two.
pub fn tile_root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .filter_map(|pair| match pair {
                [left, right] => Some(node_hash(left, right)),
                _ => None,
            })
            .collect();
    }
    level.first().copied().unwrap_or_else(super::tree::empty_root)
}

/// Where tiles come from.
pub trait TileSource {
    /// Why one cannot be had.
    type Error;

    /// The hashes of a tile, exactly as many as it is wide.
    fn tile(&self, tile: Tile) -> Result<Vec<Hash>, Self::Error>;

    /// The error for a node that no tile of this tree has.
    fn absent(&self) -> Self::Error;
}

/// The nodes of a tree of a known size, out of its tiles. Remembers the few that a proof needs.
#[derive(Debug)]
pub struct TileNodes<S> {
    source: S,
    size: u64,
    remembered: RefCell<LruCache<(u8, u64), Vec<Hash>>>,
}

impl<S: TileSource> TileNodes<S> {
    /// The tree over the first `size` leaves.
    pub fn new(source: S, size: u64) -> Self {
        Self {
            source,
            size,
            remembered: RefCell::new(LruCache::new(REMEMBERED)),
        }
    }
}

impl<S: TileSource> Nodes for TileNodes<S> {
    type Error = S::Error;

    fn node(&self, level: u8, index: u64) -> Result<Hash, S::Error> {
        let (tile_level, below) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let first = index << below;
        let (tile_index, offset) = (first / TILE_WIDTH, first % TILE_WIDTH);
        let absent = || self.source.absent();
        let tile = Tile::in_tree(tile_level, tile_index, self.size).ok_or_else(absent)?;
        let mut remembered = self.remembered.borrow_mut();
        let hashes = remembered.try_get_or_insert((tile_level, tile_index), || self.source.tile(tile))?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = hashes.get(from..from.saturating_add(1 << below));
        range.map(tile_root).ok_or_else(absent)
    }
}

/// Appends an entry to a bundle: big-endian 16-bit length, then the entry. False, and nothing appended, if it is longer
/// than [`MAX_ENTRY_BYTES`].
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> bool {
    let Ok(length) = u16::try_from(entry.len()) else {
        return false;
    };
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    true
}

/// A bundle ends within an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it ends within entry {whole}")]
pub struct BundleError {
    /// Entries before it.
    pub whole: usize,
}

/// The entries of a bundle, in order. Ends after the first error.
pub fn entries(bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], BundleError>> {
    let (mut rest, mut whole) = (bundle, 0);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let taken = rest
            .split_first_chunk::<2>()
            .and_then(|(length, after)| after.split_at_checked(usize::from(u16::from_be_bytes(*length))));
        Some(match taken {
            Some((entry, after)) => {
                rest = after;
                whole += 1;
                Ok(entry)
            }
            None => {
                rest = &[];
                Err(BundleError { whole })
            }
        })
    })
}
