//! What a process does whose collector takes nothing.

use std::net::TcpListener;
use std::time::{Duration, Instant, SystemTime};

use belljar_core::trace::{SpanId, TraceContext, TraceId};
use belljar_traces::{Attribute, Sampling, Span, TraceConfig, Traces};

/// So many spans take far more memory than is allowed, if they are kept.
const SPANS: usize = 100_000;
const ALLOWED_BYTES: u64 = 64 << 20;

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[test]
fn spans_that_nobody_takes_are_dropped_at_once() {
    // One that never answers, and one that is not there.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", silent.local_addr().expect("an address"));
    for endpoint in [&*silent, "http://127.0.0.1:1"] {
        let traces = Traces::start(&TraceConfig {
            endpoint: endpoint.parse().expect("a URL"),
            sampling: Sampling::Parent,
            service: "belljar-test",
            version: "1",
            host: "h".to_owned(),
        });
        let traces = traces.expect("started");
        let (trace_id, span_id) = (TraceId([1; 16]), SpanId([2; 8]));
        let trace = TraceContext { trace_id, span_id, state: String::new() };
        let (before, begun) = (resident_bytes().expect("a line"), Instant::now());
        for _ in 0..SPANS {
            let now = SystemTime::now();
            let attributes = vec![Attribute::new("text", "x".repeat(1024))];
            traces.export(Span { attributes, ..Span::part(&trace, span_id, "run", (now, now)) });
        }
        let after = resident_bytes().expect("a line");
        let (grown, took) = (after.saturating_sub(before), begun.elapsed());
        assert!(grown < ALLOWED_BYTES, "{endpoint}: {grown} bytes");
        assert!(took < Duration::from_secs(30), "{endpoint}: {took:?}");
        let begun = Instant::now();
        traces.close();
        assert!(begun.elapsed() < Duration::from_secs(5), "{endpoint}: {:?}", begun.elapsed());
    }
}
