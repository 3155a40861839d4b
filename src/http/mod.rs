//! HTTP: routes, extractors, errors.
