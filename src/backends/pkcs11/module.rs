//! One module of this process, whoever uses it: PKCS #11 knows processes, and neither keys nor backends.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{Mutex, RwLock, RwLockReadGuard};
use zeroize::Zeroizing;

use super::super::remote::RemoteError;
use super::faults::{Step, is_wrong_pin, meaning};
use super::library::{Cryptoki, Library, TokenSession as _, TokenState};

/// Modules that were loaded, by path. None is ever unloaded: what its threads left behind would lose its code.
static LOADED: Mutex<BTreeMap<PathBuf, Arc<Module<Cryptoki>>>> = Mutex::const_new(BTreeMap::new());

/// Which token.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName {
    /// Its label.
    pub label: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
}

impl TokenName {
    fn is(&self, token: &TokenState) -> bool {
        let fits =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        fits(&self.label, &token.label) && fits(&self.serial, &token.serial)
    }
}

/// A module with what all its users must agree about.
#[derive(Debug)]
pub(super) struct Module<L: Library> {
    library: L,
    /// Read while somebody is inside the module, written while it is started: `C_Finalize` must find nobody there
    /// (PKCS #11 3.0 §5.4.2). Holds how often it was started; numbers of sessions mean nothing in another start.
    starts: RwLock<u64>,
    /// Sessions that are open, by token.
    open: Mutex<BTreeMap<TokenName, usize>>,
    /// The last PIN that each token refused.
    refused: Mutex<BTreeMap<TokenName, Zeroizing<String>>>,
}

/// Somebody is inside the module.
pub(super) struct Inside<'a, L: Library> {
    pub(super) library: &'a L,
    /// Which start this is.
    pub(super) start: u64,
    module: &'a Module<L>,
    _gate: RwLockReadGuard<'a, u64>,
}

/// Loads a module once in this process. Blocks; for threads of our own only.
pub(super) fn load(path: &Path) -> Result<Arc<Module<Cryptoki>>, RemoteError> {
    let mut loaded = LOADED.blocking_lock();
    if let Some(module) = loaded.get(path) {
        return Ok(Arc::clone(module));
    }
    let library = Cryptoki::load(path).map_err(|error| meaning(Step::Load, &error))?;
    let module = Arc::new(Module::new(library));
    loaded.insert(path.to_owned(), Arc::clone(&module));
    Ok(module)
}

impl<L: Library> Module<L> {
    pub(super) fn new(library: L) -> Self {
        Self {
            library,
            starts: RwLock::new(0),
            open: Mutex::default(),
            refused: Mutex::default(),
        }
    }

    /// Enters the module, which must have been started.
    pub(super) fn enter(&self) -> Inside<'_, L> {
        let gate = self.starts.blocking_read();
        Inside {
            library: &self.library,
            start: *gate,
            module: self,
            _gate: gate,
        }
    }

    /// Starts the module unless it runs.
    pub(super) fn start(&self) -> Result<(), RemoteError> {
        // To wait for the right to write would shut out all others while somebody hangs inside.
        if *self.starts.blocking_read() > 0 {
            return Ok(());
        }
        let mut starts = self.starts.blocking_write();
        if *starts == 0 {
            self.library
                .initialize()
                .map_err(|error| meaning(Step::Initialize, &error))?;
            *starts = 1;
        }
        Ok(())
    }

    /// Starts the module anew if that harms nobody: many list the tokens at the start only, and a token that came back
    /// is not seen before. Not while somebody is inside, nor while a token that is there has sessions of others.
    pub(super) fn restart(&self) -> Result<bool, RemoteError> {
        let Ok(mut starts) = self.starts.try_write() else {
            return Ok(false);
        };
        let there = self.library.tokens().unwrap_or_default();
        let mut open = self.open.blocking_lock();
        let in_use = open
            .iter()
            .any(|(name, count)| *count > 0 && there.iter().any(|(_, token)| name.is(token)));
        if in_use {
            return Ok(false);
        }
        // One that is not running cannot be ended, which is as well.
        drop(self.library.finalize());
        open.clear();
        *starts += 1;
        self.library
            .initialize()
            .map_err(|error| meaning(Step::Initialize, &error))?;
        Ok(true)
    }
}

impl<L: Library> Inside<'_, L> {
    /// The one token of this name.
    pub(super) fn token(&self, name: &TokenName) -> Result<Option<(L::Slot, TokenState)>, RemoteError> {
        let tokens = self
            .library
            .tokens()
            .map_err(|error| meaning(Step::ListTokens, &error))?;
        let mut fitting = tokens.into_iter().filter(|(_, token)| name.is(token));
        let found = fitting.next();
        if fitting.next().is_some() {
            let text = "more than one token has this name: give the serial number too";
            return Err(RemoteError::Failed(text.into()));
        }
        Ok(found)
    }

    /// Another session with a token.
    pub(super) fn open(&self, name: &TokenName, slot: L::Slot) -> Result<L::Session, RemoteError> {
        let session = self
            .library
            .open(slot)
            .map_err(|error| meaning(Step::OpenSession, &error))?;
        *self.module.open.blocking_lock().entry(name.clone()).or_default() += 1;
        Ok(session)
    }

    /// Closes a session of this start; one of an earlier start is none any more, and its number may be another's.
    pub(super) fn close(&self, name: &TokenName, start: u64, session: L::Session) {
        if start != self.start {
            return;
        }
        session.close();
        if let Some(count) = self.module.open.blocking_lock().get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }

    /// Logs in. A PIN that this token refused is not tried again: tokens lock themselves after a few wrong ones. Nor is
    /// any when one more would lock it.
    pub(super) fn log_in(
        &self,
        name: &TokenName,
        token: &TokenState,
        session: &L::Session,
        pin: &Zeroizing<String>,
    ) -> Result<(), RemoteError> {
        let failed = |text: &str| Err(RemoteError::Failed(text.to_owned()));
        let mut refused = self.module.refused.blocking_lock();
        if refused.get(name) == Some(pin) {
            return failed(
                "the token refused this PIN before, so it is not tried again: correct the PIN, or set it on the token \
                 and start the service anew",
            );
        }
        if token.pin_locked {
            return failed("the token's PIN is locked: let its security officer set it anew");
        }
        if token.final_try {
            return failed(
                "one more wrong PIN locks the token, so none is tried: log in with the right one by the token's own \
                 tool, which sets its counter back",
            );
        }
        session.log_in(pin).map_err(|error| {
            if is_wrong_pin(&error) {
                refused.insert(name.clone(), pin.clone());
            }
            meaning(Step::LogIn, &error)
        })
    }
}
