//! One module of this process, whoever uses it: PKCS #11 knows processes, and neither keys nor backends.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cryptoki::error::{Error, RvError};
use tokio::sync::{Mutex, RwLock, RwLockReadGuard, mpsc};
use zeroize::Zeroizing;

use super::super::remote::RemoteError;
use super::faults::{Step, may_have_counted, meaning};
use super::library::{Cryptoki, Library, Started, TokenSession as _, TokenState};
use super::pins::{Refused, TokenId};

/// Modules that were loaded, by each path that was asked for and by what it led to. None is ever unloaded: what its
/// threads left behind would lose its code.
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
pub(super) struct Module<L: Library> {
    library: L,
    /// Read while somebody is inside the module, written while it is started: `C_Finalize` must find nobody there
    /// (PKCS #11 3.0 §5.4.2).
    starts: RwLock<Starts>,
    /// Sessions that are open, by token.
    open: Mutex<BTreeMap<TokenName, usize>>,
    refused: Refused,
    /// Sessions that nobody uses any more, for whoever enters next to close. A channel, as keys are dropped where nothing
    /// may wait.
    leave: mpsc::UnboundedSender<Left<L::Session>>,
    left: Mutex<mpsc::UnboundedReceiver<Left<L::Session>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Starts {
    /// How often the module was started; numbers of sessions mean nothing in another start.
    count: u64,
    /// We started it, so we may end it: others in this process may be inside one that they started.
    ours: bool,
}

struct Left<S> {
    token: TokenName,
    start: u64,
    session: S,
}

impl<L: Library> fmt::Debug for Module<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("library", &self.library)
            .finish_non_exhaustive()
    }
}

/// Somebody is inside the module.
pub(super) struct Inside<'a, L: Library> {
    pub(super) library: &'a L,
    /// Which start this is.
    pub(super) start: u64,
    module: &'a Module<L>,
    _gate: RwLockReadGuard<'a, Starts>,
}

/// Loads a module once in this process. Blocks; for threads of our own only.
pub(super) fn load(path: &Path) -> Result<Arc<Module<Cryptoki>>, RemoteError> {
    load_once(&mut LOADED.blocking_lock(), path, || {
        let library = Cryptoki::load(path).map_err(|error| meaning(Step::Load, &error))?;
        Ok(Module::new(library))
    })
}

/// The loader has one library for all paths that lead to it, so all of them have to share a gate. A path keeps what it led
/// to first: sessions with that are open, and what a new version next to it would do nobody knows.
pub(super) fn load_once<M>(
    loaded: &mut BTreeMap<PathBuf, Arc<M>>,
    path: &Path,
    load: impl FnOnce() -> Result<M, RemoteError>,
) -> Result<Arc<M>, RemoteError> {
    if let Some(module) = loaded.get(path) {
        return Ok(Arc::clone(module));
    }
    // Where there is nothing, the loader says so in its own words.
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let module = match loaded.get(&file) {
        Some(module) => Arc::clone(module),
        None => Arc::new(load()?),
    };
    loaded.insert(file, Arc::clone(&module));
    loaded.insert(path.to_owned(), Arc::clone(&module));
    Ok(module)
}

impl<L: Library> Module<L> {
    pub(super) fn new(library: L) -> Self {
        let (leave, left) = mpsc::unbounded_channel();
        Self {
            library,
            starts: RwLock::default(),
            open: Mutex::default(),
            refused: Refused::default(),
            leave,
            left: Mutex::new(left),
        }
    }

    /// Leaves a session to whoever enters next. Never waits.
    pub(super) fn leave(&self, token: &TokenName, start: u64, session: L::Session) {
        let token = token.clone();
        // The module has the receiver, so there is one.
        drop(self.leave.send(Left {
            token,
            start,
            session,
        }));
    }

