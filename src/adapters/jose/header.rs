//! Compact JWS (RFC 7515 §7.1): splitting, and the header.

use serde_json::{Map, Value};
use signer_actors::domain::jws::JwsAlgorithm;

use super::{Refused, from_b64url, is_visible, json};

/// Longest accepted token or proof, in bytes as received.
pub const MAX_TOKEN: usize = 8 * 1024;
/// Longest accepted header, in bytes of base64url.
pub const MAX_HEADER: usize = 2 * 1024;
/// Longest accepted `kid`, in characters.
pub const MAX_KID: usize = 256;

/// A compact JWS taken apart; nothing of it is verified.
#[derive(Debug)]
pub struct Compact<'a> {
    /// What is signed: header and payload as received (RFC 7515 §5.2 step 8).
    pub signing_input: &'a str,
    /// The header.
    pub header: Header,
    /// The decoded payload.
    pub payload: Vec<u8>,
    /// The decoded signature.
    pub signature: Vec<u8>,
}

/// The members of a header that count here.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// `alg`, one of the accepted.
    pub algorithm: JwsAlgorithm,
    /// `typ`, reduced by [`media_type`].
    pub typ: String,
    /// `kid`, bounded and visible.
    pub kid: Option<String>,
    /// `jwk`, only in a proof.
    pub jwk: Option<Map<String, Value>>,
}

/// What a compact JWS is used as: decides whether it brings its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A token by a known issuer: keys or pointers to keys in its header are refused (RFC 8725 §3.10).
    Token,
    /// A DPoP proof: its key is in the header (RFC 9449 §4.2).
    Proof,
}

impl<'a> Compact<'a> {
    /// Splits, bounds and decodes strictly. Refuses every header that asks for what is not done here.
    pub fn parse(token: &'a str, used_as: Use) -> Result<Self, Refused> {
        Self::parse_within(token, used_as, MAX_TOKEN)
    }

    /// The same with another bound, in bytes as received.
    pub fn parse_within(token: &'a str, used_as: Use, most: usize) -> Result<Self, Refused> {
        let parts = Parts::split(token, most)?;
        Ok(Self {
            signing_input: parts.signing_input,
            header: parts.header(used_as)?,
            payload: parts.payload()?,
            signature: parts.signature()?,
        })
    }
}

/// The three parts of a compact JWS as they were received; nothing of them is read.
#[derive(Debug)]
pub struct Parts<'a> {
    /// What is signed: header and payload as received (RFC 7515 §5.2 step 8).
    pub signing_input: &'a str,
    /// The header, in base64url.
    pub header: &'a str,
    /// The payload, in base64url.
    payload: &'a str,
    /// The signature, in base64url.
    signature: &'a str,
}

impl<'a> Parts<'a> {
    /// Splits what has at most so many bytes.
    pub fn split(token: &'a str, most: usize) -> Result<Self, Refused> {
        if token.len() > most {
            return Err(Refused(format!("it is longer than {} KiB", most / 1024)));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("it is no compact JWS of three parts".into());
        };
        if header.len() > MAX_HEADER {
            return Err("its header is longer than 2 KiB".into());
        }
        // The signing input is everything before the last dot.
        let (signing_input, _) = token.rsplit_once('.').unwrap_or_default();
        Ok(Self {
            signing_input,
            header,
            payload,
            signature,
        })
    }

    /// Decodes and reads the header strictly. Refuses every header that asks for what is not done here.
    pub fn header(&self, used_as: Use) -> Result<Header, Refused> {
        Header::parse(&decode(self.header)?, used_as)
    }

    /// Decodes the payload strictly.
    pub fn payload(&self) -> Result<Vec<u8>, Refused> {
        decode(self.payload)
    }

