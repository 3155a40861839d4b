//! HTTP: what callers see (contract §2).
//!
//! [`routes`] lists the endpoints; each handler reads credentials from the headers ([`credentials`]), asks the core to
//! authenticate them, only then reads the body ([`body`]), parses it strictly ([`dto`]) and hands it to the pipeline.
//! Every refusal becomes a problem document in one place ([`problem`]); what every response has in common is added
//! around the handlers ([`around`]).

pub mod around;
pub mod body;
pub mod budget;
pub mod challenge;
pub mod client_cert;
pub mod connection;
pub mod credentials;
pub mod dto;
pub mod handlers;
pub mod lifecycle;
pub mod openapi;
mod paced;
pub mod problem;
pub mod routes;
pub mod server;
pub mod state;
mod unread;

pub use state::{AppState, Limits};
