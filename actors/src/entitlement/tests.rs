//! The actor with a fake Licensing and a clock of its own.
