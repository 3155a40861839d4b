//! Asking Licensing whether a PoE still holds (RFC 7662).

use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde_json::Value;
use signer_actors::domain::entitlement::Entitlement;
use signer_actors::ports::{Introspection, SourceUnavailable};

use super::IntrospectionSettings;
use super::narrowing::Narrowing;
use crate::adapters::jose::Refused;
use crate::adapters::jose::claims::Claims;
use crate::adapters::jose::fetch::{self, Http, unavailable};
use crate::adapters::jose::header::{Compact, Use, media_type};

/// How long to leave Licensing alone that answers 429 and does not say how long.
const DEFAULT_PAUSE: Duration = Duration::from_secs(1);

/// A client of the introspection endpoint.
#[derive(Clone, Debug)]
pub(super) struct Introspector {
    http: Http,
    settings: IntrospectionSettings,
}

impl Introspector {
    /// Refuses a URL that is neither https nor http to loopback: the credential goes there.
    pub(super) fn new(http: Http, settings: IntrospectionSettings) -> Result<Self, SourceUnavailable> {
        if !crate::urls::is_private(&settings.url) {
            return Err(unavailable(
                "the introspection URL must be https, or http to loopback",
            ));
        }
        Ok(Self { http, settings })
    }

    /// Asks once; everything that is no clear answer is `SourceUnavailable`, never a verdict.
    pub(super) async fn ask(self, poe: &str, facts: Entitlement) -> Result<Introspection, SourceUnavailable> {
        let token = Compact::parse(poe, Use::Token)
            .and_then(|compact| Claims::parse(&compact.payload))
            .map_err(|why| unavailable(&format!("the proof of entitlement to introspect: {why}")))?;
        let response = self.post(poe).await?;
        if let Some(pause) = pause(response.status(), response.headers()) {
            return Ok(Introspection::Later(pause));
        }
        let answer = self.read(response).await?;
        judge(&answer, &token, facts).map_err(|why| self.bad_answer(&why.0))
    }

    /// RFC 7662 §2.1. The token travels in the body, the credential in a field that is marked secret.
    async fn post(&self, poe: &str) -> Result<Response, SourceUnavailable> {
        let url = &self.settings.url;
        let secret = zeroize::Zeroizing::new(format!("Bearer {}", self.settings.credential.reveal()));
        let mut authorization = HeaderValue::from_str(&secret)
            .map_err(|_| unavailable("the credential for Licensing has characters that no header has"))?;
        authorization.set_sensitive(true);
        let request = self
            .http
            .client()
            .post(url.clone())
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json")
            .form(&[("token", poe)]);
        request.send().await.map_err(|error| fetch::failed(url, &error))
    }

    async fn read(&self, response: Response) -> Result<Claims, SourceUnavailable> {
        let url = &self.settings.url;
        if response.status() != StatusCode::OK {
            return Err(fetch::bad_status(url, response.status()));
        }
        if !is_json(response.headers().get(CONTENT_TYPE)) {
            return Err(self.bad_answer("the answer is not application/json"));
        }
        let body = fetch::read_body(url, response).await?;
        Claims::parse(&body).map_err(|why| self.bad_answer(&why.0))
    }

    fn bad_answer(&self, why: &str) -> SourceUnavailable {
        unavailable(&format!("{}: {why}", fetch::name(&self.settings.url)))
    }
}

/// How long Licensing wants to be left alone: 429 (RFC 6585 §4) in any case, 503 when it says so (RFC 9110 §15.6.4).
fn pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(retry_after(headers).unwrap_or(DEFAULT_PAUSE)),
        StatusCode::SERVICE_UNAVAILABLE => retry_after(headers),
        _ => None,
    }
}

/// RFC 9110 §10.2.3: seconds, or a date; that is compared with the answer's own `Date`, not with another clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let after = text(RETRY_AFTER)?.trim();
    if !after.is_empty() && after.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a number has is for ever; who asks bounds it.
        return Some(after.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let date = |text: &str| DateTime::parse_from_rfc2822(text.trim()).ok();
    (date(after)? - date(text(DATE)?)?).to_std().ok()
}

fn is_json(content_type: Option<&HeaderValue>) -> bool {
    content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| media_type(essence.trim()) == "json")
}

/// RFC 7662 §2.2. An answer that is active but malformed is no answer; one that is about someone else is a mismatch.
fn judge(answer: &Claims, token: &Claims, facts: Entitlement) -> Result<Introspection, Refused> {
    match answer.get("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Ok(Introspection::Revoked),
        // Never "false", 0 or null: a lenient reading of a broken answer would revoke or, worse, grant.
        _ => return Err("the answer's `active` is not true or false".into()),
    }
    let same = |name: &str| {
        answer
            .get(name)
            .is_none_or(|value| Some(value) == token.get(name))
    };
    let identity = ["iss", "sub", "lic", "tid", "inst", "cnf"];
    if !identity.into_iter().all(same) {
        return Ok(Introspection::Mismatch);
    }
    let narrowing = Narrowing::read(answer)?;
    Ok(Introspection::Active(Box::new(narrowing.apply(facts))))
}
