//! `SignedData` of the Cryptographic Message Syntax (RFC 5652 §5) as RFC 3161 §2.4.2 uses it: one signer, attributes that
//! name its certificate.

use openssl::x509::X509;

use super::algorithms::{Hash, Scheme, hash_of};
use super::{Failure, invalid, unacceptable};
use crate::openssl_errors;
use crate::x509::MAX_CERTIFICATES;
use crate::x509::der::{
    CONTEXT_0, CONTEXT_1, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, SET, only, small_integer,
};
use crate::x509::fields::Fields;

/// The most signed attributes.
const MAX_ATTRIBUTES: usize = 16;

/// `id-signedData`, 1.2.840.113549.1.7.2 (RFC 5652 §5.1).
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// `id-ct-TSTInfo`, 1.2.840.113549.1.9.16.1.4 (RFC 3161 §2.4.2).
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
/// `id-contentType` and `id-messageDigest`, 1.2.840.113549.1.9.{3,4} (RFC 5652 §11).
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// `id-aa-signingCertificate`, 1.2.840.113549.1.9.16.2.12 (RFC 2634 §5.4), and its successor, .47 (RFC 5035 §3).
const SIGNING_CERTIFICATE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x0c];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];

/// A token's parts, nothing verified yet.
#[derive(Debug)]
pub(super) struct SignedData<'a> {
    /// `eContent`: a `TSTInfo` in DER.
    pub(super) content: &'a [u8],
    /// Certificates that came along, each in DER.
    pub(super) certificates: Vec<&'a [u8]>,
    signer: Signer<'a>,
}

#[derive(Debug)]
struct Signer<'a> {
    id: SignerId<'a>,
    /// Content of `digestAlgorithm`.
    digest: &'a [u8],
    /// Content of `signedAttrs`.
    attributes: &'a [u8],
    /// Content of `signatureAlgorithm`.
    scheme: &'a [u8],
    signature: &'a [u8],
}

#[derive(Debug)]
enum SignerId<'a> {
    /// Name and serial number of the certificate.
    IssuerAndSerial(&'a [u8], &'a [u8]),
    KeyIdentifier(&'a [u8]),
}

/// Signed attributes, checked against the content.
#[derive(Debug)]
pub(super) struct Attributes<'a> {
    hash: Hash,
    /// What names the signer's certificate.
    pub(super) certificate: SigningCertificate<'a>,
}

/// The first `ESSCertID`s of the two attributes that name the signer's certificate; at least one is there.
#[derive(Debug)]
pub(super) struct SigningCertificate<'a> {
    first: Option<CertId<'a>>,
    second: Option<CertId<'a>>,
}

/// `ESSCertID` (SHA-1) or `ESSCertIDv2`.
#[derive(Debug)]
struct CertId<'a> {
    /// `None`: SHA-1. It only tells certificates apart here; that this one is trusted follows from its path.
    hash: Option<Hash>,
    hashed: &'a [u8],
    /// Content of `issuerSerial`.
    issuer_serial: Option<&'a [u8]>,
}

impl<'a> SignedData<'a> {
    pub(super) fn read(token: &'a [u8]) -> Result<Self, Failure> {
        Self::parse(token)
            .ok_or_else(|| invalid("the timestamp is not a token of one signer in strict DER (RFC 5652 §5)"))
    }

    fn parse(token: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(only(token, SEQUENCE)?);
        let signed_data = outer.expect(OID)? == SIGNED_DATA;
        let wrapped = outer.expect(CONTEXT_0)?;
        let mut data = Reader::new(only(wrapped, SEQUENCE)?);
        // Version 3, as the content is not plain data (RFC 5652 §5.1).
        let version = small_integer(data.expect(INTEGER)?)?;
        data.expect(SET)?; // digestAlgorithms: the signer's counts
        let mut content = Reader::new(data.expect(SEQUENCE)?);
        let tst_info = content.expect(OID)? == TST_INFO;
        let octets = only(content.expect(CONTEXT_0)?, OCTET_STRING)?;
        let mut certificates = Vec::new();
        let mut list = Reader::new(data.optional(CONTEXT_0)?.unwrap_or_default());
        while !list.is_empty() {
            certificates.push(list.whole(SEQUENCE)?);
            if certificates.len() > MAX_CERTIFICATES {
                return None;
            }
        }
        data.optional(CONTEXT_1)?; // crls: not looked at
        let signer = Signer::parse(only(data.expect(SET)?, SEQUENCE)?)?;
        let well = signed_data && tst_info && version == 3;
        let whole = outer.is_empty() && data.is_empty() && content.is_empty();
        (well && whole).then_some(Self {
            content: octets,
            certificates,
            signer,
        })
    }

