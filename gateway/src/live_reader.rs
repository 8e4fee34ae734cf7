//! What one client has been told of a running task, and what it is told next. Pure.

use std::fmt::Write as _;

use belljar_core::live::{LiveChunk, LiveUpdate, Progress};
use belljar_core::outcome::OutputTail;
use belljar_store::record::TaskRecord;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::reply::number;

/// The names of the streams, as events have them.
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// How far a client has come in the output of a task.
#[derive(Debug, Default)]
pub(crate) struct LiveReader {
    attempt: u32,
    streams: [StreamPlace; 2],
    progress: Option<Progress>,
}

#[derive(Debug, Default)]
struct StreamPlace {
    /// How many bytes of the stream were told, or left out.
    told: u64,
    /// The start of a character whose rest is still to come; those bytes count as told.
    cut: Vec<u8>,
}

impl LiveReader {
    /// The place that the id of an event names.
    pub(crate) fn after(id: &str) -> Option<Self> {
        let mut numbers = id.split('.').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let (attempt, stdout, stderr) = (u32::try_from(next()?).ok()?, next()?, next()?);
        let streams = [stdout, stderr].map(|told| StreamPlace { told, cut: Vec::new() });
        Some(Self { attempt, streams, progress: None })
    }

    /// What an update of the running task tells, as events.
    pub(crate) fn update(&mut self, update: &LiveUpdate) -> Bytes {
        let mut text = String::new();
        let attempt = update.task.attempt.0;
        if attempt < self.attempt {
            return Bytes::new();
        }
        self.begin(attempt, &mut text);
        for (index, chunk) in [&update.stdout, &update.stderr].into_iter().enumerate() {
            self.tell(index, chunk, &mut text);
        }
        self.tell_progress(update.progress.as_ref(), &mut text);
        text.into()
    }

    /// What the record tells, as events: the progress, and once the task has ended the rest of its output.
    pub(crate) fn record(&mut self, record: &TaskRecord) -> Bytes {
        let mut text = String::new();
        if record.attempts > 0 && record.attempts >= self.attempt {
            self.begin(record.attempts, &mut text);
        }
        if let Some(outcome) = &record.outcome {
            for (index, tail) in [&outcome.stdout, &outcome.stderr].into_iter().enumerate() {
                self.tell(index, &end_of(tail), &mut text);
                self.tell_cut(index, &mut text);
            }
        }
        self.tell_progress(record.progress.as_ref(), &mut text);
        text.into()
    }

    fn begin(&mut self, attempt: u32, text: &mut String) {
        if attempt > self.attempt {
            let is_another = self.attempt > 0;
            *self = Self { attempt, ..Self::default() };
            if is_another {
                write_event(text, "attempt", Some(&self.id()), &json!({ "attempt": attempt }));
            }
        }
    }

    fn tell(&mut self, index: usize, chunk: &LiveChunk, text: &mut String) {
        let place = &mut self.streams[index];
        let Some(chunk) = chunk.after(place.told) else { return };
        let skipped = chunk.start - place.told;
        let mut bytes = std::mem::take(&mut place.cut);
        let lost = if skipped > 0 { std::mem::take(&mut bytes).len() as u64 } else { 0 };
        bytes.extend_from_slice(&chunk.bytes);
        place.cut = bytes.split_off(whole_characters(&bytes));
        place.told = chunk.end();
        if !bytes.is_empty() {
            self.write(index, &bytes, skipped + lost, text);
        }
    }

    /// Tells the start of a character whose rest will not come.
    fn tell_cut(&mut self, index: usize, text: &mut String) {
        let bytes = std::mem::take(&mut self.streams[index].cut);
        if !bytes.is_empty() {
            self.write(index, &bytes, 0, text);
        }
    }

    fn write(&self, index: usize, bytes: &[u8], skipped: u64, text: &mut String) {
        let mut data = json!({ "text": String::from_utf8_lossy(bytes) });
        if skipped > 0 {
            data["skipped"] = skipped.into();
        }
        write_event(text, STREAMS[index], Some(&self.id()), &data);
    }

    fn tell_progress(&mut self, progress: Option<&Progress>, text: &mut String) {
        let Some(progress) = progress.filter(|progress| self.progress.as_ref() != Some(*progress))
        else {
            return;
        };
        let Progress { done, total, note } = progress;
        let data = json!({ "done": number(*done), "total": total.map(number), "note": note });
        write_event(text, "progress", Some(&self.id()), &data);
        self.progress = Some(progress.clone());
    }

