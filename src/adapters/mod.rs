//! Clients of the neighbours: each implements a port of the core.

pub mod audit_files;
pub mod authority;
pub mod idempotency;
pub mod jose;
pub mod licensing;
pub mod redis;
pub mod registry;
pub mod timestamp;
