//! Malformed requests: each is refused by a status below 500, or its connection closed, and nothing is kept.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_tests::Service;

use crate::{Random, Row};

/// How long an answer may take, on a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
/// Requests of one round whose bytes are changed at random.
const MUTATED: usize = 40;
const ID: &str = "00000000-0000-4000-8000-000000000000";

/// Attacks the gateway.
pub(crate) fn run(service: &Service, random: &mut Random, row: &mut Row) -> Result<()> {
    let address = service.client.base().trim_start_matches("http://");
    let mut requests: Vec<(String, Vec<u8>)> = bodies();
    requests.extend(queries());
    requests.extend(raw(address));
    let whole = requests.len();
    for _ in 0..MUTATED {
        let (name, mut bytes) = requests[random.below(whole)].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        requests.push((format!("{name}, changed"), bytes));
    }
    for (name, bytes) in requests {
        let bytes = replaced(&bytes, b"HOST", address.as_bytes());
        row.tries += 1;
        if let Some(why) = refused(address, &bytes)? {
            row.got_through.push(format!("{name}: {why}"));
        }
    }
    let (status, reply) = service.client.get("/healthz")?;
    ensure!(status == 200, "{status}: {reply}");
    Ok(())
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|window| window == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}

/// Why the answer to these bytes is wrong.
fn refused(address: &str, bytes: &[u8]) -> Result<Option<String>> {
    let mut connection = TcpStream::connect(address).context("the gateway is gone")?;
    connection.set_read_timeout(Some(ANSWERED_WITHIN))?;
    // It may be refused before all of it is read.
    let _ = connection.write_all(bytes);
    let _ = connection.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = connection.read_to_end(&mut answer)
        && error.kind() == ErrorKind::WouldBlock
    {
        return Ok(Some(format!("no end after {ANSWERED_WITHIN:?}")));
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.split(' ').nth(1).and_then(|word| word.parse::<u16>().ok());
    Ok(status.filter(|status| *status >= 500).map(|_| text.chars().take(400).collect()))
}

fn post(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn bodies() -> Vec<(String, Vec<u8>)> {
    let nested = |open: &str, close: &str| open.repeat(50_000) + &close.repeat(50_000);
    let huge = "9".repeat(100_000);
    let bodies = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{".to_owned(),
        "{\"name\": \"\\ud800\", \"payload\": \"\"}".to_owned(),
        nested("[", "]"),
        nested("{\"a\":", "}"),
        format!("{{\"name\": {huge}}}"),
        "{\"name\": 1e999999, \"payload\": []}".to_owned(),
        "{\"name\": \"f\", \"payload\": \"!!!!\"}".to_owned(),
        "{\"name\": \"f\", \"payload\": \"gASV////////////Lg==\"}".to_owned(),
        "{\"name\": \"f\", \"payload\": \"gARyAAAAAPD///8u\"}".to_owned(),
        "{\"name\": \"f\", \"payload\": \"gAR9Lg==\", \"grants\": {\"read\": [null]}}".to_owned(),
        "{\"name\": \"f\", \"payload\": \"gAR9Lg==\", \"timeout_s\": -1}".to_owned(),
        "{\"name\": \"f\", \"payload\": \"gAR9Lg==\", \"memory_mb\": 1e300}".to_owned(),
        format!("{{\"function_id\": \"{ID}\", \"payload\": \"gAR9Lg==\"}}"),
        format!("{{\"function_id\": \"{ID}\", \"payloads\": [{}1]}}", "\"\",".repeat(20_000)),
        "{\"function_id\": \"../../etc\", \"payload\": \"\"}".to_owned(),
        "{\"task_ids\": [], \"wait\": null}".to_owned(),
        format!("{{\"task_ids\": [\"\", \"{ID}\"], \"wait\": -1}}"),
        "{\"task_ids\": 7, \"wait\": \"nan\"}".to_owned(),
    ];
    let paths = ["/register_function", "/execute_function", "/v1/tasks", "/v1/results"];
    let all = paths.iter().flat_map(|path| {
        bodies.iter().map(move |body| {
            let name = format!("POST {path} {}", body.chars().take(60).collect::<String>());
            (name, post(path, body.as_bytes()))
        })
    });
    all.collect()
}

fn queries() -> Vec<(String, Vec<u8>)> {
    let values =
        ["nan", "0x10", "-inf", "zzz", "", "-1", "1e400", "%00", "%ff%fe", "99999999999999999999"];
    let long = "9".repeat(5000);
    let mut paths = vec![
        "/result/".to_owned(),
        "/status/..%2f..%2fetc".to_owned(),
        "/v1/tasks/%00".to_owned(),
        format!("/result/{}", "a".repeat(60_000)),
        "/docs/../../../etc/passwd".to_owned(),
        "//etc/passwd".to_owned(),
        "/v1/events?status=%ff".to_owned(),
    ];
    for value in values.into_iter().chain([&*long]) {
        for list in ["tasks", "functions", "workers"] {
            paths.push(format!("/v1/{list}?cursor={value}"));
            paths.push(format!("/v1/{list}?limit={value}"));
        }
        paths.push(format!("/result/{ID}?wait={value}"));
    }
    let get = |path: String| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n");
        (format!("GET {}", path.chars().take(60).collect::<String>()), request.into_bytes())
    };
    // A stream of events has no end.
    paths.into_iter().filter(|path| !path.starts_with("/v1/events")).map(get).collect()
}

/// What is no request.
fn raw(address: &str) -> Vec<(String, Vec<u8>)> {
    let head = "POST /register_function HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n";
    let requests = [
        format!("{head}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde"),
        format!("{head}Content-Length: -1\r\n\r\n"),
        format!("{head}Content-Length: 99999999999999999999\r\n\r\nx"),
        format!("{head}Content-Length: 4294967296\r\n\r\nx"),
        format!("{head}Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\nGET"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx"),
        format!("{head}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n"),
        format!("{head}Transfer-Encoding: gzip\r\n\r\nx"),
        format!("{head}Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"),
        format!("{head}{}\r\n", "X-A: b\r\n".repeat(5000)),
        format!("{head}X-A: {}\r\n\r\n", "b".repeat(1 << 20)),
        "GET / HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n".to_owned(),
        format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nOrigin: http://elsewhere.example\r\nConnection: close\r\n\r\n"
        ),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "\r\n\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\u{0}\u{0}\u{0}".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned(),
    ];
    let named = |request: String| {
        let name: String = request.chars().filter(|c| !c.is_control()).skip(60).take(60).collect();
        (format!("raw {name}"), request.into_bytes())
    };
    requests.into_iter().map(named).collect()
}
