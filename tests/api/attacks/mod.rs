//! Attacks by the hundred, in tables: a stolen token, a replayed proof, a forged field, a hostile Authority get in
//! nowhere, and an honest client always does.
//!
//! Each case is one row ([`case`]): a good request with one thing changed, and the answer that must come of it. A refusal
//! must also be whole: problem document, challenge, no secret in it, nothing signed. All failures of a table are told
//! together, as `failed: <group>: <case>: <why>`. `tests/weakenings/run` proves that every check of the service is
//! missed by some case as soon as it is taken away.

mod body;
pub(crate) mod case;
mod controls;
mod dpop;
mod framing;
mod idempotency;
mod jwks;
mod keys;
mod mtls;
mod nonce;
mod resource;
mod tenant;
mod token;

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use futures_util::{FutureExt, StreamExt, stream};

use self::case::{Case, Change, Target};
use crate::support::{Call, TestApp, World};

/// Requests under way at once.
const AT_ONCE: usize = 6;

/// The service, with an Authority that has a key of each kind.
pub(crate) async fn start(changes: &str) -> TestApp {
    let world = World::new(&format!("auth.jwks_file = \"kinds.json\"\n{changes}")).await;
    world.write("kinds.json", keys::authority(&world).to_string());
    TestApp::within(world).await
}

/// Every case against this service; what fails is told together.
pub(crate) async fn run(group: &str, app: &TestApp, cases: Vec<Case>) {
    let good: Change = Rc::new(unchanged);
    let target = Target {
        world: app,
        base: app.base(),
        clock: None,
        good: &good,
    };
    run_at(group, &target, cases).await;
}

/// The same with another idea of a good request, for services that ask more; one by one where there is a clock.
pub(crate) async fn run_at(group: &str, target: &Target<'_>, cases: Vec<Case>) {
    keys::make();
    let count = cases.len();
    let at_once = if target.clock.is_some() { 1 } else { AT_ONCE };
    let checked: Vec<(String, Result<usize, String>)> = stream::iter(cases)
        .map(|case| async move {
            let done = caught(case.check(target)).await;
            (case.name, done)
        })
        .buffer_unordered(at_once)
        .collect()
        .await;
    let signed: usize = checked.iter().filter_map(|(_, done)| done.as_ref().ok()).sum();
    let recorded = target.world.audit();
    let recorded = recorded.iter().filter(|record| record["event"] == "outcome");
    let mut failures = failures(group, checked);
    if failures.is_empty() && recorded.count() != signed {
        failures.push(format!("failed: {group}: more was signed than was answered"));
    }
    report(group, count, &failures);
}

fn unchanged(call: Call<'_>) -> Call<'_> {
    call
}

/// What a future panics with, as an error.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let done = AssertUnwindSafe(future).catch_unwind().await;
    done.map_err(|panic| match panic.downcast::<String>() {
        Ok(text) => text.replace('\n', " "),
        Err(panic) => (*panic.downcast::<&str>().unwrap_or(Box::new("a panic"))).to_owned(),
    })
}

pub(crate) fn failures<T>(group: &str, checked: Vec<(String, Result<T, String>)>) -> Vec<String> {
    let failed = |(name, done): (String, Result<T, String>)| {
        let why = done.err()?;
        Some(format!("failed: {group}: {name}: {why}"))
    };
    checked.into_iter().filter_map(failed).collect()
}

#[allow(
    clippy::print_stdout,
    reason = "what the suite has to show is how much it tried"
)]
pub(crate) fn report(group: &str, count: usize, failures: &[String]) {
    println!("{group}: {count} cases");
    assert!(
        failures.is_empty(),
        "{} of {count} cases of {group}\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// Every table with the names of its cases.
fn tables() -> Vec<(&'static str, Vec<String>)> {
    let names = |cases: Vec<Case>| cases.into_iter().map(|case| case.name).collect();
    vec![
        ("token", names(token::cases())),
        ("dpop", names(dpop::cases())),
        ("nonce", nonce::names()),
        ("mtls", mtls::names()),
        ("proxy", names(mtls::proxy::cases())),
        ("tenant", names(tenant::cases())),
        ("body", body::names()),
        ("framing", names(framing::cases())),
        ("resource", names(resource::cases())),
        ("jwks", jwks::names()),
        ("idempotency", idempotency::names()),
        ("controls", names(controls::cases())),
    ]
}

#[test]
fn the_suite_is_whole() {
    let mut seen = HashSet::new();
    let mut total = 0;
    for (group, names) in tables() {
        println!("{group:<10} {:>4}", names.len());
        total += names.len();
        for name in names {
            assert!(seen.insert(name.clone()), "{group}: two cases are called {name}");
        }
    }
    println!("{:<10} {total:>4}", "all");
    assert!(total >= 300, "{total}");
}

#[actix::test]
async fn tokens() {
    run("token", &start("").await, token::cases()).await;
}

#[actix::test]
async fn proofs() {
    run("dpop", &start("").await, dpop::cases()).await;
}

#[actix::test]
async fn tenants() {
    run("tenant", &start("").await, tenant::cases()).await;
}

#[actix::test]
async fn framings() {
    run("framing", &start("").await, framing::cases()).await;
}

#[actix::test]
async fn resources() {
    run("resource", &start("").await, resource::cases()).await;
}

#[actix::test]
async fn repetitions() {
    idempotency::run(&start("").await).await;
}

#[actix::test]
async fn honest_callers() {
    run("controls", &start("").await, controls::cases()).await;
}
