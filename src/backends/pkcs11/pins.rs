//! PINs that tokens refused: tokens lock themselves after a few wrong ones, so none is given to one twice.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::library::TokenState;

/// So many refused PINs of one token are remembered; then none is tried any more. To forget the oldest one instead would
/// let backends with enough different wrong PINs try them in turns for ever.
pub(super) const MOST: usize = 16;

/// A token by what it calls itself, however the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TokenId {
    label: String,
    serial: String,
}

impl TokenId {
    pub(super) fn of(token: &TokenState) -> Self {
        Self {
            label: token.label.clone(),
            serial: token.serial.clone(),
        }
    }
}

/// The refused PINs of all tokens of a module.
#[derive(Default)]
pub(super) struct Refused(Mutex<BTreeMap<TokenId, Arc<Mutex<Pins>>>>);

impl Refused {
    /// Those of one token. Whoever holds their lock is the only one who logs in to it; other tokens do not wait.
    pub(super) fn of(&self, token: &TokenId) -> Arc<Mutex<Pins>> {
        Arc::clone(self.0.blocking_lock().entry(token.clone()).or_default())
    }
}

/// Refused PINs of one token; they are erased with it.
#[derive(Default)]
pub(super) struct Pins(Vec<Zeroizing<String>>);

impl Pins {
    pub(super) fn has(&self, pin: &Zeroizing<String>) -> bool {
        self.0.contains(pin)
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    pub(super) fn add(&mut self, pin: &Zeroizing<String>) {
        self.0.push(pin.clone());
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pins({})", self.0.len())
    }
}
