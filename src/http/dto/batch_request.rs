//! The body of `POST /sign/dsse/batch` (contract §2.2).
//!
//! One pass finds the items and their members, as it finds the members of a single request; each predicate is walked a
//! second time when it is canonicalised, and by then it is its item's turn. What is not strict JSON fails the batch, for
//! it is one body; any other fault of an item is that item's.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use signer_actors::domain::digest::ImageDigest;
use signer_actors::domain::subject::Subject;

use super::body::{BodyError, BodyErrorKind, Listed, Members, MembersVisitor, Name, scan, string, text_of};
use super::sign_request::{
    Poe, SignOptions, image_digest, object, options, path_of, poe, scan_member, subjects,
};

/// Most items of a batch.
pub const MAX_ITEMS: usize = 1000;

const MEMBERS: &[&str] = &["items", "poe", "scannerImageDigest"];
const ITEM: &[&str] = &["subject", "predicateType", "predicate", "options"];
const OPTIONS: &[&str] = &[
    "signingMode",
    "keyId",
    "returnBundle",
    "expirySeconds",
    "timestamp",
];
/// What one request has and an item has not.
const ONCE: &[&str] = &["poe", "scannerImageDigest"];

/// A batch of the right shape, its items aside.
#[derive(Debug)]
pub struct BatchBody<'a> {
    /// `items`: 1 to [`MAX_ITEMS`], yet to be read.
    pub items: Vec<Element<'a>>,
    /// `scannerImageDigest`
    pub scanner: ImageDigest,
    /// `poe`; without one the entitlement gate answers `entitlement_required`.
    pub poe: Option<Poe>,
}

/// An element of `items` as it stands.
#[derive(Debug)]
pub struct Element<'a>(Option<Listed<'a>>);

/// An item of the right shape. Subjects, predicate type and predicate are yet to be checked by
/// [`StatementDraft::new`](signer_actors::domain::statement::StatementDraft::new).
#[derive(Debug)]
pub struct ItemBody<'a> {
    /// `subject`
    pub subjects: Vec<Subject>,
    /// `predicateType`
    pub predicate_type: String,
    /// `predicate`: an object, as received.
    pub predicate: &'a RawValue,
    /// `options`, without `dryRun`.
    pub options: SignOptions,
}

/// Reads a body. Strict JSON comes first, then unknown members, then each member; the items are read one by one
/// ([`Element::read`]).
pub fn parse_batch(body: &[u8]) -> Result<BatchBody<'_>, BodyError> {
    let text = text_of(body)?;
    let space = [' ', '\t', '\n', '\r'];
    if !text.trim_start_matches(space).starts_with('{') {
        // Of another type, or no JSON: which of both is found out here.
        Members::read(text, "the body", BodyErrorKind::Request)?;
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = deserializer
        .deserialize_map(BatchVisitor)
        .and_then(|batch| deserializer.end().map(|()| batch));
    let (list, items) = read.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let detail = format!("the body is not valid JSON at line {line}, column {column}");
        BodyError::new(BodyErrorKind::Json, detail)
    })?;
    let members = Members::of("the body", list)?;
    for (name, value) in members.iter() {
        let known = MEMBERS.iter().find(|known| **known == name);
        scan(
            value,
            known.unwrap_or(&"an unknown member"),
            1,
            BodyErrorKind::Request,
        )?;
    }
    if items.is_some() && members.get("items").is_some() {
        let detail = "the body has a duplicate member items";
        return Err(BodyError::new(BodyErrorKind::Json, detail));
    }
    members.only(MEMBERS, BodyErrorKind::Request)?;
    let Some(Items { list: items, more }) = items else {
        let detail = "the body has no member items: add it";
        return Err(BodyError::new(BodyErrorKind::Request, detail));
    };
    if more || items.is_empty() {
        let detail = format!("items must be an array of 1 to {MAX_ITEMS} items: split a larger batch");
        return Err(BodyError::new(BodyErrorKind::Request, detail));
    }
    Ok(BatchBody {
        items,
        scanner: image_digest(members.required("scannerImageDigest")?)?,
        poe: members.optional("poe").map(poe).transpose()?,
    })
}