    /// Reads the signed attributes and checks them against the content (RFC 5652 §5.4, §11.1, §11.2).
    pub(super) fn attributes(&self) -> Result<Attributes<'a>, Failure> {
        let hash = Hash::read(self.signer.digest)
            .ok_or_else(|| unacceptable("the timestamp is not hashed by SHA-256, SHA-384 or SHA-512"))?;
        let found = Found::read(self.signer.attributes).ok_or_else(|| {
            invalid("the timestamp's signed attributes are malformed, incomplete or twofold")
        })?;
        if found.content_type != TST_INFO {
            return Err(invalid(
                "the timestamp's signed attributes are about another content type",
            ));
        }
        if hash.of(self.content).as_deref() != Some(found.message_digest) {
            return Err(invalid(
                "the timestamp's signed attributes are about another content",
            ));
        }
        let certificate = found.certificate;
        Ok(Attributes { hash, certificate })
    }

    /// Verifies the signature over the signed attributes, encoded as a SET (RFC 5652 §5.4), with the certificate's key.
    pub(super) fn verify(&self, attributes: &Attributes<'_>, certificate: &X509) -> Result<(), Failure> {
        let scheme = Scheme::read(self.signer.scheme, attributes.hash).ok_or_else(|| {
            unacceptable(
                "the timestamp's signature is none of ECDSA, RSA PKCS#1 v1.5, Ed25519, with the same hash",
            )
        })?;
        let key = certificate.public_key();
        let key = key.map_err(|_| unacceptable("the timestamp authority's key cannot be read"))?;
        let message = as_set(self.signer.attributes).ok_or_else(|| invalid("the timestamp is too long"))?;
        if scheme.verifies(&key, &message, self.signer.signature) {
            return Ok(());
        }
        openssl_errors::forget();
        Err(invalid("the timestamp's signature does not hold"))
    }

    /// True if `sid` names this certificate (RFC 5652 §5.3).
    pub(super) fn names(&self, fields: &Fields<'_>) -> bool {
        match self.signer.id {
            SignerId::IssuerAndSerial(issuer, serial) => issuer == fields.issuer && serial == fields.serial,
            SignerId::KeyIdentifier(id) => fields.key_identifier() == Some(id),
        }
    }
}

impl<'a> Signer<'a> {
    /// `SignerInfo` (RFC 5652 §5.3). Unsigned attributes are not looked at.
    fn parse(content: &'a [u8]) -> Option<Self> {
        let mut info = Reader::new(content);
        let version = small_integer(info.expect(INTEGER)?)?;
        let id = match info.peek()? {
            SEQUENCE => {
                let mut id = Reader::new(info.expect(SEQUENCE)?);
                let (issuer, serial) = (id.whole(SEQUENCE)?, id.expect(INTEGER)?);
                id.is_empty()
                    .then_some(SignerId::IssuerAndSerial(issuer, serial))?
            }
            _ => SignerId::KeyIdentifier(info.expect(0x80)?),
        };
        let expected = match id {
            SignerId::IssuerAndSerial(..) => 1,
            SignerId::KeyIdentifier(_) => 3,
        };
        let digest = info.expect(SEQUENCE)?;
        let attributes = info.expect(CONTEXT_0)?;
        let (scheme, signature) = (info.expect(SEQUENCE)?, info.expect(OCTET_STRING)?);
        info.optional(CONTEXT_1)?; // unsignedAttrs
        (info.is_empty() && version == expected).then_some(Self {
            id,
            digest,
            attributes,
            scheme,
            signature,
        })
    }
}

/// The attributes that are looked at.
struct Found<'a> {
    content_type: &'a [u8],
    message_digest: &'a [u8],
    certificate: SigningCertificate<'a>,
}

