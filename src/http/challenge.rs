//! `WWW-Authenticate`: how a caller that was refused can authenticate (RFC 9110 §11.6.1).

use std::fmt::Write as _;

use actix_web::http::header::HeaderValue;
use signer_actors::domain::caller::{Scheme, Scope};
use signer_actors::domain::code::Code;

/// Names the service where `Bearer` needs a parameter and there is nothing else to say: RFC 6750 §3 wants at least one.
const REALM: &str = "signer";

/// What a refusal says besides which schemes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Nothing, as there were no credentials (RFC 6750 §3.1, RFC 9449 §7.1).
    Plain,
    /// This error.
    Error(Code),
    /// `insufficient_scope`, and the scope that is missing (RFC 6750 §3.1).
    Scope(Scope),
}

/// The schemes that this service takes.
#[derive(Clone, Copy, Debug)]
pub struct Schemes<'a> {
    /// `algs` of DPoP: algorithms of proofs, separated by spaces (RFC 9449 §7.1).
    pub algorithms: &'a str,
    /// Whether `Bearer` is one: only where client certificates can reach the service, as no other token may be sent so.
    pub bearer: bool,
}

impl Challenge {
    /// The field: a challenge for each scheme, DPoP first. That of the scheme which the caller used tells the error; both
    /// do where that is ambiguous, `None` (RFC 9449 §7.2).
    pub fn field(self, schemes: Schemes<'_>, used: Option<Scheme>, detail: &str) -> HeaderValue {
        // The errors of proofs mean nothing to Bearer.
        let of_proof = matches!(self, Self::Error(Code::InvalidDpopProof | Code::UseDpopNonce));
        let as_bearer = schemes.bearer && !of_proof && used != Some(Scheme::Dpop);
        let as_dpop = !schemes.bearer || of_proof || used != Some(Scheme::Bearer);
        let error = self.error(detail);
        let mut text = String::from("DPoP ");
        for parameter in error.iter().filter(|_| as_dpop) {
            text.push_str(parameter);
            text.push_str(", ");
        }
        let _ = write!(text, "algs=\"{}\"", schemes.algorithms);
        if schemes.bearer && as_bearer && !error.is_empty() {
            let _ = write!(text, ", Bearer {}", error.join(", "));
        } else if schemes.bearer {
            let _ = write!(text, ", Bearer realm=\"{REALM}\"");
        }
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("DPoP"))
    }

    /// `error`, `error_description`, `scope` (RFC 6750 §3).
    fn error(self, detail: &str) -> Vec<String> {
        let (code, scope) = match self {
            Self::Plain => return Vec::new(),
            Self::Error(code) => (code, None),
            Self::Scope(scope) => (Code::InsufficientScope, Some(scope)),
        };
        // RFC 6750 §3: %x20-21 / %x23-5B / %x5D-7E, so nothing in it ends the quoted string.
        let description: String = detail
            .chars()
            .filter(|c| (' '..='~').contains(c) && !matches!(c, '"' | '\\'))
            .collect();
        let mut parameters = vec![
            format!("error=\"{}\"", code.as_str()),
            format!("error_description=\"{description}\""),
        ];
        parameters.extend(scope.map(|scope| format!("scope=\"{}\"", scope.as_str())));
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(challenge: Challenge, bearer: bool, used: Option<Scheme>) -> String {
        let schemes = Schemes {
            algorithms: "ES256 EdDSA",
            bearer,
        };
        let field = challenge.field(schemes, used, "what to do");
        field.to_str().unwrap().to_owned()
    }

    /// RFC 9449 §7.1, §7.2 and figures 15 to 19; RFC 6750 §3.
    #[test]
    fn every_challenge() {
        use Challenge::{Error, Plain, Scope};
        use signer_actors::domain::caller::Scope::Sign;
        const DPOP: &str = r#"DPoP algs="ES256 EdDSA""#;
        const BEARER: &str = r#"Bearer realm="signer""#;
        let told = |scheme: &str, code: &str, rest: &str| {
            format!(r#"{scheme} error="{code}", error_description="what to do"{rest}"#)
        };
        let algs = r#", algs="ES256 EdDSA""#;
        let dpop = |code: &str| told("DPoP", code, algs);
        let bearer = |code: &str| told("Bearer", code, "");
        let both = |dpop: &str, bearer: &str| format!("{dpop}, {bearer}");
        let scope = r#", scope="signer.sign""#;
        let (as_dpop, as_bearer) = (Some(Scheme::Dpop), Some(Scheme::Bearer));
        let invalid = Error(Code::InvalidToken);
        for (challenge, certificates, used, expected) in [
            // Proofs alone: one scheme, whatever the caller tried.
            (Plain, false, None, DPOP.to_owned()),
            (invalid, false, as_dpop, dpop("invalid_token")),
            (invalid, false, as_bearer, dpop("invalid_token")),
            (invalid, false, None, dpop("invalid_token")),
            (
                Error(Code::InvalidDpopProof),
                false,
                as_dpop,
                dpop("invalid_dpop_proof"),
            ),
            (Error(Code::UseDpopNonce), false, as_dpop, dpop("use_dpop_nonce")),
            (
                Scope(Sign),
                false,
                as_dpop,
                told("DPoP", "insufficient_scope", &format!("{scope}{algs}")),
            ),
            // Certificates, too: both schemes, and the error where it belongs.
            (Plain, true, None, both(DPOP, BEARER)),
            (invalid, true, as_dpop, both(&dpop("invalid_token"), BEARER)),
            (invalid, true, as_bearer, both(DPOP, &bearer("invalid_token"))),
            (
                invalid,
                true,
                None,
                both(&dpop("invalid_token"), &bearer("invalid_token")),
            ),
            (
                Error(Code::InvalidDpopProof),
                true,
                as_bearer,
                both(&dpop("invalid_dpop_proof"), BEARER),
            ),
            (
                Error(Code::UseDpopNonce),
                true,
                as_dpop,
                both(&dpop("use_dpop_nonce"), BEARER),
            ),
            (
                Scope(Sign),
                true,
                as_bearer,
                both(DPOP, &told("Bearer", "insufficient_scope", scope)),
            ),
        ] {
            assert_eq!(
                field(challenge, certificates, used),
                expected,
                "{challenge:?}, certificates: {certificates}, {used:?}"
            );
        }
    }

    #[test]
    fn a_detail_cannot_leave_its_quotes() {
        let schemes = Schemes {
            algorithms: "ES256",
            bearer: false,
        };
        let field = Challenge::Error(Code::InvalidToken).field(schemes, None, "say \"no\"\r\nX: y\\ü");
        assert_eq!(
            field,
            r#"DPoP error="invalid_token", error_description="say noX: y", algs="ES256""#
        );
    }
}
