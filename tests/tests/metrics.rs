//! What the parts of a service show of themselves: their metrics, as documented; whether they are ready; their logs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_testkit::process::eventually;
use belljar_testkit::{Program, Python, Redis, root};
use belljar_tests::{Client, Service};
use serde_json::{Value, json};

const REFERENCE: &str = include_str!("../../docs/reference/metrics.md");
const METRICS_AT: &str = "belljar metrics are at ";
/// How long a scraper may take to see every part.
const SCRAPED: Duration = Duration::from_secs(30);

fn page(url: &str) -> Result<String> {
    Ok(ureq::get(url).call().with_context(|| url.to_owned())?.body_mut().read_to_string()?)
}

/// The names of the metrics in a page, as they are documented.
fn names(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let name = |(name, kind): (&str, &str)| match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    };
    types.map(name).collect()
}

/// The names that the reference has of a part.
fn documented(part: &str) -> BTreeSet<String> {
    let prefix = format!("belljar_{part}_");
    let words = REFERENCE.split('`').skip(1).step_by(2);
    words.filter(|word| word.starts_with(&prefix)).map(str::to_owned).collect()
}

/// The pages of metrics that `up` tells of.
fn told(service: &Service) -> Vec<String> {
    let welcome = service.welcome();
    welcome.lines().filter_map(|line| line.strip_prefix("Metrics: ")).map(str::to_owned).collect()
}

/// Lets calls return, raise, and kill their child.
fn work(service: &Service) -> Result<()> {
    let source = "import os\ndef f(x):\n  if x < 0: os.kill(os.getpid(), 9)\n  return 1 / x";
    let function = service.client.register(&service.python.dumps(source, "f")?, json!({}))?;
    for (argument, ended) in [("1", "COMPLETED"), ("0", "FAILED"), ("-1", "FAILED")] {
        let args = service.python.dumps("", &format!("(({argument},), {{}})"))?;
        let task = service.client.submit(&function, &args, json!({}))?;
        let (status, _) = service.client.wait(&task, 60)?;
        ensure!(status == ended, "f({argument}): {status}");
    }
    Ok(())
}

