//! The HTTP interface: signed requests, and what errors mean.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use signer_actors::ports::Clock;
use url::Url;

use super::super::remote::RemoteError;
use super::super::wire::{Answer, Wire, quotable};
use super::{Settings, private, regional};

const TARGET: &str = "x-amz-target";

/// Talks to KMS in one region.
#[derive(Debug)]
pub(super) struct Api {
    wire: Wire,
    endpoint: Url,
    region: String,
    clock: Arc<dyn Clock>,
}

/// What the service is doing, for errors and their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `GetPublicKey`
    ReadKey,
    /// `Sign`
    Sign,
}

impl Step {
    fn target(self) -> &'static str {
        match self {
            Self::ReadKey => "TrentService.GetPublicKey",
            Self::Sign => "TrentService.Sign",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::ReadKey => "reading the key in AWS KMS",
            Self::Sign => "signing in AWS KMS",
        }
    }
}

/// <https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html>, as AWS JSON 1.1 carries them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    #[serde(rename = "__type")]
    kind: String,
    /// Services differ in the case of the first letter.
    #[serde(alias = "Message")]
    message: String,
}

impl Api {
    pub(super) fn new(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let endpoint = match &settings.endpoint {
            Some(endpoint) => private(endpoint)?,
            None => regional("kms", &settings.region)?,
        };
        Ok(Self {
            wire: Wire::new("AWS KMS", settings.roots_pem.as_deref())?,
            endpoint,
            region: settings.region.clone(),
            clock,
        })
    }

    /// Asks in the name of these credentials, and reads the answer.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        step: Step,
        credentials: &Credentials,
        body: &Value,
    ) -> Result<T, RemoteError> {
        let failed = |text: &str| RemoteError::Failed(format!("{}: {text}", step.name()));
        let body = body.to_string();
        let headers = self
            .headers(step, credentials, body.as_bytes())
            .ok_or_else(|| failed("the request could not be signed: look at the credentials"))?;
        let request = self
            .wire
            .client()
            .post(self.endpoint.clone())
            .headers(headers)
            .body(body);
        let answer = self.wire.send(request).await?;
        if answer.status != StatusCode::OK {
            return Err(refusal(step, &answer, credentials));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| failed("the answer is not what the interface promises"))
    }

    /// SigV4, <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.
    fn headers(&self, step: Step, credentials: &Credentials, body: &[u8]) -> Option<HeaderMap> {
        let plain = [
            (CONTENT_TYPE.as_str(), "application/x-amz-json-1.1"),
            (TARGET, step.target()),
        ];
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("kms")
            .time(self.clock.now().into())
            .settings(SigningSettings::default())
            .build()
            .ok()?
            .into();
        let signable = SignableRequest::new(
            "POST",
            self.endpoint.as_str(),
            plain.into_iter(),
            SignableBody::Bytes(body),
        );
        let (instructions, _) = sign(signable.ok()?, &params).ok()?.into_parts();
        let signed = instructions.headers().map(|(name, value)| (name, value, true));
        let plain = plain.into_iter().map(|(name, value)| (name, value, false));
        let mut headers = HeaderMap::new();
        for (name, value, sensitive) in plain.chain(signed) {
            let mut value = HeaderValue::from_str(value).ok()?;
            value.set_sensitive(sensitive);
            headers.insert(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
        }
        Some(headers)
    }
}

/// What a status other than 200 means.
fn refusal(step: Step, answer: &Answer, credentials: &Credentials) -> RemoteError {
    let said: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    // With the name of the interface before it, or without.
    let kind = said.kind.rsplit('#').next().unwrap_or_default();
    let secrets = [
        credentials.secret_access_key(),
        credentials.session_token().unwrap_or_default(),
    ];
    let (kind, words) = (quotable(kind, &secrets), quotable(&said.message, &secrets));
    let status = answer.status.as_u16();
    let text = format!("{}: status {status}, {kind}: {words}", step.name());
    if is_about_time(&kind, &said.message) {
        return RemoteError::Unavailable(format!("{text}; compare the clock of this machine"));
    }
    match kind.as_str() {
        // Credentials that ended, were revoked or replaced: with what is in the files now it may do.
        "ExpiredTokenException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "InvalidClientTokenId"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException"
            if step == Step::Sign =>
        {
            RemoteError::Ended(text)
        }
        "ThrottlingException" | "Throttling" | "LimitExceededException" | "TooManyRequestsException" => {
            RemoteError::Unavailable(text)
        }
        _ if status == 429 || status >= 500 => RemoteError::Unavailable(text),
        _ => RemoteError::Failed(text),
    }
}

/// Requests are good for five minutes around their time:
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/signature-v4-troubleshooting.html>.
fn is_about_time(kind: &str, message: &str) -> bool {
    matches!(kind, "RequestExpired" | "RequestTimeTooSkewed")
        || (kind == "InvalidSignatureException"
            && ["Signature expired", "Signature not yet current"]
                .iter()
                .any(|words| message.starts_with(words)))
}
