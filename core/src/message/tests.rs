//! What the bytes of the protocol must keep to.
