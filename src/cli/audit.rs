//! `signer audit verify DIR`: proves a trail whole and unaltered.

use std::io::Write;

use indicatif::ProgressBar;

use super::args::AuditVerifyArgs;
use super::{Exit, say};
use crate::adapters::audit_files::verify::verify_dir;

/// Runs the command.
pub fn verify(args: &AuditVerifyArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let dir = &args.directory;
    if !dir.is_dir() {
        say(err, &format!("error: {} is no folder", dir.display()));
        return Exit::NotFound;
    }
    let bar = ProgressBar::new_spinner();
    let verified = verify_dir(dir, |records| bar.set_message(format!("{records} records")));
    bar.finish_and_clear();
    match verified {
        Ok(summary) => {
            say(
                out,
                &format!(
                    "whole and unaltered: {} records in {} segments",
                    summary.records, summary.segments
                ),
            );
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
            say(out, &format!("  head {}", summary.head));
            Exit::Done
        }
        Err(fault) => {
            say(err, &format!("NOT whole: {fault}"));
            Exit::Refused
        }
    }
}
