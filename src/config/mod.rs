//! Configuration: file < environment < flags, validated as a whole.
