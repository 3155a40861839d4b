//! Strict parsing of JOSE headers, JWKs and claims, before any library sees them.
