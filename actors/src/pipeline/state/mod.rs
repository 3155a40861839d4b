//! States that cannot be skipped or forged.
//!
//! A [`Session`] (who, entitled to what) goes `Unverified` → `Authenticated` → `Entitled`. An [`Item`] (one statement of
//! a request) goes `Admitted` → `ReleaseVerified` → `Recorded` → `Signed` → `Timestamped` and ends as [`Released`]. Fields are private,
//! transitions are private to this crate and consume both the state before and the evidence of the gate between.
//!
//! What a state has not earned, it does not have:
//! ```compile_fail,E0599
//! use signer_actors::pipeline::state::{Session, Unverified};
//! fn who(session: &Session<Unverified>) -> &str {
//!     session.principal().token().tenant.as_str()
//! }
//! ```
//! ```
//! use signer_actors::pipeline::state::{Authenticated, Session};
//! fn who(session: &Session<Authenticated>) -> &str {
//!     session.principal().token().tenant.as_str()
//! }
//! ```
//! A later state is not an earlier one with another name:
//! ```compile_fail,E0308
//! use signer_actors::pipeline::state::{Authenticated, Entitled, Session};
//! fn use_plan(_: &Session<Entitled>) {}
//! fn skip(session: &Session<Authenticated>) {
//!     use_plan(session)
//! }
//! ```
//! ```
//! use signer_actors::pipeline::state::{Entitled, Session};
//! fn use_plan(_: &Session<Entitled>) {}
//! fn go_on(session: &Session<Entitled>) {
//!     use_plan(session)
//! }
//! ```
//! Nobody outside moves a state on:
//! ```compile_fail,E0624
//! use signer_actors::evidence::Principal;
//! use signer_actors::pipeline::state::{Authenticated, Session, Unverified};
//! fn jump(session: Session<Unverified>, principal: Principal) -> Session<Authenticated> {
//!     session.authenticated(principal)
//! }
//! ```
//! ```
//! use signer_actors::domain::caller::Credentials;
//! use signer_actors::pipeline::state::{Session, Unverified};
//! fn begin(credentials: Credentials) -> Session<Unverified> {
//!     Session::new(credentials)
//! }
//! ```
//! Nor doubles one:
//! ```compile_fail,E0599
//! use signer_actors::pipeline::state::{Item, Recorded};
//! fn twice(item: &Item<Recorded>) -> Item<Recorded> {
//!     item.clone()
//! }
//! ```
//! ```
//! use signer_actors::pipeline::state::{Item, Recorded};
//! fn once(item: Item<Recorded>) -> Item<Recorded> {
//!     item
//! }
//! ```

mod item;
mod session;

pub use item::{Admitted, Item, ItemState, Recorded, ReleaseVerified, Released, Signed, Timestamped};
pub use session::{Authenticated, Entitled, Session, SessionState, Unverified};

mod sealed {
    pub trait Sealed {}
}