    /// Enters the module, which must have been started.
    pub(super) fn enter(&self) -> Inside<'_, L> {
        let gate = self.starts.blocking_read();
        let inside = Inside {
            library: &self.library,
            start: gate.count,
            module: self,
            _gate: gate,
        };
        inside.close_left();
        inside
    }

    /// Starts the module unless it runs.
    pub(super) fn start(&self) -> Result<(), RemoteError> {
        // To wait for the right to write would shut out all others while somebody hangs inside.
        if self.starts.blocking_read().count > 0 {
            return Ok(());
        }
        let mut starts = self.starts.blocking_write();
        if starts.count == 0 {
            let started = self
                .library
                .initialize()
                .map_err(|error| meaning(Step::Initialize, &error))?;
            *starts = Starts {
                count: 1,
                ours: started == Started::ByUs,
            };
        }
        Ok(())
    }

    /// Starts the module anew if that harms nobody: many list the tokens at the start only, and a token that came back
    /// is not seen before. Not while somebody is inside, nor while a token that is there, or may be, has sessions of
    /// others, nor when somebody else started it.
    pub(super) fn restart(&self) -> Result<bool, RemoteError> {
        let Ok(mut starts) = self.starts.try_write() else {
            return Ok(false);
        };
        let tokens = self.library.tokens();
        // Somebody ended it, so nobody has anything of it.
        let runs = !matches!(&tokens, Err(error) if is_not_running(error));
        let mut open = self.open.blocking_lock();
        let may_be_there = |name: &TokenName| match &tokens {
            Ok(there) => there.iter().any(|(_, token)| name.is(token)),
            Err(_) => runs,
        };
        let in_use = open.iter().any(|(name, count)| *count > 0 && may_be_there(name));
        if in_use || (runs && !starts.ours) {
            return Ok(false);
        }
        let ended = !runs || self.library.finalize().is_ok();
        open.clear();
        starts.count += 1;
        let started = self
            .library
            .initialize()
            .map_err(|error| meaning(Step::Initialize, &error))?;
        // One that could not be ended runs on, and is whose it was.
        starts.ours = started == Started::ByUs || (starts.ours && !ended);
        Ok(true)
    }
}

fn is_not_running(error: &Error) -> bool {
    matches!(error, Error::Pkcs11(RvError::CryptokiNotInitialized, _))
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

    /// What the token that was in a slot says of itself now.
    fn same_token(&self, slot: L::Slot, wanted: &TokenId) -> Result<TokenState, RemoteError> {
        let token = self
            .library
            .token(slot)
            .map_err(|error| meaning(Step::ListTokens, &error))?;
        if TokenId::of(&token) == *wanted {
            return Ok(token);
        }
        let text = "another token is in the slot: the key is looked for again";
        Err(RemoteError::Ended(text.into()))
    }

    /// Another session with a token.
    pub(super) fn open(
        &self,
        name: &TokenName,
        slot: L::Slot,
        token: &TokenId,
    ) -> Result<L::Session, RemoteError> {
        let session = self
            .library
            .open(slot)
            .map_err(|error| meaning(Step::OpenSession, &error))?;
        *self.module.open.blocking_lock().entry(name.clone()).or_default() += 1;
        // Looked at afterwards: a session with a token that was replaced since then is over.
        match self.same_token(slot, token) {
            Ok(_) => Ok(session),
            Err(error) => {
                self.close(name, self.start, session);
                Err(error)
            }
        }
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

    /// Closes what was left. It may hang, and those who enter meanwhile must not wait for that.
    fn close_left(&self) {
        let mut sessions = Vec::new();
        if let Ok(mut left) = self.module.left.try_lock() {
            while let Ok(session) = left.try_recv() {
                sessions.push(session);
            }
        }
        for left in sessions {
            self.close(&left.token, left.start, left.session);
        }
    }

    /// Logs in. A PIN that this token refused is not tried again: tokens lock themselves after a few wrong ones. Nor is
    /// any when one more would lock it.
    pub(super) fn log_in(
        &self,
        slot: L::Slot,
        token: &TokenId,
        session: &L::Session,
        pin: &Zeroizing<String>,
    ) -> Result<(), RemoteError> {
        let failed = |text: &str| Err(RemoteError::Failed(text.to_owned()));
        let refused = self.module.refused.of(token);
        // Held until it is known what became of the try: the next one counts on it, and on what the token says then.
        let mut refused = refused.blocking_lock();
        if refused.has(pin) {
            return failed(
                "the token refused this PIN before, or may have, so it is not tried again: correct the PIN, or set it \
                 on the token and start the service anew",
            );
        }
        if refused.is_full() {
            return failed(
                "the token refused too many PINs, so none is tried: correct the PIN and start the service anew",
            );
        }
        let token = self.same_token(slot, token)?;
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
            if may_have_counted(&error) {
                refused.add(pin);
            }
            meaning(Step::LogIn, &error)
        })
    }
}
