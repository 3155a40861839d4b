//! What came back, and what must hold of every refusal.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer, with what was secret in its request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) secrets: Vec<String>,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response, secrets: Vec<String>) -> Self {
        Self {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.bytes().await.unwrap().to_vec(),
            secrets,
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.get_all(name).iter();
        let first = fields.next().map(|value| value.to_str().unwrap());
        assert!(fields.next().is_none(), "{name} occurs twice");
        first
    }

    /// 200, and what every answer has.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.common();
        self.json()
    }

    /// Contract §2: of every response.
    #[track_caller]
    pub(crate) fn common(&self) {
        assert_eq!(self.header("cache-control"), Some("no-store"));
        let id = self.header("x-correlation-id").expect("a correlation id");
        let grammar = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        assert!((1..=128).contains(&id.len()) && id.chars().all(grammar), "{id}");
        for secret in &self.secrets {
            assert!(!self.text().contains(secret), "the body repeats {secret}");
            for (name, value) in &self.headers {
                let value = String::from_utf8_lossy(value.as_bytes());
                assert!(!value.contains(secret), "{name} repeats {secret}");
            }
        }
    }

    /// A problem document of this kind, with everything that contract §2.6 says of it.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str, stage: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.common();
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        let known = [
            "type",
            "title",
            "status",
            "detail",
            "code",
            "stage",
            "retryable",
            "correlationId",
            "auditId",
        ];
        for name in problem.as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()), "unknown member {name}");
        }
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["stage"], stage, "{problem}");
        assert_eq!(problem["type"], format!("urn:stellaops:signer:problem:{code}"));
        assert_eq!(problem["status"], status);
        assert!(problem["title"].as_str().is_some_and(|title| title.len() > 4));
        assert!(
            problem["detail"].as_str().is_some_and(|detail| detail.len() > 10),
            "{problem}"
        );
        assert_eq!(
            problem["correlationId"].as_str(),
            self.header("x-correlation-id"),
            "the body names the request as the header does"
        );
        let retryable = [408, 429, 502, 503, 504].contains(&status) || code == "use_dpop_nonce";
        assert_eq!(problem["retryable"], retryable);
        self.refused_headers(status, code, stage);
        problem
    }

    #[track_caller]
    fn refused_headers(&self, status: u16, code: &str, stage: &str) {
        let retry_after = self
            .header("retry-after")
            .map(|value| value.parse::<u64>().unwrap());
        match status {
            429 | 503 => assert!(retry_after.is_some_and(|seconds| (1..=3600).contains(&seconds))),
            // A registry that is left alone for a while.
            502 if code == "registry_error" => {
                assert!(retry_after.is_none_or(|seconds| (1..=30).contains(&seconds)));
            }
            // Contract §2.6.
            409 if code == "idempotency_in_flight" => assert_eq!(retry_after, Some(1)),
            _ => assert_eq!(retry_after, None),
        }
        let challenge = self.header("www-authenticate");
        if status == 401 || code == "insufficient_scope" {
            let challenge = challenge.expect("a challenge");
            assert!(challenge.starts_with("DPoP "), "{challenge}");
            assert!(challenge.contains(r#"algs="ES256 "#), "{challenge}");
            let error = challenge.contains(&format!(r#"error="{code}""#));
            assert!(error || !challenge.contains("error="), "{challenge}");
        } else {
            assert_eq!(challenge, None);
        }
        if code == "use_dpop_nonce" {
            assert!(self.header("dpop-nonce").is_some());
        }
        // Once the rate gate has answered (contract §2.6).
        if ["quota", "release", "audit", "signing"].contains(&stage)
            && !["internal", "state_unavailable"].contains(&code)
        {
            self.rate();
        }
    }

    /// `q`, `r` and `t` of the rate fields (draft-ietf-httpapi-ratelimit-headers-10 §2 and §3).
    #[track_caller]
    pub(crate) fn rate(&self) -> (u64, u64, u64) {
        let policy = self.header("ratelimit-policy").expect("RateLimit-Policy");
        let quota = policy
            .strip_prefix(r#""tenant";q="#)
            .and_then(|rest| rest.strip_suffix(";w=1"));
        let rate = self.header("ratelimit").expect("RateLimit");
        let rest = rate.strip_prefix(r#""tenant";r="#).expect(rate);
        let (remaining, reset) = rest.split_once(";t=").expect(rate);
        (
            quota.expect(policy).parse().unwrap(),
            remaining.parse().unwrap(),
            reset.parse().unwrap(),
        )
    }
}
