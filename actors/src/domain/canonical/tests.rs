//! Expected texts come from RFC 8785 and from its author's test data (github.com/cyberphone/json-canonicalization).

use super::*;

mod properties;

fn canonical(text: &str) -> Result<String, CanonicalError> {
    let mut out = b"before".to_vec();
    let result = canonicalize(text, 0, &mut out);
    let written = out.split_off(6);
    assert_eq!(out, b"before");
    match result {
        Ok(()) => Ok(String::from_utf8(written).expect("UTF-8")),
        Err(error) => {
            assert!(written.is_empty(), "{text} left output behind");
            Err(error)
        }
    }
}

fn check(text: &str, expected: &str) {
    assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
    assert_eq!(
        canonical(expected).as_deref(),
        Ok(expected),
        "not stable: {expected}"
    );
    assert_eq!(strict_scan(text, 0), Ok(()), "{text}");
}

#[test]
fn rfc_8785_section_3_2_2_example() {
    // The RFC's 333333333.33333329 is not among the numbers: its value would change, see below.
    check(
        r#"{
            "numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#,
        r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#,
    );
}

#[test]
fn rfc_8785_section_3_2_3_example() {
    check(
        r#"{
            "\u20ac": "Euro Sign",
            "\r": "Carriage Return",
            "\ufb33": "Hebrew Letter Dalet With Dagesh",
            "1": "One",
            "\ud83d\ude00": "Emoji: Grinning Face",
            "\u0080": "Control",
            "\u00f6": "Latin Small Letter O With Diaeresis"
        }"#,
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
         \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\
         \"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    );
}

#[test]
fn test_data_of_the_author() {
    check(
        "[\n  56,\n  {\n    \"d\": true,\n    \"10\": null,\n    \"1\": [ ]\n  }\n]",
        r#"[56,{"1":[],"10":null,"d":true}]"#,
    );
    check(
        r#"{ "peach": "This sorting order", "péché": "is wrong according to French",
             "pêche": "but canonicalization MUST", "sin":   "ignore locale" }"#,
        r#"{"peach":"This sorting order","péché":"is wrong according to French","pêche":"but canonicalization MUST","sin":"ignore locale"}"#,
    );
    check(
        r#"{ "1": {"f": {"f": "hi","F": 5} ,"\n": 56.0}, "10": { }, "": "empty", "a": { },
             "111": [ {"e": "yes","E": "no" } ], "A": { } }"#,
        r#"{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}"#,
    );
    check(
        r#"{ "Unnormalized Unicode":"A\u030a" }"#,
        "{\"Unnormalized Unicode\":\"A\u{30a}\"}",
    );
    check(
        r#"{ "\u20ac": "Euro Sign", "\r": "Carriage Return", "\u000a": "Newline", "1": "One",
             "\u0080": "Control\u007f", "\ud83d\ude02": "Smiley",
             "\u00f6": "Latin Small Letter O With Diaeresis",
             "\ufb33": "Hebrew Letter Dalet With Dagesh", "</script>": "Browser Challenge" }"#,
        "{\"\\n\":\"Newline\",\"\\r\":\"Carriage Return\",\"1\":\"One\",\"</script>\":\"Browser Challenge\",\
         \"\u{80}\":\"Control\u{7f}\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\
         \"\u{1f602}\":\"Smiley\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
    );
}

