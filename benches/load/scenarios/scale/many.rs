//! CPU of a signature with many tenants, and with many remembered tokens, in terms of few.
//!
//! Each population has a server of its own, whose tables hold it and nothing else; with one worker, which remembers all
//! tokens, because workers remember each for itself.

use super::{callers, start, told};
use crate::Fallible;
use crate::args::{Args, Many};
use crate::report::Report;
use crate::scenarios::contest::{Contender, hold};
use crate::server::Ended;
use crate::world::{Variant, World};

/// Tenants where tenants are few.
const FEW: usize = 10;

pub(super) fn run(world: &World, args: &Args, options: &Many) -> Fallible<(Report, Ended)> {
    let variant = |name| Variant {
        name,
        workers: 1,
        // More than are used: none is forgotten.
        remembered: 250_000,
    };
    let few = start(world, args, &variant("few"))?;
    let tokens = start(world, args, &variant("tokens"))?;
    let tenants = start(world, args, &variant("tenants"))?;
    let (many_tenants, many_tokens) = (options.tenants as usize, options.tokens as usize);
    let callers_few = callers(world, FEW, 10, options.size)?;
    let callers_tokens = callers(world, FEW, many_tokens / FEW, options.size)?;
    let callers_tenants = callers(world, many_tenants, 1, options.size)?;
    let contender = |name: String, server, callers| Contender {
        name,
        server,
        callers,
        body: None,
    };
    // The tenants last: their entitlements are believed for two minutes.
    let contenders = [
        contender("10 tenants, 100 tokens".to_owned(), &few, &callers_few),
        contender(format!("{many_tokens} tokens"), &tokens, &callers_tokens),
        contender(format!("{many_tenants} tenants"), &tenants, &callers_tenants),
    ];
    let outcomes = hold(world, &contenders, options.turns)?;
    let ended = few.stop()?.and(tokens.stop()?).and(tenants.stop()?);
    let mut report = Report {
        title: format!(
            "tenants and tokens: closed loop, one worker, {} connections, predicates of {}, {} rounds in turn",
            options.turns.connections, options.size, options.turns.rounds
        ),
        ..Report::default()
    };
    if let Some((few, others)) = outcomes.split_first() {
        for other in others {
            let ratio = other.in_terms_of(few, |outcome| &outcome.costs);
            let what = format!("CPU of a signature, {} for {}", other.row.name, few.row.name);
            told(&mut report, what, ratio, options.most);
        }
    }
    report.rows = outcomes.into_iter().map(|outcome| outcome.row).collect();
    Ok((report, ended))
}
