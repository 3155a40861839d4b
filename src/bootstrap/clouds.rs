//! Keys in the clouds: settings of their backends.

use url::Url;

use super::backends::credential;
use crate::backends::aws;
use crate::config::{Aws, AwsLogin, PublicFile};

fn roots(file: Option<&PublicFile>) -> Option<Vec<u8>> {
    file.map(|file| file.bytes.clone())
}

/// An address of ours.
fn fixed(url: &str) -> Result<Url, String> {
    Url::parse(url).map_err(|error| error.to_string())
}

pub(super) fn aws(settings: &Aws) -> Result<aws::Settings, String> {
    let login = match &settings.login {
        AwsLogin::AccessKey {
            id,
            secret,
            session_token,
        } => aws::Login::AccessKey {
            id: credential(id),
            secret: credential(secret),
            session_token: session_token.as_ref().map(credential),
        },
        AwsLogin::WebIdentity {
            role_arn,
            token,
            endpoint,
        } => aws::Login::WebIdentity {
            role_arn: role_arn.clone(),
            token: credential(token),
            endpoint: endpoint.clone(),
        },
        AwsLogin::Instance => aws::Login::Instance {
            metadata: fixed(aws::INSTANCE_METADATA)?,
        },
    };
    Ok(aws::Settings {
        region: settings.region.clone(),
        key: settings.key.clone(),
        endpoint: settings.endpoint.clone(),
        roots_pem: roots(settings.roots.as_ref()),
        login,
    })
}
