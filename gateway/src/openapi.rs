//! The description of the API for programs. Kept by hand, as bodies are read by hand; a test holds
//! it against the routes.

/// The document.
pub(crate) const TEXT: &str = include_str!("../assets/openapi.json");