impl<'a> Element<'a> {
    /// Reads the item. An error of kind [`BodyErrorKind::Json`] is one of the body.
    pub fn read(self) -> Result<ItemBody<'a>, BodyError> {
        let Some(listed) = self.0 else {
            let detail = "an item must be an object";
            return Err(BodyError::new(BodyErrorKind::Request, detail));
        };
        let members = Members::of("the item", listed)?;
        for (name, value) in members.iter() {
            if name != "predicate" {
                scan_member(&path_of(name), value)?;
            }
        }
        if let Some(name) = ONCE.iter().find(|name| members.get(name).is_some()) {
            let detail =
                format!("{name} belongs beside items, once for all of them: remove it from the item");
            return Err(BodyError::new(BodyErrorKind::Request, detail));
        }
        members.only(ITEM, BodyErrorKind::Request)?;
        let options = members.optional("options").map(|raw| options(raw, OPTIONS));
        Ok(ItemBody {
            subjects: subjects(members.required("subject")?)?,
            predicate_type: string(members.required("predicateType")?, "predicateType")?,
            predicate: object(members.required("predicate")?)?,
            options: options.transpose()?.unwrap_or_default(),
        })
    }
}

struct Items<'a> {
    list: Vec<Element<'a>>,
    more: bool,
}

/// Reads the body's members, and `items` into its elements on the way.
struct BatchVisitor;

impl<'de> Visitor<'de> for BatchVisitor {
    type Value = (Listed<'de>, Option<Items<'de>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut list, mut more, mut items) = (Vec::new(), false, None);
        while let Some(name) = map.next_key::<Name<'de>>()? {
            if name.is("items") && items.is_none() {
                items = Some(map.next_value_seed(Any(ItemsVisitor))?);
            } else if list.len() < 2 * MEMBERS.len() {
                list.push((name, map.next_value()?));
            } else {
                more = true;
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(((list, more), items))
    }
}

/// Reads a value of any type.
struct Any<V>(V);

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Any<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        deserializer.deserialize_any(self.0)
    }
}

/// The values that are not what they should be, each read to its end.
macro_rules! any_other {
    ($other:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($other)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($other)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($other)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($other)
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($other)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($other)
        }
    };
}

