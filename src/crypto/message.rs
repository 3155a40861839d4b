//! What is signed.

use std::borrow::Cow;

use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::envelope;
use signer_actors::evidence::SigningWarrant;

/// What can be signed: its bytes, and their SHA-256 where that can be had without building them.
pub trait Message {
    /// The bytes under the signature.
    fn bytes(&self) -> Cow<'_, [u8]>;

    /// SHA-256 of [`Self::bytes`].
    fn sha256(&self) -> Sha256Digest {
        Sha256Digest::of(&self.bytes())
    }
}

impl Message for [u8] {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self)
    }
}

impl Message for SigningWarrant {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.pae())
    }

    fn sha256(&self) -> Sha256Digest {
        self.pae_sha256()
    }
}

/// DSSE's pre-authentication encoding, in its parts.
#[derive(Clone, Copy, Debug)]
pub struct Pae<'a> {
    /// The envelope's payload type.
    pub payload_type: &'a str,
    /// The envelope's payload, decoded.
    pub payload: &'a [u8],
}

impl Message for Pae<'_> {
    fn bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned(envelope::pae(self.payload_type, self.payload))
    }

    fn sha256(&self) -> Sha256Digest {
        envelope::pae_sha256(self.payload_type, self.payload)
    }
}
