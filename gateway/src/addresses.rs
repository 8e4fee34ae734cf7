//! How many connections each address has open at this gateway.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use crate::socket::Socket;

/// The bits of an IPv6 address that its holder does not choose.
const NETWORK_BITS: u32 = 64;

/// The name of the quota in the operator's file.
pub(crate) const QUOTA: &str = "connections_per_address";

/// Why one connection more is refused, or one request more that a proxy passes on.
pub(crate) fn sentence(most: u32) -> String {
    format!(
        "your address has {most} connections open, as many as it may (quota `{QUOTA}`): use these for several requests, \
         or ask the operator to raise the quota"
    )
}

/// The counts of all addresses that have any.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Arc<Mutex<HashMap<IpAddr, u32>>>);

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(crate) struct CountedConnection {
    counts: Arc<Mutex<HashMap<IpAddr, u32>>>,
    address: IpAddr,
}

/// An address has as many connections as it may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Addresses {
    /// Counts a connection from `peer`, of which there may be `most`; nothing where either is unknown.
    pub(crate) fn take(
        &self,
        peer: Option<IpAddr>,
        most: Option<u32>,
    ) -> Result<Option<CountedConnection>, TooMany> {
        let (Some(peer), Some(most)) = (peer, most) else { return Ok(None) };
        let address = holder(peer);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            if *count == 0 {
                counts.remove(&address);
            }
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(CountedConnection { counts: Arc::clone(&self.0), address }))
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// What one holder has: an IPv4 address, or a whole network of IPv6.
fn holder(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << NETWORK_BITS)).into()
        }
        address => address,
    }
}

/// Tells the peer why its connection is closed. It has said nothing yet, so this is the answer to whatever it
/// asks. Where that cannot be sent at once it only finds the connection closed.
pub(crate) fn answer(socket: &Socket, most: u32) {
    let detail = sentence(most);
    let body = format!(r#"{{"detail":"{detail}","code":"quota_exceeded","quota":"{QUOTA}"}}"#);
    let head = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: {}\r\nRetry-After: 1\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    let _ = socket.try_write((head + &body).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_has_its_own_count() {
        let addresses = Addresses::default();
        let take = |text: &str| addresses.take(Some(text.parse().expect("an address")), Some(2));
        let _one = take("192.0.2.1").expect("the first");
        let two = take("::ffff:192.0.2.1").expect("the same address, the second");
        assert_eq!(take("192.0.2.1").err(), Some(TooMany));
        assert!(take("192.0.2.2").is_ok(), "another");
        drop(two);
        assert!(take("192.0.2.1").is_ok(), "one was closed");
        let _own = [take("2001:db8::1").expect("one"), take("2001:db8::2").expect("two")];
        assert_eq!(take("2001:db8::3").err(), Some(TooMany), "the same network");
        assert!(take("2001:db8:0:1::1").is_ok());
        assert!(addresses.take(None, Some(0)).is_ok_and(|it| it.is_none()), "a unix socket");
        assert_eq!(addresses.0.lock().expect("sound").len(), 2, "nothing else is kept");
    }
}
