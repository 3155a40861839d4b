//! Keys in the clouds: settings of their backends.

use url::Url;

use super::backends::credential;
use crate::backends::{aws, azure, gcp};
use crate::config::{Aws, AwsLogin, Azure, AzureApplication, AzureLogin, Gcp, GcpLogin, PublicFile};

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

pub(super) fn gcp(settings: &Gcp) -> Result<gcp::Settings, String> {
    Ok(gcp::Settings {
        key: settings.key.clone(),
        endpoint: settings.endpoint.clone(),
        roots_pem: roots(settings.roots.as_ref()),
        login: match &settings.login {
            GcpLogin::AccountKey(key) => gcp::Login::AccountKey(credential(key)),
            GcpLogin::Token(token) => gcp::Login::Token(credential(token)),
            GcpLogin::Metadata => gcp::Login::Metadata {
                metadata: fixed(gcp::METADATA)?,
            },
        },
    })
}

pub(super) fn azure(settings: &Azure) -> Result<azure::Settings, String> {
    let application = |application: &AzureApplication, proof| azure::Login::Application {
        authority: application.authority.clone(),
        tenant: application.tenant.clone(),
        client_id: application.client_id.clone(),
        proof,
    };
    let login = match &settings.login {
        AzureLogin::Secret(of, secret) => application(of, azure::Proof::Secret(credential(secret))),
        AzureLogin::Federated(of, token) => application(of, azure::Proof::Assertion(credential(token))),
        AzureLogin::ManagedIdentity(client_id) => azure::Login::ManagedIdentity {
            metadata: fixed(azure::METADATA)?,
            client_id: client_id.clone(),
        },
    };
    Ok(azure::Settings {
        vault: settings.vault.clone(),
        key: settings.key.clone(),
        key_version: settings.key_version.clone(),
        resource: settings.resource.clone(),
        roots_pem: roots(settings.roots.as_ref()),
        login,
    })
}
