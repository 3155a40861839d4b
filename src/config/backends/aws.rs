//! `kind = "aws-kms"`

use url::Url;

use super::super::error::Problem;
use super::super::files::PublicFile;
use super::super::reader::{Section, key, required};
use super::super::secret::{Secret, Use};
use super::super::{net, pem};

/// A key in AWS KMS.
#[derive(Clone, Debug, PartialEq)]
pub struct Aws {
    /// Its region.
    pub region: String,
    /// Id, ARN or alias.
    pub key: String,
    /// Where KMS is; `None`: where the region has it.
    pub endpoint: Option<Url>,
    /// The only roots trusted for TLS; `None`: the system's.
    pub roots: Option<PublicFile>,
    /// How to sign in.
    pub login: AwsLogin,
}

/// How to sign in.
#[derive(Clone, Debug, PartialEq)]
pub enum AwsLogin {
    /// With an access key.
    AccessKey {
        /// Its id.
        id: Secret,
        /// Its secret.
        secret: Secret,
        /// The token of temporary ones.
        session_token: Option<Secret>,
    },
    /// As a role, with a token of an OpenID provider.
    WebIdentity {
        /// The role.
        role_arn: String,
        /// The token.
        token: Secret,
        /// Where STS is; `None`: where the region has it.
        endpoint: Option<Url>,
    },
    /// As the instance's role.
    Instance,
}

#[derive(Clone, Copy)]
enum Way {
    AccessKey,
    WebIdentity,
    Instance,
}

pub(super) fn read(s: &mut Section<'_>) -> Option<Aws> {
    let region = s.text(
        required("region", "eu-central-1", "Region of the key."),
        |text, _| region(text),
    );
    let name = s.text(
        required(
            "key",
            "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "The key: ARN, id, or alias/NAME, which counts at each opening.",
        ),
        |text, _| name(text),
    );
    let endpoint = s.optional(
        key(
            "endpoint",
            "",
            "Address of KMS where it is not https://kms.REGION.amazonaws.com: FIPS, VPC endpoints, other partitions.",
        ),
        net::origin,
    );
    let roots = s.optional(
        key(
            "roots",
            "",
            "The only roots trusted for TLS of KMS and STS, in PEM; empty: the system's.",
        ),
        pem::certificates_file,
    );
    let login = read_login(s);
    Some(Aws {
        region: region?,
        key: name?,
        endpoint: endpoint?,
        roots: roots?,
        login: login?,
    })
}

fn read_login(s: &mut Section<'_>) -> Option<AwsLogin> {
    let way = s.choice(
        key(
            "credentials",
            "access-key",
            "access-key; web-identity: a role, for a token of an OpenID provider (IRSA); instance: the instance's role (IMDSv2).",
        ),
        &[
            ("access-key", Way::AccessKey),
            ("web-identity", Way::WebIdentity),
            ("instance", Way::Instance),
        ],
    );
    let mut secret = |name, doc| s.secret(key(name, "", doc), Use::Text);
    let id = secret(
        "access_key_id",
        "For access-key: its id, by reference. Files are read again at each opening.",
    );
    let key_secret = secret("secret_access_key", "For access-key: its secret, by reference.");
    let session_token = secret(
        "session_token",
        "For temporary access keys: their token, by reference.",
    );
    let token = secret(
        "web_identity_token",
        "For web-identity: the token, by reference (file:/var/run/secrets/eks.amazonaws.com/serviceaccount/token).",
    );
    let role_arn = s.optional(
        key(
            "role_arn",
            "",
            "For web-identity: the role (arn:aws:iam::111122223333:role/signer).",
        ),
        |text, _| role(text),
    );
    let endpoint = s.optional(
        key(
            "sts_endpoint",
            "",
            "For web-identity: address of STS where it is not https://sts.REGION.amazonaws.com.",
        ),
        net::origin,
    );
    let (id, key_secret, session_token, token) = (id?, key_secret?, session_token?, token?);
    let (role_arn, endpoint) = (role_arn?, endpoint?);
    let of_key = id.is_some() || key_secret.is_some() || session_token.is_some();
    let of_role = token.is_some() || role_arn.is_some() || endpoint.is_some();
    match (way?, id, key_secret, role_arn, token) {
        (Way::AccessKey, Some(id), Some(secret), ..) if !of_role => Some(AwsLogin::AccessKey {
            id,
            secret,
            session_token,
        }),
        (Way::WebIdentity, _, _, Some(role_arn), Some(token)) if !of_key => Some(AwsLogin::WebIdentity {
            role_arn,
            token,
            endpoint,
        }),
        (Way::Instance, ..) if !of_key && !of_role => Some(AwsLogin::Instance),
        (way, ..) => {
            let remedy = match way {
                Way::AccessKey => "give access_key_id and secret_access_key, and nothing of web-identity",
                Way::WebIdentity => "give role_arn and web_identity_token, and no access key",
                Way::Instance => "give neither an access key nor anything of web-identity",
            };
            s.refuse("credentials", "does not go with the keys that are set", remedy);
            None
        }
    }
}

fn region(text: &str) -> Result<String, Problem> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let good = (1..=32).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-');
    good.then(|| text.to_owned()).ok_or_else(|| {
        Problem::new(
            format!("{text:?} is not a region"),
            "write it such as \"eu-central-1\"",
        )
    })
}

/// <https://docs.aws.amazon.com/kms/latest/APIReference/API_Sign.html>: `KeyId`
fn name(text: &str) -> Result<String, Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":/_-".contains(&b);
    let good = (1..=2048).contains(&text.len()) && text.bytes().all(plain);
    good.then(|| text.to_owned()).ok_or_else(|| {
        Problem::new(
            format!("{text:?} is not a key"),
            "give the key's ARN, its id, or \"alias/NAME\"",
        )
    })
}

fn role(text: &str) -> Result<String, Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":/_+=,.@-".contains(&b);
    let shaped = text.starts_with("arn:") && text.contains(":role/");
    let good = shaped && text.len() <= 2048 && text.bytes().all(plain);
    good.then(|| text.to_owned()).ok_or_else(|| {
        Problem::new(
            format!("{text:?} is not a role"),
            "write its ARN: \"arn:aws:iam::111122223333:role/signer\"",
        )
    })
}
