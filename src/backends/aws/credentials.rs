//! Where access keys come from.

use std::time::Duration;

use aws_credential_types::Credentials;
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::credential::CredentialSource;
use super::super::remote::RemoteError;
use super::super::wire::{Answer, quotable};
use super::{Inner, Login};

/// How the sessions of the role are named in CloudTrail.
const SESSION_NAME: &str = "stellaops-signer";
/// How long the metadata service's own token is good for, in seconds: it is used twice, at once.
const METADATA_TOKEN_SECONDS: &str = "60";
/// The longest of the values that AWS gives, in bytes.
const MAX_VALUE: usize = 16 * 1024;

/// Credentials that AWS gave for a while.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    #[serde(rename = "Token")]
    session_token: Zeroizing<String>,
    expiration: DateTime<Utc>,
}

/// What to sign requests with, and how long it is good for.
pub(super) async fn get(inner: &Inner) -> Result<(Credentials, Option<Duration>), RemoteError> {
    match &inner.settings.login {
        Login::AccessKey {
            id,
            secret,
            session_token,
        } => {
            let id = read(id, "AWS access key id").await?;
            let secret = read(secret, "AWS secret access key").await?;
            let token = match session_token {
                Some(token) => Some(read(token, "AWS session token").await?),
                None => None,
            };
            let token = token.map(|token| token.as_str().to_owned());
            Ok((credentials(&id, &secret, token), None))
        }
        Login::WebIdentity { role_arn, token, .. } => {
            let token = read(token, "web identity token").await?;
            limited(inner, assume(inner, role_arn, &token).await?)
        }
        Login::Instance { .. } => limited(inner, of_instance(inner).await?),
    }
}

async fn read(source: &CredentialSource, what: &'static str) -> Result<Zeroizing<String>, RemoteError> {
    source.read(what).await.map_err(RemoteError::Unavailable)
}

fn credentials(id: &str, secret: &str, token: Option<String>) -> Credentials {
    Credentials::new(id, secret, token, None, "stellaops-signer")
}

fn limited(inner: &Inner, given: Given) -> Result<(Credentials, Option<Duration>), RemoteError> {
    let shaped = [
        &given.access_key_id,
        &*given.secret_access_key,
        &*given.session_token,
    ]
    .iter()
    .all(|text| (1..=MAX_VALUE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()));
    let left = given.expiration.signed_duration_since(inner.clock.now()).to_std();
    match left {
        Ok(left) if shaped && !left.is_zero() => {
            let token = given.session_token.as_str().to_owned();
            let credentials = credentials(&given.access_key_id, &given.secret_access_key, Some(token));
            Ok((credentials, Some(left)))
        }
        Ok(_) => Err(RemoteError::Failed("AWS's answer holds no credentials".into())),
        Err(_) => Err(RemoteError::Unavailable(
            "the credentials that AWS gave have expired already: compare the clock of this machine".into(),
        )),
    }
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>: needs no signature.
async fn assume(inner: &Inner, role_arn: &str, token: &str) -> Result<Given, RemoteError> {
    let (wire, endpoint) = &inner.sts;
    let form = [
        ("Action", "AssumeRoleWithWebIdentity"),
        ("Version", "2011-06-15"),
        ("RoleArn", role_arn),
        ("RoleSessionName", SESSION_NAME),
        ("WebIdentityToken", token),
    ];
    let answer = wire
        .send(wire.client().post(endpoint.clone()).form(&form))
        .await?;
    let text = std::str::from_utf8(&answer.body).unwrap_or_default();
    if answer.status != StatusCode::OK {
        return Err(not_assumed(&answer, text, token));
    }
    from_xml(text).ok_or_else(|| {
        RemoteError::Failed(
            "assuming the role in AWS STS: the answer is not what the interface promises".into(),
        )
    })
}

fn from_xml(text: &str) -> Option<Given> {
    let expiration = DateTime::parse_from_rfc3339(only(text, "Expiration")?).ok()?;
    Some(Given {
        access_key_id: only(text, "AccessKeyId")?.to_owned(),
        secret_access_key: Zeroizing::new(only(text, "SecretAccessKey")?.to_owned()),
        session_token: Zeroizing::new(only(text, "SessionToken")?.to_owned()),
        expiration: expiration.with_timezone(&Utc),
    })
}

/// The text of the only element of that name. The values that are looked for never need markup (`&`, `<`): with any,
/// it is not such a value.
fn only<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = text.split_once(&open)?;
    let (value, after) = rest.split_once(&close)?;
    let plain = !value.contains(['<', '>', '&']) && !after.contains(&open);
    plain.then(|| value.trim())
}

fn not_assumed(answer: &Answer, body: &str, token: &str) -> RemoteError {
    let said = |name| quotable(only(body, name).unwrap_or_default(), &[token]);
    let (kind, words) = (said("Code"), said("Message"));
    let status = answer.status.as_u16();
    let text = format!("assuming the role in AWS STS: status {status}, {kind}: {words}");
    let busy = matches!(
        kind.as_str(),
        "Throttling" | "ThrottlingException" | "IDPCommunicationError"
    );
    if busy || status == 429 || status >= 500 {
        RemoteError::Unavailable(text)
    } else {
        RemoteError::Failed(text)
    }
}

/// IMDSv2: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>.
async fn of_instance(inner: &Inner) -> Result<Given, RemoteError> {
    let failed = |what: &str| RemoteError::Failed(format!("asking the instance's metadata service: {what}"));
    let (wire, base) = &inner.sts;
    let at = |path: &str| base.join(path).map_err(|_| failed("its address has no paths"));
    let request = wire
        .client()
        .put(at("latest/api/token")?)
        .header("X-aws-ec2-metadata-token-ttl-seconds", METADATA_TOKEN_SECONDS);
    let token = found(wire.send(request).await?)?;
    let token = Zeroizing::new(String::from_utf8(token).unwrap_or_default());
    let mut value = HeaderValue::from_str(token.trim()).map_err(|_| failed("its token is none"))?;
    value.set_sensitive(true);
    let get = |url| {
        wire.client()
            .get(url)
            .header("X-aws-ec2-metadata-token", value.clone())
    };
    let roles = "latest/meta-data/iam/security-credentials/";
    let role = found(wire.send(get(at(roles)?)).await?)?;
    // IAM role names: letters, digits and `+=,.@_-`, at most 64 of them; one line.
    let role = String::from_utf8(role).unwrap_or_default();
    let role = role.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    if role.is_empty() || role.len() > 64 || !role.bytes().all(plain) || role.bytes().all(|b| b == b'.') {
        return Err(failed("the instance has no role"));
    }
    let given = found(wire.send(get(at(&format!("{roles}{role}"))?)).await?)?;
    serde_json::from_slice(&given).map_err(|_| failed("the answer holds no credentials"))
}

fn found(answer: Answer) -> Result<Vec<u8>, RemoteError> {
    let status = answer.status.as_u16();
    let text = format!("asking the instance's metadata service: status {status}");
    match status {
        200 => Ok(answer.body),
        429 | 500.. => Err(RemoteError::Unavailable(text)),
        _ => Err(RemoteError::Failed(text)),
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn an_element_counts_when_it_is_the_only_one_and_plain() {
        for (text, expected) in [
            ("<A> x </A>", Some("x")),
            ("<B><A>x</A></B>", Some("x")),
            ("<A>x</A><A>y</A>", None),
            ("<A>x&amp;y</A>", None),
            ("<A><B>x</B></A>", None),
            ("<A>x", None),
            ("", None),
        ] {
            assert_eq!(only(text, "A"), expected, "{text}");
        }
    }
}
