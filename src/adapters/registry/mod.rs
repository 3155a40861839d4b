//! OCI registries: listing and verifying release signatures.
