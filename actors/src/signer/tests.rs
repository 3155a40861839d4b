//! The actor with a fake backend.
