//! What the Authority answers.

use openssl::pkey::PKey;
use serde_json::{Value, json};

use super::super::case::TOKEN;
use super::super::keys::{KINDS, THIEF, WEAK};
use super::{
    Hostile, Page, Pages, Site, abused, as_issued, beside, by_thief, discovered, good, json_page, key, page,
    served, text, thief,
};
use crate::support::{KEY, b64, jwk, unb64};

pub(super) fn cases() -> Vec<Hostile> {
    [keys(), sets(), documents(), answers(), metadata()]
        .into_iter()
        .flatten()
        .collect()
}

/// One key that must not be used.
fn keys() -> Vec<Hostile> {
    vec![
        served("the good key set", |site| key(site, |_| ())).accepted(),
        served("a key with its purpose", |site| {
            key(site, |key| {
                key["use"] = json!("sig");
                key["alg"] = json!("ES256");
                key["key_ops"] = json!(["verify"]);
            })
        })
        .accepted(),
        served("a key for encryption", |site| {
            key(site, |key| key["use"] = json!("enc"))
        }),
        served("a key that only signs", |site| {
            key(site, |key| key["key_ops"] = json!(["sign"]))
        }),
        served("a key for another algorithm", |site| {
            key(site, |key| key["alg"] = json!("ES384"))
        }),
        served("a key for ECDH", |site| {
            key(site, |key| key["alg"] = json!("ECDH-ES"))
        }),
        served("a key without id", |site| {
            key(site, |key| {
                key.as_object_mut().unwrap().remove("kid");
            })
        }),
        served("a key whose id is a number", |site| {
            key(site, |key| key["kid"] = json!(1))
        }),
        served("a key with a private member", |site| {
            key(site, |key| key["d"] = json!("AAAA"))
        }),
        served("a key on another curve", |site| {
            key(site, |key| key["crv"] = json!("P-521"))
        }),
        served("a key off its curve", |site| {
            key(site, |key| {
                let mut y = unb64(key["y"].as_str().unwrap());
                y[31] ^= 1;
                key["y"] = json!(b64(y));
            })
        }),
        served("a key with a coordinate too short", |site| {
            key(site, |key| {
                let x = unb64(key["x"].as_str().unwrap());
                key["x"] = json!(b64(&x[1..]));
            })
        }),
        served("a key in a certificate alone", |site| {
            key(site, |key| {
                *key = json!({ "kty": "EC", "kid": "authority-1", "x5c": ["MIIB"] })
            })
        }),
        served("a secret in place of the key", |site| {
            key(site, |key| {
                *key = json!({ "kty": "oct", "kid": "authority-1", "k": b64([7; 32]) });
            })
        }),
        abused(
            "the good id with another key",
            |site| {
                key(site, |key| {
                    *key = thief(&json!({ "kid": "authority-1" }));
                })
            },
            as_issued,
        ),
        abused(
            "the good key by another id",
            |site| key(site, |key| key["kid"] = json!("authority-2")),
            as_issued,
        ),
        served("a signing key of the service itself", |site| {
            let pem = std::fs::read(site.world.folder.path().join(format!("{KEY}.pem"))).unwrap();
            let own = PKey::private_key_from_pem(&pem).unwrap();
            let mut own = jwk(&own);
            own["kid"] = json!("own");
            beside(site, own)
        }),
    ]
}