impl<'a> Found<'a> {
    /// Each attribute once, with one value (RFC 5652 §5.3, §11).
    fn read(attributes: &'a [u8]) -> Option<Self> {
        let mut list = Reader::new(attributes);
        let mut known: Vec<(&[u8], &[u8])> = Vec::new();
        while !list.is_empty() {
            let mut attribute = Reader::new(list.expect(SEQUENCE)?);
            let (oid, values) = (attribute.expect(OID)?, attribute.expect(SET)?);
            let twice = known.iter().any(|(other, _)| *other == oid);
            if twice || !attribute.is_empty() || known.len() >= MAX_ATTRIBUTES {
                return None;
            }
            known.push((oid, values));
        }
        let value = |oid: &[u8]| {
            known
                .iter()
                .find(|(known, _)| *known == oid)
                .map(|(_, values)| *values)
        };
        let certificate = |oid, v2| match value(oid) {
            Some(values) => CertId::first(values, v2).map(Some),
            None => Some(None),
        };
        let certificate = SigningCertificate {
            first: certificate(SIGNING_CERTIFICATE, false)?,
            second: certificate(SIGNING_CERTIFICATE_V2, true)?,
        };
        if certificate.first.is_none() && certificate.second.is_none() {
            return None;
        }
        Some(Self {
            content_type: only(value(CONTENT_TYPE)?, OID)?,
            message_digest: only(value(MESSAGE_DIGEST)?, OCTET_STRING)?,
            certificate,
        })
    }
}

impl<'a> CertId<'a> {
    /// The first of a `SigningCertificate`'s certificates is the signer's (RFC 5035 §3).
    fn first(values: &'a [u8], v2: bool) -> Option<Self> {
        let mut attribute = Reader::new(only(values, SEQUENCE)?);
        let mut ids = Reader::new(attribute.expect(SEQUENCE)?);
        attribute.optional(SEQUENCE)?; // policies
        let mut id = Reader::new(ids.expect(SEQUENCE)?);
        // ESSCertIDv2 ::= SEQUENCE { hashAlgorithm DEFAULT sha256, certHash, issuerSerial OPTIONAL }
        let hash = match (v2, id.peek()) {
            (true, Some(SEQUENCE)) => Some(hash_of(id.whole(SEQUENCE)?)?),
            (true, _) => Some(Hash::Sha256),
            (false, _) => None,
        };
        let hashed = id.expect(OCTET_STRING)?;
        let issuer_serial = id.optional(SEQUENCE)?;
        (id.is_empty() && attribute.is_empty()).then_some(Self {
            hash,
            hashed,
            issuer_serial,
        })
    }

    fn is(&self, der: &[u8]) -> bool {
        let hashed = match self.hash {
            Some(hash) => hash.of(der),
            None => openssl::hash::hash(openssl::hash::MessageDigest::sha1(), der)
                .ok()
                .map(|digest| digest.to_vec()),
        };
        hashed.as_deref() == Some(self.hashed)
    }

    /// `IssuerSerial` is `GeneralNames` of one `directoryName [4]`, and the serial number (RFC 5035 §4).
    fn names(&self, fields: &Fields<'_>) -> bool {
        let Some(content) = self.issuer_serial else {
            return true;
        };
        let mut parts = Reader::new(content);
        let name = parts.expect(SEQUENCE).and_then(|names| only(names, 0xa4));
        let serial = parts.expect(INTEGER);
        name == Some(fields.issuer) && serial == Some(fields.serial) && parts.is_empty()
    }
}

impl SigningCertificate<'_> {
    fn ids(&self) -> impl Iterator<Item = &CertId<'_>> {
        self.first.iter().chain(&self.second)
    }

    /// True if this is the certificate, by its hash.
    pub(super) fn is(&self, der: &[u8]) -> bool {
        self.ids().all(|id| id.is(der))
    }

    /// True if issuer and serial number are the certificate's, where they are given.
    pub(super) fn names(&self, fields: &Fields<'_>) -> bool {
        self.ids().all(|id| id.names(fields))
    }
}

/// Encodes the content of `signedAttrs` under the tag of a SET.
fn as_set(content: &[u8]) -> Option<Vec<u8>> {
    let length = content.len();
    let mut encoded = vec![SET];
    if length < 0x80 {
        encoded.push(u8::try_from(length).ok()?);
    } else {
        let octets = length.to_be_bytes();
        let octets: Vec<u8> = octets.into_iter().skip_while(|octet| *octet == 0).collect();
        encoded.push(0x80 | u8::try_from(octets.len()).ok()?);
        encoded.extend_from_slice(&octets);
    }
    encoded.extend_from_slice(content);
    Some(encoded)
}
