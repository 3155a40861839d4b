//! Licensing: proofs of entitlement and their introspection.