/// `items`; what is no array counts as an empty one.
struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Items<'de>;

    any_other!(Items {
        list: Vec::new(),
        more: false
    });

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while list.len() < MAX_ITEMS {
            match seq.next_element_seed(Any(ElementVisitor))? {
                Some(element) => list.push(element),
                None => return Ok(Items { list, more: false }),
            }
        }
        let mut more = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok(Items { list, more })
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element<'de>;

    any_other!(Element(None));

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        MembersVisitor.visit_map(map).map(|listed| Element(Some(listed)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        self.visit_unit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "abababababababababababababababababababababababababababababababab";

    fn item() -> String {
        format!(
            r#"{{"subject":[{{"name":"a","digest":{{"sha256":"{HEX}"}}}}],"predicateType":"x:y","predicate":{{"a":1}}}}"#
        )
    }

    fn batch(items: &str) -> String {
        format!(
            r#"{{"scannerImageDigest":"sha256:{HEX}","items":{items},"poe":{{"format":"jwt","value":"p"}}}}"#
        )
    }

    fn refused(body: &str) -> (BodyErrorKind, String) {
        match parse_batch(body.as_bytes()) {
            Ok(_) => panic!("accepted: {body}"),
            Err(error) => (error.kind, error.detail),
        }
    }

    fn item_refused(item: &str) -> (BodyErrorKind, String) {
        let body = batch(&format!("[{item}]"));
        let mut parsed = parse_batch(body.as_bytes()).expect("a batch");
        let error = parsed.items.remove(0).read().expect_err("an item to be refused");
        (error.kind, error.detail)
    }

    #[test]
    fn a_batch_is_read_in_order() {
        let other = item().replace("\"a\":1", "\"b\":[2]");
        let body = batch(&format!(" [ {} , {other} ] ", item()));
        let parsed = parse_batch(body.as_bytes()).expect("a batch");
        assert_eq!(parsed.scanner.to_string(), format!("sha256:{HEX}"));
        assert_eq!(parsed.poe.as_ref().map(Poe::as_str), Some("p"));
        let items: Vec<_> = parsed.items.into_iter().map(Element::read).collect();
        let predicates: Vec<&str> = items
            .iter()
            .map(|item| item.as_ref().expect("an item").predicate.get())
            .collect();
        assert_eq!(predicates, [r#"{"a":1}"#, r#"{"b":[2]}"#]);
    }

    #[test]
    fn there_are_one_to_a_thousand_items() {
        let many = |count: usize| batch(&format!("[{}]", vec!["7"; count].join(",")));
        assert_eq!(
            parse_batch(many(MAX_ITEMS).as_bytes())
                .map(|batch| batch.items.len())
                .ok(),
            Some(1000)
        );
        for bad in [
            many(0),
            many(MAX_ITEMS + 1),
            batch("{}"),
            batch("null"),
            batch("\"x\""),
            batch("7"),
        ] {
            let (kind, detail) = refused(&bad);
            assert_eq!(kind, BodyErrorKind::Request);
            assert!(
                detail.starts_with("items must be an array of 1 to 1000 items"),
                "{detail}"
            );
        }
    }

    #[test]
    fn what_is_wrong_with_the_body_fails_it() {
        use BodyErrorKind::{Digest, Json, Request};
        let good = batch(&format!("[{}]", item()));
        for (body, kind) in [
            (String::new(), Json),
            ("[]".to_owned(), Request),
            (format!("{good}x"), Json),
            (good.replace("\"items\"", "\"item\""), Request),
            (good.replacen('{', r#"{"items":[],"#, 1), Json),
            (good.replacen('{', r#"{"poe":{},"#, 1), Json),
            (good.replacen('{', r#"{"dryRun":true,"#, 1), Request),
            (good.replacen('{', r#"{"x":"\ud800","#, 1), Json),
            (good.replace(&format!("sha256:{HEX}"), "sha256:ab"), Digest),
            (good.replace("scannerImageDigest", "scanner"), Request),
            (good.replace("\"jwt\"", "\"jws\""), Request),
            (good.replace("{\"a\":1}", "{\"a\":01}"), Json),
        ] {
            assert_eq!(refused(&body).0, kind, "{body}");
        }
        let many = format!("{{{}\"x\":1}}", "\"y\":1,".repeat(100));
        assert_eq!(refused(&many).0, Json, "duplicates");
    }

    #[test]
    fn what_is_wrong_with_an_item_is_the_items() {
        use BodyErrorKind::{Json, Predicate, Request, Subject};
        let with = |member: &str| item().replacen('{', &format!("{{{member},"), 1);
        for (item, kind, what) in [
            ("7".to_owned(), Request, "must be an object"),
            ("[{}]".to_owned(), Request, "must be an object"),
            ("{}".to_owned(), Request, "the item has no member subject"),
            (
                with(r#""poe":{"format":"jwt","value":"p"}"#),
                Request,
                "poe belongs beside items",
            ),
            (
                with(r#""scannerImageDigest":"x""#),
                Request,
                "scannerImageDigest belongs beside items",
            ),
            (
                with(r#""options":{"dryRun":false}"#),
                Request,
                "unknown member dryRun",
            ),
            (
                with(r#""options":{"keyid":"x"}"#),
                Request,
                "unknown member keyid",
            ),
            (with(r#""other":1"#), Request, "unknown member other"),
            (with(r#""predicate":{}"#), Json, "duplicate member predicate"),
            (with(r#""options":{"keyId":"a","keyId":"b"}"#), Json, "duplicate"),
            (
                item().replace("{\"a\":1}", "[1]"),
                Predicate,
                "predicate must be an object",
            ),
            (
                item().replace("\"digest\"", "\"digests\""),
                Subject,
                "unknown member digests",
            ),
        ] {
            let (found, detail) = item_refused(&item);
            assert_eq!(found, kind, "{detail}");
            assert!(detail.contains(what), "{detail}");
        }
    }
}