/// A good key with others beside it.
fn sets() -> Vec<Hostile> {
    vec![
        abused(
            "a secret beside the key, used for HS256",
            |site| beside(site, json!({ "kty": "oct", "kid": "thief", "k": b64([7; 32]) })),
            |token| {
                token.header["kid"] = json!("thief");
                token.by(&PKey::hmac(&[7; 32]).unwrap());
            },
        ),
        abused(
            "a private key beside the key, used",
            |site| {
                let d = THIEF.ec_key().unwrap().private_key().to_vec_padded(32).unwrap();
                beside(site, thief(&json!({ "d": b64(d) })))
            },
            by_thief,
        ),
        abused(
            "a key for encryption beside the key, used",
            |site| beside(site, thief(&json!({ "use": "enc" }))),
            by_thief,
        ),
        abused(
            "a key for another algorithm beside the key, used",
            |site| beside(site, thief(&json!({ "alg": "ES384" }))),
            by_thief,
        ),
        abused(
            "a key that derives beside the key, used",
            |site| beside(site, thief(&json!({ "key_ops": ["deriveKey"] }))),
            by_thief,
        ),
        abused(
            "an RSA key of 1024 bits beside the key, used",
            |site| {
                let mut public = jwk(&WEAK);
                public["kid"] = json!("weak");
                beside(site, public)
            },
            |token| {
                token.header["kid"] = json!("weak");
                token.by(&WEAK);
            },
        ),
        abused(
            "two keys with their ids exchanged",
            |site| {
                let mut other = good(site)["keys"][0].clone();
                other["kid"] = json!("authority-2");
                let first = thief(&json!({ "kid": "authority-1" }));
                vec![("/jwks", json_page(&json!({ "keys": [first, other] })))]
            },
            as_issued,
        ),
        abused(
            "two keys with their ids exchanged, of two kinds",
            |site| {
                let mut first = jwk(&KINDS[0].1);
                first["kid"] = json!("authority-1");
                let mut second = good(site)["keys"][0].clone();
                second["kid"] = json!("authority-384");
                vec![("/jwks", json_page(&json!({ "keys": [first, second] })))]
            },
            as_issued,
        ),
        served("two keys of one id", |site| {
            beside(site, thief(&json!({ "kid": "authority-1" })))
        }),
        served("two keys of one id, the thief's first", |site| {
            let mut set = good(site);
            let keys = set["keys"].as_array_mut().unwrap();
            keys.insert(0, thief(&json!({ "kid": "authority-1" })));
            vec![("/jwks", json_page(&set))]
        }),
        served("two keys of one id, one of them useless", |site| {
            beside(site, json!({ "kty": "oct", "kid": "authority-1", "k": "AAAA" }))
        }),
        served("the same key twice", |site| {
            let same = good(site)["keys"][0].clone();
            beside(site, same)
        }),
        served("useless keys beside the good one", |site| {
            beside(site, json!({ "kty": "XYZ", "kid": 7 }))
        })
        .accepted(),
        served("seventeen keys", |site| {
            let mut set = good(site);
            let keys = set["keys"].as_array_mut().unwrap();
            keys.extend((0..16).map(|n| thief(&json!({ "kid": format!("k{n}") }))));
            vec![("/jwks", json_page(&set))]
        }),
        served("no keys", |_| vec![("/jwks", json_page(&json!({ "keys": [] })))]),
        served("keys null", |_| {
            vec![("/jwks", json_page(&json!({ "keys": null })))]
        }),
        served("keys in an object", |site| {
            let key = good(site)["keys"][0].clone();
            vec![("/jwks", json_page(&json!({ "keys": { "authority-1": key } })))]
        }),
        served("a key without a set", |site| {
            vec![("/jwks", json_page(&good(site)["keys"][0]))]
        }),
        served("a list of keys without a set", |site| {
            vec![("/jwks", json_page(&good(site)["keys"]))]
        }),
    ]
}

