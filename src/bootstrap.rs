//! Puts the parts together: the only module that sees every concrete type.
