//! Which hosts, schemes and addresses may be connected to. Names are checked when a URL is built, addresses when the
//! connection is made (`resolver`), so that a name that resolves differently the second time gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use url::{Host, Url};

use super::settings::{PrivateNetwork, Settings};

/// Longest URL that is asked, in bytes: presigned ones of blob stores have some two thousand.
const MAX_URL: usize = 8 * 1024;

/// Allowed hosts, schemes and addresses.
#[derive(Debug)]
pub(super) struct NetworkPolicy {
    /// `host[:port]` that any registry may send the service to, beside its own.
    trusted: Vec<String>,
    plain_http: Vec<String>,
    private_hosts: Vec<String>,
    private_networks: Vec<IpNet>,
}

impl NetworkPolicy {
    pub(super) fn new(settings: &Settings) -> Self {
        let lower =
            |hosts: &[String]| -> Vec<String> { hosts.iter().map(|h| h.to_ascii_lowercase()).collect() };
        let (mut private_hosts, mut private_networks) = (Vec::new(), Vec::new());
        for entry in &settings.private_networks {
            match entry {
                PrivateNetwork::Host(host) => private_hosts.push(host.to_ascii_lowercase()),
                PrivateNetwork::Network(network) => private_networks.push(*network),
            }
        }
        Self {
            trusted: lower(&settings.trusted_hosts),
            plain_http: lower(&settings.plain_http),
            private_hosts,
            private_networks,
        }
    }

    /// The URL a repository's host is reached at, with an empty path.
    pub(super) fn base(&self, host: &str) -> Result<Url, String> {
        let wrong = |_| format!("{host} is not a host");
        let plain = Url::parse(&format!("http://{host}/")).map_err(wrong)?;
        if self.may_be_plain(&plain) {
            return Ok(plain);
        }
        Url::parse(&format!("https://{host}/")).map_err(wrong)
    }

    /// True when `plain_http` lists the host alone (any port) or with this port.
    fn may_be_plain(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        self.plain_http.iter().any(|entry| entry == host) || names_any(&self.plain_http, url)
    }

    /// Checks a URL before it is asked, whether built here or named by the registry at `origin`: never the host of
    /// another registry, and never without TLS when that registry is asked with it.
    ///
    /// # Errors
    /// A text that names the host and the remedy.
    pub(super) fn check(&self, url: &Url, origin: &Url) -> Result<(), String> {
        let shown = authority(url);
        if url.as_str().len() > MAX_URL {
            return Err(format!("a url is longer than {MAX_URL} bytes"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("a url of host {shown} carries credentials"));
        }
        if shown.is_empty() {
            return Err("a url without a host".to_owned());
        }
        if !names_any(&[authority(origin)], url) && !names_any(&self.trusted, url) {
            return Err(format!(
                "host {shown} is not the registry's own, list it in extra_hosts if it belongs to it"
            ));
        }
        if origin.scheme() == "https" && url.scheme() != "https" {
            return Err(format!("host {shown} is named without tls by a registry with it"));
        }
        match url.scheme() {
            "https" => {}
            "http" if self.may_be_plain(url) => {}
            other => {
                return Err(format!(
                    "host {shown} may not be asked over {other}, list it in plain_http"
                ));
            }
        }
        // A literal address never reaches the resolver, so it is checked here.
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) => return Ok(()),
            None => return Err("a url without an address".to_owned()),
        };
        if self.host_is_private(url.host_str().unwrap_or_default()) || self.address_is_allowed(literal) {
            return Ok(());
        }
        Err(format!(
            "address {literal} is not public, list it in private_networks"
        ))
    }

    /// True when the operator listed the host (whatever its port), so that its addresses are not checked.
    fn host_is_private(&self, host: &str) -> bool {
        let mut listed = self.plain_http.iter().chain(&self.private_hosts);
        listed.any(|entry| entry == host || split_port(entry).is_some_and(|(name, _)| name == host))
    }

    fn address_is_allowed(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        is_public(address) || self.private_networks.iter().any(|n| n.contains(&address))
    }

    /// Keeps the addresses of a host that may be connected to.
    pub(super) fn filter(&self, host: &str, addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
        if self.host_is_private(host) {
            return addresses;
        }
        let allowed = |a: &SocketAddr| self.address_is_allowed(a.ip());
        addresses.into_iter().filter(allowed).collect()
    }
}

/// `host[:port]` of a URL, the port only where it is not the scheme's own.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// True when both URLs have the same scheme, host and port.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// True when an entry `host` (the scheme's own port) or `host:port` names the URL's host and port.
fn names_any(entries: &[String], url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let port = url.port_or_known_default();
    entries.iter().any(|entry| match split_port(entry) {
        Some((name, entry_port)) => name == host && Some(entry_port) == port,
        None => entry == host && url.port().is_none(),
    })
}

/// Splits `host:port`; `None` without a port (also for a bare IPv6 address).
fn split_port(entry: &str) -> Option<(&str, u16)> {
    let (name, port) = entry.rsplit_once(':')?;
    if name.contains(':') && !name.ends_with(']') {
        return None;
    }
    Some((name, port.parse().ok()?))
}

