//! A bad network between dispatcher and worker: connections are reset or freeze.

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

/// What happens to all present connections. Later ones work.
#[derive(Debug, Clone, Copy)]
enum NetworkFault {
    /// They are reset, and bytes in transit are lost.
    Reset,
    /// They stay open, and no byte passes.
    Freeze,
}

/// A network path to a dispatcher.
struct Network {
    address: SocketAddr,
    fault: watch::Sender<NetworkFault>,
}

impl Network {
    async fn to(dispatcher: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let (fault, _) = watch::channel(NetworkFault::Reset);
        let faults = fault.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, dispatcher, faults.subscribe()));
            }
        });
        Self { address, fault }
    }

    fn inject(&self, fault: NetworkFault) {
        self.fault.send_replace(fault);
    }
}

async fn carry(mut near: TcpStream, to: SocketAddr, mut faults: watch::Receiver<NetworkFault>) {
    let Ok(mut far) = TcpStream::connect(to).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        _ = faults.changed() => {}
    }
    let fault = *faults.borrow();
    match fault {
        NetworkFault::Reset => {
            let _ = near.set_zero_linger();
            let _ = far.set_zero_linger();
        }
        NetworkFault::Freeze => std::future::pending().await,
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
        // Not forever: on a loaded machine no connection might get far enough.
        for _ in 0..CUTS {
            pause.tick().await;
            network.inject(NetworkFault::Reset);
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
async fn push_loses_nothing_over_reset_connections() {
    is_cut_again_and_again(DeliveryMode::Push).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pull_loses_nothing_over_reset_connections() {
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
    network.inject(NetworkFault::Reset);
    std::fs::write(redis.file("go"), "").expect("written");
    client.values(&ids).await;
    let record = client.store.task(ids[0]).await.expect("read").expect("known");
    assert_eq!((record.attempts, record.deaths), (1, 0));
    worker.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_call_survives_a_reset_in_both_modes() {
    a_call_outlives_a_cut(DeliveryMode::Push).await;
    a_call_outlives_a_cut(DeliveryMode::Pull).await;
}

/// Neither side is told that the connection is frozen: both notice the silence.
async fn a_worker_leaves_a_frozen_connection(mode: DeliveryMode) {
    let redis = Redis::start();
    let dispatcher = quick(&redis, mode).await;
    let network = Network::to(dispatcher.address).await;
    let worker = Worker::start(mode, 1, network.address);
    let mut client = Client::new(&redis).await;
    let ids = client.submit(DOUBLE, &doubles(10)).await;
    client.values(&ids).await;
    network.inject(NetworkFault::Freeze);
    let ids = client.submit(DOUBLE, &doubles(10)).await;
    client.values(&ids).await;
    worker.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_connections_are_replaced_in_both_modes() {
    a_worker_leaves_a_frozen_connection(DeliveryMode::Push).await;
    a_worker_leaves_a_frozen_connection(DeliveryMode::Pull).await;
}
