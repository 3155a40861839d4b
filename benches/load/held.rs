//! A tenant whose only permit is taken.

use std::thread;
use std::time::{Duration, Instant};

use openssl::sha::sha256;

use crate::Fallible;
use crate::mint::{Caller, Plan};
use crate::payload::{about, templates};
use crate::scenarios::Callers;
use crate::server::Server;
use crate::wire::Wire;
use crate::world::World;

/// For the permit to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// A tenant with one place.
pub(crate) struct Held {
    pub(crate) callers: Callers,
    holder: Caller,
    /// An image that nobody else asks about.
    image: String,
}

impl Held {
    pub(crate) fn new(world: &World, tenant: &str, bytes: usize) -> Fallible<Self> {
        let plan = Plan {
            concurrency: 1,
            ..Plan::WIDE
        };
        let callers = vec![world.mint.caller(tenant, plan, true)?];
        Ok(Self {
            callers: Callers {
                templates: templates(&world.mint, &callers, bytes)?,
                callers,
            },
            holder: world.mint.caller(tenant, plan, false)?,
            image: format!("sha256:{}", hex::encode(sha256(tenant.as_bytes()))),
        })
    }

    /// Takes the place, for [`crate::world::HELD_FOR`]: the slow registry is asked.
    pub(crate) fn hold(&self, server: &Server, world: &World) -> Fallible<()> {
        let request = about(&world.mint, &self.holder, &self.image);
        let proof = match world.mint.by_certificate() {
            true => Vec::new(),
            false => world.mint.proofs(std::slice::from_ref(&self.holder), 0, 1)?,
        };
        let mut wire = Wire::open(&server.target)?;
        // Ends when the server has its answer, which is no.
        let holding = thread::spawn(move || wire.exchange(&request, proof.first().map(String::as_str)));
        let begun = Instant::now();
        let mut wire = Wire::open(&server.target)?;
        while begun.elapsed() < PATIENCE && !holding.is_finished() {
            // Long enough for the holder to be ahead.
            thread::sleep(Duration::from_millis(50));
            let probe = self.callers.payload(world, 1)?;
            let Some((request, proof)) = probe.get(0) else {
                break;
            };
            if wire.exchange(request, proof)?.code.as_deref() == Some("concurrency_limited") {
                return Ok(());
            }
        }
        let got = holding
            .is_finished()
            .then(|| holding.join().ok()?.ok()?.code)
            .flatten();
        Err(format!("the tenant's permit could not be held: the holder got {got:?}").into())
    }
}
