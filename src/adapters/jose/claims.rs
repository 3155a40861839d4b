//! Claims of a verified JWT, read strictly: the right type or refused, never coerced (RFC 7519 §2, §4.1).

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use signer_actors::domain::caller::Confirmation;
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::tenant::{InstallationId, TenantId};

use super::{Refused, array_from_b64url, is_visible, json};

/// Longest accepted identifier (`sub`, `client_id`, `jti`, `lic`, `plan`), in characters.
pub const MAX_IDENTIFIER: usize = 256;

/// Members of `cnf` that name a key or a certificate in ways not checked here: RFC 7800 §3.2 to §3.5, RFC 9203 §9.4, and as
/// in RFC 7515 §4.1.5 to §4.1.7.
const OTHER_KEYS: [&str; 8] = ["jwk", "jwe", "kid", "jku", "osc", "x5u", "x5c", "x5t"];

/// The claims of a JWT, or the members of an introspection answer.
#[derive(Clone)]
pub struct Claims(Map<String, Value>);

impl std::fmt::Debug for Claims {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Claims {
    /// Reads a payload: one JSON object without duplicate members.
    pub fn parse(payload: &[u8]) -> Result<Self, Refused> {
        json::parse_object(payload)
            .map(Self)
            .map_err(|why| Refused(format!("its claims: {why}")))
    }

    /// The members of an object inside of a payload that was parsed.
    pub fn of(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// Refuses members that are none of these: for documents in which an unknown one could be a condition misspelt.
    pub fn only(&self, known: &[&str]) -> Result<(), Refused> {
        if self.0.keys().all(|name| known.contains(&name.as_str())) {
            return Ok(());
        }
        Err(Refused(format!(
            "it has a member that is none of {}",
            known.join(", ")
        )))
    }

    /// A claim as it is.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A claim that must be a string.
    pub fn string(&self, name: &str) -> Result<&str, Refused> {
        match self.get(name) {
            Some(Value::String(value)) => Ok(value),
            Some(_) => Err(Refused(format!("its `{name}` is not a string"))),
            None => Err(missing(name)),
        }
    }

    /// A claim that must be a string of 1 to 256 visible ASCII characters.
    pub fn identifier(&self, name: &str) -> Result<&str, Refused> {
        self.string(name)
            .ok()
            .filter(|value| is_visible(value, MAX_IDENTIFIER))
            .ok_or_else(|| {
                Refused(format!(
                    "its `{name}` is not a string of 1 to 256 visible characters"
                ))
            })
    }

    /// `tid`: 1 to 128 characters of the grammar of names.
    pub fn tenant(&self) -> Result<TenantId, Refused> {
        TenantId::parse(self.string("tid")?).ok_or_else(|| "its `tid` is no tenant name".into())
    }

    /// `inst`: 1 to 128 characters of the grammar of names.
    pub fn installation(&self) -> Result<InstallationId, Refused> {
        InstallationId::parse(self.string("inst")?).ok_or_else(|| "its `inst` is no installation name".into())
    }

    /// A NumericDate (RFC 7519 §2): a JSON number of seconds, whole or not, of the years 1970 to 9999.
    pub fn date(&self, name: &str) -> Result<Option<DateTime<Utc>>, Refused> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        numeric_date(value)
            .map(Some)
            .ok_or_else(|| Refused(format!("its `{name}` is not a number of seconds since 1970")))
    }

    /// A NumericDate that must be there.
    pub fn required_date(&self, name: &str) -> Result<DateTime<Utc>, Refused> {
        self.date(name)?.ok_or_else(|| missing(name))
    }

    /// True when `aud` is the audience, or an array of strings containing it (RFC 7519 §4.1.3).
    pub fn is_for(&self, audience: &str) -> bool {
        match self.get("aud") {
            Some(Value::String(aud)) => aud == audience,
            Some(Value::Array(list)) => {
                list.iter().all(Value::is_string) && list.iter().any(|aud| aud == audience)
            }
            _ => false,
        }
    }

