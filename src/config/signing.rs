//! `[signing]`: what is signed, and with which keys.

use signer_actors::domain::ids::KeyId;
use signer_actors::domain::predicates;
use signer_actors::domain::signing::SigningMode;
use signer_actors::domain::statement::{MAX_PREDICATE_TYPE, RELEASE_SIGNATURE_TYPE};

use super::backends::{self, Backend};
use super::error::Problem;
use super::reader::{Section, key};

/// What is signed, and with which keys.
#[derive(Clone, Debug)]
pub struct Signing {
    /// The mode of requests that name none. At least one backend has it.
    pub default_mode: SigningMode,
    /// The key of requests for mode `kms` that name none. Always an active keyful backend; `None` when there is no
    /// such backend, or several and none is preferred.
    pub default_key: Option<KeyId>,
    /// Whether subjects carry the annotations of the gates.
    pub stamp: bool,
    /// Predicate types that are signed; a trailing `*` is a prefix match.
    pub predicate_types: Vec<String>,
    /// Whether predicates must have the shape of their type, where that is known.
    pub predicate_checks: bool,
    /// Backends, in the order of the file; at least one. Ids are unique.
    pub backends: Vec<Backend>,
}

const DOC: &str = "What is signed, and with which keys.";
const BACKENDS_DOC: &str = "A signing backend: an ephemeral key certified by Fulcio, a key in a file, a key in \
    Vault, OpenBao or AWS KMS, or a key on a token that speaks PKCS #11. Each backend is one key with one algorithm. \
    (gcp-kms and azure-kv are not part of this version.)";

pub(crate) fn section(root: &mut Section<'_>) -> Option<Signing> {
    root.section("signing", DOC, read)
}

fn read(s: &mut Section<'_>) -> Option<Signing> {
    let default_mode = s.choice(
        key(
            "default_mode",
            "keyless",
            "keyless or kms: the mode of requests that name none.",
        ),
        &[("keyless", SigningMode::Keyless), ("kms", SigningMode::Kms)],
    );
    let default_key = s.optional(
        key(
            "default_key",
            "",
            "The backend for mode kms when a request names no keyId; empty: the only active one. Any other key needs \
             the feature key:<id>.",
        ),
        |text, _| backends::key_id(text),
    );
    let stamp = s.switch(key(
        "stamp",
        true,
        "Whether each subject gains the annotations stella.ops/tenant, stella.ops/installation, stella.ops/scanner.",
    ));
    let predicate_types = s.list(
        key(
            "predicate_types",
            vec!["https://cyclonedx.org/bom", "https://spdx.dev/Document", "https://stella.ops/*"],
            "Predicate types that are signed; a trailing * matches any continuation. cosign's own signature type is \
             never signed.",
        ),
        256,
        |text, _| predicate_pattern(text),
    );
    if predicate_types.as_ref().is_some_and(Vec::is_empty) {
        s.refuse(
            "predicate_types",
            "is empty, so nothing would be signed",
            "name at least one predicate type",
        );
    }
    let predicate_checks = s.switch(key(
        "predicate_checks",
        true,
        "Whether a predicate of a known type must have the members by which its format is told, so that the wrong document \
         under a type is refused; see docs/reference/predicates.md. What the document says is never judged.",
    ));
    let backends = s.tables("backends", BACKENDS_DOC, 64, backends::KINDS, backends::read);
    let (default_mode, backends) = (default_mode?, backends?);
    check_backends(s, default_mode, &backends);
    let default_key = resolve_default_key(s, default_mode, default_key?, &backends);
    Some(Signing {
        default_mode,
        default_key,
        stamp: stamp?,
        predicate_types: predicate_types?,
        predicate_checks: predicate_checks?,
        backends,
    })
}

/// A predicate type, or a prefix of some with a trailing `*`. Patterns that merely cover cosign's type are accepted:
/// the pipeline never signs that type, whatever is configured.
fn predicate_pattern(text: &str) -> Result<String, Problem> {
    if text.trim_end_matches('*') == RELEASE_SIGNATURE_TYPE {
        let problem =
            format!("{RELEASE_SIGNATURE_TYPE} is the type of release signatures and never signed here");
        return Err(Problem::new(problem, "remove it"));
    }
    let body = text.strip_suffix('*').unwrap_or(text);
    let fits = body.len() <= MAX_PREDICATE_TYPE
        && body.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*')
        && (text == "*" || body.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)));
    if fits {
        Ok(text.to_owned())
    } else {
        let problem = format!("{text:?} is not a predicate type");
        if let Some(uri) = predicates::uri_of_bare(text) {
            return Err(Problem::new(problem, format!("write {uri}")));
        }
        Err(Problem::new(
            problem,
            "write a URI, or the start of one and a trailing *",
        ))
    }
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

fn check_backends(s: &mut Section<'_>, default_mode: SigningMode, backends: &[Backend]) {
    if backends.is_empty() {
        s.refuse(
            "backends",
            "is empty, so nothing can be signed",
            "add a [[signing.backends]] table",
        );
        return;
    }
    for (index, backend) in backends.iter().enumerate() {
        if backends
            .iter()
            .take(index)
            .any(|other| other.id() == backend.id())
        {
            let problem = format!("{} is the id of another backend", backend.id());
            s.refuse(
                &format!("backends[{index}].id"),
                problem,
                "give each backend an id of its own",
            );
        }
    }
    let keyless = backends
        .iter()
        .filter(|backend| backend.mode() == SigningMode::Keyless);
    if keyless.count() > 1 {
        let remedy = "keep one: requests for mode keyless cannot choose between several";
        s.refuse("backends", "holds more than one backend of kind fulcio", remedy);
    }
    if !backends
        .iter()
        .any(|backend| backend.mode() == default_mode && backend.is_active())
    {
        let (problem, remedy) = match default_mode {
            SigningMode::Keyless => (
                "is keyless, but no backend of kind fulcio is configured",
                "add a backend of kind fulcio, or set default_mode = \"kms\"",
            ),
            SigningMode::Kms => (
                "is kms, but no active backend with a key is configured",
                "add a backend of kind file, or set default_mode = \"keyless\"",
            ),
        };
        s.refuse("default_mode", problem, remedy);
    }
}

fn resolve_default_key(
    s: &mut Section<'_>,
    default_mode: SigningMode,
    wanted: Option<KeyId>,
    backends: &[Backend],
) -> Option<KeyId> {
    let active: Vec<&KeyId> = backends
        .iter()
        .filter(|backend| backend.mode() == SigningMode::Kms && backend.is_active())
        .map(Backend::id)
        .collect();
    match (wanted, active.as_slice()) {
        (Some(wanted), active) => {
            if !active.contains(&&wanted) {
                let problem = format!("{wanted} is not the id of an active backend of mode kms");
                s.refuse("default_key", problem, "name the id of one, or leave it empty");
            }
            Some(wanted)
        }
        (None, [only]) => Some((*only).clone()),
        (None, []) => None,
        (None, _) => {
            if default_mode == SigningMode::Kms {
                let remedy = "name the backend that signs when a request names no keyId";
                s.refuse("default_key", "is empty though several keys are active", remedy);
            }
            None
        }
    }
}
