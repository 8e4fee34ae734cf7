//! Notes what a call was refused.

use belljar_core::access::{Denied, DeniedKind, deny};

use super::scratch::How;

/// Paths by which the guest's own code tells of what it refuses itself: a kind and a name. Nothing is there.
const TOLD: &str = "dev/denied/";
/// The device for HTTP requests: it is looked for to find out whether it is there.
const HTTP: &str = "dev/http";

/// Notes that `path`, below the root, was not opened.
pub(super) fn note(list: &mut Vec<Denied>, path: &str, how: How) {
    if let Some(told) = path.strip_prefix(TOLD) {
        let (kind, name) = told.split_once('/').unwrap_or((told, ""));
        if let Some(kind) = DeniedKind::of(kind) {
            deny(list, kind, name);
        }
    } else if path != HTTP {
        let writes = how.write || how.create || how.truncate;
        let kind = if writes { DeniedKind::Write } else { DeniedKind::Read };
        let end = if how.directory { "/" } else { "" };
        deny(list, kind, &format!("/{path}{end}"));
    }
}
