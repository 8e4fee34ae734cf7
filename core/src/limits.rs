//! The bounds on bytes that several crates must agree on.

/// The longest frame between a slot and its child. A longer length in a frame's prefix means that the
/// peer has lost its place in the stream.
pub const MAX_FRAME_BYTES: usize = 1 << 30;

/// The most bytes of payload (code and arguments, or a result) in one message between a dispatcher and
/// a worker. The listener's limit on messages is larger by what stands around a payload.
pub const MAX_PAYLOAD_BYTES: usize = 63 << 20;

/// Invocations and reports of more bytes than this go out in several messages.
pub const BATCH_BYTES: usize = 16 << 20;

/// What the process of a sandbox may have besides its image and twice the memory of its call: the code that
/// it keeps, a payload on its way in and one on its way out, each in up to three copies.
pub const SANDBOX_HOST_BYTES: u64 = 512 << 20;

/// How many bytes of code a cache of functions keeps.
pub const CODE_CACHE_BYTES: usize = 64 << 20;
