//! Redis behind sentinels: when its primary dies, a replica takes over and is found.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use belljar_core::task::TaskStatus;
use belljar_store::{Store, StoreConfig, StoreError, StoreEvent, Topic};
use belljar_testkit::redis::free_port;
use belljar_testkit::{Redis, Sentinels};
use tokio::time::{sleep, timeout};

use crate::faults::{dispatch, submit_until_stopped};
use crate::harness::{DEADLINE, audit, eventually, next_event, task, tasks};

/// For what has no answer.
const QUICK: Duration = Duration::from_secs(2);

/// Two servers, of which one is the primary, and three sentinels.
struct Servers {
    servers: [Redis; 2],
    ports: [u16; 2],
    sentinels: Sentinels,
}

impl Servers {
    fn start() -> Self {
        let ports = [(); 2].map(|()| free_port().expect("a port"));
        let [one, other] = ports.map(|port| port.to_string());
        let primary = Redis::start_with(&options(&one)).expect("redis-server is installed");
        let replica = primary.replica(&options(&other)).expect("a replica");
        let sentinels = Sentinels::start(ports[0], ports[1]).expect("sentinels");
        Self { servers: [primary, replica], ports, sentinels }
    }

    fn config(&self) -> StoreConfig {
        StoreConfig::new(self.sentinels.url())
    }

    /// Makes a server a replica of the other one, as sentinels do after some seconds.
    fn demote(&self, server: usize) {
        let primary = self.ports[1 - server];
        let told = self.servers[server].tell(&format!("REPLICAOF 127.0.0.1 {primary}"));
        assert!(told.expect("answered").starts_with("+OK"), "server {server}");
        self.servers[server].wait_until_synced().expect("it has the data");
    }
}

fn options(port: &str) -> [&str; 6] {
    ["--appendonly", "yes", "--repl-diskless-sync-delay", "0", "--port", port]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_takes_over_under_load_and_nothing_accepted_is_lost() {
    let mut servers = Servers::start();
    let config = StoreConfig { replicas: 1, ..servers.config() };
    let store = Store::connect(config).await.expect("the primary is found");
    let plain = Store::connect(servers.config()).await.expect("the primary is found");
    let unknown = StoreConfig {
        url: servers.config().url.replace("/main", "/other"),
        timeout: QUICK,
        ..servers.config()
    };
    let unknown = Store::connect(unknown).await.err().expect("they know no such primary");
    let cause = std::error::Error::source(&unknown).expect("a cause").to_string();
    assert!(cause.contains("know no primary of the name `other`"), "{cause}");
    let mut events = plain.subscribe(&[Topic::Ended]).await.expect("subscribed");
    assert_eq!(next_event(&mut events).await, StoreEvent::Connected);
    drop(events);
    let [stop_clients, stop_dispatchers] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let dispatchers: Vec<_> = (0..2)
        .map(|_| tokio::spawn(dispatch(plain.clone(), Arc::clone(&stop_dispatchers))))
        .collect();
    let clients: Vec<_> = (0..3)
        .map(|_| tokio::spawn(submit_until_stopped(store.clone(), Arc::clone(&stop_clients))))
        .collect();
    for primary in [0, 1] {
        sleep(Duration::from_millis(60)).await;
        servers.servers[primary].kill();
        let accepted = async || plain.submit(vec![task()]).await.ok();
        eventually("another primary", accepted).await;
        // It still believes that it is the primary.
        servers.servers[primary].restart().expect("it starts again");
        let late = Store::connect(servers.config()).await.expect("the new primary is found");
        late.submit(tasks(1)).await.expect("it takes writes");
        servers.demote(primary);
    }
    stop_clients.store(true, Ordering::SeqCst);
    let mut accepted = Vec::new();
    for client in clients {
        accepted.extend(client.await.expect("it ran"));
    }
    assert!(accepted.len() > 50, "there was load");
    let all = async {
        while audit(&plain).await.counts.completed < accepted.len() as u64 + 4 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, all).await.expect("every task ended");
    stop_dispatchers.store(true, Ordering::SeqCst);
    for dispatcher in dispatchers {
        dispatcher.await.expect("it ran");
    }
    for (id, result) in accepted.iter().zip(plain.results(&accepted).await.expect("read")) {
        let result = result.expect("known");
        assert_eq!((result.status, &*result.result), (TaskStatus::Completed, &id.as_bytes()[..]));
    }
}

#[tokio::test]
async fn what_is_wrong_with_sentinels_is_said() {
    let connect = async |url: &str| {
        let config = StoreConfig { timeout: QUICK, ..StoreConfig::new(url.to_owned()) };
        Store::connect(config).await.err().expect("refused")
    };
    let nobody = connect("redis+sentinel://u:secret@127.0.0.1:1/main").await;
    assert!(matches!(nobody, StoreError::Connect { why: "does not answer", .. }), "{nobody:?}");
    assert!(!nobody.to_string().contains("secret"), "{nobody}");
    let wrong = connect("redis+sentinel://127.0.0.1:1").await;
    assert!(matches!(wrong, StoreError::Url { .. }), "{wrong:?}");
}
