//! The API's description (contract §2.5): an OpenAPI 3.1 document, kept by hand and held to the service by the tests, and a
//! page made of it.

mod page;

use std::sync::LazyLock;

pub use page::Page;

/// The document, as it is served.
pub static DOCUMENT: &[u8] = include_bytes!("openapi.json");

/// The page, made once. Without the document it would be empty; a test reads both.
pub static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let document = serde_json::from_slice(DOCUMENT).unwrap_or_default();
    Page::of(&document)
});
