//! The audit trail in files.
