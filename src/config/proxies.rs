//! `server.trusted_proxies`: whoever connects from there may name any client certificate, so a range is as narrow as it
//! can be (RFC 9440 §4).

use std::net::IpAddr;

use ipnet::{IpNet, Ipv6Net};

use super::error::Problem;
use super::layers::Layers;
use super::net;
use super::reader::Section;

/// Shortest prefix of an IPv4 range: 10.0.0.0/8 is the largest private network (RFC 1918 §3).
const SHORTEST_V4: u8 = 8;
/// Shortest prefix of an IPv6 range that is no private one: what a whole provider gets.
const SHORTEST_V6: u8 = 32;
/// Prefixes of public addresses that are shorter give a warning: a site's at most.
const SITE_V4: u8 = 24;
const SITE_V6: u8 = 48;

/// One range, or a single address.
pub(crate) fn range(text: &str, layers: &Layers) -> Result<IpNet, Problem> {
    let range = net::cidr(text, layers)?;
    if range.trunc() != range {
        let problem = format!("{text:?} has bits set beyond its prefix");
        let remedy = format!(
            "write \"{}\" for the range, or \"{}\" for the address",
            range.trunc(),
            range.addr()
        );
        return Err(Problem::new(problem, remedy));
    }
    let too_wide = match range {
        IpNet::V4(range) => range.prefix_len() < SHORTEST_V4,
        IpNet::V6(range) if range.addr().to_ipv4_mapped().is_some() => {
            let problem = format!("{text:?} is an IPv4 range written as IPv6");
            return Err(Problem::new(
                problem,
                "write it as IPv4: addresses are compared so",
            ));
        }
        IpNet::V6(range) => range.prefix_len() < SHORTEST_V6 && !unique_local().contains(&range),
    };
    if too_wide {
        let problem = format!("{text:?} is as good as everyone");
        return Err(Problem::new(problem, "name the addresses of your proxies alone"));
    }
    Ok(range)
}

/// Warns of public ranges that hold more than a site.
pub(crate) fn check(s: &mut Section<'_>, ranges: &[IpNet]) {
    let wide = ranges.iter().find(|range| {
        let shortest = if range.addr().is_ipv4() { SITE_V4 } else { SITE_V6 };
        range.prefix_len() < shortest && !is_private(range)
    });
    if let Some(range) = wide {
        let problem =
            format!("{range} is a wide range of public addresses, and each may name any client certificate");
        s.warn(
            "trusted_proxies",
            problem,
            "name the addresses of your proxies alone",
        );
    }
}

/// RFC 4193 §3.1
fn unique_local() -> Ipv6Net {
    Ipv6Net::new_assert([0xfc00, 0, 0, 0, 0, 0, 0, 0].into(), 7)
}

fn is_private(range: &IpNet) -> bool {
    match (range.addr(), range) {
        (IpAddr::V4(address), _) => {
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || is_shared(address.octets())
        }
        (IpAddr::V6(_), IpNet::V6(range)) => {
            unique_local().contains(range) || range.addr().is_unicast_link_local()
        }
        (IpAddr::V6(_), IpNet::V4(_)) => false,
    }
}

/// 100.64.0.0/10, between a provider and its customers (RFC 6598 §7).
fn is_shared([first, second, ..]: [u8; 4]) -> bool {
    first == 100 && second & 0xc0 == 64
}
