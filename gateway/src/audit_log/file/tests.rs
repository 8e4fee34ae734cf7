use std::io::Write as _;

use super::*;
use crate::audit_log::verify::{Verified, VerifyError, verify};

struct Log {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        Self { dir, path }
    }

    fn open(&self) -> AuditFile {
        AuditFile::open(&self.path).expect("a log")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.path).expect("read")
    }

    fn verified(&self) -> Result<Verified, VerifyError> {
        verify(std::slice::from_ref(&self.path), None)
    }
}

fn records(count: usize) -> Vec<AuditRecord> {
    vec![AuditRecord::now(Action::Submit).times(1); count]
}

fn append(file: &mut AuditFile, count: usize) {
    let (written, ended) = file.append(&records(count));
    assert!(ended.is_ok() && written == count, "{ended:?}");
}

#[test]
fn several_processes_write_one_chain() {
    let log = Log::new();
    let (mut one, mut other) = (log.open(), log.open());
    for _ in 0..3 {
        append(&mut one, 2);
        append(&mut other, 1);
    }
    append(&mut log.open(), 1);
    let verified = log.verified().expect("whole");
    assert_eq!((verified.records, verified.before), (10, ChainHash::NONE));
    assert!(verified.torn.is_empty() && !verified.ends_torn);
    let mode = std::fs::metadata(&log.path).expect("a file").mode();
    assert_eq!(mode & 0o777, MODE, "others do not read it");
}

#[test]
fn a_file_that_was_renamed_goes_on_in_the_next() {
    let log = Log::new();
    let (mut one, mut other) = (log.open(), log.open());
    append(&mut one, 1);
    append(&mut other, 1);
    let old = log.dir.path().join("audit.log.1");
    std::fs::rename(&log.path, &old).expect("renamed");
    append(&mut one, 2);
    append(&mut other, 2);
    let both = verify(&[old.clone(), log.path.clone()], None).expect("whole");
    assert_eq!(both.records, 6);
    let alone = log.verified().expect("whole");
    let first = verify(std::slice::from_ref(&old), None).expect("whole").last;
    assert_eq!((alone.records, alone.before, alone.last), (4, first, both.last));
    let swapped = verify(&[log.path.clone(), old.clone()], None);
    assert!(matches!(swapped, Err(VerifyError::Broken { line: 1, .. })), "{swapped:?}");
    std::fs::write(&log.path, "").expect("emptied, as `copytruncate` does");
    append(&mut other, 1);
    assert_eq!(log.verified().expect("whole").before, both.last);
}

#[test]
fn a_torn_line_is_ended_and_told_apart_from_a_changed_one() {
    let log = Log::new();
    append(&mut log.open(), 3);
    let whole = log.text();
    let second = whole.len() / 3 * 2;
    for cut in second + 1..whole.len() - 1 {
        std::fs::write(&log.path, &whole[..cut]).expect("cut");
        let found = log.verified().expect("whole but for its end");
        assert!(found.records == 2 && found.ends_torn, "{cut}: {found:?}");
        append(&mut log.open(), 1);
        let found = log.verified().expect("whole again");
        assert_eq!((found.records, found.ends_torn, found.torn.len()), (4, false, 1), "{cut}");
        assert!(found.torn[0].ends_with(":3"), "{:?}", found.torn);
    }
    // Torn while it was told that a line is torn.
    std::fs::write(&log.path, format!("{}\n{{\"time\":", &whole[..second + 20])).expect("cut");
    append(&mut log.open(), 1);
    assert_eq!(log.verified().expect("whole").torn.len(), 2);
    // Only the end of the last line is missing.
    std::fs::write(&log.path, whole.trim_end()).expect("cut");
    assert_eq!(log.verified().expect("whole").records, 3);
    append(&mut log.open(), 1);
    assert_eq!(log.verified().expect("whole").records, 4);
}

#[test]
fn a_torn_line_is_ended_in_the_file_that_was_renamed() {
    let log = Log::new();
    let mut file = log.open();
    append(&mut file, 1);
    OpenOptions::new()
        .append(true)
        .open(&log.path)
        .and_then(|mut file| file.write_all(b"{\"time\":\"2026"))
        .expect("torn");
    let old = log.dir.path().join("audit.log.1");
    std::fs::rename(&log.path, &old).expect("renamed");
    append(&mut file, 1);
    let both = verify(&[old, log.path.clone()], None).expect("whole");
    assert_eq!((both.records, both.torn.len(), both.ends_torn), (3, 1, false));
}

#[test]
fn what_was_changed_is_found() {
    let log = Log::new();
    append(&mut log.open(), 4);
    let whole = log.text();
    let lines: Vec<_> = whole.lines().collect();
    let last = log.verified().expect("whole").last;
    let of = |lines: &[&str]| {
        std::fs::write(&log.path, lines.join("\n") + "\n").expect("written");
        log.verified().map(|verified| verified.records)
    };
    let broken_at = |lines: &[&str], at: u64| {
        let found = of(lines);
        assert!(
            matches!(&found, Err(VerifyError::Broken { line, .. }) if *line == at),
            "{found:?}"
        );
    };
    broken_at(&[lines[0], lines[2], lines[3]], 2);
    broken_at(&[lines[0], lines[2], lines[1], lines[3]], 2);
    broken_at(&[lines[0], lines[1], lines[1], lines[2]], 3);
    let changed = lines[1].replacen("submit", "cancel", 1);
    broken_at(&[lines[0], &changed, lines[2], lines[3]], 2);
    broken_at(&[lines[0], &lines[1][..40], lines[2], lines[3]], 3);
    assert!(AuditFile::open(&log.path).is_ok(), "its last line is sound");
    broken_at(&[lines[0], &changed], 2);
    assert!(matches!(AuditFile::open(&log.path), Err(AuditLogError::Changed { .. })));
    // What is cut off at the ends shows only to those who know a hash.
    assert_eq!(of(&lines[..3]).expect("a log"), 3);
    let asked = verify(std::slice::from_ref(&log.path), Some(last));
    assert!(matches!(asked, Err(VerifyError::Missing(hash)) if hash == last));
    assert_eq!(of(&lines[1..]).expect("a log"), 3);
    assert_ne!(log.verified().expect("a log").before, ChainHash::NONE);
    assert!(verify(std::slice::from_ref(&log.path), Some(last)).is_ok());
    std::fs::write(&log.path, "root:x:0:0\n").expect("written");
    assert!(matches!(AuditFile::open(&log.path), Err(AuditLogError::Changed { .. })));
}

#[test]
fn a_full_disk_keeps_what_was_written() {
    // It takes no byte.
    let mut file = AuditFile {
        path: "/dev/full".into(),
        file: OpenOptions::new().write(true).open("/dev/full").expect("the device"),
        end: End::EMPTY,
    };
    let (written, ended) = file.append(&records(1));
    assert_eq!(written, 0);
    assert!(ended.is_err_and(|error| error.to_string().contains("`/dev/full` cannot be written")));
    assert!(file.end.is_open, "its end is looked at before the next try");
}
