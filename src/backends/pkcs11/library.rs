//! The part of PKCS #11 that is used, as a trait: tests have tokens that get lost, hang or lie.

use std::fmt;
use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, Result, RvError};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;

use super::encode::{KeyKind, Scheme};

/// Salt of RSASSA-PSS in bytes: as long as the hash (RFC 8017 §9.1, note 4).
const PSS_SALT: u64 = 32;

/// A module. Every call may block for as long as it likes.
pub(super) trait Library: Send + Sync + fmt::Debug + 'static {
    type Slot: Copy + Send + Sync + fmt::Debug;
    type Key: Copy + Send + Sync + fmt::Debug;
    type Session: TokenSession<Key = Self::Key>;

    /// `C_Initialize`
    fn initialize(&self) -> Result<Started>;
    /// `C_Finalize`: ends all sessions of this process. Nobody else may be inside the module.
    fn finalize(&self) -> Result<()>;
    /// The tokens that are there.
    fn tokens(&self) -> Result<Vec<(Self::Slot, TokenState)>>;
    /// The token that is in a slot now.
    fn token(&self, slot: Self::Slot) -> Result<TokenState>;
    /// A session that is read-only.
    fn open(&self, slot: Self::Slot) -> Result<Self::Session>;
}

/// Who started a module: only they may end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Started {
    ByUs,
    /// It ran already (`CKR_CRYPTOKI_ALREADY_INITIALIZED`), for somebody else in this process.
    ByOthers,
}

/// A session with a token. Not closed when dropped: its number may be another's by then.
pub(super) trait TokenSession: Send + 'static {
    type Key;

    fn log_in(&self, pin: &str) -> Result<()>;
    /// Private keys of this name.
    fn find(&self, name: &KeyName) -> Result<Vec<Self::Key>>;
    fn traits(&self, key: Self::Key) -> Result<KeyTraits>;
    fn sign(&self, scheme: Scheme, key: Self::Key, data: &[u8]) -> Result<Vec<u8>>;
    fn close(self);
}

/// What a token says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TokenState {
    pub(super) label: String,
    pub(super) serial: String,
    /// One more wrong PIN locks it.
    pub(super) final_try: bool,
    pub(super) pin_locked: bool,
}

/// Which key: by label, by id, or by both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyName {
    pub(super) label: Option<String>,
    pub(super) id: Option<Vec<u8>>,
}

/// Attributes of a private key. What the token does not tell is as bad as it can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyTraits {
    pub(super) kind: KeyKind,
    /// `CKA_EC_PARAMS`; not all tokens keep them with the private key.
    pub(super) curve: Option<Vec<u8>>,
    pub(super) signs: bool,
    pub(super) sensitive: bool,
    pub(super) extractable: bool,
    pub(super) always_authenticate: bool,
}

/// The real thing.
#[derive(Debug)]
pub(super) struct Cryptoki(Pkcs11);

impl Cryptoki {
    /// Loads a library, which runs code of its maker.
    pub(super) fn load(path: &Path) -> Result<Self> {
        Pkcs11::new(path).map(Self)
    }
}

impl Library for Cryptoki {
    type Slot = Slot;
    type Key = ObjectHandle;
    type Session = CryptokiSession;

    fn initialize(&self) -> Result<Started> {
        match self
            .0
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        {
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(Started::ByOthers),
            other => other.map(|()| Started::ByUs),
        }
    }

    fn finalize(&self) -> Result<()> {
        self.0.clone().finalize()
    }

    fn tokens(&self) -> Result<Vec<(Slot, TokenState)>> {
        let mut tokens = Vec::new();
        for slot in self.0.get_slots_with_token()? {
            // A slot whose token has just gone is none; the others matter.
            let Ok(info) = self.0.get_token_info(slot) else {
                continue;
            };
            if info.token_initialized() {
                tokens.push((slot, state(&info)));
            }
        }
        Ok(tokens)
    }

    fn token(&self, slot: Slot) -> Result<TokenState> {
        self.0.get_token_info(slot).map(|info| state(&info))
    }

    fn open(&self, slot: Slot) -> Result<CryptokiSession> {
        self.0.open_ro_session_no_drop(slot).map(CryptokiSession)
    }
}

fn state(info: &TokenInfo) -> TokenState {
    TokenState {
        label: info.label().to_owned(),
        serial: info.serial_number().to_owned(),
        final_try: info.user_pin_final_try(),
        pin_locked: info.user_pin_locked(),
    }
}

/// A session of the real thing.
#[derive(Debug)]
pub(super) struct CryptokiSession(Session);

impl TokenSession for CryptokiSession {
    type Key = ObjectHandle;

    fn log_in(&self, pin: &str) -> Result<()> {
        // One copy, which erases itself.
        let pin = AuthPin::new(Box::from(pin));
        match self.0.login(UserType::User, Some(&pin)) {
            // All sessions of a process with one token share their login (PKCS #11 3.0 §5.6.8).
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            other => other,
        }
    }

    fn find(&self, name: &KeyName) -> Result<Vec<ObjectHandle>> {
        let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)];
        template.extend(
            name.label
                .clone()
                .map(|label| Attribute::Label(label.into_bytes())),
        );
        template.extend(name.id.clone().map(Attribute::Id));
        self.0.find_objects(&template)
    }

    fn traits(&self, key: ObjectHandle) -> Result<KeyTraits> {
        let wanted = [
            AttributeType::KeyType,
            AttributeType::EcParams,
            AttributeType::Sign,
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::AlwaysAuthenticate,
        ];
        let mut traits = KeyTraits {
            kind: KeyKind::Other,
            curve: None,
            signs: false,
            sensitive: false,
            extractable: true,
            always_authenticate: false,
        };
        for attribute in self.0.get_attributes(key, &wanted)? {
            match attribute {
                Attribute::KeyType(KeyType::EC) => traits.kind = KeyKind::Ec,
                Attribute::KeyType(KeyType::EC_EDWARDS) => traits.kind = KeyKind::Edwards,
                Attribute::KeyType(KeyType::RSA) => traits.kind = KeyKind::Rsa,
                Attribute::EcParams(params) if !params.is_empty() => traits.curve = Some(params),
                Attribute::Sign(is) => traits.signs = is,
                Attribute::Sensitive(is) => traits.sensitive = is,
                Attribute::Extractable(is) => traits.extractable = is,
                Attribute::AlwaysAuthenticate(is) => traits.always_authenticate = is,
                _ => {}
            }
        }
        Ok(traits)
    }

    fn sign(&self, scheme: Scheme, key: ObjectHandle, data: &[u8]) -> Result<Vec<u8>> {
        let mechanism = match scheme {
            Scheme::Ecdsa => Mechanism::Ecdsa,
            Scheme::Eddsa => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
            Scheme::Pkcs1 => Mechanism::RsaPkcs,
            Scheme::Pss => Mechanism::RsaPkcsPss(PkcsPssParams {
                hash_alg: MechanismType::SHA256,
                mgf: PkcsMgfType::MGF1_SHA256,
                s_len: PSS_SALT.into(),
            }),
        };
        self.0.sign(&mechanism, key, data)
    }

    fn close(self) {
        // There is nothing to be done about a session that is over already.
        drop(self.0.close());
    }
}
