//! The metadata of an issuer, for its `jwks_uri`.

use reqwest::StatusCode;
use serde_json::Value;
use signer_actors::ports::SourceUnavailable;
use url::Url;

use super::fetch::{self, Http, unavailable};
use super::json;

/// Asks for OpenID Connect metadata first, and for RFC 8414 metadata where there is none.
pub(super) async fn jwks_uri(http: &Http, issuer: &str) -> Result<Url, SourceUnavailable> {
    let (oidc, oauth) = metadata_urls(issuer).ok_or_else(|| {
        unavailable("the issuer is no URL without query and fragment: set jwks_uri or jwks_file")
    })?;
    let (url, document) = match http.get(&oidc).await? {
        (StatusCode::OK, body) => (oidc, body),
        (StatusCode::NOT_FOUND, _) => {
            let body = http.get_ok(&oauth).await?;
            (oauth, body)
        }
        (status, _) => return Err(fetch::bad_status(&oidc, status)),
    };
    read(&document, issuer).map_err(|why| unavailable(&format!("{}: {why}", fetch::name(&url))))
}

fn read(document: &[u8], issuer: &str) -> Result<Url, String> {
    let metadata = json::parse_object(document).map_err(|why| why.to_string())?;
    let text = |name: &str| metadata.get(name).and_then(Value::as_str);
    // OpenID Connect Discovery 1.0 §4.3, RFC 8414 §3.3: identical, or the metadata is another issuer's.
    if text("issuer") != Some(issuer) {
        return Err("its `issuer` is not the configured issuer".to_owned());
    }
    text("jwks_uri")
        .and_then(|uri| Url::parse(uri).ok())
        .filter(crate::urls::is_private)
        .ok_or_else(|| "its `jwks_uri` is missing, or neither https nor http to loopback".to_owned())
}

/// `<issuer>/.well-known/openid-configuration` (Discovery 1.0 §4.1: after the issuer's path) and
/// `/.well-known/oauth-authorization-server<path>` (RFC 8414 §3.1: before it); a final slash goes in both.
fn metadata_urls(issuer: &str) -> Option<(Url, Url)> {
    let base = Url::parse(issuer)
        .ok()
        .filter(|url| url.query().is_none() && url.fragment().is_none() && !url.cannot_be_a_base())?;
    let path = base.path().trim_end_matches('/').to_owned();
    let with_path = |path: String| {
        let mut url = base.clone();
        url.set_path(&path);
        url
    };
    Some((
        with_path(format!("{path}/.well-known/openid-configuration")),
        with_path(format!("/.well-known/oauth-authorization-server{path}")),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_where_the_specifications_say() {
        // Discovery 1.0 §4.1 and RFC 8414 §3.1 give these examples.
        for (issuer, oidc, oauth) in [
            (
                "https://example.com",
                "https://example.com/.well-known/openid-configuration",
                "https://example.com/.well-known/oauth-authorization-server",
            ),
            (
                "https://example.com/issuer1",
                "https://example.com/issuer1/.well-known/openid-configuration",
                "https://example.com/.well-known/oauth-authorization-server/issuer1",
            ),
            (
                "https://example.com/issuer1/",
                "https://example.com/issuer1/.well-known/openid-configuration",
                "https://example.com/.well-known/oauth-authorization-server/issuer1",
            ),
        ] {
            let (a, b) = metadata_urls(issuer).unwrap();
            assert_eq!((a.as_str(), b.as_str()), (oidc, oauth));
        }
        for bad in [
            "authority",
            "https://example.com/?a",
            "https://example.com/#a",
            "urn:authority",
        ] {
            assert!(metadata_urls(bad).is_none(), "{bad}");
        }
    }
}
