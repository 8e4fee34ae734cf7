//! The layout of records, for Rust and for the scripts. One definition for both.
//!
//! A task is one string, its record. While it lives:
//!
//! ```text
//! L<accepted us><flag><class> <priority>[~<session>][@<tenant>[$<bytes>]]\n<body>
//! ```
//!
//! A task of a session names its tenant in any case.
//!
//! The flag says whether the arguments are a blob, and whether there is a tenant: the default one is not named. The bytes are
//! those that the task is counted with, where what its tenant uses is counted: then the mark of the tenant stands there in any case.
//!
//! Once it has ended, with the live record inside:
//!
//! ```text
//! <C|F|X><finished us> <expires ms> <#record> <#state> <#outcome>[ <#result>]\n<record><state><outcome><result>
//! ```
//!
//! Its arguments and its attempt state stand in a hash while it lives. Arguments and results that are
//! blobs are keys of their own, which scripts never read (`blob` says why): the flag says so of the
//! arguments, the length of the result in the first line of an ended record says so of the result.
//!
//! The attempt state exists from the first attempt on:
//!
//! ```text
//! <R|X|Q><dispatcher><started us> <attempt> <unstarted> <deaths>[\x1e<failure>]...
//! ```
//!
//! R runs, X runs and must be stopped, Q waits for another attempt.

/// The number of this layout, of keys and messages too. One that older programs cannot read, or that cannot read what they
/// wrote, has another. Since 2, what is in files is referred to.
pub(crate) const FORMAT: u32 = 2;
/// Those that this program goes on with as they are.
pub(crate) const UNDERSTOOD: [u32; 1] = [1];

/// The length of an id in records and messages.
pub(crate) const ID_BYTES: usize = 36;
/// Digits of a time in microseconds.
pub(crate) const TIME_DIGITS: usize = 16;

/// Where the flag stands in a live record.
pub(crate) const FLAG_AT: usize = 1 + TIME_DIGITS;
/// The flag of a task of the default tenant.
pub(crate) const NO_FLAG: char = ' ';
/// The same, where the arguments are a blob.
pub(crate) const BLOB_FLAG: char = '+';
/// The flag of a task of another tenant.
pub(crate) const TENANT_FLAG: char = '@';
/// The same, where the arguments are a blob.
pub(crate) const TENANT_BLOB_FLAG: char = '*';

/// The first letter of a live record.
pub(crate) const LIVE: u8 = b'L';
/// Stands before the session of a task that has one, in front of the tenant.
pub(crate) const SESSION_MARK: char = '~';
/// Stands before the tenant at the end of a live record's first line, and in messages.
pub(crate) const TENANT_MARK: char = '@';

/// Stands behind it, before the bytes that a task is counted with, where it is.
pub(crate) const COUNTED_MARK: char = '$';
/// The bytes that a task which is counted takes beside its arguments.
pub(crate) const TASK_BYTES: u64 = 512;

/// Stands behind the task id in the name of the field that holds its arguments.
pub(crate) const ARGS_MARK: char = 'a';

/// Where the dispatcher stands in an attempt state.
pub(crate) const DISPATCHER_AT: usize = 1;
/// Where the time stands at which the attempt began.
pub(crate) const STARTED_AT: usize = DISPATCHER_AT + ID_BYTES;
/// Where the fence ` <attempt> ` stands.
pub(crate) const FENCE_AT: usize = STARTED_AT + TIME_DIGITS;
/// Stands before each failure in an attempt state.
pub(crate) const FAILURE_SEPARATOR: char = '\x1e';

/// How many sequence numbers a priority has in the scores of a queue. Lua prints numbers below 1e14 exactly.
pub(crate) const PRIORITY_WIDTH: u64 = 10_000_000_000_000;
/// The priority of tasks that are queued again: before all that submissions of the tenant have.
pub(crate) const RETRY_PRIORITY: u64 = 0;

/// Stands behind the count of a demand that has places reserved for tenants of which nothing runs.
pub(crate) const RESERVED_MARK: char = '!';

/// The constants and their values, for the scripts. Lua counts from one.
pub(crate) fn values() -> [(&'static str, String); 17] {
    [
        ("ID_BYTES", ID_BYTES.to_string()),
        ("TIME_DIGITS", TIME_DIGITS.to_string()),
        ("FLAG_AT", (FLAG_AT + 1).to_string()),
        ("NO_FLAG", u32::from(NO_FLAG).to_string()),
        ("BLOB_FLAG", u32::from(BLOB_FLAG).to_string()),
        ("TENANT_BLOB_FLAG", u32::from(TENANT_BLOB_FLAG).to_string()),
        ("TENANT_MARK", format!("'{TENANT_MARK}'")),
        ("SESSION_MARK", format!("'{SESSION_MARK}'")),
        ("COUNTED_MARK", format!("'{COUNTED_MARK}'")),
        ("ARGS_MARK", format!("'{ARGS_MARK}'")),
        ("DISPATCHER_AT", (DISPATCHER_AT + 1).to_string()),
        ("STARTED_AT", (STARTED_AT + 1).to_string()),
        ("FENCE_AT", (FENCE_AT + 1).to_string()),
        ("FAILURE_SEPARATOR", format!("'\\{}'", u32::from(FAILURE_SEPARATOR))),
        ("RESERVED_MARK", format!("'{RESERVED_MARK}'")),
        ("PRIORITY_WIDTH", PRIORITY_WIDTH.to_string()),
        ("RETRY_PRIORITY", RETRY_PRIORITY.to_string()),
    ]
}