    /// The id of the last event: where an interrupted client goes on.
    fn id(&self) -> String {
        let [stdout, stderr] = &self.streams;
        let at = |place: &StreamPlace| place.told - place.cut.len() as u64;
        format!("{}.{}.{}", self.attempt, at(stdout), at(stderr))
    }
}

/// An event as clients read it.
pub(crate) fn event(name: &str, id: Option<&str>, data: &Value) -> Bytes {
    let mut text = String::new();
    write_event(&mut text, name, id, data);
    text.into()
}

fn write_event(text: &mut String, name: &str, id: Option<&str>, data: &Value) {
    // Writing to a string cannot fail, and JSON has no line breaks.
    let _ = writeln!(text, "event: {name}");
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    let _ = write!(text, "data: {data}\n\n");
}

/// The end of a stream, as a part of it.
fn end_of(tail: &OutputTail) -> LiveChunk {
    let start = tail.total_bytes.saturating_sub(tail.bytes.len() as u64);
    LiveChunk { start, bytes: tail.bytes.clone() }
}

/// How many bytes there are before a last character that is cut, if one is.
fn whole_characters(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    let starts = (from..bytes.len()).rev().find(|&at| bytes[at] & 0b1100_0000 != 0b1000_0000);
    match starts {
        Some(at) if is_cut(&bytes[at..]) => at,
        _ => bytes.len(),
    }
}

/// Whether these bytes begin a character and do not end it.
fn is_cut(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use belljar_core::task::{Attempt, TaskAttempt};

    use super::*;

    fn update(attempt: u32, start: u64, text: &[u8]) -> LiveUpdate {
        let task_id = belljar_core::id::TaskId::from_bytes([1; 16]);
        let stdout = LiveChunk { start, bytes: Bytes::copy_from_slice(text) };
        let task = TaskAttempt { task_id, attempt: Attempt(attempt) };
        LiveUpdate { task, stdout, stderr: LiveChunk::default(), progress: None }
    }

    fn told(reader: &mut LiveReader, update: &LiveUpdate) -> String {
        String::from_utf8(reader.update(update).to_vec()).expect("a text")
    }

    #[test]
    fn what_overlaps_is_told_once_and_what_is_left_out_is_counted() {
        let mut reader = LiveReader::default();
        let first = told(&mut reader, &update(1, 0, b"one "));
        assert_eq!(first, "event: stdout\nid: 1.4.0\ndata: {\"text\":\"one \"}\n\n");
        assert!(told(&mut reader, &update(1, 0, b"one two")).contains("{\"text\":\"two\"}"));
        assert_eq!(told(&mut reader, &update(1, 0, b"one")), "");
        let gap = told(&mut reader, &update(1, 10, b"x"));
        assert!(gap.contains("\"skipped\":3"), "{gap}");
    }

    #[test]
    fn a_character_in_two_pieces_is_told_whole() {
        let (mut reader, euro) = (LiveReader::default(), "€".as_bytes());
        let first = told(&mut reader, &update(1, 0, &[b"a", &euro[..2]].concat()));
        assert!(first.contains("id: 1.1.0") && first.contains("\"a\""), "{first}");
        assert!(told(&mut reader, &update(1, 3, &euro[2..])).contains("{\"text\":\"€\"}"));
        let broken = told(&mut reader, &update(1, 4, &[b'b', 0xff]));
        assert!(broken.contains("b\u{fffd}"), "{broken}");
    }

    #[test]
    fn another_attempt_begins_anew_and_an_earlier_one_is_not_told() {
        let mut reader = LiveReader::default();
        told(&mut reader, &update(1, 0, b"first"));
        let second = told(&mut reader, &update(2, 0, b"again"));
        assert!(second.starts_with("event: attempt\nid: 2.0.0\n"), "{second}");
        assert!(second.contains("\"again\""), "{second}");
        assert_eq!(told(&mut reader, &update(1, 5, b"late")), "");
    }

    #[test]
    fn the_id_of_an_event_is_where_the_next_stream_goes_on() {
        let mut reader = LiveReader::after("2.4.0").expect("a place");
        let rest = told(&mut reader, &update(2, 0, b"one two"));
        assert_eq!(rest, "event: stdout\nid: 2.7.0\ndata: {\"text\":\"two\"}\n\n");
        for id in ["", "1", "1.2", "x.1.2", "-1.0.0"] {
            assert!(LiveReader::after(id).is_none(), "{id}");
        }
    }
}
