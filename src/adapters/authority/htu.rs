//! Which URL a proof is for: `htu`, compared after the normalisation that RFC 9449 §4.3 allows.

use std::fmt::Write as _;

/// Longest accepted URI, in bytes.
pub const MAX_URI: usize = 4096;

/// Normalises an absolute `http` or `https` URI by RFC 3986 §6.2.2 (case, percent-encoding, dot segments) and §6.2.3
/// (default port, empty path), and drops query and fragment (RFC 9449 §4.3 step 9). `None` if it is no such URI.
///
/// Not by the `url` crate: the WHATWG rules mend what is refused here (white space, backslashes, missing slashes).
pub fn normalise(uri: &str) -> Option<String> {
    if uri.len() > MAX_URI {
        return None;
    }
    let uri = uri.split_once('#').map_or(uri, |(before, fragment)| {
        // An invalid fragment makes the whole no URI.
        if is_uri_text(fragment) { before } else { "" }
    });
    let (before_query, query) = uri.split_once('?').unwrap_or((uri, ""));
    let (scheme, rest) = before_query.split_once("://").filter(|_| is_uri_text(query))?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let mut normal = scheme;
    normal.push_str("://");
    normal.push_str(&normalise_authority(authority, default_port)?);
    normal.push_str(&normalise_path(path)?);
    Some(normal)
}

/// Host in lower case, port without leading zeros and only if not the default. No user information: RFC 9110 §4.2.4. An
/// IPv6 literal is compared as the address that it is, as the `url` crate rewrites the one of the public origin, too.
fn normalise_authority(authority: &str, default_port: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            let port = if after.is_empty() {
                ""
            } else {
                after.strip_prefix(':')?
            };
            (format!("[{address}]"), port)
        }
        None => {
            let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
            let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
            if host.is_empty() || !host.bytes().all(is_host) {
                return None;
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) || port.len() > 5 {
        return None;
    }
    match port.trim_start_matches('0') {
        "" if port.is_empty() => Some(host),
        "" => None,
        port if port == default_port => Some(host),
        port => Some(format!("{host}:{port}")),
    }
}

/// True for a path that [`normalise_path`] leaves as it is, as anybody can see: no escape, no dot, nothing odd.
pub fn is_plain_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_URI
        && path
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'~'))
}

/// Normalises an absolute path (RFC 3986 §6.2.2.1, §6.2.2.2, §6.2.2.3); beyond that it is case-sensitive.
pub fn normalise_path(path: &str) -> Option<String> {
    if !path.starts_with('/') || path.len() > MAX_URI {
        return None;
    }
    Some(remove_dot_segments(&normalise_escapes(path)?))
}

/// Upper-case escapes, and none of unreserved characters (RFC 3986 §2.3). `None` for a character no path has.
fn normalise_escapes(path: &str) -> Option<String> {
    let mut normal = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if !is_path_char(byte) {
                return None;
            }
            normal.push(char::from(byte));
            continue;
        }
        let hex = |b: Option<u8>| char::from(b?).to_digit(16);
        let (high, low) = (hex(bytes.next())?, hex(bytes.next())?);
        let decoded = u8::try_from(high * 16 + low).ok()?;
        if is_unreserved(decoded) {
            normal.push(char::from(decoded));
        } else {
            write!(normal, "%{decoded:02X}").ok()?;
        }
    }
    Some(normal)
}

