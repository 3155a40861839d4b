//! What OpenSSL's binding does not give of a certificate: its parts as they are encoded (RFC 5280 §4.1).

use super::der::{self, BOOLEAN, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE, only};

/// The most extensions of one certificate.
const MAX_EXTENSIONS: usize = 64;

/// `id-ce-subjectKeyIdentifier`, 2.5.29.14 (RFC 5280 §4.2.1.2).
const OID_KEY_ID: &[u8] = &[0x55, 0x1d, 0x0e];
/// `id-ce-basicConstraints`, 2.5.29.19 (RFC 5280 §4.2.1.9).
const OID_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// Parts of one certificate, borrowed from its DER.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    /// Content of the serial number.
    pub(crate) serial: &'a [u8],
    /// The issuer's Name, with tag and length.
    pub(crate) issuer: &'a [u8],
    /// `SubjectPublicKeyInfo`, with tag and length.
    pub(crate) public_key: &'a [u8],
    pub(crate) extensions: Vec<Extension<'a>>,
}

/// One extension (RFC 5280 §4.2).
#[derive(Debug)]
pub(crate) struct Extension<'a> {
    pub(crate) oid: &'a [u8],
    pub(crate) critical: bool,
    pub(crate) value: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Walks `Certificate` and `TBSCertificate`; `None` where they are not strict DER.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let mut tbs = Reader::new(Reader::new(only(der, SEQUENCE)?).expect(SEQUENCE)?);
        tbs.optional(0xa0)?; // version
        let serial = tbs.expect(INTEGER)?;
        tbs.expect(SEQUENCE)?; // signature
        let issuer = tbs.whole(SEQUENCE)?;
        tbs.expect(SEQUENCE)?; // validity
        tbs.expect(SEQUENCE)?; // subject
        let public_key = tbs.whole(SEQUENCE)?;
        tbs.optional(0x81)?; // issuerUniqueID
        tbs.optional(0x82)?; // subjectUniqueID
        let mut extensions = Vec::new();
        if let Some(wrapped) = tbs.optional(0xa3)? {
            let mut list = Reader::new(only(wrapped, SEQUENCE)?);
            while !list.is_empty() {
                extensions.push(Extension::read(list.expect(SEQUENCE)?)?);
                if extensions.len() > MAX_EXTENSIONS {
                    return None;
                }
            }
        }
        tbs.is_empty().then_some(Self {
            serial,
            issuer,
            public_key,
            extensions,
        })
    }

    /// No extension occurs twice, whether it is read here or not (RFC 5280 §4.2).
    pub(crate) fn check_extensions(&self) -> Result<(), String> {
        let mut seen = std::collections::BTreeSet::new();
        if !self.extensions.iter().all(|extension| seen.insert(extension.oid)) {
            return Err("the certificate has an extension twice".into());
        }
        Ok(())
    }

    /// An extension by its identifier.
    pub(crate) fn extension(&self, oid: &[u8]) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    /// The value of an extension.
    pub(crate) fn value_of(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.extension(oid).map(|extension| extension.value)
    }

    /// The subject key identifier, if there is one.
    pub(crate) fn key_identifier(&self) -> Option<&'a [u8]> {
        only(self.value_of(OID_KEY_ID)?, OCTET_STRING)
    }

    /// True for an authority's certificate, and for one that leaves a doubt about it.
    pub(crate) fn is_authority(&self) -> bool {
        let Some(value) = self.value_of(OID_CONSTRAINTS) else {
            return false;
        };
        let flag = only(value, SEQUENCE).and_then(|list| Reader::new(list).optional(BOOLEAN));
        match flag {
            Some(None) => false,
            Some(Some(content)) => der::boolean(content) != Some(false),
            None => true,
        }
    }

    /// Serial number, lowercase hex. A positive number may carry a zero octet in front of its first bit (X.690 §8.3.3);
    /// people leave it out.
    pub(crate) fn serial_hex(&self) -> String {
        let digits = self.serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty());
        hex::encode(digits.unwrap_or(self.serial))
    }
}

impl<'a> Extension<'a> {
    fn read(content: &'a [u8]) -> Option<Self> {
        let mut extension = Reader::new(content);
        let oid = extension.expect(OID)?;
        let critical = match extension.optional(BOOLEAN)? {
            Some(content) => der::boolean(content)?,
            None => false,
        };
        let value = extension.expect(OCTET_STRING)?;
        extension.is_empty().then_some(Self { oid, critical, value })
    }
}