    /// `cnf` (RFC 7800 §3.1) with `jkt` (RFC 9449 §6.1), `x5t#S256` (RFC 8705 §3.1) or both. Members that are not understood
    /// are ignored, as that section wants (Keycloak adds `kc-jkt-type`). Those that name a key in a way which is not
    /// checked here are understood, and refused: ignoring one would free the token of a condition its issuer set.
    pub fn confirmation(&self) -> Result<Option<Confirmation>, Refused> {
        let members = match self.get("cnf") {
            None => return Ok(None),
            Some(Value::Object(members)) => members,
            Some(_) => return Err("its `cnf` is not an object".into()),
        };
        if OTHER_KEYS.iter().any(|name| members.contains_key(*name)) {
            return Err("its `cnf` names a key by other means than `jkt` and `x5t#S256`".into());
        }
        let digest = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(value) => value
                .as_str()
                .and_then(array_from_b64url)
                .map(|digest| Some(Sha256Digest(digest)))
                .ok_or_else(|| {
                    Refused(format!(
                        "its `cnf` has a `{name}` that is not base64url of 32 bytes"
                    ))
                }),
        };
        let confirmation = Confirmation {
            jkt: digest("jkt")?,
            x5t_s256: digest("x5t#S256")?,
        };
        if confirmation.is_empty() {
            return Err("its `cnf` confirms nothing: set `jkt` or `x5t#S256`".into());
        }
        Ok(Some(confirmation))
    }
}

fn missing(name: &str) -> Refused {
    Refused(format!("it has no `{name}`"))
}

/// Seconds since 1970, to the millisecond below.
pub fn numeric_date(value: &Value) -> Option<DateTime<Utc>> {
    // 9999-12-31T23:59:59Z: beyond it timestamps have no RFC 3339 form.
    const LAST: f64 = 253_402_300_799.0;
    let seconds = value.as_f64().filter(|s| (0.0..=LAST).contains(s))?;
    // In range and floored, so the conversion is exact: milliseconds fit an i64 and an f64's 53 bits.
    DateTime::from_timestamp_millis((seconds * 1000.0).floor() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        Claims::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn dates_are_numbers_and_nothing_else() {
        let read = |value: Value| claims(json!({ "exp": value })).date("exp");
        assert_eq!(
            read(json!(1562262616)).unwrap().unwrap().to_rfc3339(),
            "2019-07-04T17:50:16+00:00"
        );
        assert_eq!(read(json!(1.5)).unwrap().unwrap().timestamp_millis(), 1500);
        assert_eq!(read(json!(0)).unwrap().unwrap().timestamp(), 0);
        for bad in [
            json!("1562262616"),
            json!(true),
            json!(null),
            json!([1]),
            json!({}),
            json!(-1),
            json!(1e300),
            json!(253_402_300_800u64),
            json!(u64::MAX),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert_eq!(claims(json!({})).date("exp"), Ok(None));
        assert!(claims(json!({})).required_date("exp").is_err());
    }

    #[test]
    fn the_audience_is_matched_exactly() {
        for (aud, expected) in [
            (json!("signer"), true),
            (json!(["other", "signer"]), true),
            (json!("signer2"), false),
            (json!("Signer"), false),
            (json!(["other"]), false),
            (json!([]), false),
            (json!(["signer", 1]), false),
            (json!([["signer"]]), false),
            (json!({ "signer": 1 }), false),
            (json!(null), false),
        ] {
            assert_eq!(claims(json!({ "aud": aud })).is_for("signer"), expected, "{aud}");
        }
        assert!(!claims(json!({})).is_for("signer"));
    }

    #[test]
    fn a_confirmation_that_cannot_be_checked_is_refused() {
        let good = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        let read = |cnf: Value| claims(json!({ "cnf": cnf })).confirmation();
        let both = read(json!({ "jkt": good, "x5t#S256": good })).unwrap().unwrap();
        assert_eq!(both.jkt, both.x5t_s256);
        assert_eq!(crate::adapters::jose::b64url(&both.jkt.unwrap().0), good);
        for bad in [
            json!({}),
            json!(null),
            json!([]),
            json!(good),
            json!({ "jkt": 1 }),
            json!({ "jkt": "AAAA" }),
            json!({ "jkt": format!("{good}=") }),
            json!({ "jkt": null, "x5t#S256": good }),
            json!({ "jwk": {} }),
            json!({ "jkt": good, "kid": "k" }),
            json!({ "jkt": good, "osc": {} }),
            json!({ "jkt": good, "jwk": {} }),
            json!({ "jkt": good, "jwe": "e" }),
            json!({ "x5t#S256": good, "jku": "https://a.example" }),
            json!({ "JKT": good }),
            json!({ "x5t#s256": good }),
            json!({ "x5t": good }),
            json!({ "jkt": good, "x5t": "AAAA" }),
            json!({ "kc-jkt-type": "DPoP" }),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        // RFC 7800 §3.1: what is not understood is ignored.
        let more = read(json!({ "jkt": good, "kc-jkt-type": "DPoP" }))
            .unwrap()
            .unwrap();
        assert!(more.jkt.is_some() && more.x5t_s256.is_none());
        assert_eq!(claims(json!({})).confirmation(), Ok(None));
    }
}
