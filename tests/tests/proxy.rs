//! A gateway behind a real nginx, with the configuration that the guide shows.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use belljar_testkit::{Program, Redis, eventually, root};
use belljar_tests::{Client, belljar};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::{Value, json};

const GUIDE: &str = include_str!("../../docs/how-to/proxy.md");
const PATIENCE: Duration = Duration::from_secs(30);
/// `builtins.len`, and the arguments `("four",)`.
const LEN: &str = "gASVFAAAAAAAAACMCGJ1aWx0aW5zlIwDbGVulJOULg==\n";
const FOUR: &str = "gASVDgAAAAAAAACMBGZvdXKUhZR9lIaULg==\n";

/// nginx, where it is installed or was unpacked by `make tools`.
fn nginx() -> Option<PathBuf> {
    let unpacked = root().join(".belljar/nginx/usr/sbin/nginx");
    [PathBuf::from("/usr/sbin/nginx"), unpacked].into_iter().find(|file| file.exists())
}

/// The `server` of the guide's configuration for nginx, in front of `gateway`, without TLS, at a free port.
fn server(gateway: SocketAddr) -> Result<(String, SocketAddr)> {
    let block = GUIDE.split("```nginx\n").nth(1).context("the guide has no configuration")?;
    let block = block.split("```").next().unwrap_or_default();
    // Free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let kept = block.lines().filter(|line| !line.contains("ssl_certificate"));
    let text = kept.collect::<Vec<_>>().join("\n");
    ensure!(text.contains("listen 443 ssl;") && text.contains("127.0.0.1:8000"), "{text}");
    let text = text.replace("listen 443 ssl;", &format!("listen {free};"));
    Ok((text.replace("127.0.0.1:8000", &gateway.to_string()), free))
}

/// Starts nginx with one server in a directory.
fn start(nginx: &Path, dir: &Path, server: &str) -> Result<Program> {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = temporary.map(|name| format!("{name}_temp_path {};", dir.join(name).display()));
    let file = dir.join("nginx.conf");
    let text = format!(
        "daemon off;\nmaster_process off;\npid {0}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{1}\n{server}\n}}\n",
        dir.display(),
        temporary.join("\n"),
    );
    std::fs::write(&file, text)?;
    let argv = [nginx.as_os_str(), "-c".as_ref(), file.as_os_str()].map(Into::into);
    Program::start(argv.to_vec(), Vec::new(), Some(dir.join("nginx.log")))
}

/// A connection to `to` from an address of loopback.
fn connection(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddrV4::new(from, 0))?;
    connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends the head of a GET.
fn ask(from: Ipv4Addr, to: SocketAddr, path: &str, more: &str) -> Result<TcpStream> {
    let mut stream = connection(from, to)?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: faas.example.com\r\n{more}\r\n");
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// The status line and the rest of an answer after which the connection is closed.
fn answer(from: Ipv4Addr, to: SocketAddr, path: &str, more: &str) -> Result<String> {
    let mut text = String::new();
    ask(from, to, path, &format!("{more}Connection: close\r\n"))?.read_to_string(&mut text)?;
    Ok(text)
}

/// A gateway behind nginx.
struct Proxied {
    dir: tempfile::TempDir,
    gateway: Program,
    nginx: Program,
    /// Where nginx listens.
    at: SocketAddr,
    key: String,
    _redis: Redis,
}

impl Proxied {
    fn start(nginx: &Path, change: impl Fn(String) -> String) -> Result<Self> {
        let (dir, redis) = (tempfile::tempdir()?, Redis::start()?);
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let (tenants, audit, url) = (path("tenants.toml"), path("audit.log"), redis.url());
        std::fs::write(&tenants, "connections_per_address = 2\n")?;
        let args = ["gateway", "--listen", "127.0.0.1:0", "--redis", &url, "--keys", "required"];
        let proxy =
            ["--trusted-proxy", "127.0.0.1", "--public-url", "https://faas.example.com/functions"];
        let files = ["--tenants", &tenants, "--audit-log", &audit];
        let args = [&args[..], &proxy, &files].concat();
        let gateway = Program::belljar(&args, Vec::new(), Some(dir.path().join("gateway.log")))?;
        let address = gateway.line_after("belljar gateway listens at http://")?.parse()?;
        let (server, at) = server(address)?;
        let nginx = start(nginx, dir.path(), &change(server))?;
        let is_up = eventually(PATIENCE, || TcpStream::connect(at).is_ok());
        ensure!(is_up, "{}", nginx.evidence());
        let (done, key) = belljar(&["key", "create", "ann", "--redis", &url])?;
        ensure!(done, "{key}");
        Ok(Self { dir, gateway, nginx, at, key: key.trim().to_owned(), _redis: redis })
    }

    fn client(&self, path: &str) -> Client {
        Client::new(&format!("http://{}{path}", self.at)).with_key(&self.key)
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.key)
    }

    fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn evidence(&self) -> String {
        format!("{}\n{}", self.nginx.evidence(), self.gateway.evidence())
    }
}

