//! The Authority: key sets, operational tokens, DPoP proofs.
