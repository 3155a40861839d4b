//! Registry authentication: the Bearer token flow of the distribution project (`docs/spec/auth/token.md`) and Basic,
//! both only for pulling from one repository.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::ChallengeRef;
use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::settings::Credentials;

/// Longest answer of a token realm, in bytes.
pub(super) const MAX_TOKEN_ANSWER: u64 = 64 * 1024;

/// Most challenges that are looked at.
const MAX_CHALLENGES: usize = 8;

/// Longest token, in bytes: it goes into the head of every call that follows.
const MAX_TOKEN: usize = 16 * 1024;

/// What a challenge asks for.
pub(super) enum Answer {
    /// Present this in `Authorization`.
    Present(HeaderValue),
    /// Ask this realm for a token. The URL is not checked yet.
    Ask {
        url: Url,
        authorization: Option<HeaderValue>,
    },
}

/// Reads the challenges of a 401 and picks Bearer before Basic.
pub(super) fn answer(
    headers: &HeaderMap,
    credentials: Option<&Credentials>,
    name: &str,
) -> Result<Answer, String> {
    let malformed = "the registry's authentication challenge is malformed";
    let mut challenges: Vec<ChallengeRef<'_>> = Vec::new();
    for value in headers.get_all(WWW_AUTHENTICATE) {
        let value = value.to_str().map_err(|_| malformed)?;
        for challenge in ChallengeParser::new(value) {
            if challenges.len() == MAX_CHALLENGES {
                return Err(malformed.to_owned());
            }
            challenges.push(challenge.map_err(|_| malformed)?);
        }
    }
    let by_scheme = |scheme: &str| challenges.iter().find(|c| c.scheme.eq_ignore_ascii_case(scheme));
    if let Some(bearer) = by_scheme("Bearer") {
        let url = token_url(bearer, name).ok_or(malformed)?;
        let authorization = credentials.map(basic).transpose()?;
        return Ok(Answer::Ask { url, authorization });
    }
    match (by_scheme("Basic"), credentials) {
        (Some(_), Some(credentials)) => basic(credentials).map(Answer::Present),
        (Some(_), None) => {
            Err("the registry asks for credentials, and none are configured for it".to_owned())
        }
        (None, _) => {
            Err("the registry asks for an authentication that is neither Bearer nor Basic".to_owned())
        }
    }
}

/// The realm with `service` as challenged, and our own scope: whatever it names, only pulling is asked for.
fn token_url(challenge: &ChallengeRef<'_>, name: &str) -> Option<Url> {
    // At most one of a name: two would be two meanings.
    let parameter = |wanted: &str| {
        let mut found = challenge
            .params
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(wanted));
        match (found.next(), found.next()) {
            (value, None) => Some(value.map(|(_, value)| value.to_unescaped())),
            _ => None,
        }
    };
    let mut url = Url::parse(&parameter("realm")??).ok()?;
    // A query of its own could ask for another scope beside ours.
    if url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    if let Some(service) = parameter("service")? {
        url.query_pairs_mut().append_pair("service", &service);
    }
    url.query_pairs_mut()
        .append_pair("scope", &format!("repository:{name}:pull"));
    Some(url)
}

/// `Basic` credentials (RFC 7617), kept out of debug prints.
fn basic(credentials: &Credentials) -> Result<HeaderValue, String> {
    let pair = Zeroizing::new(format!(
        "{}:{}",
        credentials.username,
        credentials.password.as_str()
    ));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    sensitive(&format!("Basic {}", encoded.as_str()))
}

/// `b64token` (RFC 6750 §2.1): nothing that could end the credentials and begin others.
fn is_b64token(token: &str) -> bool {
    let body = token.trim_end_matches('=');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(plain)
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// The token of a realm's answer, as an `Authorization` value.
pub(super) fn bearer(body: &[u8]) -> Result<HeaderValue, String> {
    let answer: TokenAnswer =
        serde_json::from_slice(body).map_err(|_| "the token realm's answer is malformed")?;
    let token = answer
        .token
        .or(answer.access_token)
        .filter(|token| !token.is_empty());
    let token = token.ok_or("the token realm's answer holds no token")?;
    if token.len() > MAX_TOKEN || !is_b64token(&token) {
        return Err("the token realm's answer holds no usable token".to_owned());
    }
    sensitive(&format!("Bearer {}", token.as_str()))
}

fn sensitive(value: &str) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::from_str(value).map_err(|_| "the token cannot be sent in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            host: "registry.example".into(),
            name: None,
            username: "Aladdin".into(),
            password: Zeroizing::new("open sesame".into()),
        }
    }

    fn ask(challenge: &str, credentials: Option<&Credentials>) -> Result<Answer, String> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        answer(&headers, credentials, "stellaops/scanner")
    }

    #[test]
    fn a_bearer_challenge_leads_to_its_realm_with_our_scope() {
        let challenge = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:x:push,pull""#;
        let Answer::Ask { url, authorization } = ask(challenge, None).unwrap() else {
            panic!("asks")
        };
        assert_eq!(
            url.as_str(),
            "https://auth.example/token?service=registry.example&scope=repository%3Astellaops%2Fscanner%3Apull"
        );
        assert!(authorization.is_none());
    }

    #[test]
    fn basic_is_rfc_7617() {
        let Answer::Present(value) = ask("Basic realm=\"r\"", Some(&credentials())).unwrap() else {
            panic!("presents")
        };
        // RFC 7617 §2, the example.
        assert_eq!(value.as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(value.is_sensitive());
        assert!(ask("Basic realm=\"r\"", None).is_err());
    }

    #[test]
    fn strange_challenges_are_refused() {
        for bad in [
            "",
            "Bearer",
            "Bearer realm=\"not a url\"",
            "Negotiate",
            "Bearer realm=\"https://a\",realm=\"https://b\"",
            "Bearer realm=\"/token\"",
            "Bearer realm=\"https://a/token?scope=repository:other:push\"",
            "Bearer realm=\"https://a/token#x\"",
            "Bearer realm=\"https://a/token\",service=\"x\",service=\"y\"",
            &["Basic realm=\"r\""; 9].join(", "),
        ] {
            assert!(ask(bad, Some(&credentials())).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn tokens_are_read_from_either_member() {
        assert_eq!(bearer(br#"{"token":"abc"}"#).unwrap().as_bytes(), b"Bearer abc");
        assert_eq!(
            bearer(br#"{"access_token":"abc","expires_in":60}"#)
                .unwrap()
                .as_bytes(),
            b"Bearer abc"
        );
        for bad in [
            &b""[..],
            b"{}",
            br#"{"token":""}"#,
            br#"{"token":"a\nb"}"#,
            br#"{"token":5}"#,
            br#"{"token":"a","token":"b"}"#,
            br#"{"token":"a b"}"#,
            br#"{"token":"a,Basic x"}"#,
            br#"{"token":"a=b"}"#,
            br#"{"token":"=="}"#,
            format!(r#"{{"token":"{}"}}"#, "a".repeat(MAX_TOKEN + 1)).as_bytes(),
        ] {
            assert!(bearer(bad).is_err());
        }
    }
}
