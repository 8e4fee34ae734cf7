//! Times, as clients read them.

use std::time::{Duration, SystemTime};

use belljar_store::record::Timestamp;

/// A time as clients read it: `2026-01-02T03:04:05.000006Z`.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    // A time that does not fit a calendar of four-digit years is no time of a Redis server.
    const END: u64 = 253_402_300_799_999_999;
    let since = Duration::from_micros(time.0.min(END));
    humantime::format_rfc3339_micros(SystemTime::UNIX_EPOCH + since).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(Timestamp(1_767_323_045_000_006)), "2026-01-02T03:04:05.000006Z");
        assert_eq!(rfc3339(Timestamp(u64::MAX)), "9999-12-31T23:59:59.999999Z");
    }
}
