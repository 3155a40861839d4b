//! Step 9: `htu` is this endpoint under the configured origin, whatever the request's own fields say.

use serde_json::{Value, json};

use super::super::case::Case;
use super::{claim, without};
use crate::support::{ORIGIN, REFERRERS, SIGN};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        without("htu"),
        claim("htu null", "htu", Value::Null),
        claim("htu as a list", "htu", json!([format!("{ORIGIN}{SIGN}")])),
        claim(
            "htu as an object",
            "htu",
            json!({ "url": format!("{ORIGIN}{SIGN}") }),
        ),
        claim(
            "htu of 5,000 characters",
            "htu",
            json!(format!("{ORIGIN}{SIGN}?{}", "x".repeat(5000))),
        ),
    ];
    let paths = [
        "/",
        "",
        REFERRERS,
        "/api/v1/signer/sign",
        "/api/v1/signer/sign/dsse/",
        "/api/v1/signer/sign/dsse/batch",
        "/api/v1/signer/sign/dsse;v=1",
        "/api/v1/signer/sign/DSSE",
        "/API/v1/signer/sign/dsse",
        "//api/v1/signer/sign/dsse",
        "/api/v1/signer//sign/dsse",
        "/api/v1/signer/sign%2Fdsse",
        "/api/v1/signer/sign%2fdsse",
        "/api/v1/signer/sign%252Fdsse",
        "/api/v1/signer/sign/%2564sse",
        "/api/v1/signer/sign/dsse%00",
        "/api/v1/signer/sign/dsse%20",
        "/api/v1/signer/sign/dsse/..",
        "/api/v1/signer/sign/../trust",
        "/api/v1/signer/sign/%2e%2e/trust",
        "/api/v1/signer/sign\\dsse",
        "/api/v1/signer/sign/dss\u{435}",
        "/api/v1/signer/sign/dsse ",
        "/api/v1/signer/sign/dsse%",
        "/api/v1/signer/sign/dsse%6",
        "/x/api/v1/signer/sign/dsse",
        "?/api/v1/signer/sign/dsse",
        "#/api/v1/signer/sign/dsse",
    ];
    cases.extend(paths.map(|path| {
        let htu = format!("{ORIGIN}{path}");
        claim(format!("htu {path:?} under the origin"), "htu", json!(htu))
    }));
    let origins = [
        "http://signer.test",
        "https://signer.test:80",
        "https://signer.test:8443",
        "https://signer.test:4430",
        "https://signer.test:443443",
        "https://signer.test:x",
        "https://signer.test.",
        "https://signer.test.thief.example",
        "https://xsigner.test",
        "https://signer",
        "https://thief.example",
        "https://signer.test@thief.example",
        "https://user@signer.test",
        "https://user:password@signer.test",
        "https://thief.example#https://signer.test",
        "https://thief.example/https://signer.test",
        "https://thief.example?https://signer.test",
        "https://127.0.0.1",
        "http://127.0.0.1",
        "https://[::1]",
        "https://s\u{456}gner.test",
        "https://xn--sgner-x2a.test",
        "https://signer%2Etest",
        "https://signer.test\\@thief.example",
        "https:\\\\signer.test",
        "https:/signer.test",
        "https:signer.test",
        "https:///signer.test",
        "//signer.test",
        "signer.test",
        "ftp://signer.test",
        "javascript://signer.test",
        " https://signer.test",
        "https://signer.test ",
        "https://signer.test\t",
        "https://signer.test\n",
        "https://signer.test\0",
        "",
    ];
    cases.extend(origins.map(|origin| {
        let htu = format!("{origin}{SIGN}");
        claim(format!("htu at {origin:?}"), "htu", json!(htu))
    }));
    cases
}
