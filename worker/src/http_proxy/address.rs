//! Addresses that a name may not lead to: this machine, its network, and what clouds tell their machines.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// No network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a network such as `10.0.0.0/8`")]
pub struct InvalidNetwork(String);

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6(first: u16, second: u16, third: u16, prefix: u8) -> Self {
        let address = Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0);
        Self { address: IpAddr::V6(address), prefix }
    }

    /// Whether `address` is one of its.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                u128::from(own.to_bits() ^ other.to_bits()) << 96
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.prefix)
    }
}

/// Networks that are not public, of IANA's registries of special purposes: loopback, private, shared, link-local with
/// the metadata of clouds, multicast, documentation, benchmarks, reserved.
const SPECIAL: [Network; 24] = [
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(169, 254, 0, 0, 16),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
    // Unspecified, loopback, and addresses of version 4 in obsolete forms.
    Network::v6(0, 0, 0, 16),
    // Translated to addresses within a network.
    Network::v6(0x64, 0xff9b, 1, 48),
    Network::v6(0x100, 0, 0, 64),
    // Protocol assignments, Teredo among them.
    Network::v6(0x2001, 0, 0, 23),
    Network::v6(0x2001, 0xdb8, 0, 32),
    Network::v6(0x3fff, 0, 0, 20),
    Network::v6(0x5f00, 0, 0, 16),
    Network::v6(0xfc00, 0, 0, 7),
    // Link-local, site-local, multicast.
    Network::v6(0xfe00, 0, 0, 7),
];

/// Addresses that hold one of version 4, and where: NAT64 and 6to4.
const HOLDS_V4: [(Network, u32); 2] =
    [(Network::v6(0x64, 0xff9b, 0, 96), 0), (Network::v6(0x2002, 0, 0, 16), 80)];

/// Whether a name may lead to `address`.
pub(super) fn is_allowed(address: IpAddr, private: &[Network]) -> bool {
    let address = address.to_canonical();
    if private.iter().any(|network| network.contains(address)) {
        return true;
    }
    if let IpAddr::V6(v6) = address
        && let Some((_, shift)) = HOLDS_V4.iter().find(|(network, _)| network.contains(address))
    {
        let bits = u32::try_from(v6.to_bits() >> shift & u128::from(u32::MAX)).unwrap_or(0);
        return is_allowed(Ipv4Addr::from_bits(bits).into(), private);
    }
    !SPECIAL.iter().any(|network| network.contains(address))
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(most);
        if prefix > most { Err(invalid()) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(address: &str, private: &[&str]) -> bool {
        let private: Vec<_> = private.iter().map(|text| text.parse().expect("valid")).collect();
        is_allowed(address.parse().expect("an address"), &private)
    }

    #[test]
    fn only_public_addresses_are_allowed() {
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001::1",
        ] {
            assert!(!allowed(address, &[]), "{address}");
        }
        for address in [
            "93.184.216.34",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:2800:220:1::1",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(allowed(address, &[]), "{address}");
        }
    }

    #[test]
    fn the_operator_allows_networks() {
        assert!(
            allowed("10.1.2.3", &["10.0.0.0/8"]) && allowed("::ffff:10.1.2.3", &["10.0.0.0/8"])
        );
        assert!(allowed("64:ff9b::a01:203", &["10.0.0.0/8"]));
        assert!(allowed("::1", &["::1"]) && allowed("fd00::1", &["fd00::/8"]));
        assert!(
            allowed("172.31.0.1", &["172.16.0.0/12"]) && !allowed("10.0.0.1", &["172.16.0.0/12"])
        );
        assert!(!allowed("192.168.0.1", &["10.0.0.0/8", "::/0"]));
        for text in ["", "10", "10.0.0.0/33", "::/129", "10.0.0.0/x", "a.b", "10.0.0.0/8/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
