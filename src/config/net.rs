//! Addresses, URLs, hosts and repositories.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

use super::error::Problem;
use super::layers::Layers;
use crate::urls::is_loopback;

const MAX_URL: usize = 2048;

/// `ADDRESS:PORT`; names are not resolved, so that what is listened on does not depend on a resolver.
pub(crate) fn socket_address(text: &str, _: &Layers) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        let problem = format!("{text:?} is not an address and port");
        Problem::new(
            problem,
            "write \"127.0.0.1:8080\" or \"[::1]:8080\"; names are not resolved here",
        )
    })
}

/// An absolute `https` URL; `http` for loopback addresses alone (contract §9).
pub(crate) fn url(text: &str, _: &Layers) -> Result<Url, Problem> {
    let malformed = |why: &str, remedy: &str| {
        // A URL with credentials in it must not be repeated.
        Err(Problem::new(why.to_owned(), remedy.to_owned()))
    };
    let example = "write an absolute URL such as \"https://authority.example\"";
    let clean = text.len() <= MAX_URL && text.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(parsed) = clean.then(|| Url::parse(text).ok()).flatten() else {
        return malformed("is not a URL", example);
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return malformed(
            "has credentials in the URL",
            "take them out; secrets have keys of their own",
        );
    }
    if parsed.fragment().is_some() {
        return malformed("has a fragment", "leave out the part from # on");
    }
    match (parsed.scheme(), parsed.host()) {
        ("https", Some(_)) => Ok(parsed),
        ("http", Some(host)) if is_loopback(&host) => Ok(parsed),
        ("http", Some(_)) => malformed("is http to a host that is not loopback", "use https"),
        _ => malformed("is not an https URL", example),
    }
}

/// An issuer: a URL without query (RFC 8414 §2), kept exactly as written because tokens are compared with it.
pub(crate) fn issuer(text: &str, layers: &Layers) -> Result<String, Problem> {
    if url(text, layers)?.query().is_some() {
        return Err(Problem::new(
            "has a query",
            "an issuer is a URL without query or fragment",
        ));
    }
    Ok(text.to_owned())
}

/// Scheme, host and port alone: what comes before the path of every request.
pub(crate) fn origin(text: &str, layers: &Layers) -> Result<Url, Problem> {
    let parsed = url(text, layers)?;
    if parsed.path() == "/" && parsed.query().is_none() {
        Ok(parsed)
    } else {
        let remedy = "write scheme, host and port only: \"https://signer.example\"";
        Err(Problem::new("has a path or query", remedy))
    }
}

/// An address range; a single address is a range of one.
pub(crate) fn cidr(text: &str, _: &Layers) -> Result<IpNet, Problem> {
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(single).ok_or_else(|| {
        let problem = format!("{text:?} is not an address range");
        Problem::new(problem, "write \"10.0.0.0/8\", \"10.1.2.3\" or \"fd00::/8\"")
    })
}

/// `HOST` or `HOST:PORT`, lower-case, as it stands before the first slash of a repository.
pub(crate) fn host_port(text: &str, _: &Layers) -> Result<String, Problem> {
    // Reading it back from a URL refuses whatever else could hide in it.
    let parsed = Url::parse(&format!("registry://{text}/")).ok();
    let same = parsed.is_some_and(|url| {
        let host = url.host_str().unwrap_or_default();
        let whole = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        whole == text
    });
    let grammar = !text.is_empty()
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
        });
    if same && grammar {
        Ok(text.to_owned())
    } else {
        let problem = format!("{text:?} is not a host");
        Err(Problem::new(
            problem,
            "write \"registry.example\" or \"registry.example:5000\" in lower case",
        ))
    }
}

/// `HOST[:PORT]/NAME` without tag or digest; the name by the distribution specification's grammar.
pub(crate) fn repository(text: &str, layers: &Layers) -> Result<String, Problem> {
    let malformed = || {
        let problem = format!("{text:?} is not a repository");
        Problem::new(
            problem,
            "write \"registry.example/team/image\" in lower case, without tag or digest",
        )
    };
    let (host, name) = text.split_once('/').ok_or_else(malformed)?;
    host_port(host, layers).map_err(|_| malformed())?;
    let fits = text.len() <= 255 && name.split('/').all(is_path_component);
    if fits {
        Ok(text.to_owned())
    } else {
        Err(malformed())
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` (OCI distribution specification, "Pulling manifests").
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|run| !run.is_empty());
    let bytes = component.as_bytes();
    bytes.first().copied().is_some_and(alphanumeric)
        && bytes.last().copied().is_some_and(alphanumeric)
        && separators
            .into_iter()
            .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T>(parser: impl Fn(&str, &Layers) -> Result<T, Problem>, good: &[&str], bad: &[&str]) {
        let layers = Layers::default();
        for text in good {
            assert!(parser(text, &layers).is_ok(), "{text} is good");
        }
        for text in bad {
            assert!(parser(text, &layers).is_err(), "{text:?} is bad");
        }
    }

    #[test]
    fn urls_are_https_or_loopback() {
        check(
            url,
            &[
                "https://authority.example",
                "https://authority.example:8443/realms/a?x=1",
                "http://127.0.0.1:8080",
                "http://127.8.9.1/x",
                "http://[::1]:80",
                "http://localhost:3000",
            ],
            &[
                "",
                "authority.example",
                "http://authority.example",
                "http://10.0.0.1",
                "http://127.0.0.1.evil.example",
                "http://localhost.example",
                "http://[::ffff:10.0.0.1]",
                "http://0.0.0.0:80",
                "https://user:pass@authority.example",
                "https://user@authority.example",
                "https://authority.example/#x",
                "ftp://authority.example",
                "file:///etc/passwd",
                "https://",
                "https://a b",
                " https://authority.example",
                "https://authority.example\n",
            ],
        );
    }

    #[test]
    fn a_url_with_credentials_is_not_repeated() {
        let problem = url("https://user:hunter2@a.example", &Layers::default()).expect_err("credentials");
        assert!(!format!("{problem:?}").contains("hunter2"));
    }

    #[test]
    fn origins_have_no_path() {
        check(
            origin,
            &[
                "https://signer.example",
                "https://signer.example/",
                "http://127.0.0.1:8080",
            ],
            &[
                "https://signer.example/api",
                "https://signer.example/?x",
                "http://signer.example",
            ],
        );
    }

    #[test]
    fn repositories_follow_the_distribution_grammar() {
        check(
            repository,
            &[
                "registry.example/scanner",
                "registry.example:5000/a/b-c/d__e.f_g",
                "127.0.0.1:5000/stellaops/scanner",
                "[::1]:5000/x",
                "localhost:5000/a--b",
            ],
            &[
                "",
                "scanner",
                "registry.example/",
                "registry.example//a",
                "registry.example/A",
                "registry.example/a:latest",
                "registry.example/a@sha256:00",
                "registry.example/../a",
                "registry.example/a___b",
                "registry.example/a/",
                "https://registry.example/a",
                "user@registry.example/a",
                "registry.example:99999/a",
                "REGISTRY.example/a",
                "registry example/a",
            ],
        );
    }

    #[test]
    fn addresses_and_ranges() {
        check(
            socket_address,
            &["127.0.0.1:0", "[::1]:8080", "0.0.0.0:65535"],
            &["localhost:80", "127.0.0.1", ":80", "127.0.0.1:65536"],
        );
        check(
            cidr,
            &["10.0.0.0/8", "10.1.2.3", "fd00::/8", "::1"],
            &["", "10.0.0.0/33", "example", "10.0.0"],
        );
    }
}
