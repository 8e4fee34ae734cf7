//! The bounds on bytes that several crates must agree on.

/// The longest frame between a slot and its child. A longer length in a frame's prefix means that the
/// peer has lost its place in the stream.
pub const MAX_FRAME_BYTES: usize = u32::MAX as usize;

/// The largest result that an operator can allow, in MiB, and the one that is allowed by default where long ones are files.
pub const MAX_RESULT_MB: u32 = 2048;

/// The largest result that is allowed where there is no directory for long ones, in MiB: as much as goes in one message
/// between a worker and its dispatcher. Exceptions, and the files that a call leaves, are never larger.
pub const MAX_INLINE_RESULT_MB: u32 = 60;

/// The same in bytes.
pub const MAX_INLINE_RESULT_BYTES: u64 = (MAX_INLINE_RESULT_MB as u64) << 20;

/// Results of more than this go from a child to their file, where there is a directory, without being in memory as a whole.
pub const STREAMED_RESULT_BYTES: u64 = 8 << 20;

/// What stands around a result in a child's reply: message and traceback, the rest of the frame.
pub const REPLY_MARGIN_BYTES: usize = 1 << 20;

const _: () = assert!(MAX_INLINE_RESULT_BYTES as usize + REPLY_MARGIN_BYTES <= MAX_PAYLOAD_BYTES);

/// The most bytes of payload (code and arguments, or a result) in one message between a dispatcher and
/// a worker. The listener's limit on messages is larger by what stands around a payload.
pub const MAX_PAYLOAD_BYTES: usize = 63 << 20;

/// The most bytes of arguments with all values that they refer to: what a frame has room for.
pub const MAX_ARGS_BYTES: u64 = 2 << 30;

/// The same where they go to a worker in one message, with some code.
pub const MAX_SENT_ARGS_BYTES: u64 = (MAX_PAYLOAD_BYTES - (3 << 20)) as u64;

/// The same in the sandbox, whose process has three copies of them beside the guest's memory.
pub const MAX_SANDBOX_ARGS_BYTES: u64 = SANDBOX_HOST_BYTES / 4;

/// From how many bytes on a worker that shares the directory of blobs gets the names of files in place of what is in them.
pub const SHARED_ARGS_BYTES: u64 = 1 << 20;

/// The most bytes of a result of the sandbox, for the same reason.
pub const MAX_SANDBOX_RESULT_BYTES: u64 = SANDBOX_HOST_BYTES / 4;

/// Invocations and reports of more bytes than this go out in several messages.
pub const BATCH_BYTES: usize = 16 << 20;

/// What the process of a sandbox may have besides its image and twice the memory of its call: the code that
/// it keeps, a payload on its way in and one on its way out, each in up to three copies.
pub const SANDBOX_HOST_BYTES: u64 = 512 << 20;

/// What the memories of functions that start warm may take of a sandbox's address space: the process may have that much
/// more.
pub const WARM_ADDRESS_BYTES: u64 = 512 << 20;

/// How many bytes of code a cache of functions keeps.
pub const CODE_CACHE_BYTES: usize = 64 << 20;
