//! Random values, against a naive writer over a tree.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// RFC 8785 written down naively, over a tree.
fn reference(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => {
            let mut buffer = ryu_js::Buffer::new();
            out.push_str(buffer.format(number.as_f64().expect("a double")));
        }
        Value::Array(elements) => {
            let texts = elements.iter().map(|element| {
                let mut text = String::new();
                reference(element, &mut text);
                text
            });
            out.push_str(&format!("[{}]", texts.collect::<Vec<_>>().join(",")));
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
            let texts = members.into_iter().map(|(name, value)| {
                let mut text = serde_json::to_string(name).expect("a string") + ":";
                reference(value, &mut text);
                text
            });
            out.push_str(&format!("{{{}}}", texts.collect::<Vec<_>>().join(",")));
        }
        // serde_json escapes strings as RFC 8785 §3.2.2.2 does.
        other => out.push_str(&other.to_string()),
    }
}

/// The same value, spelt in another way: other order, spaces, escapes.
fn respell(value: &Value, seed: usize, out: &mut String) {
    let string = |text: &str| {
        let units = text.chars().enumerate().map(|(index, c)| {
            if (index + seed).is_multiple_of(3) {
                let mut pair = [0; 2];
                c.encode_utf16(&mut pair)
                    .iter()
                    .map(|unit| format!("\\u{unit:04X}"))
                    .collect()
            } else {
                let quoted = serde_json::to_string(&c.to_string()).expect("a string");
                quoted[1..quoted.len() - 1].to_owned()
            }
        });
        format!("\"{}\"", units.collect::<String>())
    };
    match value {
        Value::String(text) => out.push_str(&string(text)),
        Value::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { " ,\n" } else { "\t" });
                respell(element, seed + index, out);
            }
            out.push_str("\r]");
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            let middle = seed % members.len().max(1);
            members.rotate_left(middle);
            if seed.is_multiple_of(2) {
                members.reverse();
            }
            out.push_str("{ ");
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&string(name));
                out.push_str(" : ");
                respell(value, seed + index, out);
            }
            out.push('}');
        }
        Value::Number(number) => {
            let mut buffer = ryu_js::Buffer::new();
            let text = buffer.format(number.as_f64().expect("a double"));
            match (text.contains('e'), text.contains('.')) {
                (true, _) => out.push_str(&text.to_uppercase()),
                (false, true) => out.push_str(&format!("{text}00e+0")),
                (false, false) => out.push_str(&format!("{text}0e-1")),
            }
        }
        other => out.push_str(&other.to_string()),
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let character = prop_oneof![
        any::<char>(),
        proptest::char::range('\0', '~'),
        Just('\u{e000}'),
        Just('\u{ffff}'),
        Just('\u{10000}'),
    ];
    proptest::collection::vec(character, 0..12).prop_map(String::from_iter)
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n))),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        proptest::num::f64::SUBNORMAL.prop_map(Value::from),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            proptest::collection::btree_map(any_text(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_the_reference(value in any_value(), seed in 0usize..6) {
        let mut expected = String::new();
        reference(&value, &mut expected);
        let mut spelt = String::new();
        respell(&value, seed, &mut spelt);
        prop_assert_eq!(canonical(&spelt), Ok(expected.clone()));
        prop_assert_eq!(canonical(&expected), Ok(expected));
    }

    #[test]
    fn any_text_is_answered(text in "[\\[\\]{}:,\"\\\\u0-9eE.+ a-]{0,24}") {
        let strict = serde_json::from_str::<Value>(&text).is_ok();
        // serde_json takes duplicate names and refuses numbers beyond a double; otherwise the two must agree.
        match strict_scan(&text, 0) {
            Ok(()) => prop_assert!(strict || text.contains(['e', 'E']), "{}", text),
            Err(CanonicalError::DuplicateName { .. }) => {}
            Err(error) => prop_assert!(!strict, "{}: {}", text, error),
        }
    }

    #[test]
    fn names_compare_as_utf_16(a in any_text(), b in any_text()) {
        let expected = a.encode_utf16().cmp(b.encode_utf16());
        prop_assert_eq!(compare_names(&a, &b), expected);
    }
}