/// Whatever is checked for each way in which a proxy shows the gateway: under a path, and which `Host` it sends.
fn calls_pass(proxied: &Proxied, path: &str) -> Result<()> {
    let client = proxied.client(path);
    let function = client.register(LEN, json!({})).with_context(|| proxied.evidence())?;
    let task = client.submit(&function, FOUR, json!({}))?;
    let (status, record) = client.get(&format!("/v1/tasks/{task}?x=1"))?;
    ensure!(status == 200 && record["status"] == "QUEUED", "{record}");
    let (status, reply) = client.get(&format!("/result/{task}?wait=0.2"))?;
    ensure!(status == 200 && reply["result"] == "", "a long poll: {reply}");
    let large = json!({"function_id": function, "payloads": vec![FOUR; 10_000]});
    let (status, reply) = client.post("/v1/tasks", &large)?;
    ensure!(status == 200, "{reply}");
    Ok(())
}

#[test]
fn nginx_as_the_guide_has_it_passes_everything() -> Result<()> {
    let Some(nginx) = nginx() else {
        eprintln!("skipped: there is no nginx; `make tools` fetches it");
        return Ok(());
    };
    let proxied = Proxied::start(&nginx, |server| server)?;
    calls_pass(&proxied, "")?;
    calls_pass(&proxied, "/functions")?;
    let (status, description) = proxied.client("/functions").get("/openapi.json")?;
    let url = &description["servers"][0]["url"];
    ensure!(status == 200 && url == "https://faas.example.com/functions", "{url}");

    let client = Ipv4Addr::new(127, 0, 0, 9);
    let stream = ask(client, proxied.at, "/v1/events", &proxied.bearer())?;
    let mut lines = BufReader::new(stream).lines();
    let begun = lines.by_ref().take(40).any(|line| line.is_ok_and(|it| it.contains(": connected")));
    ensure!(begun, "an event stream is not held back: {}", proxied.evidence());
    Ok(())
}

#[test]
fn a_plain_proxy_pass_and_one_that_removes_the_path_pass_calls() -> Result<()> {
    let Some(nginx) = nginx() else {
        eprintln!("skipped: there is no nginx; `make tools` fetches it");
        return Ok(());
    };
    let plain = Proxied::start(&nginx, |server| {
        let is_plain = |line: &&str| !line.contains("proxy_set_header");
        server.lines().filter(is_plain).collect::<Vec<_>>().join("\n")
    })?;
    calls_pass(&plain, "")?;
    let removed = Proxied::start(&nginx, |server| {
        let upstream = server.split("http://").nth(1).and_then(|rest| rest.split(';').next());
        let upstream = upstream.unwrap_or_default();
        server
            .replace("location / {", "location /functions/ {")
            .replace(&format!("http://{upstream};"), &format!("http://{upstream}/;"))
    })?;
    calls_pass(&removed, "/functions")
}

#[test]
fn limits_and_records_are_about_the_client_not_the_proxy() -> Result<()> {
    let Some(nginx) = nginx() else {
        eprintln!("skipped: there is no nginx; `make tools` fetches it");
        return Ok(());
    };
    let proxied = Proxied::start(&nginx, |server| server)?;
    let (at, bearer) = (proxied.at, proxied.bearer());
    let [ours, other] = [Ipv4Addr::new(127, 0, 0, 9), Ipv4Addr::new(127, 0, 0, 10)];
    // What a client says of itself does not count.
    let forged = "X-Forwarded-For: 203.0.113.5\r\nForwarded: for=203.0.113.6\r\n";
    let refused = answer(ours, at, "/v1/tasks", forged)?;
    ensure!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    let told = || {
        proxied.records().iter().any(|it| it["action"] == "request" && it["address"] == "127.0.0.9")
    };
    ensure!(eventually(PATIENCE, told), "{:?}", proxied.records());

    let open = [(); 2].map(|()| ask(ours, at, "/v1/events", &bearer));
    for stream in open.iter().flatten() {
        let mut lines = BufReader::new(stream).lines();
        ensure!(lines.any(|line| line.is_ok_and(|line| line.contains(": connected"))), "no stream");
    }
    let third = answer(ours, at, "/v1/tasks", &bearer)?;
    let is_refused =
        third.starts_with("HTTP/1.1 429") && third.contains("\"connections_per_address\"");
    ensure!(is_refused && third.to_lowercase().contains("retry-after: 1"), "{third}");
    let theirs = answer(other, at, "/v1/tasks", &bearer)?;
    ensure!(theirs.starts_with("HTTP/1.1 200"), "{theirs}");
    drop(open);
    let is_free =
        || answer(ours, at, "/v1/tasks", &bearer).is_ok_and(|it| it.starts_with("HTTP/1.1 200"));
    ensure!(
        eventually(PATIENCE, is_free),
        "what was closed counts no longer: {}",
        proxied.evidence()
    );
    Ok(())
}