/// The IPv4 address inside an IPv4-mapped one, so that `::ffff:127.0.0.1` is loopback.
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Globally reachable unicast, by the IANA special-purpose address registries (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = a == 0                                   // this network
        || address.is_private()
        || (a == 100 && (64..128).contains(&b))            // shared address space, RFC 6598
        || address.is_loopback()
        || address.is_link_local()
        || (a == 192 && b == 0 && c == 0)                  // protocol assignments
        || (a == 192 && b == 88 && c == 99)                // 6to4 relay, deprecated
        || (a == 198 && (b == 18 || b == 19))              // benchmarking
        || address.is_documentation()
        || a >= 224; // multicast, reserved, broadcast
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // Only 2000::/3 is allocated global unicast; tunnels that embed an IPv4 address are left out.
    let global = a & 0xe000 == 0x2000;
    let special = matches!(
        (a, b),
        (0x2001, 0..=0x01ff)        // protocol assignments, Teredo
            | (0x2001, 0x0db8)      // documentation
            | (0x2002 | 0x3fff, _) // 6to4, documentation
    );
    global && !special
}

#[cfg(test)]
mod tests {
    use super::super::settings::Repository;
    use super::*;

    fn policy(plain: &[&str], private: &[&str], trusted: &[&str]) -> NetworkPolicy {
        let mut settings = Settings::new(vec![
            Repository::parse("registry.example/a").unwrap(),
            Repository::parse("127.0.0.1:5000/a").unwrap(),
            Repository::parse("10.1.2.3/a").unwrap(),
        ]);
        settings.plain_http = plain.iter().map(|s| (*s).to_owned()).collect();
        settings.private_networks = private.iter().map(|s| PrivateNetwork::parse(s)).collect();
        settings.trusted_hosts = trusted.iter().map(|s| (*s).to_owned()).collect();
        NetworkPolicy::new(&settings)
    }

    #[test]
    fn special_addresses_are_not_public() {
        for special in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "0.1.2.3",
            "100.127.255.255",
            "172.31.255.255",
            "192.0.0.1",
            "192.88.99.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "239.255.255.255",
            "240.0.0.1",
            "::7f00:1",
            "::127.0.0.1",
            "::ffff:100.64.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fdff:ffff::1",
            "fec0::1",
            "febf::1",
            "ff0e::1",
        ] {
            assert!(!is_public(canonical(special.parse().unwrap())), "{special}");
        }
        for public in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "100.63.255.255",
            "172.15.255.255",
            "198.17.255.255",
            "198.20.0.1",
            "223.255.255.255",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(is_public(canonical(public.parse().unwrap())), "{public}");
        }
    }

    #[test]
    fn urls_are_checked() {
        #[track_caller]
        fn check(policy: &NetworkPolicy, origin: &str, rows: &[(&str, bool)]) {
            let origin = policy.base(origin).unwrap();
            for (url, allowed) in rows {
                let checked = policy.check(&url.parse().unwrap(), &origin);
                assert_eq!(checked.is_ok(), *allowed, "{url} from {origin}: {checked:?}");
            }
        }
        let strict = policy(&[], &[], &["auth.example", "cdn.example:8443"]);
        let long = format!("https://registry.example/{}", "a".repeat(MAX_URL));
        let rows = [
            ("https://registry.example/v2/", true),
            ("https://registry.example:443/v2/", true),
            ("https://registry.example:444/v2/", false),
            ("http://registry.example/v2/", false),
            ("https://user:pw@registry.example/v2/", false),
            ("https://user@auth.example/token", false),
            ("https://auth.example/token", true),
            ("https://cdn.example/x", false),
            ("https://cdn.example:8443/x", true),
            ("https://registry.example.evil/v2/", false),
            ("https://registry.example@evil.example/v2/", false),
            // Another configured repository's host is not this registry's.
            ("https://127.0.0.1:5000/v2/", false),
            ("https://10.1.2.3/v2/", false),
            ("ftp://registry.example/", false),
            ("file:///etc/passwd", false),
            ("data:text/plain,x", false),
            (long.as_str(), false),
        ];
        check(&strict, "registry.example", &rows);
        // Its own address is not public, and nobody said that it may be asked.
        check(&strict, "10.1.2.3", &[("https://10.1.2.3/v2/", false)]);

        let open = policy(
            &["127.0.0.1:5000", "auth.example"],
            &["10.0.0.0/8"],
            &["auth.example"],
        );
        let rows = [
            ("http://127.0.0.1:5000/v2/", true),
            // 127.0.0.1 in the spellings of the URL standard.
            ("http://0x7f.1:5000/v2/", true),
            ("http://2130706433:5000/v2/", true),
            ("http://127.0.0.1:5001/v2/", false),
            ("http://[::ffff:127.0.0.1]:5000/v2/", false),
            ("http://auth.example/token", true),
        ];
        check(&open, "127.0.0.1:5000", &rows);
        check(&open, "10.1.2.3", &[("https://10.1.2.3/v2/", true)]);
        let rows = [
            ("http://auth.example/token", false),
            ("https://auth.example/token", true),
        ];
        check(&open, "registry.example", &rows);
        assert_eq!(
            open.base("127.0.0.1:5000").unwrap().as_str(),
            "http://127.0.0.1:5000/"
        );
        assert_eq!(
            open.base("registry.example").unwrap().as_str(),
            "https://registry.example/"
        );
    }

    #[test]
    fn resolved_addresses_are_filtered_unless_the_host_is_listed() {
        let addresses: Vec<SocketAddr> = vec!["127.0.0.1:0".parse().unwrap(), "1.1.1.1:0".parse().unwrap()];
        let strict = policy(&[], &[], &[]);
        assert_eq!(
            strict.filter("registry.example", addresses.clone()),
            addresses[1..]
        );
        let listed = policy(&["registry.example:80"], &[], &[]);
        assert_eq!(listed.filter("registry.example", addresses.clone()), addresses);
        let network = policy(&[], &["127.0.0.0/8"], &[]);
        assert_eq!(network.filter("registry.example", addresses.clone()), addresses);
    }
}
