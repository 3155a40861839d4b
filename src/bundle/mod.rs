//! Sigstore bundles, trusted roots, and verifying both offline.
