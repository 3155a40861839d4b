//! The actor with a fake registry.
