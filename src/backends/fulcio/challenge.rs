//! Proof of possession: which claim of the identity token Fulcio wants signed, and its value.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// The longest claim that is signed, in bytes: Fulcio puts it into a certificate.
const MAX_CLAIM: usize = 2048;
/// The most wildcards in an issuer's pattern: each multiplies the ways to match.
const MAX_WILDCARDS: usize = 3;

/// What Fulcio says of the issuers it knows: `GET /api/v2/configuration` (fulcio `fulcio.proto`, `Configuration`).
#[derive(Debug, Default, Deserialize)]
pub(super) struct Configuration {
    #[serde(default)]
    issuers: Vec<Issuer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Issuer {
    #[serde(default)]
    issuer_url: String,
    #[serde(default)]
    wildcard_issuer_url: String,
    #[serde(default)]
    challenge_claim: String,
}

impl Configuration {
    /// The claim that Fulcio verifies the proof against, for tokens of this issuer.
    fn claim_for(&self, issuer: &str) -> Option<&str> {
        let exact = self.issuers.iter().find(|known| known.issuer_url == issuer);
        let known = exact.or_else(|| {
            self.issuers.iter().find(|known| {
                let pattern = &known.wildcard_issuer_url;
                (1..=MAX_WILDCARDS).contains(&pattern.matches('*').count())
                    && matches_wildcard(pattern, issuer)
            })
        })?;
        (!known.challenge_claim.is_empty()).then_some(known.challenge_claim.as_str())
    }
}

/// `*` stands for one or more of `[-_a-zA-Z0-9]` (fulcio `pkg/config`, `metaRegex`).
fn matches_wildcard(pattern: &str, issuer: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == issuer;
    };
    let Some(rest) = issuer.strip_prefix(head) else {
        return false;
    };
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let longest = rest.chars().take_while(plain).count();
    // Plain characters are one byte each, so counts are offsets.
    (1..=longest).any(|taken| rest.get(taken..).is_some_and(|rest| matches_wildcard(tail, rest)))
}

/// The value to sign: the claim that `configuration` names for the token's issuer, else `email` if the expected
/// subject is an e-mail address, else `sub`. The token is ours and not verified here; Fulcio does.
pub(super) fn challenge(
    token: &str,
    configuration: Option<&Configuration>,
    expect_subject: &str,
) -> Result<String, String> {
    let claims = claims(token).ok_or("the identity token is not a JWT with a readable payload")?;
    let text = |claim: &str| claims.get(claim).and_then(|value| value.as_str());
    let issuer = text("iss").ok_or("the identity token has no issuer")?;
    let fallback = if is_email(expect_subject) { "email" } else { "sub" };
    let claim = configuration
        .and_then(|c| c.claim_for(issuer))
        .unwrap_or(fallback);
    let value = text(claim).filter(|value| !value.is_empty() && value.len() <= MAX_CLAIM);
    value.map(str::to_owned).ok_or_else(|| {
        // Fulcio chose the name: it is not repeated beyond what it can be.
        let claim = if matches!(claim, "email" | "sub") {
            claim
        } else {
            "that Fulcio asks for"
        };
        format!("the identity token lacks the claim {claim}: ask the issuer for a token that has it")
    })
}

fn is_email(subject: &str) -> bool {
    subject.contains('@') && !subject.contains("://")
}

/// The payload of a JWT (RFC 7519 §7.2), unverified.
fn claims(token: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    /// The shape of the public instance's answer, shortened.
    fn configuration() -> Configuration {
        serde_json::from_str(
            r#"{"issuers":[
              {"issuerUrl":"https://accounts.google.com","audience":"sigstore","challengeClaim":"email","spiffeTrustDomain":""},
              {"issuerUrl":"https://token.actions.githubusercontent.com","audience":"sigstore","challengeClaim":"sub"},
              {"wildcardIssuerUrl":"https://oidc.eks.*.amazonaws.com/id/*","audience":"sigstore","challengeClaim":"sub"}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_configured_claim_is_signed() {
        let known = configuration();
        let google = token(r#"{"iss":"https://accounts.google.com","sub":"110","email":"a@b.example"}"#);
        assert_eq!(
            challenge(&google, Some(&known), "https://x.example").unwrap(),
            "a@b.example"
        );
        let github = token(
            r#"{"iss":"https://token.actions.githubusercontent.com","sub":"repo:o/r","email":"a@b.example"}"#,
        );
        assert_eq!(
            challenge(&github, Some(&known), "a@b.example").unwrap(),
            "repo:o/r"
        );
        let eks =
            token(r#"{"iss":"https://oidc.eks.eu-west-1.amazonaws.com/id/B02C","sub":"sa","email":"e@f"}"#);
        assert_eq!(challenge(&eks, Some(&known), "e@f").unwrap(), "sa");
        let no_email = token(r#"{"iss":"https://accounts.google.com","sub":"110"}"#);
        assert!(
            challenge(&no_email, Some(&known), "a@b.example")
                .unwrap_err()
                .contains("claim email")
        );
    }

    #[test]
    fn without_configuration_the_expected_subject_decides() {
        let both = token(r#"{"iss":"https://authority.example","sub":"signer","email":"a@b.example"}"#);
        for known in [None, Some(&configuration())] {
            assert_eq!(challenge(&both, known, "a@b.example").unwrap(), "a@b.example");
            assert_eq!(
                challenge(&both, known, "https://stellaops.example/signer").unwrap(),
                "signer"
            );
            assert_eq!(
                challenge(&both, known, "https://user@stellaops.example").unwrap(),
                "signer"
            );
        }
    }

    #[test]
    fn wildcards_take_one_label() {
        let pattern = "https://oidc.eks.*.amazonaws.com/id/*";
        assert!(matches_wildcard(
            pattern,
            "https://oidc.eks.us-east-2.amazonaws.com/id/A_1"
        ));
        for bad in [
            "https://oidc.eks..amazonaws.com/id/A",
            "https://oidc.eks.a.b.amazonaws.com/id/A",
            "https://oidc.eks.a.amazonaws.com/id/",
            "https://oidc.eks.a.amazonaws.com/id/A/b",
            "https://evil.example/oidc.eks.a.amazonaws.com/id/A",
        ] {
            assert!(!matches_wildcard(pattern, bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_quoted() {
        let long = token(&format!(r#"{{"iss":"i","sub":"{}"}}"#, "x".repeat(MAX_CLAIM + 1)));
        for bad in [
            "",
            "a.b",
            "a.b.c.d",
            "e30.!!.c2ln",
            &token("[]"),
            &token(r#"{"sub":"x"}"#),
            &long,
        ] {
            let error = challenge(bad, None, "s").unwrap_err();
            assert!(error.starts_with("the identity token"), "{error}");
            assert!(error.len() < 120);
        }
        assert!(challenge(&token(r#"{"iss":"i","sub":7}"#), None, "s").is_err());
    }
}
