//! The DSSE envelope in JSON (secure-systems-lab/dsse, `envelope.md`).

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use signer_actors::domain::envelope::PAYLOAD_TYPE;
use signer_actors::domain::signing::Signature;

/// Reads either alphabet with or without padding; what is written is always standard and padded.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD_LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE_LENIENT: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Most signatures, log entries or timestamps that are read: real documents have one or two.
const MAX_FEW: usize = 64;

/// A list of at most [`MAX_FEW`]: a short text must not become much in memory.
pub(super) fn few<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Items<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = access.next_element()? {
                if items.len() == MAX_FEW {
                    return Err(A::Error::custom(format!("more than {MAX_FEW} entries")));
                }
                items.push(item);
            }
            Ok(items)
        }
    }
    deserializer.deserialize_seq(Items(PhantomData))
}

/// An envelope as it travels. Unknown members are ignored when read (`envelope.md`, "Parsing rules").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    /// What the payload is.
    pub payload_type: String,
    /// The payload, base64.
    pub payload: String,
    /// Signatures; this service makes exactly one.
    #[serde(deserialize_with = "few")]
    pub signatures: Vec<EnvelopeSignature>,
}

/// One signature of an envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvelopeSignature {
    /// The signature, base64.
    pub sig: String,
    /// An unauthenticated hint; never written (contract §7), empty and absent are the same (`protocol.md`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub keyid: String,
}

/// Reads an envelope inside a Sigstore bundle, where unknown members are refused as in the rest of it.
pub(super) fn strict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Envelope, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Strict {
        payload_type: String,
        payload: String,
        #[serde(deserialize_with = "few")]
        signatures: Vec<StrictSignature>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct StrictSignature {
        sig: String,
        #[serde(default)]
        keyid: String,
    }

    let strict = Strict::deserialize(deserializer)?;
    let signature = |StrictSignature { sig, keyid }| EnvelopeSignature { sig, keyid };
    Ok(Envelope {
        payload_type: strict.payload_type,
        payload: strict.payload,
        signatures: strict.signatures.into_iter().map(signature).collect(),
    })
}

/// An envelope's content, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The payload type, as signed.
    pub payload_type: String,
    /// The payload's bytes.
    pub payload: Vec<u8>,
    /// The one signature's bytes.
    pub signature: Vec<u8>,
}

impl Envelope {
    /// Wraps a signed statement.
    pub fn new(payload: &[u8], signature: &Signature) -> Self {
        let signature = EnvelopeSignature {
            sig: STANDARD.encode(&signature.0),
            keyid: String::new(),
        };
        Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![signature],
        }
    }

    /// Decodes payload and signature. Refuses any number of signatures but one: which of several counts would be a
    /// matter of opinion.
    pub fn decode(&self) -> Result<Content, String> {
        let [signature] = self.signatures.as_slice() else {
            let count = self.signatures.len();
            return Err(format!(
                "the envelope has {count} signatures, there must be exactly one"
            ));
        };
        let signature = decode_base64(&signature.sig).ok_or("the envelope's signature is not base64")?;
        let payload = decode_base64(&self.payload).ok_or("the envelope's payload is not base64")?;
        if signature.is_empty() || payload.is_empty() {
            return Err("the envelope's payload or signature is empty".into());
        }
        Ok(Content {
            payload_type: self.payload_type.clone(),
            payload,
            signature,
        })
    }
}

/// Standard or URL-safe base64: verifiers must take both (`envelope.md`, "Standard JSON envelope").
pub fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_LENIENT
        .decode(text)
        .or_else(|_| URL_SAFE_LENIENT.decode(text))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_the_specifications() {
        let envelope = Envelope::new(b"{}", &Signature(vec![0xfb, 0xff]));
        let expected = serde_json::json!({
            "payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": [{ "sig": "+/8=" }],
        });
        assert_eq!(serde_json::to_value(&envelope).unwrap(), expected);
    }

    #[test]
    fn both_alphabets_and_unknown_members_are_read() {
        for sig in ["+/8=", "-_8=", "-_8", "+/8"] {
            let text = format!(
                r#"{{"payloadType":"t","payload":"e30","signatures":[{{"sig":"{sig}","keyid":"k","x":1}}],"y":2}}"#
            );
            let content = serde_json::from_str::<Envelope>(&text).unwrap().decode().unwrap();
            assert_eq!(content.signature, [0xfb, 0xff]);
            assert_eq!(content.payload, b"{}");
        }
        // Mixed alphabets, stray bits and white space are not base64 (RFC 4648 §3.3, §3.5).
        for bad in ["+_8=", "-_9=", " e30=", "e30=\n", "e3 0"] {
            assert_eq!(decode_base64(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn exactly_one_signature_counts() {
        let one = Envelope::new(b"{}", &Signature(vec![1]));
        assert!(one.decode().is_ok());
        let mut none = one.clone();
        none.signatures.clear();
        let mut two = one.clone();
        two.signatures.extend(one.signatures.clone());
        let mut empty = one.clone();
        empty.payload.clear();
        for bad in [none, two, empty] {
            assert!(bad.decode().is_err(), "{bad:?}");
        }
    }
}
