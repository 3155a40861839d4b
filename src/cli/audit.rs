//! `signer audit`: proves a trail whole and unaltered, finds requests in it, and compares checkpoints.

use std::fs;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use signer_actors::domain::ids::AuditId;

use super::args::{AuditConsistencyArgs, AuditQueryArgs, AuditVerifyArgs};
use super::{Exit, say};
use crate::adapters::audit_files::consistency_in_dir;
use crate::adapters::audit_files::query::{Query, query_dir};
use crate::adapters::audit_files::verify::{Expected, Summary, verify_dir};
use crate::tlog::{Checkpoint, Hash, VerifierKey, unverified_text, verify_consistency};

/// The largest file that is read for a checkpoint or key, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a command cannot begin.
pub(super) type Refused = (Exit, String);

/// `signer audit verify`
pub fn verify(args: &AuditVerifyArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    match try_verify(args, out) {
        Ok(()) => Exit::Done,
        Err((exit, what)) => {
            say(err, &what);
            exit
        }
    }
}

fn try_verify(args: &AuditVerifyArgs, out: &mut dyn Write) -> Result<(), Refused> {
    let directory = folder(&args.directory)?;
    let key = args.key.as_deref().map(key).transpose()?;
    let held = args.checkpoint.as_deref().map(|file| signed(file, key.as_ref()));
    let held = held.transpose()?.map(|signed| signed.checkpoint);
    let expected = Expected {
        key: key.as_ref(),
        held: held.as_ref(),
    };
    let bar = bar();
    let verified = verify_dir(directory, expected, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let summary = verified.map_err(|fault| (Exit::Refused, format!("NOT whole: {fault}")))?;
    tell(out, &summary, key.is_some(), held.as_ref());
    Ok(())
}

fn tell(out: &mut dyn Write, summary: &Summary, signed: bool, held: Option<&Checkpoint>) {
    say(out, &format!("whole and unaltered: {} records", summary.records));
    say(
        out,
        &format!(
            "  intents {}, outcomes {}, signed {}, refusals {}",
            summary.intents, summary.outcomes, summary.signed, summary.refusals
        ),
    );
    say(
        out,
        &format!("  intents without outcome: {}", summary.orphans.len()),
    );
    if summary.archived > 0 {
        say(
            out,
            &format!(
                "  archived: records 0 to {}; their hashes are proven, their bundles are not here",
                summary.archived - 1
            ),
        );
    }
    match &summary.checkpoint {
        Some(checkpoint) => {
            let verified = if signed {
                "signature verified"
            } else {
                "signature NOT verified: give --key"
            };
            let root = BASE64_STANDARD.encode(checkpoint.root);
            say(
                out,
                &format!(
                    "  checkpoint {} over {} records, root {root}, {verified}",
                    checkpoint.origin, checkpoint.size
                ),
            );
        }
        None => say(out, "  checkpoint: none yet"),
    }
    match held {
        Some(held) => say(
            out,
            &format!("  goes on from the checkpoint over {} records", held.size),
        ),
        None => say(
            out,
            "  against no checkpoint kept elsewhere: give --checkpoint to prove that none was rewritten",
        ),
    }
}

/// `signer audit query`
pub fn query(args: &AuditQueryArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let directory = match folder(&args.directory) {
        Ok(directory) => directory,
        Err((exit, what)) => {
            say(err, &what);
            return exit;
        }
    };
    let query = Query {
        audit_id: args.id.map(AuditId),
        tenant: args.tenant.clone(),
        key: args.key.clone(),
        digest: args.digest.clone(),
        since: args.since,
        until: args.until,
    };
    let bar = ProgressBar::new_spinner();
    let mut count = 0_u64;
    let done = query_dir(
        directory,
        &query,
        |records| bar.set_message(format!("{records} records")),
        |told| {
            count += 1;
            // What was read from JSON can be written as JSON.
            if let Ok(line) = serde_json::to_string(&told) {
                say(out, &line);
            }
        },
    );
    bar.finish_and_clear();
    match done {
        Err(what) => {
            say(err, &format!("error: {what}"));
            Exit::Refused
        }
        Ok(()) if count == 0 => {
            say(err, "nothing in the trail fits");
            Exit::NotFound
        }
        Ok(()) => Exit::Done,
    }
}

/// `signer audit consistency`
pub fn consistency(args: &AuditConsistencyArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    match try_consistency(args) {
        Ok(said) => {
            say(out, &said);
            Exit::Done
        }
        Err((exit, what)) => {
            say(err, &what);
            exit
        }
    }
}

fn try_consistency(args: &AuditConsistencyArgs) -> Result<String, Refused> {
    let key = args.key.as_deref().map(key).transpose()?;
    let (old, new) = (signed(&args.old, key.as_ref())?, signed(&args.new, key.as_ref())?);
    let (before, after) = (&old.checkpoint, &new.checkpoint);
    let forked = |what: String| (Exit::Refused, format!("NOT consistent: {what}"));
    if before.origin != after.origin {
        return Err(forked(format!(
            "one is of {}, the other of {}",
            before.origin, after.origin
        )));
    }
    let proof = match (&args.directory, new.proof) {
        (Some(directory), _) => {
            consistency_in_dir(folder(directory)?, before.size, after.size).map_err(&forked)?
        }
        (None, Some((from, proof))) if from == before.size => proof,
        (None, Some((from, _))) => {
            return Err(forked(format!(
                "the proof is from {from} records, the earlier checkpoint over {}",
                before.size
            )));
        }
        (None, None) if before.size == after.size || before.size == 0 => Vec::new(),
        (None, None) => {
            let what = format!(
                "error: there is no proof in {}: give the answer of GET /audit/checkpoint?from={}, or --directory",
                args.new.display(),
                before.size
            );
            return Err((Exit::Usage, what));
        }
    };
    if !verify_consistency((before.size, &before.root), (after.size, &after.root), &proof) {
        return Err(forked(format!(
            "the log over {} records does not go on from the one over {}: forked, or not of one log",
            after.size, before.size
        )));
    }
    let verified = if key.is_some() {
        "signatures verified"
    } else {
        "signatures NOT verified: give --key"
    };
    Ok(format!(
        "consistent: {} records go on from {}, {verified}",
        after.size, before.size
    ))
}

/// A checkpoint from a file.
struct Signed {
    checkpoint: Checkpoint,
    /// Size that a consistency proof begins with, and the proof.
    proof: Option<(u64, Vec<Hash>)>,
}

/// What of an answer of `GET /audit/checkpoint` matters here.
#[derive(Deserialize)]
struct Answer {
    checkpoint: String,
    consistency: Option<AnsweredProof>,
}

#[derive(Deserialize)]
struct AnsweredProof {
    from: u64,
    proof: Vec<String>,
}

/// The note in a file, not verified; with the proof beside it.
fn read_note(file: &Path) -> Result<(String, Option<AnsweredProof>), Refused> {
    let text = text(file)?;
    Ok(match serde_json::from_str::<Answer>(&text) {
        Ok(answer) => (answer.checkpoint, answer.consistency),
        Err(_) => (text, None),
    })
}

/// The note in a file, or in an answer of `GET /audit/checkpoint`; not verified.
pub(super) fn note(file: &Path) -> Result<String, Refused> {
    read_note(file).map(|(note, _)| note)
}

fn signed(file: &Path, key: Option<&VerifierKey>) -> Result<Signed, Refused> {
    let refuse = |what: &str| (Exit::Refused, format!("error: {} {what}", file.display()));
    let (note, proof) = read_note(file)?;
    let opened = key.map_or_else(|| unverified_text(&note), |key| key.open(&note));
    let opened = opened.map_err(|e| refuse(&format!("does not count: {e}")))?;
    let checkpoint = Checkpoint::parse(opened).ok_or_else(|| refuse("is no checkpoint"))?;
    if key.is_some_and(|key| key.name() != checkpoint.origin) {
        return Err(refuse(&format!("is of another log: {}", checkpoint.origin)));
    }
    let hash = |text: &String| BASE64_STANDARD.decode(text).ok()?.try_into().ok();
    let proof = proof.map(|proof| {
        let hashes = proof.proof.iter().map(hash).collect::<Option<Vec<Hash>>>();
        Some((proof.from, hashes?))
    });
    match proof {
        Some(None) => Err(refuse("has a proof with something that is no hash")),
        proof => Ok(Signed {
            checkpoint,
            proof: proof.flatten(),
        }),
    }
}

/// A verifier key, itself or in a file.
pub(super) fn key(named: &str) -> Result<VerifierKey, Refused> {
    if let Some(key) = VerifierKey::parse(named) {
        return Ok(key);
    }
    let text = text(Path::new(named))?;
    let wrong = || {
        (
            Exit::Usage,
            format!("error: {named} holds no verifier key: signer check prints it"),
        )
    };
    VerifierKey::parse(text.trim()).ok_or_else(wrong)
}

fn text(file: &Path) -> Result<String, Refused> {
    let unreadable = |what: String| {
        (
            Exit::NotFound,
            format!("error: cannot read {}: {what}", file.display()),
        )
    };
    let size = fs::metadata(file).map_err(|e| unreadable(e.to_string()))?.len();
    if size > MAX_FILE {
        return Err(unreadable("it is too large".into()));
    }
    fs::read_to_string(file).map_err(|e| unreadable(e.to_string()))
}

fn folder(directory: &Path) -> Result<&Path, Refused> {
    if directory.is_dir() {
        Ok(directory)
    } else {
        Err((
            Exit::NotFound,
            format!("error: {} is no folder", directory.display()),
        ))
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    // A template that cannot be read leaves the plain bar.
    match ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} records, {eta} left") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
