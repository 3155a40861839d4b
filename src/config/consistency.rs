//! What must hold between sections.

use std::time::Duration;

use super::Draft;
use super::auth::NoncePolicy;
use super::backends::Backend;
use super::disjoint::{self, Sections, Shared};
use super::error::Problem;
use super::reader::Reader;

/// Checks what can be checked between the sections that could be read.
pub(crate) fn check(reader: &mut Reader, draft: &mut Draft) {
    for Shared { key, problem } in disjoint::shared(&Sections::of_draft(draft)) {
        reader.report(&key, problem);
    }
    identities_have_roots(reader, draft);
    folders_differ(reader, draft);
    timestamps_fit_into_requests(reader, draft);
    nonces_are_shared_with_the_store(reader, draft);
    leases_outlive_requests(reader, draft);
}

/// Certificates of releases need roots: their own, or those of the Fulcio that also certifies this service.
fn identities_have_roots(reader: &mut Reader, draft: &mut Draft) {
    let (Some(signing), Some(release)) = (&draft.signing, &mut draft.release) else {
        return;
    };
    let lacking = release.identities.iter().any(|identity| identity.roots.is_none());
    if !lacking || release.roots.is_some() {
        return;
    }
    release.roots = signing.backends.iter().find_map(|backend| match backend {
        Backend::Fulcio(fulcio) => Some(fulcio.roots.clone()),
        Backend::File(_) | Backend::Remote(_) => None,
    });
    if release.roots.is_none() {
        let problem = "is empty, and there is no Fulcio backend whose roots release.identities could share";
        reader.report(
            "release.roots",
            Problem::new(problem, "name the roots of the release certificates"),
        );
    }
}

/// A nonce of one replica must be good at the others; without a shared store a shared key would let a nonce from before
/// a restart excuse a proof that was used before it (ADR 0009, ADR 0014).
fn nonces_are_shared_with_the_store(reader: &mut Reader, draft: &Draft) {
    let (Some(auth), Some(state)) = (&draft.auth, &draft.state) else {
        return;
    };
    let nonces = auth.dpop.nonce != NoncePolicy::Off;
    let problem = match (&state.shared, &auth.dpop.nonce_key) {
        (Some(_), None) if nonces => Problem::new(
            "is empty, and state.store is redis",
            "make one key for all replicas: openssl rand -hex 32",
        ),
        (None, Some(_)) => Problem::new(
            "is set, and state.store is memory",
            "leave it empty: each start makes a key of its own",
        ),
        _ => return,
    };
    reader.report("auth.dpop.nonce_key", problem);
}

/// After the store has lost its memory nothing is signed for one lease's life, in which every attempt of before must have
/// ended: its claim is forgotten, and a retry would be signed beside it (ADR 0015).
fn leases_outlive_requests(reader: &mut Reader, draft: &Draft) {
    let (Some(server), Some(state)) = (&draft.server, &draft.state) else {
        return;
    };
    let lease = state.shared.as_ref().map(|shared| shared.lease_ttl);
    if lease.is_some_and(|lease| lease < server.request_timeout) {
        let problem = format!(
            "is shorter than server.request_timeout, {:?}",
            server.request_timeout
        );
        let remedy = "lengthen it to that at least, or shorten server.request_timeout: a lease must not end before the work \
            that it counts";
        reader.report("state.lease_ttl", Problem::new(problem, remedy));
    }
}

/// What a request needs after it has waited for a timestamp in vain.
const FOR_THE_TRAIL: Duration = Duration::from_millis(500);

/// A request whose authority is silent must still have time to say so.
fn timestamps_fit_into_requests(reader: &mut Reader, draft: &Draft) {
    let (Some(server), Some(Some(timestamp))) = (&draft.server, &draft.timestamp) else {
        return;
    };
    if timestamp.timeout.saturating_add(FOR_THE_TRAIL) > server.request_timeout {
        let problem = "leaves less than 500 ms of server.request_timeout";
        let remedy = "give the authority less time, or requests more";
        reader.report("timestamp.timeout", Problem::new(problem, remedy));
    }
}

fn folders_differ(reader: &mut Reader, draft: &Draft) {
    let (Some(audit), Some(state)) = (&draft.audit, &draft.state) else {
        return;
    };
    if audit.directory == state.directory {
        let problem = "is the folder of state.directory";
        reader.report(
            "audit.directory",
            Problem::new(problem, "give the audit trail a folder of its own"),
        );
    }
}
