//! Timestamps of RFC 3161: what an authority answered, and whether it proves that bytes existed at a time.
//!
//! [`Authorities::verify`] takes the whole answer (`TimeStampResp`) and the bytes it is about, and returns the time that an
//! authority with a path to a configured root has signed. Parsing is this module's own, strict DER; signatures and paths
//! are OpenSSL's.
//!
//! *Architecture Invariant:* nothing here asks an authority, reads a file or knows who wants the time.

mod algorithms;
mod signed_data;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use openssl::x509::X509;

pub use self::algorithms::Hash;
use self::signed_data::{SignedData, SigningCertificate};
use self::token::TstInfo;
use crate::x509::der::{INTEGER, Reader, SEQUENCE, small_integer};
use crate::x509::fields::Fields;
use crate::x509::{self, Purpose};

/// The longest answer that is read, in bytes: a token with a whole chain is a tenth of it.
pub const MAX_RESPONSE: usize = 64 * 1024;

/// How far ahead of our clock an authority's may be.
const MAX_AHEAD: TimeDelta = TimeDelta::seconds(30);

/// The coarsest time that says enough: what may be further off is no time of signing.
const MAX_ACCURACY: TimeDelta = TimeDelta::seconds(60);

/// `id-ce-extKeyUsage`, 2.5.29.37 (RFC 5280 §4.2.1.12).
const OID_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
/// `ExtKeyUsageSyntax` of `id-kp-timeStamping`, 1.3.6.1.5.5.7.3.8, alone.
const TIME_STAMPING_ONLY: &[u8] = &[
    0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08,
];

/// Why a timestamp proves nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It is not a timestamp over these bytes: malformed, altered, or over something else.
    Invalid(String),
    /// It may be one, by an authority or in a way that is not accepted here.
    Unacceptable(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Invalid(text) | Self::Unacceptable(text)) = self;
        f.write_str(text)
    }
}

/// A refusal of what no honest authority answers.
fn invalid(text: impl Into<String>) -> Failure {
    Failure::Invalid(text.into())
}

/// A refusal of what is not accepted here.
fn unacceptable(text: impl Into<String>) -> Failure {
    Failure::Unacceptable(text.into())
}

/// A verified timestamp.
#[derive(Clone)]
pub struct Timestamp {
    /// `genTime`: the bytes existed then.
    pub time: DateTime<Utc>,
    /// How far off `time` may be; zero where the authority does not say.
    pub accuracy: TimeDelta,
    /// Serial number of the token, lowercase hex: unique per authority (RFC 3161 §2.4.2).
    pub serial: String,
    /// The nonce of the request, big-endian without leading zeros; whoever sent one has to compare it (RFC 3161 §2.4.2).
    pub nonce: Option<Vec<u8>>,
    /// What the bytes were hashed with.
    pub imprint: Hash,
    /// The authority's path: its certificate first, the configured root last.
    pub path: Vec<X509>,
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timestamp")
            .field("time", &self.time)
            .field("accuracy", &self.accuracy)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// The timestamp authorities that are believed.
#[derive(Clone, Debug)]
pub struct Authorities(x509::Authorities);

impl Authorities {
    /// Reads certificates in PEM: self-signed ones are trust anchors. Intermediates and authorities' own certificates may
    /// stand beside them, for tokens that do not carry them (`certReq` false, RFC 3161 §2.4.1).
    ///
    /// # Errors
    /// A text for the configuration report.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        x509::Authorities::from_pem(pem).map(Self)
    }

    /// Sorts certificates into trust anchors and others.
    ///
    /// # Errors
    /// There is no trust anchor among them.
    pub fn new(certificates: Vec<X509>) -> Result<Self, String> {
        x509::Authorities::new(certificates).map(Self)
    }

    /// Reads the certificates of one authority: its own, or several while it changes them, and all up to the root.
    ///
    /// # Errors
    /// As [`Self::from_pem`]; and if none of them is an authority's own.
    pub fn from_chain_pem(pem: &[u8]) -> Result<Self, String> {
        let authorities = Self::from_pem(pem)?;
        if authorities.own_certificates().is_empty() {
            let problem = "no certificate of a timestamp authority: put its own certificate, whose only and critical \
                purpose is timeStamping, before those up to its root";
            return Err(problem.into());
        }
        Ok(authorities)
    }

    /// The authorities' own certificates among those that were read: the ones that sign timestamps.
    pub fn own_certificates(&self) -> Vec<&X509> {
        let signs = |certificate: &&X509| {
            let der = certificate.to_der().ok();
            der.is_some_and(|der| Fields::read(&der).is_some_and(|fields| is_for_timestamps(&fields)))
        };
        self.0.helpers().iter().filter(signs).collect()
    }

    /// Paths of what was read: an authority's own certificate first where it is known, the root last.
    pub fn paths(&self) -> Vec<Vec<X509>> {
        self.0.paths()
    }

