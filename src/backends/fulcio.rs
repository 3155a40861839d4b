//! Keyless signing through Fulcio.