#[test]
fn rfc_8785_appendix_b_numbers() {
    let table = [
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7fefffffffffffff, "1.7976931348623157e+308"),
        (0xffefffffffffffff, "-1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xc340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44b52d02c7e14af5, "9.999999999999997e+22"),
        (0x44b52d02c7e14af6, "1e+23"),
        (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
        (0x444b1ae4d6e2ef4e, "999999999999999700000"),
        (0x444b1ae4d6e2ef4f, "999999999999999900000"),
        (0x444b1ae4d6e2ef50, "1e+21"),
        (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
        (0x3eb0c6f7a0b5ed8d, "0.000001"),
        (0x41b3de4355555553, "333333333.3333332"),
        (0x41b3de4355555554, "333333333.33333325"),
        (0x41b3de4355555555, "333333333.3333333"),
        (0x41b3de4355555556, "333333333.3333334"),
        (0x41b3de4355555557, "333333333.33333343"),
        (0xbecbf647612f3696, "-0.0000033333333333333333"),
        (0x43143ff3c1cb0959, "1424953923781206.2"),
    ];
    for (bits, expected) in table {
        // Of two shortest forms ECMAScript takes the even one, the standard library the upper one; so read, not write.
        let value: f64 = expected.parse().expect("a double");
        assert_eq!(value.abs().to_bits(), bits & !(1 << 63), "{expected}");
        assert_eq!(ryu_js::Buffer::new().format(f64::from_bits(bits)), expected);
        check(expected, expected);
    }
}

#[test]
fn other_spellings_of_an_equal_value_are_accepted() {
    for (text, expected) in [
        ("1.0", "1"),
        ("1e0", "1"),
        ("10e-1", "1"),
        ("1E+2", "100"),
        ("0.1e1", "1"),
        ("-0", "0"),
        ("-0.0e-99999999999999999999", "0"),
        ("0e99999999999999999999", "0"),
        ("100000000000000000000e-20", "1"),
        ("1000000000000000", "1000000000000000"),
        ("9007199254740992.0e1", "90071992547409920"),
        ("-12.50", "-12.5"),
        ("999999999999999", "999999999999999"),
        ("100200300e3", "100200300000"),
        ("0.00010e-3", "1e-7"),
    ] {
        check(text, expected);
    }
}

#[test]
fn numbers_whose_value_would_change_are_refused() {
    for text in [
        "12345678901234567890",
        "9007199254740993",
        "0.1000000000000000055",
        "333333333.33333329",
        "1e-400",
        "-1e-400",
        "1e400",
        "-1e400",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "1.7976931348623159e308",
        "3e-324",
    ] {
        assert_eq!(
            canonical(text),
            Err(CanonicalError::Number { offset: 0 }),
            "{text}"
        );
        assert_eq!(strict_scan(text, 0), Ok(()), "{text}");
    }
    assert_eq!(
        canonical(r#"{"a":[1, 1e999]}"#),
        Err(CanonicalError::Number { offset: 9 })
    );
}

#[test]
fn only_strict_json_is_read() {
    let control = "\"\u{1f}\"";
    for (text, offset) in [
        ("", 0),
        (" ", 1),
        ("\u{feff}{}", 0),
        ("{} {}", 3),
        ("[1]]", 3),
        ("[1,]", 3),
        ("[,1]", 1),
        ("[1 2]", 3),
        ("[1}", 2),
        ("[", 1),
        ("[1", 2),
        ("{", 1),
        ("{]", 1),
        ("{\"a\"}", 4),
        ("{\"a\":}", 5),
        ("{\"a\":1", 6),
        ("{\"a\":1,}", 7),
        ("{\"a\" 1}", 5),
        ("{a:1}", 1),
        ("{1:1}", 1),
        ("tru", 3),
        ("truE", 3),
        ("nul l", 3),
        ("True", 0),
        ("NaN", 0),
        ("-Infinity", 1),
        ("01", 2),
        ("-01", 3),
        ("00", 2),
        ("+1", 0),
        (".5", 0),
        ("1.", 2),
        ("1.e1", 2),
        ("1e", 2),
        ("1e+", 3),
        ("-", 1),
        ("0x1", 1),
        ("1_000", 1),
        ("'a'", 0),
        ("\"a", 2),
        ("\"\\", 2),
        ("\"\\x\"", 2),
        ("\"\\u12\"", 5),
        ("\"\\u+123\"", 3),
        ("\"\\U0041\"", 2),
        (control, 1),
        ("\"a\nb\"", 2),
        ("{\"\t\":1}", 2),
        ("// comment\n1", 0),
        ("1\u{a0}", 1),
        ("1\u{b}", 1),
        ("1\0", 1),
    ] {
        match canonical(text) {
            Err(CanonicalError::Syntax { offset: at, .. }) => assert_eq!(at, offset, "{text:?}"),
            other => panic!("{text:?}: {other:?}"),
        }
        assert!(strict_scan(text, 0).is_err(), "{text:?}");
    }
}

#[test]
fn lone_surrogates_are_refused() {
    for text in [
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\udbff\udbff""#,
        r#""\ud800\u0041""#,
        r#""\ud800\ue000""#,
        r#""\ud800\n""#,
        r#""\ud800x""#,
        r#""\udc00\ud800""#,
        r#"{"\ud800":1}"#,
    ] {
        assert!(
            matches!(
                canonical(text),
                Err(CanonicalError::Syntax {
                    what: "lone surrogate in a string",
                    ..
                })
            ),
            "{text}"
        );
    }
    check(r#""\ud800\udc00\udbff\udfff""#, "\"\u{10000}\u{10ffff}\"");
}

#[test]
fn strings_escape_only_what_must_be() {
    check(
        r#""\b\t\n\f\r\u0000\u001f\u001F\u007f\u2028\/\"\\ \u00e9""#,
        "\"\\b\\t\\n\\f\\r\\u0000\\u001f\\u001f\u{7f}\u{2028}/\\\"\\\\ é\"",
    );
    let mut out = Vec::new();
    write_string("a\"\\\u{0}\u{1f}\n/é\u{1f600}", &mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "\"a\\\"\\\\\\u0000\\u001f\\n/é\u{1f600}\""
    );
}

/// Special bytes are found at every place in and beyond a word.
#[test]
fn strings_of_every_length() {
    for len in 0..40 {
        for special in ["\"", "\\", "\n", "\u{1f}", "\u{0}"] {
            let text = format!("{}{special}{special}é ~\u{7f}", "é!".repeat(len));
            let quoted = serde_json::to_string(&text).expect("a string");
            let mut out = Vec::new();
            write_string(&text, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), quoted);
            check(&quoted, &quoted);
            assert!(canonical(&format!("\"{}\n\"", "a".repeat(len))).is_err());
        }
    }
}

#[test]
fn duplicate_names_are_refused_however_they_are_written() {
    for (text, offset) in [
        (r#"{"a":1,"a":1}"#, 13),
        (r#"{"a":1,"\u0061":1}"#, 18),
        (r#"{"\u0061":1,"a":1}"#, 18),
        (r#"{"\n":1,"\u000a":1}"#, 19),
        (r#"{"b":1,"a":{"":1,"":2},"c":1}"#, 22),
        (r#"{"a":1,"b":1,"c":1,"a":2}"#, 25),
        (r#"{"abcdefgh2":1,"abcdefgh1":2,"abcdefgh2":3}"#, 43),
        (r#"{"😀":1,"\ud83d\ude00":1}"#, 27),
    ] {
        let expected = Err(CanonicalError::DuplicateName { offset });
        assert_eq!(canonical(text).map(|_| ()), expected, "{text}");
        assert_eq!(strict_scan(text, 0), expected, "{text}");
    }
    // The same name in different objects is no duplicate, nor are a name and its escape sequence spelt out.
    check(r#"{"b":{"b":1},"a":{"b":1}}"#, r#"{"a":{"b":1},"b":{"b":1}}"#);
    check(r#"{"\\u0061":1,"\u0061":2}"#, r#"{"\\u0061":1,"a":2}"#);
}

#[test]
fn names_sort_by_what_they_mean_not_by_their_escapes() {
    // U+000A is written "\n", with a backslash (0x5c); it sorts before "A" (0x41) all the same.
    check(
        r#"{"A":1,"\n":{"\"":[],"!":0},"\\":2,"]":3}"#,
        r#"{"\n":{"!":0,"\"":[]},"A":1,"\\":2,"]":3}"#,
    );
    // Names that are equal in their first eight bytes, and names that end there.
    check(
        r#"{"abcdefgh2":1,"abcdefgh1":2,"abcdefg":3,"abcdefgh":4,"abcdefg\u0000":5,"abcdefg\u0000\u0000":6}"#,
        r#"{"abcdefg":3,"abcdefg\u0000":5,"abcdefg\u0000\u0000":6,"abcdefgh":4,"abcdefgh1":2,"abcdefgh2":1}"#,
    );
}

#[test]
fn nesting_is_bounded_from_the_root() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(canonical(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(
        canonical(&nested(MAX_DEPTH + 1)),
        Err(CanonicalError::TooDeep { offset: MAX_DEPTH })
    );
    let deep = "{\"a\":[".repeat(1_000_000);
    assert_eq!(canonical(&deep), Err(CanonicalError::TooDeep { offset: 32 * 6 }));
    let mut out = Vec::new();
    assert!(canonicalize("[[]]", MAX_DEPTH - 2, &mut out).is_ok());
    assert!(canonicalize("1", MAX_DEPTH, &mut out).is_ok());
    assert!(canonicalize("{}", MAX_DEPTH, &mut out).is_err());
    assert!(canonicalize("{}", usize::MAX, &mut out).is_err());
}

#[test]
fn names_are_bounded_without_their_escapes() {
    let object = |name: &str| format!("{{\"{name}\":1}}");
    assert!(canonical(&object(&"é".repeat(512))).is_ok());
    assert!(canonical(&object(&r"\u0001".repeat(1024))).is_ok());
    for long in [
        &"é".repeat(513),
        &"a".repeat(1025),
        &r"\u00e9".repeat(513),
        &"a".repeat(70_000),
    ] {
        assert_eq!(
            canonical(&object(long)),
            Err(CanonicalError::NameTooLong { offset: 1 })
        );
    }
}

/// What `part` makes of a text: the others, the canonical form, how long it was, and where `a` and `b` are in it.
type Walked<'t> = (Vec<(&'t str, &'t str)>, String, usize, Vec<Option<String>>);

fn parted(text: &str) -> Option<Walked<'_>> {
    let mut out = b"before".to_vec();
    let parted = part(text, "one", &mut out, &["a", "b"]);
    let text_at =
        |range: Range<usize>| String::from_utf8_lossy(out.get(range).expect("in the buffer")).into();
    let noted = |places: &[Option<Range<usize>>]| places.iter().cloned().map(|at| at.map(text_at)).collect();
    let all = parted.map(|parted| (noted(&parted.noted), parted));
    let (before, written) = out.split_at(6);
    assert_eq!(before, b"before");
    match all {
        Some((noted, parted)) => {
            let written = String::from_utf8(written.to_vec()).expect("UTF-8");
            Some((parted.others, written, parted.received, noted))
        }
        None => {
            assert!(written.is_empty(), "{text} left output behind");
            None
        }
    }
}

#[test]
fn one_member_of_the_root_is_put_into_canonical_form_on_the_way() {
    let text =
        r#" { "x" : [ 1.0, "\n" ] ,"one": {"b" : 1.0, "a": {"b":2,"a":3}}, "é":null , "y":{"one":0} } "#;
    let others = vec![("x", r#"[ 1.0, "\n" ]"#), ("é", "null"), ("y", r#"{"one":0}"#)];
    let canonical = r#"{"a":{"a":3,"b":2},"b":1}"#.to_owned();
    let noted = vec![Some(r#"{"a":3,"b":2}"#.to_owned()), Some("1".to_owned())];
    assert_eq!(parted(text), Some((others, canonical, 31, noted)));
    assert_eq!(
        parted(r#"{"one":{}}"#),
        Some((vec![], "{}".into(), 2, vec![None, None]))
    );
}

#[test]
fn texts_that_are_not_as_they_should_be_are_left_to_others() {
    let nested = |levels: usize| {
        format!(
            r#"{{"one":{{"a":{}{}}}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert!(parted(&nested(MAX_DEPTH - 2)).is_some());
    let members = |count: usize| {
        let others: Vec<String> = (0..count).map(|n| format!("\"{n}\":0,")).collect();
        format!("{{{}\"one\":{{}}}}", others.concat())
    };
    assert!(parted(&members(64)).is_some());
    let long = |bytes: usize| format!(r#"{{"{}":0,"one":{{}}}}"#, "a".repeat(bytes));
    assert!(parted(&long(MAX_NAME_BYTES)).is_some());
    for text in [
        "",
        "[]",
        "{}",
        r#"{"two":{}}"#,
        r#"{"one":[]}"#,
        r#"{"one":{},}"#,
        r#"{"one":{}"#,
        r#"{"one":{}]"#,
        r#"{"one":{}}}"#,
        r#"{"one":{}} 1"#,
        r#"{"one" {}}"#,
        r#"{one:{}}"#,
        r#"{"one":{},"one":{}}"#,
        r#"{"a":1,"one":{},"a":1}"#,
        r#"{"\u006fne":{}}"#,
        r#"{"\u0061":1,"one":{}}"#,
        r#"{"one":{"a":1,"a":1}}"#,
        r#"{"one":{"a":1e400}}"#,
        r#"{"one":{"a":"\ud800"}}"#,
        r#"{"one":{},"a":{"b":1,"b":1}}"#,
        r#"{"one":{},"a":"\ud800"}"#,
        r#"{"one":{},"a":01}"#,
        &nested(MAX_DEPTH - 1),
        &members(65),
        &long(MAX_NAME_BYTES + 1),
    ] {
        assert_eq!(parted(text), None, "{text}");
    }
}
