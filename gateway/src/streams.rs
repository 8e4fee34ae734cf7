//! The requests of one HTTP/2 connection. They run in the task of their connection, a few at a time: were each a task
//! of its own, a client that sends hundreds at once would let all other connections wait for all of them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper::rt::Executor;
use tokio::sync::mpsc;

/// How many requests of a connection go on before it is the turn of other connections.
const AT_ONCE: u32 = 2;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes the requests that the HTTP machinery begins.
#[derive(Clone)]
pub(crate) struct StreamExecutor(mpsc::UnboundedSender<Stream>);

/// The requests of a connection. As a future it never ends.
pub(crate) struct Streams {
    begun: mpsc::UnboundedReceiver<Stream>,
    running: FuturesUnordered<Rationed>,
    ration: Arc<AtomicU32>,
}

impl Streams {
    /// Those of a connection that was just taken.
    pub(crate) fn new() -> (StreamExecutor, Self) {
        // Hyper bounds how many there are.
        let (sender, begun) = mpsc::unbounded_channel();
        let (running, ration) = (FuturesUnordered::new(), Arc::default());
        (StreamExecutor(sender), Self { begun, running, ration })
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        // Without a receiver the connection has ended.
        let _ = self.0.send(Box::pin(stream));
    }
}

impl Future for Streams {
    type Output = std::convert::Infallible;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Poll::Ready(Some(stream)) = this.begun.poll_recv(cx) {
            this.running.push(Rationed { stream, ration: Arc::clone(&this.ration) });
        }
        this.ration.store(AT_ONCE, Ordering::Relaxed);
        while let Poll::Ready(Some(())) = this.running.poll_next_unpin(cx) {}
        Poll::Pending
    }
}

/// A request that waits for the next turn of its connection where this one is used up.
struct Rationed {
    stream: Stream,
    ration: Arc<AtomicU32>,
}

impl Future for Rationed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.ration.load(Ordering::Relaxed);
        let Some(left) = left.checked_sub(1) else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        self.ration.store(left, Ordering::Relaxed);
        self.stream.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[tokio::test]
    async fn many_requests_of_one_connection_take_turns_with_others() {
        const MANY: usize = 100;
        let (executor, mut streams) = Streams::new();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..MANY {
            let done = Arc::clone(&done);
            executor.execute(async move {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut turns = 0;
        std::future::poll_fn(|cx| {
            let before = done.load(Ordering::Relaxed);
            assert!(Pin::new(&mut streams).poll(cx).is_pending());
            let after = done.load(Ordering::Relaxed);
            assert!(after - before <= AT_ONCE as usize, "{before} {after}");
            turns += 1;
            if after == MANY { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert_eq!(turns, MANY / AT_ONCE as usize, "nothing waits without being woken");
    }
}
