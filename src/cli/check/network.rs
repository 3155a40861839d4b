//! Probes of the neighbours: does the address answer, and does its clock agree with ours? Nothing secret is sent.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::{Client, StatusCode, redirect};
use url::Url;

use super::finding::{Finding, Probe, probe};
use crate::config::{AuthorityKeys, Backend, FulcioIdentity, LicensingKeys, Settings, Standing};

/// Time for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than this, and tokens are refused (contract §3).
const MOST_SKEW_SECONDS: i64 = 30;

/// What an address must answer to a GET.
#[derive(Clone, Copy, Debug)]
enum Expect {
    /// 200: it is a public document.
    Document,
    /// Anything but a server error: the address wants another method or credentials.
    Presence,
}

pub(super) fn probes(settings: &Settings) -> Vec<Box<dyn Probe>> {
    targets(settings)
        .into_iter()
        .map(|(what, url, expect)| {
            probe(move || {
                let (what, url) = (what.clone(), url.clone());
                async move { look(&what, url, expect).await }
            })
        })
        .collect()
}

fn targets(settings: &Settings) -> Vec<(String, Url, Expect)> {
    let mut all = Vec::new();
    let mut add =
        |what: &str, url: Option<Url>, expect| all.extend(url.map(|url| (what.to_owned(), url, expect)));
    let authority = match &settings.auth.keys {
        AuthorityKeys::Uri(uri) => Some(uri.clone()),
        AuthorityKeys::Discovery => {
            let issuer = settings.auth.issuer.trim_end_matches('/');
            Url::parse(&format!("{issuer}/.well-known/openid-configuration")).ok()
        }
        AuthorityKeys::File(_) => None,
    };
    add("Authority keys", authority, Expect::Document);
    let licensing = match &settings.entitlement.keys {
        LicensingKeys::Uri(uri) => Some(uri.clone()),
        LicensingKeys::File(_) => None,
    };
    add("Licensing keys", licensing, Expect::Document);
    let introspection = match &settings.entitlement.standing {
        Standing::Online {
            introspection_url, ..
        } => Some(introspection_url.clone()),
        Standing::Offline { .. } => None,
    };
    add("introspection", introspection, Expect::Presence);
    for backend in &settings.signing.backends {
        if let Backend::Fulcio(fulcio) = backend {
            add("Fulcio", Some(fulcio.url.clone()), Expect::Presence);
            if let FulcioIdentity::Endpoint(endpoint) = &fulcio.identity {
                add("token endpoint", Some(endpoint.url.clone()), Expect::Presence);
            }
        }
    }
    all
}

async fn look(what: &str, url: Url, expect: Expect) -> Vec<Finding> {
    let client = Client::builder()
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none())
        .build();
    let answer = match client {
        Ok(client) => client.get(url.clone()).send().await,
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let detail = format!("{url} does not answer: {}", root_cause(&error));
            let advice =
                "check name, route, firewall, and that its certificate chains to a CA this machine trusts";
            return vec![Finding::failure(what, detail, advice)];
        }
    };
    let mut findings = vec![judge(what, &url, answer.status(), expect)];
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    findings.extend(date.and_then(|date| skew(what, date, Utc::now())));
    findings
}

fn judge(what: &str, url: &Url, status: StatusCode, expect: Expect) -> Finding {
    let good = match expect {
        Expect::Document => status == StatusCode::OK,
        Expect::Presence => !status.is_server_error(),
    };
    let tested = match expect {
        Expect::Document => "",
        Expect::Presence => ": reachable; path and credentials are not tested",
    };
    let detail = format!("{url} answers {status}{tested}");
    if good {
        Finding::ok(what, detail)
    } else {
        Finding::failure(
            what,
            detail,
            "correct the address in the configuration, or look at that service's log",
        )
    }
}

/// The neighbour's clock by its `Date` field (RFC 9110 §6.6.1), told only when it disagrees.
pub(super) fn skew(what: &str, date: &str, now: DateTime<Utc>) -> Option<Finding> {
    let theirs = DateTime::parse_from_rfc2822(date).ok()?;
    let seconds = now.signed_duration_since(theirs).num_seconds();
    (seconds.abs() > MOST_SKEW_SECONDS).then(|| {
        let detail = format!("our clock and that of {what} differ by {seconds} s");
        Finding::warning(
            "clock",
            detail,
            "keep both by NTP: more than 30 s makes tokens invalid",
        )
    })
}

/// The innermost reason: the outer ones only say that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_clock_that_differs_is_told() {
        // RFC 9110 §5.6.7, its example of a date.
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let theirs = DateTime::from_timestamp(784_111_777, 0).expect("a time");
        assert_eq!(skew("Fulcio", date, theirs), None);
        assert_eq!(
            skew("Fulcio", date, theirs + chrono::TimeDelta::seconds(30)),
            None
        );
        let late = skew("Fulcio", date, theirs + chrono::TimeDelta::seconds(31));
        assert_eq!(late.map(|finding| finding.level), Some(Level::Warning));
    }

    #[test]
    fn documents_must_be_there_and_others_must_answer() {
        let url = Url::parse("https://a.example/").expect("a URL");
        for (status, expect, level) in [
            (200, Expect::Document, Level::Ok),
            (404, Expect::Document, Level::Failure),
            (405, Expect::Presence, Level::Ok),
            (401, Expect::Presence, Level::Ok),
            (502, Expect::Presence, Level::Failure),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(
                judge("x", &url, status, expect).level,
                level,
                "{status} {expect:?}"
            );
        }
    }

    #[actix_rt::test]
    async fn an_address_without_a_listener_is_a_failure() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("an address");
        drop(held);
        let url = Url::parse(&format!("http://{address}/")).expect("a URL");
        let findings = look("Fulcio", url, Expect::Presence).await;
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].level, Level::Failure);
    }
}
