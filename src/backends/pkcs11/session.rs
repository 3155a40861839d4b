//! From logging in to signatures. Everything here blocks and runs on threads of its own.

use std::sync::Arc;

use signer_actors::ports::PortFuture;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::super::remote::{Input, RemoteError, RemoteSession};
use super::encode::{Scheme, is_curve_of, signature};
use super::faults::{Step, meaning};
use super::library::{KeyTraits, Library, TokenSession as _};
use super::module::{Inside, Module};
use super::pins::TokenId;
use super::{Key, Threads};

/// A key on a token that the service is logged in to.
pub(super) struct Opened<L: Library> {
    key: Arc<Key>,
    module: Arc<Module<L>>,
    threads: Arc<Threads>,
    /// In which start of the module all of this holds.
    start: u64,
    slot: L::Slot,
    /// What is in the slot, or was.
    token: TokenId,
    handle: L::Key,
    /// Sessions that nobody signs with now.
    free: Mutex<Vec<L::Session>>,
    /// Never signs: a token forgets the login when the last session of a process ends (PKCS #11 3.0 §5.6.8).
    anchor: Mutex<Option<L::Session>>,
}

impl<L: Library> std::fmt::Debug for Opened<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("key", &self.key)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl<L: Library> Opened<L> {
    /// Finds the token, logs in, finds the key and looks whether it is one that should sign.
    pub(super) fn open(
        key: Arc<Key>,
        module: Arc<Module<L>>,
        threads: Arc<Threads>,
        pin: &Zeroizing<String>,
    ) -> Result<Self, RemoteError> {
        module.start()?;
        let first = module.enter().token(&key.token);
        // Gone, as far as the module has noticed; or it has noticed that it knows nothing any more.
        if !matches!(first, Ok(Some(_))) {
            module.restart()?;
        }
        let inside = module.enter();
        let Some((slot, token)) = inside.token(&key.token)? else {
            let text = "the token is not there: connect it, or correct token and serial";
            return Err(RemoteError::Unavailable(text.into()));
        };
        let token = TokenId::of(&token);
        let session = inside.open(&key.token, slot, &token)?;
        let found = inside
            .log_in(slot, &token, &session, pin)
            .and_then(|()| find_key::<L>(&key, &session));
        let start = inside.start;
        let handle = match found {
            Ok(handle) => handle,
            Err(error) => {
                inside.close(&key.token, start, session);
                return Err(error);
            }
        };
        drop(inside);
        Ok(Self {
            key,
            module,
            threads,
            start,
            slot,
            token,
            handle,
            free: Mutex::default(),
            anchor: Mutex::new(Some(session)),
        })
    }

    fn sign(&self, input: Input) -> Result<Vec<u8>, RemoteError> {
        let inside = self.module.enter();
        if inside.start != self.start {
            let text = "the PKCS #11 module was started anew: the key is opened again";
            return Err(RemoteError::Ended(text.into()));
        }
        let data = Scheme::of(self.key.algorithm).data(input);
        let free = self.free.blocking_lock().pop();
        if let Some(session) = free {
            match self.sign_in(&inside, session, &data) {
                // Tokens end sessions that nobody used for long, and the login goes on with the others.
                Err(RemoteError::Ended(_)) => {}
                other => return other,
            }
        }
        let session = inside.open(&self.key.token, self.slot, &self.token)?;
        self.sign_in(&inside, session, &data)
    }

    fn sign_in(
        &self,
        inside: &Inside<'_, L>,
        session: L::Session,
        data: &[u8],
    ) -> Result<Vec<u8>, RemoteError> {
        match session.sign(Scheme::of(self.key.algorithm), self.handle, data) {
            Ok(raw) => {
                self.free.blocking_lock().push(session);
                signature(self.key.algorithm, raw).map_err(|text| RemoteError::Failed(text.into()))
            }
            Err(error) => {
                // Whatever it was may have left an operation behind.
                inside.close(&self.key.token, self.start, session);
                Err(meaning(Step::Sign, &error))
            }
        }
    }
}

impl<L: Library> Drop for Opened<L> {
    fn drop(&mut self) {
        let anchor = std::mem::take(self.anchor.get_mut());
        for session in std::mem::take(self.free.get_mut()).into_iter().chain(anchor) {
            self.module.leave(&self.key.token, self.start, session);
        }
        let module = Arc::clone(&self.module);
        // While all threads are busy nothing is closed now, but by whoever enters the module next.
        self.threads.run_if_free(move || drop(module.enter()));
    }
}

fn find_key<L: Library>(key: &Key, session: &L::Session) -> Result<L::Key, RemoteError> {
    let failed = |text: &str| RemoteError::Failed(text.to_owned());
    let found = session
        .find(&key.name)
        .map_err(|error| meaning(Step::FindKey, &error))?;
    let handle = match found.as_slice() {
        [handle] => *handle,
        [] => {
            return Err(failed(
                "no private key on the token has this key_label and key_id",
            ));
        }
        _ => {
            return Err(failed(
                "more than one private key on the token has this name: give both key_label and key_id, or remove one",
            ));
        }
    };
    let traits = session
        .traits(handle)
        .map_err(|error| meaning(Step::FindKey, &error))?;
    check(key, &traits).map_err(failed)?;
    Ok(handle)
}

/// A key of the right kind, that may sign and cannot leave the token.
fn check(key: &Key, traits: &KeyTraits) -> Result<(), &'static str> {
    if traits.kind != Scheme::of(key.algorithm).kind() {
        return Err("the key on the token is of another type than algorithm says");
    }
    if traits
        .curve
        .as_ref()
        .is_some_and(|curve| !is_curve_of(key.algorithm, curve))
    {
        return Err("the key on the token is on another curve than algorithm says");
    }
    if !traits.signs {
        return Err("the key on the token may not sign: make one with CKA_SIGN");
    }
    if traits.always_authenticate {
        return Err(
            "the key on the token wants the PIN for every signature (CKA_ALWAYS_AUTHENTICATE), \
             which is not supported: make one without",
        );
    }
    if !traits.sensitive {
        return Err("the key on the token can be read (CKA_SENSITIVE is false): make one that cannot");
    }
    if traits.extractable && !key.allow_extractable {
        return Err(
            "the key on the token can be taken out of it (CKA_EXTRACTABLE is true): make one that cannot, \
             or set allow_extractable",
        );
    }
    Ok(())
}

/// What [`super::Hsm`] gives out.
#[derive(Debug)]
pub(super) struct Shared<L: Library>(pub(super) Arc<Opened<L>>);

impl<L: Library> RemoteSession for Shared<L> {
    fn sign(&self, input: Input) -> PortFuture<Result<Vec<u8>, RemoteError>> {
        let opened = Arc::clone(&self.0);
        Box::pin(async move {
            let threads = Arc::clone(&opened.threads);
            threads.run(move || opened.sign(input)).await?
        })
    }
}
