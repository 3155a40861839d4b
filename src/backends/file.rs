//! A key in a PEM file.
