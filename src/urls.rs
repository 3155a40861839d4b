//! Which URLs are private enough to send credentials and statements to (contract §9).

use url::{Host, Url};

/// True for `https`, and for `http` to this machine; never with credentials in the URL.
pub(crate) fn is_private(url: &Url) -> bool {
    let plain = url.username().is_empty() && url.password().is_none();
    let Some(host) = url.host() else { return false };
    plain && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&host)))
}

/// Literal 127.0.0.0/8, `::1`, or `localhost` (RFC 6761 §6.3: resolvers answer this name with loopback). No resolver is
/// asked.
pub(crate) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
        Host::Domain(name) => *name == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_loopback() {
        for (url, expected) in [
            ("https://authority.example/jwks", true),
            ("https://10.0.0.1/", true),
            ("http://127.0.0.1:8080/", true),
            ("http://127.8.7.6/", true),
            ("http://[::1]:1/", true),
            ("http://localhost:1/", true),
            ("http://authority.example/", false),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
            ("http://[::ffff:10.0.0.1]/", false),
            ("https://user@authority.example/", false),
            ("https://:secret@authority.example/", false),
            ("ftp://127.0.0.1/", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_private(&Url::parse(url).unwrap()), expected, "{url}");
        }
    }
}
