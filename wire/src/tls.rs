//! TLS with mutual authentication.
