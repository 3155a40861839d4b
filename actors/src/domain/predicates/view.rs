//! A look at a predicate whose canonical form was just written: at its outermost members where they were noted, and a
//! little way into one of them.

use std::ops::Range;

use super::NOTED;

/// How far a look goes into a member, in bytes. What lies behind is taken to be as it should.
const FAR: usize = 64 * 1024;

/// The outermost members of a predicate.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    text: &'a [u8],
    noted: &'a [Option<Range<usize>>],
}

/// Canonical text of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Json<'a>(&'a [u8]);

impl<'a> View<'a> {
    pub(super) fn new(text: &'a [u8], noted: &'a [Option<Range<usize>>]) -> Self {
        Self { text, noted }
    }

    pub(super) fn member(&self, name: &str) -> Option<Json<'a>> {
        let place = NOTED.binary_search(&name).ok()?;
        let range = self.noted.get(place)?.clone()?;
        self.text.get(range).map(Json)
    }
}

impl<'a> Json<'a> {
    /// Too far away to be looked at.
    pub(super) const UNSEEN: Self = Self(b"");

    pub(super) fn is_unseen(self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn starts_with(self, byte: u8) -> bool {
        self.0.first() == Some(&byte)
    }

    /// A string as its canonical text shows it: escapes stay, and what is looked for has none.
    pub(super) fn text(self) -> Option<&'a str> {
        let inside = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        std::str::from_utf8(inside).ok()
    }

    /// Whether some element of this array is such; yes, if it is too far to see; no, if this is no array.
    pub(super) fn any_element(self, such: impl Fn(Self) -> bool) -> bool {
        let Some(mut rest) = self.0.strip_prefix(b"[") else {
            return false;
        };
        rest = rest.get(..FAR).unwrap_or(rest);
        while !rest.starts_with(b"]") {
            let Some((element, behind)) = end_of_value(rest)
                .filter(|end| *end > 0)
                .and_then(|end| rest.split_at_checked(end))
            else {
                return true;
            };
            if such(Self(element)) {
                return true;
            }
            rest = behind.strip_prefix(b",").unwrap_or(behind);
        }
        false
    }

    /// A member of this object, `Some(None)` if it has none of this name; `None` if that is too far to see.
    pub(super) fn member(self, name: &str) -> Option<Option<Json<'a>>> {
        let Some(mut rest) = self.0.strip_prefix(b"{") else {
            return Some(None);
        };
        rest = rest.get(..FAR).unwrap_or(rest);
        while rest.first() == Some(&b'"') {
            let end = end_of_value(rest)?;
            let found = rest.get(1..end.saturating_sub(1))?;
            // Behind the colon.
            rest = rest.get(end + 1..)?;
            let end = end_of_value(rest)?;
            if found == name.as_bytes() {
                return Some(rest.get(..end).map(Self));
            }
            rest = rest.get(end..)?;
            rest = rest.strip_prefix(b",").unwrap_or(rest);
        }
        // A closing brace: all of it was seen.
        rest.first().map(|_| None)
    }
}

/// Where the value ends with which a canonical text begins; `None` if that is not in sight.
fn end_of_value(text: &[u8]) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.iter().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    quoted = false;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            // Of what is around it.
            b'}' | b']' | b',' if depth == 0 => return Some(at),
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_do() {
        for (text, expected) in [
            (r#""a",1"#, Some(3)),
            (r#""a\"b\\","#, Some(8)),
            (r#"{"a":"}"},"#, Some(9)),
            ("[[1,2],{}]}", Some(10)),
            ("12,", Some(2)),
            ("true}", Some(4)),
            ("[1,", None),
            ("\"a", None),
        ] {
            assert_eq!(end_of_value(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn elements_are_found_in_sight() {
        let has =
            |json: &str, wanted: &str| Json(json.as_bytes()).any_element(|one| one.text() == Some(wanted));
        assert!(has(r#"["a","b"]"#, "a") && has(r#"["a","b"]"#, "b") && has(r#"[{"x":["b"]},"b"]"#, "b"));
        assert!(!has(r#"["a",{"x":"b"},["b"],"b,"]"#, "b"));
        assert!(!has("[]", "b") && !has(r#""b""#, "b") && !has(r#"{"b":"b"}"#, "b"));
        let far = format!(r#"["{}","z"]"#, "x".repeat(FAR));
        assert!(has(&far, "b"), "who knows");
    }

    #[test]
    fn members_of_a_member_are_found_in_sight() {
        let json = Json(br#"{"a":{"x":1},"b\"":[","],"c":"d"}"#);
        let text = |name: &str| json.member(name).map(|found| found.and_then(Json::text));
        assert_eq!(text("c"), Some(Some("d")));
        assert_eq!(text("d"), Some(None));
        assert_eq!(text("x"), Some(None), "not at this level");
        assert!(Json(b"{}").member("a").is_some_and(|found| found.is_none()));
        assert!(Json(b"[1]").member("a").is_some_and(|found| found.is_none()));
        let far = format!(r#"{{"a":"{}","z":1}}"#, "x".repeat(FAR));
        assert!(Json(far.as_bytes()).member("z").is_none(), "who knows");
    }
}