    /// Verifies a `TimeStampResp` in DER over `message`, against a clock that says `now`.
    ///
    /// # Errors
    /// Why it proves nothing, without anything of what it says.
    pub fn verify(&self, response: &[u8], message: &[u8], now: DateTime<Utc>) -> Result<Timestamp, Failure> {
        check_length(response)?;
        self.verify_token(granted(response)?, message, now)
    }

    /// Verifies a bare `TimeStampToken` in DER, as RFC 3161 §2.4.2 puts it into other structures.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_token(
        &self,
        token: &[u8],
        message: &[u8],
        now: DateTime<Utc>,
    ) -> Result<Timestamp, Failure> {
        check_length(token)?;
        let signed = SignedData::read(token)?;
        let info = TstInfo::read(signed.content)
            .ok_or_else(|| invalid("the timestamp's TSTInfo is not strict DER of RFC 3161 §2.4.2"))?;
        let imprint = info.check_imprint(message)?;
        let (accuracy, time) = (info.accuracy, info.time);
        if accuracy > MAX_ACCURACY {
            return Err(unacceptable("the timestamp may be off by more than a minute"));
        }
        if time > now + MAX_AHEAD {
            return Err(invalid("the timestamp lies in the future"));
        }
        let attributes = signed.attributes()?;
        let (certificate, helpers) = self.signer(&signed, &attributes.certificate)?;
        signed.verify(&attributes, &certificate)?;
        let path = self
            .0
            .verify_for(Purpose::TimeStamping, &certificate, &helpers, time)
            .map_err(|reason| {
                unacceptable(format!("no configured timestamp root vouches for it: {reason}"))
            })?;
        Ok(Timestamp {
            time,
            accuracy,
            serial: hex::encode(info.serial),
            nonce: info.nonce.map(<[u8]>::to_vec),
            imprint,
            path,
        })
    }

    /// The certificate that the token names as its signer's, by its hash (RFC 5816 §2.2.1) and by its identifier, and what
    /// else the token carries. It comes with the token or is configured.
    fn signer(
        &self,
        signed: &SignedData<'_>,
        named: &SigningCertificate<'_>,
    ) -> Result<(X509, Vec<X509>), Failure> {
        let mut carried = Vec::with_capacity(signed.certificates.len());
        for der in &signed.certificates {
            carried.push(
                x509::parse_der(der).map_err(|_| invalid("a certificate in the timestamp is malformed"))?,
            );
        }
        let found = carried.iter().chain(self.0.helpers()).find_map(|certificate| {
            let der = certificate.to_der().ok()?;
            named.is(&der).then_some((certificate.clone(), der))
        });
        let (certificate, der) = found.ok_or_else(|| {
            unacceptable("the timestamp does not carry its authority's certificate, and none is configured")
        })?;
        let fields = Fields::read(&der)
            .filter(|fields| fields.check_extensions().is_ok())
            .ok_or_else(|| invalid("the timestamp authority's certificate is not strict DER"))?;
        if !signed.names(&fields) || !named.names(&fields) {
            return Err(invalid("the timestamp names two signers"));
        }
        if !is_for_timestamps(&fields) {
            return Err(unacceptable(
                "the timestamp authority's certificate is not for timestamps alone",
            ));
        }
        Ok((certificate, carried))
    }
}

/// RFC 3161 §2.3: this purpose, no other, and critical.
fn is_for_timestamps(fields: &Fields<'_>) -> bool {
    let usage = fields.extension(OID_EXTENDED_KEY_USAGE);
    usage.is_some_and(|usage| usage.critical && usage.value == TIME_STAMPING_ONLY)
}

fn check_length(der: &[u8]) -> Result<(), Failure> {
    if der.len() > MAX_RESPONSE {
        return Err(invalid(format!(
            "the timestamp is longer than {MAX_RESPONSE} bytes"
        )));
    }
    Ok(())
}

/// The token of an answer that was granted (RFC 3161 §2.4.2): status 0, or 1 where the authority changed the request.
fn granted(response: &[u8]) -> Result<&[u8], Failure> {
    let malformed = || invalid("the timestamp is not a TimeStampResp in strict DER (RFC 3161 §2.4.2)");
    let parts = crate::x509::der::only(response, SEQUENCE).ok_or_else(malformed)?;
    let mut parts = Reader::new(parts);
    let mut status = Reader::new(parts.expect(SEQUENCE).ok_or_else(malformed)?);
    let code = status
        .expect(INTEGER)
        .and_then(small_integer)
        .ok_or_else(malformed)?;
    if code > 1 {
        return Err(invalid(format!(
            "the timestamp was not granted (PKIStatus {code}, RFC 3161 §2.4.2)"
        )));
    }
    let token = parts.whole(SEQUENCE).filter(|_| parts.is_empty());
    token.ok_or_else(malformed)
}
