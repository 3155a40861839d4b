//! Bounded asks over actix: the only code that touches actix's `send`.
//!
//! actix's own mailboxes queue without bound, lose an actor for good when a handler panics, and let a timed-out ask
//! run on unseen or, while it is queued, not at all. So here every request carries a permit of its mailbox ([`Mailbox`]), every ask has a deadline
//! ([`Deadline`]), and every state lives in a [`Host`] that turns a panic into one error and a rebuilt state. What a worker
//! merely remembers for itself is no actor's: [`Own`].

mod breaker;
mod deadline;
mod guard;
mod host;
mod mailbox;
mod own;
mod pace;
mod shards;
mod standing;
mod turns;
mod watchdog;

pub use breaker::{Again, Breaker, CircuitPolicy, Leave};
pub use deadline::Deadline;
pub use guard::{Panicked, catch};
pub use host::{ActorState, Cx, Due, Host, Reply, Request, Serve, Take};
pub use mailbox::{AskError, Mailbox, start};
pub use own::{Memory, Own};
pub use shards::{Shards, stable_hash};
pub use standing::{Answers, REPEAT, Standing};
pub use turns::Turns;
pub use watchdog::{Vitals, Watchdog};

#[cfg(test)]
mod tests;