#[test]
fn every_part_shows_the_metrics_that_are_documented() -> Result<()> {
    let service = Service::start(&["-m", "push", "-w", "1", "--metrics-listen", "127.0.0.1:0"])?;
    let pages = told(&service);
    let [dispatcher, worker] = pages.as_slice() else { panic!("{pages:?}") };
    work(&service)?;
    let base = service.client.base();
    let (gateway, of_service) = (format!("{base}/metrics"), format!("{base}/metrics/service"));
    for (part, url) in [
        ("gateway", &gateway),
        ("service", &of_service),
        ("dispatcher", dispatcher),
        ("worker", worker),
    ] {
        let (shown, documented) = (names(&page(url)?), documented(part));
        ensure!(shown == documented, "{part}: shown {shown:#?}, documented {documented:#?}");
    }
    for (url, line) in [
        (worker, r#"belljar_worker_calls_total{class="native:3.11",status="COMPLETED"} 1"#),
        (worker, r#"belljar_worker_failures_total{class="native:3.11",kind="executor_died"} 3"#),
        (worker, r#"belljar_worker_failures_total{class="native:3.11",kind="exception"} 1"#),
        (worker, "belljar_worker_slots 1"),
        (worker, "belljar_worker_connected 1"),
        (dispatcher, r#"belljar_dispatcher_attempts_total{class="native:3.11"} 5"#),
        (dispatcher, r#"belljar_dispatcher_requeues_total{reason="died"} 2"#),
        (dispatcher, r#"belljar_dispatcher_outcomes_total{status="FAILED"} 2"#),
        (dispatcher, r#"belljar_dispatcher_failures_total{kind="executor_died"} 1"#),
        (
            dispatcher,
            r#"belljar_dispatcher_queue_duration_seconds_bucket{le="5.0",class="native:3.11"} 3"#,
        ),
        (dispatcher, "belljar_dispatcher_workers 1"),
        (&of_service, r#"belljar_service_tasks_ended_total{status="FAILED"} 2"#),
        (&of_service, r#"belljar_service_queue_oldest_seconds{class="native:3.11"} 0"#),
    ] {
        // Figures of the workers are a second old.
        let is_shown = || page(url).is_ok_and(|text| text.contains(line));
        ensure!(eventually(SCRAPED, is_shown), "{line} in {}", page(url)?);
    }
    Ok(())
}

#[test]
fn a_dispatcher_that_runs_slots_shows_those_of_a_worker() -> Result<()> {
    let service = Service::start(&["-w", "1", "--metrics-listen", "127.0.0.1:0"])?;
    let pages = told(&service);
    let [dispatcher] = pages.as_slice() else { panic!("{pages:?}") };
    work(&service)?;
    let shown = names(&page(dispatcher)?);
    let of_processes = ["connected", "messages_received_total", "messages_sent_total"];
    let mut expected = documented("worker");
    for name in of_processes {
        ensure!(expected.remove(&format!("belljar_worker_{name}")), "{name}");
    }
    expected.extend(documented("dispatcher"));
    ensure!(shown == expected, "shown {shown:#?}, documented {expected:#?}");
    Ok(())
}

/// The codes of what keeps a part from its work.
fn problems(client: &Client) -> Result<Vec<String>> {
    let (status, reply) = client.get("/readyz")?;
    let codes = reply["problems"].as_array().into_iter().flatten();
    let codes: Vec<_> = codes.filter_map(|it| it["code"].as_str()).map(str::to_owned).collect();
    ensure!((status == 200) == codes.is_empty(), "{status}: {reply}");
    Ok(codes)
}

fn becomes(client: &Client, expected: &[&str]) -> Result<()> {
    let is_so = || problems(client).is_ok_and(|found| found == expected);
    ensure!(eventually(SCRAPED, is_so), "{:?}, not {expected:?}", problems(client));
    Ok(())
}

#[test]
fn dispatcher_and_worker_say_why_they_are_not_ready() -> Result<()> {
    let mut redis = Redis::start_with(Redis::DURABLE)?;
    let (url, listen) = (redis.url(), "--metrics-listen=127.0.0.1:0");
    let args = ["dispatcher", "-m", "pull", "-p", "0", "--redis", &url, listen];
    let mut dispatcher = Program::belljar(&args, Vec::new(), Some(redis.dir().join("d.log")))?;
    let of_dispatcher = Client::new(&dispatcher.line_after(METRICS_AT)?);
    let endpoint = dispatcher.line_after("belljar dispatcher takes workers at ")?;
    becomes(&of_dispatcher, &["no_worker"])?;
    ensure!(of_dispatcher.get("/healthz")?.0 == 200);
    let args = ["worker", "pull", "1", &endpoint, "--runtime", "native", listen];
    let worker = Program::belljar(&args, Vec::new(), Some(redis.dir().join("w.log")))?;
    let of_worker = Client::new(&worker.line_after(METRICS_AT)?);
    becomes(&of_worker, &[])?;
    becomes(&of_dispatcher, &[])?;
    redis.kill();
    becomes(&of_dispatcher, &["store_unreachable"])?;
    dispatcher.kill();
    becomes(&of_worker, &["no_dispatcher"])?;
    Ok(())
}

/// A part whose log is written to a file, with lines in it.
fn logging(redis: &Redis, args: &[&str]) -> Result<Program> {
    let (url, log) = (redis.url(), redis.dir().join(format!("{}.log", args.join("-"))));
    let program = Program::belljar(&[args, &["--redis", &url]].concat(), Vec::new(), Some(log))?;
    ensure!(eventually(SCRAPED, || program.log().lines().count() > 0), "{args:?} logs nothing");
    Ok(program)
}

#[test]
fn logs_in_files_are_plain_text_that_names_the_part() -> Result<()> {
    let redis = Redis::start_with(Redis::DURABLE)?;
    let text = logging(&redis, &["dispatcher", "--runtime", "native"])?.log();
    ensure!(!text.contains('\u{1b}'), "{text}");
    ensure!(text.lines().all(|line| line.starts_with("dispatcher ")), "{text}");
    Ok(())
}

#[test]
fn a_log_of_json_says_which_request_submitted_which_task() -> Result<()> {
    let redis = Redis::start_with(Redis::DURABLE)?;
    let options = ["--listen", "127.0.0.1:0", "--log-format", "json", "--log", "debug"];
    let gateway = logging(&redis, &[&["gateway"][..], &options].concat())?;
    let client = Client::new(&gateway.line_after("belljar gateway listens at ")?);
    let python = Python::start()?;
    let function = client.register(&python.dumps("", "len")?, json!({}))?;
    let task = client.submit(&function, &python.dumps("", "(('x',), {})")?, json!({}))?;
    let accepted = || gateway.log().lines().any(|line| line.contains(&task));
    ensure!(eventually(SCRAPED, accepted), "{}", gateway.log());
    for line in gateway.log().lines() {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(line["part"] == "gateway" && line["message"].is_string(), "{line}");
        if line["message"] == "accepted" {
            let has_request = line["request_id"].as_str().is_some_and(|id| id.len() > 8);
            ensure!(has_request && line["task_id"] == *task, "{line}");
        }
    }
    Ok(())
}

/// A program of Debian's `prometheus`, where it is installed or was unpacked by `make tools`.
fn of_prometheus(name: &str) -> Option<PathBuf> {
    let unpacked = root().join(".belljar/prometheus/usr/bin").join(name);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.exists());
    found.or_else(|| Some(unpacked).filter(|file| file.exists()))
}

#[test]
fn the_alerts_fire_when_they_should() -> Result<()> {
    let Some(promtool) = of_prometheus("promtool") else {
        eprintln!("skipped: there is no promtool; `make tools` fetches it");
        return Ok(());
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    for words in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "alerts.yml"],
        &["test", "rules", "alerts.test.yml"],
    ] {
        let output = Command::new(&promtool).args(words).current_dir(&dir).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{words:?}: {text}");
    }
    Ok(())
}

#[test]
fn every_alert_has_a_test_in_which_it_fires_and_a_row_in_the_guide() -> Result<()> {
    let rules = include_str!("../../deploy/prometheus/alerts.yml");
    let tests = include_str!("../../deploy/prometheus/alerts.test.yml");
    let guide = include_str!("../../docs/how-to/monitor.md");
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.split_once("- alert: ")).collect();
    ensure!(alerts.len() == 7, "{alerts:?}");
    for (_, alert) in alerts {
        let fires = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        ensure!(tests.contains(&fires) && guide.contains(&format!("| `{alert}` |")), "{alert}");
    }
    // A metric that is not there would never fire, and show nothing.
    let board = include_str!("../../deploy/grafana/belljar.json");
    let known: BTreeSet<_> =
        ["gateway", "service", "dispatcher", "worker"].into_iter().flat_map(documented).collect();
    for text in [rules, board] {
        let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        for at in text.match_indices("belljar_").map(|(at, _)| at) {
            let rest = &text[at..];
            let name = &rest[..rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len())];
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|it| name.strip_suffix(it));
            let is_pattern = name == "belljar_";
            ensure!(is_pattern || known.contains(plain.unwrap_or(name)), "`{name}`");
        }
    }
    Ok(())
}

#[test]
fn a_real_prometheus_scrapes_every_part() -> Result<()> {
    let Some(prometheus) = of_prometheus("prometheus") else {
        eprintln!("skipped: there is no prometheus; `make tools` fetches it");
        return Ok(());
    };
    let service = Service::start(&["-m", "pull", "-w", "1", "--metrics-listen", "127.0.0.1:0"])?;
    let pages = told(&service);
    let address = |url: &str| {
        let rest = url.strip_prefix("http://").unwrap_or(url);
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let [dispatcher, worker] = pages.as_slice() else { panic!("{pages:?}") };
    let template = include_str!("../../deploy/prometheus/prometheus.yml");
    let config = template
        .replace("127.0.0.1:8000", &address(service.client.base()))
        .replace("127.0.0.1:9100", &address(dispatcher))
        .replace("127.0.0.1:9101", &address(worker))
        .replace(": 15s", ": 1s");
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("prometheus.yml"), config)?;
    let rules = include_str!("../../deploy/prometheus/alerts.yml");
    std::fs::write(dir.path().join("alerts.yml"), rules)?;
    // It tells its port to nobody, so that one is chosen for it.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let of = |name: &str, value: String| format!("--{name}={value}").into();
    let argv = vec![
        prometheus.into(),
        of("config.file", dir.path().join("prometheus.yml").display().to_string()),
        of("storage.tsdb.path", dir.path().join("data").display().to_string()),
        of("web.listen-address", format!("127.0.0.1:{port}")),
    ];
    let program = Program::start(argv, Vec::new(), Some(dir.path().join("log")))?;
    let client = Client::new(&format!("http://127.0.0.1:{port}"));
    let up = || {
        let (_, reply) = client.get("/api/v1/query?query=sum(up)").ok()?;
        Some(reply["data"]["result"][0]["value"][1] == "4")
    };
    ensure!(
        eventually(SCRAPED, || up() == Some(true)),
        "{up:?}; {}",
        program.evidence(),
        up = up()
    );
    let (_, types) = client.get("/api/v1/metadata?metric=belljar_worker_call_duration_seconds")?;
    let kind = &types["data"]["belljar_worker_call_duration_seconds"][0]["type"];
    ensure!(kind == "histogram", "{types}");
    Ok(())
}
