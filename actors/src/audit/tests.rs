//! The actor with a fake log.
