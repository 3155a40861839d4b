//! Values of keys: types, durations, words. All strict: what is not exactly right is refused with its remedy.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, Utc};
use toml::{Table, Value};

use super::error::Problem;
use super::suggest::nearest;

/// A value of the file must have the key's type already.
pub(crate) fn same_type(value: &Value, like: &Value) -> Result<Value, Problem> {
    if value.same_type(like) {
        Ok(value.clone())
    } else {
        Err(wrong_type(like.type_str(), value))
    }
}

/// The problem of a value of the wrong type. Does not repeat the value: it may be a secret put in the wrong place.
pub(crate) fn wrong_type(expected: &str, found: &Value) -> Problem {
    let remedy = match expected {
        "string" => "write it in double quotes",
        "integer" => "write a whole number without quotes",
        "boolean" => "write true or false without quotes",
        "array" => "write a list in brackets: [\"one\", \"two\"]",
        _ => "write a table: [section] or { key = value }",
    };
    Problem::new(
        format!("must be of type {expected}, not {}", found.type_str()),
        remedy,
    )
}

/// Text of an environment variable or flag, read as the key's type.
pub(crate) fn coerce(text: &str, like: &Value) -> Result<Value, Problem> {
    match like {
        Value::String(_) => Ok(Value::from(text)),
        Value::Integer(_) => {
            let number = text.parse::<i64>().ok().map(Value::Integer);
            number.ok_or_else(|| Problem::new("is not a whole number", "set it to digits alone"))
        }
        Value::Boolean(_) => match text {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            _ => Err(Problem::new(
                "is neither true nor false",
                "set it to true or false",
            )),
        },
        Value::Array(_) => array(text).ok_or_else(|| {
            let remedy = r#"set it to a TOML or JSON array: ["one", "two"] or [{ kind = "file", … }]"#;
            Problem::new("is not an array", remedy)
        }),
        _ => Err(Problem::new("cannot be set this way", "set its keys one by one")),
    }
}

fn array(text: &str) -> Option<Value> {
    let from_toml = || {
        let document = format!("value = {text}\n").parse::<Table>().ok()?;
        // One key alone: a line break in the text must not smuggle in a second one.
        let alone = document.len() == 1;
        document
            .into_iter()
            .next()
            .map(|(_, value)| value)
            .filter(|_| alone)
    };
    let from_json = || serde_json::from_str::<Value>(text).ok();
    from_toml().or_else(from_json).filter(Value::is_array)
}

/// A moment in RFC 3339 with its zone: `"2026-10-01T00:00:00Z"`.
pub(crate) fn moment(text: &str) -> Result<DateTime<Utc>, Problem> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc());
    parsed.map_err(|_| {
        let problem = format!("{text:?} is not a moment");
        Problem::new(
            problem,
            "write date, time and zone (RFC 3339): \"2026-10-01T00:00:00Z\"",
        )
    })
}

/// `"2ms"`, `"10s"`, `"5m"`, `"24h"`: digits and one unit, nothing else.
pub(crate) fn duration(text: &str, bounds: &RangeInclusive<Duration>) -> Result<Duration, Problem> {
    let malformed = || {
        let remedy = "write digits and one unit, ms, s, m or h: \"2ms\", \"10s\", \"5m\", \"24h\"";
        Problem::new(format!("{text:?} is not a duration"), remedy)
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(malformed)?;
    let number: u64 = number.parse().map_err(|_| malformed())?;
    let millis = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    let value = Duration::from_millis(millis.ok_or_else(malformed)?);
    if bounds.contains(&value) {
        Ok(value)
    } else {
        let remedy = format!(
            "choose a duration from {} to {}",
            show_duration(*bounds.start()),
            show_duration(*bounds.end())
        );
        Err(Problem::new(format!("{text} is out of bounds"), remedy))
    }
}

/// A duration as it is written in the configuration, in the largest unit that fits.
pub(crate) fn show_duration(value: Duration) -> String {
    let millis = value.as_millis();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 {
        "0s".to_owned()
    } else {
        format!("{millis}ms")
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Problem> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let remedy = match nearest(text, all.iter().copied()) {
            Some(near) => format!("did you mean {near:?}? choose one of {}", all.join(", ")),
            None => format!("choose one of {}", all.join(", ")),
        };
        Problem::new(format!("{text:?} is not a choice"), remedy)
    })
}

/// Text of 1 to `most` visible ASCII characters: identifiers, audiences, names of claims.
pub(crate) fn visible(text: &str, most: usize) -> Result<String, Problem> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        let remedy = format!("use 1 to {most} visible ASCII characters without spaces");
        Err(Problem::new(format!("{text:?} is not acceptable here"), remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_strict() {
        let bounds = Duration::ZERO..=Duration::from_secs(86_400);
        for (text, millis) in [
            ("0s", 0),
            ("2ms", 2),
            ("10s", 10_000),
            ("5m", 300_000),
            ("24h", 86_400_000),
        ] {
            let parsed = duration(text, &bounds).expect(text);
            assert_eq!(parsed.as_millis(), millis, "{text}");
            assert_eq!(show_duration(parsed), text);
        }
        for bad in [
            "",
            "10",
            "s",
            "10 s",
            " 10s",
            "10s ",
            "1.5s",
            "-1s",
            "+1s",
            "10S",
            "1m30s",
            "1d",
            "١s",
            "18446744073709551615h",
            "99999999999999999999s",
            "25h",
        ] {
            assert!(duration(bad, &bounds).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn text_of_the_environment_takes_the_type_of_the_key() {
        let integer = Value::Integer(0);
        assert_eq!(coerce("12", &integer).ok(), Some(Value::Integer(12)));
        for bad in ["", "12a", "0x1", "1_0", "\"1\""] {
            assert!(coerce(bad, &integer).is_err(), "{bad}");
        }
        assert_eq!(
            coerce("true", &Value::Boolean(false)).ok(),
            Some(Value::Boolean(true))
        );
        assert!(coerce("yes", &Value::Boolean(false)).is_err());
        let array = Value::Array(Vec::new());
        let expected = Value::Array(vec![Value::from("a"), Value::from("b")]);
        assert_eq!(coerce(r#"["a", "b"]"#, &array).ok(), Some(expected));
        let toml = coerce(r#"[{ kind = "file", deterministic = true }]"#, &array).expect("inline tables");
        let json = coerce(r#"[{ "kind": "file", "deterministic": true }]"#, &array).expect("JSON objects");
        assert_eq!(toml, json);
        for bad in ["", "a", "a,b", "\"a\"", "[1", "[]\nother = 1"] {
            assert!(coerce(bad, &array).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_word_names_the_choices() {
        let words = [("off", 0), ("optional", 1), ("required", 2)];
        assert_eq!(choice("optional", &words).ok(), Some(1));
        let problem = choice("optionl", &words).expect_err("a misspelt word");
        assert_eq!(
            problem.remedy,
            "did you mean \"optional\"? choose one of off, optional, required"
        );
        assert!(choice("Off", &words).is_err());
    }
}
