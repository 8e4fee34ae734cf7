//! A bad network between dispatcher and worker: connections that are reset, or carry nothing more.

use std::net::SocketAddr;
use std::time::Duration;

use belljar_core::message::DeliveryMode;
use belljar_dispatcher::RemoteConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::interval;

use crate::harness::{Client, Dispatcher, Redis, Worker, lines};
use crate::{DOUBLE, HOLD, doubles, hold_args, support};

const HEARTBEAT: Duration = Duration::from_millis(400);
const CUTS: usize = 50;

/// What befalls all connections that there are. Later ones are good.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// They are reset, and what is on the way is lost.
    Cut,
    /// They stand, and nothing passes.
    Freeze,
}

/// A way to a dispatcher.
struct Network {
    address: SocketAddr,
    fate: watch::Sender<Fate>,
}

impl Network {
    async fn to(dispatcher: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let (fate, _) = watch::channel(Fate::Cut);
        let fates = fate.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, dispatcher, fates.subscribe()));
            }
        });
        Self { address, fate }
    }

    fn strike(&self, fate: Fate) {
        self.fate.send_replace(fate);
    }
}

async fn carry(mut near: TcpStream, to: SocketAddr, mut fates: watch::Receiver<Fate>) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        _ = fates.changed() => {}
    }
    let fate = *fates.borrow();
    match fate {
        Fate::Cut => {
            let _ = near.set_zero_linger();
            let _ = far.set_zero_linger();
        }
        Fate::Freeze => std::future::pending().await,
    }
}

async fn quick(redis: &Redis, mode: DeliveryMode) -> Dispatcher {
    let config =
        |listen| RemoteConfig { heartbeat: HEARTBEAT, ..RemoteConfig::new(listen, mode, None) };
    Dispatcher::start_with(redis, 0, config).await
}

async fn is_cut_again_and_again(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = quick(&redis, mode).await;
    let network = Network::to(dispatcher.address).await;
    let worker = Worker::start(mode, 2, network.address);
    let mut client = Client::new(&redis).await;
    let first = client.submit(DOUBLE, &doubles(1)).await;
    client.values(&first).await;
    let ids = client.submit(DOUBLE, &doubles(2000)).await;
    let cutting = async {
        let mut pause = interval(Duration::from_millis(100));
        // Not for ever: on a loaded machine no connection might come to anything.
        for _ in 0..CUTS {
            pause.tick().await;
            network.strike(Fate::Cut);
        }
        std::future::pending().await
    };
    let values = tokio::select! {
        values = client.values(&ids) => values,
        () = cutting => unreachable!("it never ends"),
    };
    for (n, value) in values.iter().enumerate().step_by(50) {
        assert_eq!(support::read(value), (2 * n).to_string());
    }
    worker.leave().await;
    dispatcher.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_push_over_connections_that_are_cut() {
    is_cut_again_and_again(DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_by_pull_over_connections_that_are_cut() {
    is_cut_again_and_again(DeliveryMode::Pull).await;
}

/// The running call goes on over the cut, and its result is taken: it runs once.
async fn a_call_outlives_a_cut(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = Dispatcher::start(&redis, mode).await;
    let network = Network::to(dispatcher.address).await;
    let worker = Worker::start(mode, 1, network.address);
    let mut client = Client::new(&redis).await;
    let ids = client.submit(HOLD, &[hold_args(&redis)]).await;
    lines(&redis.file("log"), 1).await;
    network.strike(Fate::Cut);
    std::fs::write(redis.file("go"), "").expect("written");
    client.values(&ids).await;
    let record = client.store.task(ids[0]).await.expect("read").expect("known");
    assert_eq!((record.attempts, record.deaths), (1, 0));
    worker.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_call_outlives_a_cut_in_both_modes() {
    a_call_outlives_a_cut(DeliveryMode::Push).await;
    a_call_outlives_a_cut(DeliveryMode::Pull).await;
}

/// Neither side is told that the connection is of no use: both find out by the silence.
async fn a_worker_leaves_a_frozen_connection(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = quick(&redis, mode).await;
    let network = Network::to(dispatcher.address).await;
    let worker = Worker::start(mode, 1, network.address);
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(10)).await;
    client.values(&ids).await;
    network.strike(Fate::Freeze);
    let ids = client.submit(DOUBLE, &doubles(10)).await;
    client.values(&ids).await;
    worker.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_connections_are_left_in_both_modes() {
    a_worker_leaves_a_frozen_connection(DeliveryMode::Push).await;
    a_worker_leaves_a_frozen_connection(DeliveryMode::Pull).await;
}
