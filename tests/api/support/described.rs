//! Every answer of these tests, and every body that was taken, against the published description of the API.
//!
//! JSON Schema as far as the description uses it (2020-12, Core and Validation), written for these tests; `pattern` and
//! `format` are left to the independent validators of `tests/interop`. Stricter than JSON Schema in one thing: an answer
//! has no member that is not described, unless others are said to be possible.

use std::sync::LazyLock;

use reqwest::Method;
use serde_json::{Map, Value};

use super::Answer;

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/openapi/openapi.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
});

/// Fields that say something of their own, and so are described wherever they are sent.
const TELLING: &[&str] = &[
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "www-authenticate",
    "dpop-nonce",
    "allow",
];

/// The description of the API.
pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

/// What a reference inside of the description names.
pub(crate) fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(path) => resolved(document().pointer(&path[1..]).expect(path)),
        None => value,
    }
}

/// That an answer, and the body that it was given for, are as described. Of paths and methods that are not described,
/// nothing is said here.
#[track_caller]
pub(super) fn check(method: &Method, path: &str, sent: &[u8], answer: &Answer) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let (status, at) = (answer.status, format!("{method} {path} {}", answer.status));
    let response = resolved(&operation["responses"][status.to_string()]);
    assert!(response.is_object(), "{at} is not described: {}", answer.text());
    let described =
        |name: &str| members(&response["headers"]).any(|(known, _)| known.eq_ignore_ascii_case(name));
    for name in TELLING.iter().filter(|name| answer.headers.contains_key(**name)) {
        assert!(described(name), "{at}: the field {name} is not described");
    }
    for (name, header) in members(&response["headers"]) {
        let required = resolved(header)["required"] == true;
        assert!(
            !required || answer.header(name).is_some(),
            "{at}: no field {name}"
        );
    }
    let media = answer.header("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default();
    let schema = &response["content"][media]["schema"];
    assert!(schema.is_object(), "{at}: {media} is not described");
    if media.ends_with("json") {
        let found = violations(schema, &answer.json());
        assert!(found.is_empty(), "{at}: {found:?} in {}", answer.text());
    }
    let asked = &operation["requestBody"]["content"]["application/json"]["schema"];
    if status == 200 && asked.is_object() && !has_refused_items(answer) {
        let found = violations(asked, &serde_json::from_slice(sent).unwrap());
        assert!(
            found.is_empty(),
            "{at}: a body was taken that is not described: {found:?}"
        );
    }
}

/// Of a batch: what is not as described is an item's own fault.
fn has_refused_items(answer: &Answer) -> bool {
    let answer = answer.json();
    let mut results = answer["results"].as_array().into_iter().flatten();
    results.any(|result| result["status"] != 200)
}

fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let same = |template: &str| {
        let (known, asked) = (template.split('/'), path.split('/'));
        known.clone().count() == asked.clone().count()
            && known
                .zip(asked)
                .all(|(known, asked)| known == asked || known.starts_with('{'))
    };
    let paths = || members(&document()["paths"]);
    let exact = paths().find(|(template, _)| *template == path);
    let (_, item) = exact.or_else(|| paths().find(|(template, _)| same(template)))?;
    item.get(method.as_str().to_lowercase())
}

/// What is wrong with a value.
pub(crate) fn violations(schema: &'static Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    look(schema, value, "$", true, &mut found);
    found
}

fn members(value: &'static Value) -> impl Iterator<Item = (&'static String, &'static Value)> + Clone {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn list(schema: &'static Value, name: &str) -> &'static [Value] {
    schema[name].as_array().map_or(&[], Vec::as_slice)
}

/// `whole`: members that this schema does not name are named by no other one.
fn look(schema: &'static Value, value: &Value, at: &str, whole: bool, found: &mut Vec<String>) {
    let schema = resolved(schema);
    let fits = |schema, value| {
        let mut found = Vec::new();
        look(schema, value, at, whole, &mut found);
        found.is_empty()
    };
    for part in list(schema, "allOf") {
        look(part, value, at, false, found);
    }
    let any = list(schema, "oneOf");
    let of_parts = any.iter().filter(|part| {
        let says_what_goes_together = part.get("required").is_some() && part.get("properties").is_none();
        if says_what_goes_together {
            satisfies(part, value)
        } else {
            fits(part, value)
        }
    });
    if !any.is_empty() && of_parts.count() != 1 {
        found.push(format!("{at} is not exactly one of {any:?}"));
    }
    bounds(schema, value, at, found);
    if let (Some(items), Some(elements)) = (schema.get("items"), value.as_array()) {
        for (place, element) in elements.iter().enumerate() {
            look(items, element, &format!("{at}[{place}]"), true, found);
        }
    }
    let Some(object) = value.as_object() else { return };
    for name in list(schema, "required").iter().filter_map(Value::as_str) {
        if !object.contains_key(name) {
            found.push(format!("{at} has no {name}"));
        }
    }
    for (name, member) in object {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(described), _) => look(described, member, &at, true, found),
            (None, Value::Bool(true)) => {}
            (None, others @ Value::Object(_)) => look(others, member, &at, true, found),
            (None, Value::Bool(_)) => found.push(format!("{at} is not described")),
            (None, _) if whole && !names(schema, name) => found.push(format!("{at} is not described")),
            (None, _) => {}
        }
    }
}

/// Of a part that only says what is required together.
fn satisfies(part: &'static Value, value: &Value) -> bool {
    let has = |schema: &'static Value| {
        list(schema, "required")
            .iter()
            .all(|name| value.get(name.as_str().unwrap()).is_some())
    };
    has(part) && part.get("not").is_none_or(|not| !has(not))
}

fn names(schema: &'static Value, name: &str) -> bool {
    let schema = resolved(schema);
    let parts = list(schema, "allOf").iter().chain(list(schema, "oneOf"));
    schema["properties"].get(name).is_some() || parts.into_iter().any(|part| names(part, name))
}

fn bounds(schema: &'static Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = match &schema["type"] {
        Value::Null => return choices(schema, value, at, found),
        Value::Array(kinds) => kinds.iter().collect(),
        one => vec![one],
    };
    if !kinds.iter().any(|known| *known == kind) {
        found.push(format!("{at} is {kind}"));
    }
    choices(schema, value, at, found);
    let (least, most, size) = match value {
        Value::String(text) => ("minLength", "maxLength", text.chars().count() as u64),
        Value::Array(list) => ("minItems", "maxItems", list.len() as u64),
        Value::Object(object) => ("minProperties", "maxProperties", object.len() as u64),
        Value::Number(number) => ("minimum", "maximum", number.as_u64().unwrap_or(0)),
        Value::Null | Value::Bool(_) => return,
    };
    if schema[least].as_u64().is_some_and(|least| size < least)
        || schema[most].as_u64().is_some_and(|most| size > most)
    {
        found.push(format!("{at} is out of bounds"));
    }
}

fn choices(schema: &'static Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let chosen = schema
        .get("enum")
        .is_none_or(|all| all.as_array().unwrap().contains(value));
    if !chosen || schema.get("const").is_some_and(|only| only != value) {
        found.push(format!("{at} must not be {value}"));
    }
}
