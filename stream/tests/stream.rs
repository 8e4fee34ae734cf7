//! The stream against a peer in a thread.
#![expect(clippy::expect_used, reason = "a test says with it what it counts on")]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream as Peer};

use belljar_stream::UnixStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// `EPOLLOUT`.
const ROOM: u32 = 4;

/// What the kernel is asked to tell of a socket, by what it says of this process' descriptors: once for each of these that is
/// watched.
fn watched(socket: u64) -> Vec<u32> {
    let listed = std::fs::read_dir("/proc/self/fdinfo").expect("the descriptors");
    let texts = listed.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
    // The runtime has two descriptors of what watches them.
    let mut found = BTreeSet::new();
    for text in texts {
        for line in text.lines() {
            let words: Vec<_> = line.split_ascii_whitespace().collect();
            if let ["tfd:", fd, "events:", events, "data:", _, .., inode, _] = words.as_slice()
                && inode.strip_prefix("ino:").and_then(|hex| u64::from_str_radix(hex, 16).ok())
                    == Some(socket)
            {
                found.insert(((*fd).to_owned(), u32::from_str_radix(events, 16).expect("a mask")));
            }
        }
    }
    found.into_iter().map(|(_, events)| events).collect()
}

fn pair() -> (UnixStream, Peer, u64) {
    let (ours, peer) = Peer::pair().expect("a pair");
    ours.set_nonblocking(true).expect("not blocking");
    let socket = std::fs::read_link(format!("/proc/self/fd/{}", ours.as_raw_fd())).expect("a link");
    let number = socket.to_string_lossy().replace(|c: char| !c.is_ascii_digit(), "");
    let ours = UnixStream::from_std(ours).expect("a stream");
    (ours, peer, number.parse().expect("the number of the socket"))
}

#[tokio::test]
async fn room_is_only_waited_for_where_there_was_none() {
    let (mut ours, mut peer, socket) = pair();
    ours.write_all(b"request").await.expect("written");
    let events = watched(socket);
    assert!(matches!(events[..], [events] if events & ROOM == 0), "{events:x?}");

    let mut request = [0; 7];
    peer.read_exact(&mut request).expect("read");
    let sent: Vec<u8> = (0..8 << 20).map(|n: u32| n as u8).collect();
    let mut written = 0;
    {
        let mut writing = std::pin::pin!(ours.write_all(&sent));
        let waits = std::future::poll_fn(|cx| {
            std::task::Poll::Ready(writing.as_mut().poll(cx).is_pending())
        });
        assert!(waits.await, "the peer takes nothing yet");
        let events = watched(socket);
        assert_eq!(events.len(), 2, "{events:x?}");
        assert!(events.iter().any(|events| events & ROOM != 0), "{events:x?}");
        let reader = tokio::task::spawn_blocking(move || {
            let mut got = vec![0; 8 << 20];
            peer.read_exact(&mut got).expect("read");
            (got, peer)
        });
        writing.await.expect("written");
        let (got, _peer) = reader.await.expect("a reader");
        assert!(got == sent);
        written += got.len();
    }
    assert_eq!(written, sent.len());
    let events = watched(socket);
    assert!(matches!(events[..], [events] if events & ROOM == 0), "{events:x?}");
}

#[tokio::test]
async fn what_the_peer_sent_is_read_up_to_its_end() {
    let (mut ours, mut peer, _) = pair();
    assert!(ours.try_read(&mut [0]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    let sender = tokio::task::spawn_blocking(move || {
        for part in 0..300_u32 {
            peer.write_all(&part.to_le_bytes().repeat(1000)).expect("sent");
        }
    });
    let mut got = Vec::new();
    ours.read_to_end(&mut got).await.expect("read");
    sender.await.expect("a sender");
    let parts: Vec<u8> = (0..300_u32).flat_map(|part| part.to_le_bytes().repeat(1000)).collect();
    assert!(got == parts);

    let (mut ours, peer, _) = pair();
    drop(peer);
    assert_eq!(ours.read(&mut [0; 8]).await.expect("the end"), 0);
    let error = ours.write_all(b"late").await.expect_err("nobody reads");
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn it_connects_and_ends_its_side() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("socket");
    let nobody = UnixStream::connect(&path).await.expect_err("nobody listens");
    assert_eq!(nobody.kind(), std::io::ErrorKind::NotFound);
    let listener = UnixListener::bind(&path).expect("a listener");
    let mut ours = UnixStream::connect(&path).await.expect("connected");
    let (mut peer, _) = listener.accept().expect("accepted");
    ours.write_all(b"all").await.expect("written");
    ours.shutdown().await.expect("ended");
    let mut got = String::new();
    peer.read_to_string(&mut got).expect("read");
    assert_eq!(got, "all");
    peer.write_all(b"answer").expect("sent");
    drop(peer);
    let mut answer = String::new();
    ours.read_to_string(&mut answer).await.expect("read");
    assert_eq!(answer, "answer");
}