/// What is no JSON, or is ambiguous.
fn documents() -> Vec<Hostile> {
    vec![
        served("a page in HTML", |site| {
            text(site, |_| b"<html>log in</html>".to_vec())
        }),
        served("an empty answer", |site| text(site, |_| Vec::new())),
        served("null for an answer", |site| text(site, |_| b"null".to_vec())),
        served("a set with something behind it", |site| {
            text(site, |set| format!("{set}{set}").into_bytes())
        }),
        served("a set with a byte order mark", |site| {
            text(site, |set| format!("\u{feff}{set}").into_bytes())
        }),
        served("a set that breaks off", |site| {
            text(site, |set| set.as_bytes()[..set.len() - 2].to_vec())
        }),
        served("a set with its keys twice", |site| {
            text(site, |set| set.replacen('{', r#"{"keys":[],"#, 1).into_bytes())
        }),
        served("a key with its id twice", |site| {
            text(site, |set| {
                set.replace(r#""kid""#, r#""kid":"authority-0","kid""#)
                    .into_bytes()
            })
        }),
        served("a key with its x twice", |site| {
            text(site, |set| {
                set.replace(r#""x""#, r#""x":"AAAA","x""#).into_bytes()
            })
        }),
        served("a set that is no UTF-8", |site| {
            text(site, |set| {
                let mut bytes = set.replacen('{', "{\"note\":\"X\",", 1).into_bytes();
                let at = bytes.iter().position(|b| *b == b'X').unwrap();
                bytes[at] = 0xff;
                bytes
            })
        }),
        served("a set of 70 KB", |site| {
            text(site, |set| {
                let pad = format!("{{\"pad\":\"{}\",", "x".repeat(70_000));
                set.replacen('{', &pad, 1).into_bytes()
            })
        }),
        served("a set of 5 MB", |site| {
            text(site, |set| format!("{set}{}", " ".repeat(5_000_000)).into_bytes())
        }),
        served("a set of many brackets", |site| {
            text(site, |_| "[".repeat(60_000).into_bytes())
        }),
    ]
}

/// What HTTP says of the set.
fn answers() -> Vec<Hostile> {
    fn with_status(site: &Site<'_>, status: u16) -> Pages {
        vec![("/jwks", page(status, good(site).to_string()))]
    }
    fn redirected(site: &Site<'_>, status: u16) -> Pages {
        let location = Some(format!("{}/elsewhere", site.base));
        let away = Page {
            location,
            ..page(status, "")
        };
        vec![("/jwks", away), ("/elsewhere", json_page(&good(site)))]
    }
    vec![
        served("a set with status 201", |site| with_status(site, 201)),
        served("a set with status 203", |site| with_status(site, 203)),
        served("a set with status 400", |site| with_status(site, 400)),
        served("a set with status 401", |site| with_status(site, 401)),
        served("a set with status 404", |site| with_status(site, 404)),
        served("a set with status 500", |site| with_status(site, 500)),
        served("a set behind a redirect 301", |site| redirected(site, 301)),
        served("a set behind a redirect 302", |site| redirected(site, 302)),
        served("a set behind a redirect 307", |site| redirected(site, 307)),
        served("a set behind a redirect 308", |site| redirected(site, 308)),
        served("a set of another media type", |site| {
            let set = Page {
                content_type: "application/jwk-set+json",
                ..json_page(&good(site))
            };
            vec![("/jwks", set)]
        })
        .accepted(),
    ]
}

const OIDC: &str = "/.well-known/openid-configuration";

/// Discovery: OpenID Connect Discovery 1.0 §4.3, RFC 8414 §3.3.
fn metadata() -> Vec<Hostile> {
    fn described(site: &Site<'_>, issuer: &str, jwks_uri: Value) -> Pages {
        let document = json!({ "issuer": issuer, "jwks_uri": jwks_uri });
        vec![(OIDC, json_page(&document)), ("/jwks", json_page(&good(site)))]
    }
    fn own(site: &Site<'_>) -> Value {
        json!(format!("{}/jwks", site.base))
    }
    vec![
        discovered("metadata as they should be", |site| {
            described(site, &site.base, own(site))
        })
        .accepted(),
        discovered("metadata of another issuer", |site| {
            described(site, "https://thief.example", own(site))
        }),
        discovered("metadata of an issuer with a slash behind", |site| {
            described(site, &format!("{}/", site.base), own(site))
        }),
        discovered("metadata of an issuer in another case", |site| {
            described(site, &site.base.replace("http", "HTTP"), own(site))
        }),
        discovered("metadata of no issuer", |site| {
            let document = json!({ "jwks_uri": own(site) });
            vec![(OIDC, json_page(&document)), ("/jwks", json_page(&good(site)))]
        }),
        discovered("metadata of no keys", |site| {
            described(site, &site.base, Value::Null)
        }),
        discovered("metadata with keys in clear elsewhere", |site| {
            described(site, &site.base, json!("http://192.0.2.1/jwks"))
        }),
        discovered("metadata with keys in a file", |site| {
            let file = site.world.folder.path().join("authority.json");
            described(site, &site.base, json!(format!("file://{}", file.display())))
        }),
        discovered("metadata with keys at a relative address", |site| {
            described(site, &site.base, json!("/jwks"))
        }),
        discovered("metadata with several addresses", |site| {
            described(site, &site.base, json!([own(site)]))
        }),
        discovered("metadata with the issuer twice", |site| {
            let text = format!(
                r#"{{"issuer":"https://thief.example","issuer":"{}","jwks_uri":{}}}"#,
                site.base,
                own(site)
            );
            vec![(OIDC, page(200, text)), ("/jwks", json_page(&good(site)))]
        }),
        discovered("metadata behind a redirect", |site| {
            let away = Page {
                location: Some(format!("{}/elsewhere", site.base)),
                ..page(302, "")
            };
            let document = json!({ "issuer": site.base, "jwks_uri": own(site) });
            vec![
                (OIDC, away),
                ("/elsewhere", json_page(&document)),
                ("/jwks", json_page(&good(site))),
            ]
        }),
        discovered("metadata in HTML", |_| vec![(OIDC, page(200, "<html></html>"))]),
        discovered("a token of another issuer than discovered", |site| {
            described(site, &site.base, own(site))
        })
        .expect(TOKEN)
        .with_token(|token| token.claim("iss", "https://authority.test")),
    ]
}
