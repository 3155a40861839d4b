//! The actor through its mailbox.
