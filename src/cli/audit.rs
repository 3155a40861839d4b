//! `signer audit verify DIR`: proves a trail whole and unaltered.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use indicatif::ProgressBar;

use super::{Exit, say};
use crate::adapters::audit_files::verify::verify_dir;

/// Commands about audit trails.
#[derive(Clone, Debug, Subcommand)]
pub enum AuditCommand {
    /// Prove that no record was altered, removed, moved or cut off in the middle
    Verify {
        /// The trail's folder
        dir: PathBuf,
    },
}

/// Runs the command.
pub fn run(command: &AuditCommand, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let AuditCommand::Verify { dir } = command;
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
