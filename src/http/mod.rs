//! HTTP: routes, extractors, errors.

pub mod dto;
