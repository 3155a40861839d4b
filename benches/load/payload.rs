//! Requests that are ready to be sent.

use std::sync::Arc;

use crate::Fallible;
use crate::mint::{Caller, Mint, ORIGIN, SIGN};

/// More would fill the machine's memory.
const MOST_PROOFS: usize = 1_000_000;
/// Bytes of bodies held ready.
const MOST_BYTES: usize = 1_000_000_000;

/// Head and body of a caller's requests, all but the proof.
#[derive(Debug)]
pub(crate) struct Template {
    /// Up to where the proof comes, without the empty line.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// Requests in their order: `n` is that of the template `first + n`, turns taken round and round, with proof `n`.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    templates: Arc<[Template]>,
    /// None where nothing asks for one.
    proofs: Option<Arc<[String]>>,
    first: usize,
    count: usize,
}

impl Payload {
    /// This many signatures, beginning with this caller.
    pub(crate) fn signing(
        mint: &Mint,
        callers: &[Caller],
        templates: &Arc<[Template]>,
        first: usize,
        count: usize,
    ) -> Fallible<Self> {
        if count > MOST_PROOFS {
            let text =
                format!("{count} requests in one round are too many: ask for a lower rate or fewer seconds");
            return Err(text.into());
        }
        Ok(Self {
            templates: Arc::clone(templates),
            proofs: match mint.by_certificate() {
                true => None,
                false => Some(mint.proofs(callers, first, count)?.into()),
            },
            first,
            count,
        })
    }

    /// As often as wanted, without proof.
    pub(crate) fn unproven(template: Template) -> Self {
        Self {
            templates: Arc::new([template]),
            proofs: None,
            first: 0,
            count: usize::MAX,
        }
    }

    pub(crate) fn get(&self, n: usize) -> Option<(&Template, Option<&str>)> {
        if n >= self.count {
            return None;
        }
        let turn = self.first.wrapping_add(n).checked_rem(self.templates.len())?;
        let template = self.templates.get(turn)?;
        match &self.proofs {
            Some(proofs) => Some((template, Some(proofs.get(n)?))),
            None => Some((template, None)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

/// `GET /livez`
pub(crate) fn livez() -> Template {
    Template {
        head: format!("GET /livez HTTP/1.1\r\nhost: {}\r\n", host()).into_bytes(),
        body: Vec::new(),
    }
}

/// Signing requests of these callers, with a predicate of about so many bytes.
pub(crate) fn templates(mint: &Mint, callers: &[Caller], bytes: usize) -> Fallible<Arc<[Template]>> {
    if callers.len().saturating_mul(bytes) > MOST_BYTES {
        return Err("so many bodies of this size do not fit: ask for fewer tenants".into());
    }
    let predicate = predicate(bytes);
    let all = callers
        .iter()
        .map(|caller| template(caller, &mint.scanner, &predicate, Some(mint.scheme())));
    Ok(all.collect())
}

/// The same request without credentials.
pub(crate) fn anonymous(mint: &Mint, caller: &Caller, bytes: usize) -> Template {
    template(caller, &mint.scanner, &predicate(bytes), None)
}

/// A request about another scanner image.
pub(crate) fn about(mint: &Mint, caller: &Caller, scanner: &str) -> Template {
    template(caller, scanner, &predicate(0), Some(mint.scheme()))
}

fn template(caller: &Caller, scanner: &str, predicate: &str, scheme: Option<&str>) -> Template {
    let hex = "ab".repeat(32);
    let body = format!(
        r#"{{"subject":[{{"name":"registry.example/app","digest":{{"sha256":"{hex}"}}}}],"predicateType":"https://cyclonedx.org/bom","predicate":{predicate},"scannerImageDigest":"{scanner}","poe":{{"format":"jwt","value":"{}"}}}}"#,
        caller.poe
    );
    let mut head = format!(
        "POST {SIGN} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
        host(),
        body.len()
    );
    if let Some(scheme) = scheme {
        head.push_str(&format!("authorization: {scheme} {}\r\n", caller.token));
    }
    Template {
        head: head.into_bytes(),
        body: body.into_bytes(),
    }
}

fn host() -> &'static str {
    ORIGIN.trim_start_matches("https://")
}

/// An SBOM-like predicate of about this many bytes, keys out of order as generators write them.
pub(crate) fn predicate(bytes: usize) -> String {
    let component = |n: usize| {
        format!(
            r#"{{"version":"1.{n}.0","type":"library","name":"component-{n}","purl":"pkg:npm/component-{n}@1.{n}.0","hashes":[{{"content":"{n:064x}","alg":"SHA-256"}}]}}"#
        )
    };
    let mut text = String::with_capacity(bytes + 256);
    text.push_str(r#"{"specVersion":"1.6","bomFormat":"CycloneDX","components":["#);
    for n in 0.. {
        if n > 0 {
            text.push(',');
        }
        text.push_str(&component(n));
        if text.len() + component(n).len() / 2 >= bytes {
            break;
        }
    }
    text.push_str("]}");
    text
}
