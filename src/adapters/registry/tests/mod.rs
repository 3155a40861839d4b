//! Tests over a scripted registry.
