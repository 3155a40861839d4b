//! Transparency logs as everyone else reads them: the Merkle tree of RFC 6962, tiles and entry bundles (C2SP
//! tlog-tiles), checkpoints (C2SP tlog-checkpoint) in signed notes (C2SP signed-note), and proofs (C2SP tlog-proof).
//!
//! A leaf: nothing here knows files, audit records or configuration.

mod checkpoint;
mod edge;
mod note;
mod proof;
#[cfg(test)]
mod tests;
mod tile;
mod tree;

pub use checkpoint::Checkpoint;
pub use edge::Edge;
pub use note::{NoteError, NoteSigner, VerifierKey, is_key_name, unverified_text};
pub use proof::TlogProof;
pub use tile::{
    BundleError, MAX_ENTRY_BYTES, TILE_WIDTH, Tile, TileNodes, TileSource, entries, push_entry, tile_root,
};
pub use tree::{
    Hash, Nodes, consistency_proof, empty_root, inclusion_proof, leaf_hash, node_hash, root,
    verify_consistency, verify_inclusion,
};