    /// Decodes the signature strictly.
    pub fn signature(&self) -> Result<Vec<u8>, Refused> {
        decode(self.signature)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Refused> {
    from_b64url(part).ok_or_else(|| Refused::from("a part is not base64url without padding"))
}

impl Header {
    fn parse(bytes: &[u8], used_as: Use) -> Result<Self, Refused> {
        let mut object = json::parse_object(bytes).map_err(|why| Refused(format!("its header: {why}")))?;
        // RFC 7515 §4.1.11: an extension that must be understood and is not makes the JWS invalid; no extension is
        // understood here. `b64` (RFC 7797) changes what is signed.
        for name in ["crit", "b64"] {
            if object.contains_key(name) {
                return Err(Refused(format!(
                    "its header has `{name}`, which is not supported"
                )));
            }
        }
        // RFC 8725 §3.10: whoever made the token does not choose the key it is checked with.
        for name in ["jku", "x5u", "x5c"] {
            if object.contains_key(name) {
                return Err(Refused(format!("its header names a key by `{name}`: use `kid`")));
            }
        }
        let algorithm = object
            .get("alg")
            .and_then(Value::as_str)
            .and_then(JwsAlgorithm::parse)
            .ok_or_else(|| Refused::from("its `alg` is missing or not accepted"))?;
        let typ = object
            .get("typ")
            .and_then(Value::as_str)
            .map(media_type)
            .ok_or_else(|| Refused::from("its header has no `typ`"))?;
        let kid = match object.get("kid") {
            None => None,
            Some(Value::String(kid)) if is_visible(kid, MAX_KID) => Some(kid.clone()),
            Some(_) => return Err("its `kid` is not 1 to 256 visible characters".into()),
        };
        let jwk = match (used_as, object.remove("jwk")) {
            (Use::Token, None) => None,
            (Use::Token, Some(_)) => return Err("its header brings its own key in `jwk`: use `kid`".into()),
            (Use::Proof, Some(Value::Object(jwk))) => Some(jwk),
            (Use::Proof, _) => return Err("its header has no `jwk`".into()),
        };
        Ok(Self {
            algorithm,
            typ,
            kid,
            jwk,
        })
    }
}

/// A media type as compared: lower case, without `application/` (RFC 7515 §4.1.9).
pub fn media_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    match lower.strip_prefix("application/") {
        // The prefix may be left out only where no other slash is.
        Some(rest) if !rest.contains('/') => rest.to_owned(),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::jose::b64url;

    fn token(header: &str) -> String {
        format!("{}.e30.AA", b64url(header.as_bytes()))
    }

    #[track_caller]
    fn check(header: &str, used_as: Use, expected: &str) {
        let token = token(header);
        let outcome = match Compact::parse(&token, used_as) {
            Ok(compact) => {
                format!(
                    "{} {} {:?}",
                    compact.header.algorithm, compact.header.typ, compact.header.kid
                )
            }
            Err(why) => why.to_string(),
        };
        assert!(outcome.contains(expected), "{header}: {outcome}");
    }

    #[test]
    fn headers() {
        use Use::{Proof, Token};
        check(
            r#"{"alg":"ES256","typ":"at+jwt","kid":"a"}"#,
            Token,
            "ES256 at+jwt Some(\"a\")",
        );
        check(
            r#"{"alg":"EdDSA","typ":"Application/AT+JWT","x":1}"#,
            Token,
            "EdDSA at+jwt None",
        );
        check(
            r#"{"alg":"ES256","typ":"dpop+jwt","jwk":{}}"#,
            Proof,
            "ES256 dpop+jwt None",
        );
        for alg in [
            "\"none\"",
            "\"None\"",
            "\"HS256\"",
            "\"RS256\"",
            "\"es256\"",
            "\"ES512\"",
            "\"\"",
            "1",
            "null",
            "[\"ES256\"]",
        ] {
            check(
                &format!(r#"{{"alg":{alg},"typ":"at+jwt"}}"#),
                Token,
                "`alg` is missing or not accepted",
            );
        }
        check(r#"{"typ":"at+jwt"}"#, Token, "`alg` is missing");
        check(r#"{"alg":"ES256"}"#, Token, "no `typ`");
        check(r#"{"alg":"ES256","typ":1}"#, Token, "no `typ`");
        check(
            r#"{"alg":"none","alg":"ES256","typ":"at+jwt"}"#,
            Token,
            "member twice",
        );
        for member in ["crit", "b64", "jku", "x5u", "x5c", "jwk"] {
            check(
                &format!(r#"{{"alg":"ES256","typ":"at+jwt","{member}":[]}}"#),
                Token,
                member,
            );
        }
        for member in ["crit", "b64", "jku", "x5u", "x5c"] {
            check(
                &format!(r#"{{"alg":"ES256","typ":"dpop+jwt","jwk":{{}},"{member}":null}}"#),
                Proof,
                member,
            );
        }
        check(r#"{"alg":"ES256","typ":"dpop+jwt"}"#, Proof, "no `jwk`");
        check(r#"{"alg":"ES256","typ":"dpop+jwt","jwk":"k"}"#, Proof, "no `jwk`");
        for kid in [
            "\"\"",
            "1",
            "null",
            "\"a b\"",
            "\"\\n\"",
            &format!("\"{}\"", "k".repeat(257)),
        ] {
            check(
                &format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":{kid}}}"#),
                Token,
                "`kid`",
            );
        }
        check("[]", Token, "no JSON object");
    }

    #[test]
    fn splitting_is_strict_and_bounded() {
        let head = b64url(br#"{"alg":"ES256","typ":"at+jwt"}"#);
        let good = format!("{head}.e30.AA");
        assert_eq!(
            Compact::parse(&good, Use::Token).unwrap().signing_input,
            format!("{head}.e30")
        );
        for bad in [
            String::new(),
            "..".to_owned(),
            head.clone(),
            format!("{head}.e30"),
            format!("{good}.AA"),
            format!("{good}="),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{head}=.e30.AA"),
            format!("{head}.e3 0.AA"),
            format!("{head}.e31.AA"),
            format!("{head}.{}.AA", "e".repeat(MAX_TOKEN)),
            token(&format!(
                r#"{{"alg":"ES256","typ":"at+jwt","x":"{}"}}"#,
                "x".repeat(MAX_HEADER)
            )),
        ] {
            assert!(Compact::parse(&bad, Use::Token).is_err(), "{bad:.80}");
        }
    }

    #[test]
    fn media_types() {
        for (typ, expected) in [
            ("at+jwt", "at+jwt"),
            ("AT+JWT", "at+jwt"),
            ("application/at+jwt", "at+jwt"),
            ("APPLICATION/At+Jwt", "at+jwt"),
            ("application/at+jwt/x", "application/at+jwt/x"),
            ("text/at+jwt", "text/at+jwt"),
        ] {
            assert_eq!(media_type(typ), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_split_or_refused(text in ".{0,64}", header in "\\{[ -~]{0,40}\\}") {
            for used_as in [Use::Token, Use::Proof] {
                let _ = Compact::parse(&text, used_as);
                let _ = Compact::parse(&token(&header), used_as);
            }
        }
    }
}