/// RFC 3986 §5.2.4, for a path that starts with a slash.
fn remove_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_folder = false;
    for segment in path.split('/').skip(1) {
        ends_in_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if ends_in_folder {
        kept.push("");
    }
    let mut normal = String::with_capacity(path.len());
    for segment in kept {
        normal.push('/');
        normal.push_str(segment);
    }
    normal
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` without escapes, and the slash (RFC 3986 §3.3).
fn is_path_char(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@/".contains(&byte)
}

/// Characters of a query or fragment (RFC 3986 §3.4, §3.5).
fn is_uri_text(text: &str) -> bool {
    text.bytes().all(|b| is_path_char(b) || matches!(b, b'?' | b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, expected: &str) {
        assert_eq!(normalise(uri).as_deref(), Some(expected), "{uri}");
        assert_eq!(
            normalise(expected).as_deref(),
            Some(expected),
            "idempotent: {uri}"
        );
    }

    #[test]
    fn the_examples_of_rfc_3986() {
        // §6.2.2.1
        check("HTTP://www.EXAMPLE.com/", "http://www.example.com/");
        // §6.2.3: all four are equivalent
        for uri in [
            "http://example.com",
            "http://example.com/",
            "http://example.com:/",
            "http://example.com:80/",
        ] {
            check(uri, "http://example.com/");
        }
        // §5.2.4
        check("http://h/a/b/c/./../../g", "http://h/a/g");
        // §6.2.2, with an authority: "example://a/b/c/%7Bfoo%7D" equals "eXAMPLE://a/./b/../b/%63/%7bfoo%7d"
        check("hTTP://a/./b/../b/%63/%7bfoo%7d", "http://a/b/c/%7Bfoo%7D");
        check("http://a/b/c/%7Bfoo%7D", "http://a/b/c/%7Bfoo%7D");
    }

    #[test]
    fn the_resolution_examples_end_where_rfc_3986_says() {
        // §5.4 with base path /b/c/d;p: the merged paths of the relative references that only have a path.
        for (path, expected) in [
            ("/b/c/g", "/b/c/g"),
            ("/b/c/./g", "/b/c/g"),
            ("/b/c/g/", "/b/c/g/"),
            ("/b/c/;x", "/b/c/;x"),
            ("/b/c/.", "/b/c/"),
            ("/b/c/./", "/b/c/"),
            ("/b/c/..", "/b/"),
            ("/b/c/../", "/b/"),
            ("/b/c/../g", "/b/g"),
            ("/b/c/../..", "/"),
            ("/b/c/../../", "/"),
            ("/b/c/../../g", "/g"),
            ("/b/c/../../../g", "/g"),
            ("/b/c/../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("/b/c/g.", "/b/c/g."),
            ("/b/c/.g", "/b/c/.g"),
            ("/b/c/g..", "/b/c/g.."),
            ("/b/c/..g", "/b/c/..g"),
            ("/b/c/./../g", "/b/g"),
            ("/b/c/./g/.", "/b/c/g/"),
            ("/b/c/g/./h", "/b/c/g/h"),
            ("/b/c/g/../h", "/b/c/h"),
            ("/b/c/g;x=1/./y", "/b/c/g;x=1/y"),
            ("/b/c/g;x=1/../y", "/b/c/y"),
            ("//", "//"),
            ("/a//../b", "/a/b"),
            ("/%2e%2E/a", "/a"),
        ] {
            assert_eq!(normalise_path(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn query_and_fragment_are_dropped_and_the_rest_is_kept() {
        check("https://s.example/api?x=/../y", "https://s.example/api");
        check("https://s.example/api#f?g", "https://s.example/api");
        check("https://s.example?x", "https://s.example/");
        check("https://s.example:443/API/%2f%2F", "https://s.example/API/%2F%2F");
        check("https://s.example:0443/", "https://s.example/");
        check("https://s.example:80/", "https://s.example:80/");
        check("https://[2001:DB8:0:0::1]:443/a", "https://[2001:db8::1]/a");
        check("http://[::1]:8080", "http://[::1]:8080/");
    }

    #[test]
    fn what_rfc_3986_leaves_different_stays_different() {
        let same = |a: &str, b: &str| normalise(a).is_some() && normalise(a) == normalise(b);
        assert!(same("https://S.EXAMPLE:443/%7Ea/b", "https://s.example:/~a/b"));
        for other in [
            "https://s.example./a/b", // the root's dot
            "https://s.example//a/b", // an empty segment
            "https://s.example/a//b",
            "https://s.example/a/b/",
            "https://s.example/a%2Fb", // a reserved character (§2.2)
            "https://s.example/a/b%00",
            "https://s.example/A/b",
            "https://s.example/a/b;",
            "https://s.example/a/b%3B",
            "https://s.example:8443/a/b",
            "http://s.example:443/a/b",
            "https://xn--s-exmple-7ya/a/b",
        ] {
            assert!(normalise(other).is_some(), "{other}");
            assert!(!same(other, "https://s.example/a/b"), "{other}");
        }
        assert!(!same("https://s.example/;", "https://s.example/%3B"));
    }

    #[test]
    fn refuses_what_is_no_http_uri() {
        for bad in [
            "",
            "/api",
            "s.example/api",
            "//s.example/api",
            "https:/s.example",
            "https:s.example",
            "https:///api",
            "ftp://s.example/",
            " https://s.example/",
            "https://s.example/ ",
            "https://s.example/a b",
            "https://s.example/a\tb",
            "https://s.example\\api",
            "https://s.example/a\\b",
            "https://user@s.example/",
            "https://s.example:443:443/",
            "https://s.example:+443/",
            "https://s.example:0/",
            "https://s.example:123456/",
            "https://s.example/%",
            "https://s.example/%4",
            "https://s.example/%4g",
            "https://s.example/%+4",
            "https://s%2Eexample/",
            "https://[::1/",
            "https://[::1]8080/",
            "https://[1.2.3.4]/",
            "https://s.example/ü",
            "https://ü.example/",
            "https://s.example/?a b",
            "https://s.example/#a b",
            "https://s.example/<a>",
            "https://s.example\t/a",
            "https://s.exam\nple/a",
            "\thttps://s.example/a",
            "https://s.example/a\n",
            "https://:443/a",
            "https://@s.example/a",
            "https://u:p@s.example/a",
            "https://s.example:/a:b@c\0",
            "https://s.example:00000/",
            "https://s.example:４４３/",
            "https://[::1%25eth0]/",
            "https://[v1.x]/",
            "https://s.example/#a#b",
            "https://s!example/",
            "https:\\\\s.example\\a",
            "http s://s.example/",
            "%68ttps://s.example/",
        ] {
            assert_eq!(normalise(bad), None, "{bad:?}");
        }
        assert_eq!(
            normalise(&format!("https://s.example/{}", "a".repeat(MAX_URI))),
            None
        );
    }

    proptest::proptest! {
        #[test]
        fn normalising_twice_changes_nothing_more(uri in "(?i:https?)://[a-zA-Z0-9.:\\[\\]-]{0,12}(/[ -~]{0,6}|/\\.{0,3}|/%[0-9a-f]{2}){0,6}") {
            if let Some(once) = normalise(&uri) {
                proptest::prop_assert_eq!(normalise(&once), Some(once.clone()));
            }
        }

        #[test]
        fn a_plain_path_is_normal(path in "/[a-z0-9/~._%-]{0,12}") {
            if is_plain_path(&path) {
                proptest::prop_assert_eq!(normalise_path(&path), Some(path.clone()));
                let uri = format!("https://signer.example{path}");
                proptest::prop_assert_eq!(normalise(&uri), Some(uri.clone()));
            }
        }

        #[test]
        fn any_text_is_normalised_or_refused(uri in ".{0,64}") {
            let _ = normalise(&uri);
            let _ = normalise_path(&uri);
        }
    }
}
