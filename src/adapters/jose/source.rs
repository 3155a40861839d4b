//! Where the key set of an issuer is, and getting it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use openssl::pkey::PKey;
use signer_actors::ports::SourceUnavailable;
use tokio::sync::watch;
use url::Url;

use super::Refused;
use super::discovery;
use super::fetch::{self, Http};
use super::jwks::KeySet;
use crate::openssl_errors;

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysLocation {
    /// In the metadata of the issuer (OpenID Connect Discovery 1.0 §4, RFC 8414 §3).
    Discovery,
    /// At this URL: https, or http to loopback.
    Uri(Url),
    /// In this file.
    File(PathBuf),
}

/// SubjectPublicKeyInfo, DER, of this service's signing keys, as of now, beside the keys that issuers were seen to publish. No
/// key is in both: whoever fetches a key set compares it with ours, and a reload compares new ones of ours with theirs. Clones
/// share all of it.
#[derive(Clone, Debug)]
pub struct OwnKeys {
    ours: watch::Receiver<Arc<[Vec<u8>]>>,
    /// By issuer.
    theirs: watch::Sender<BTreeMap<String, Seen>>,
}

/// Key sets of one issuer.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// In use.
    accepted: Option<KeySet>,
    /// The newest, whatever became of it.
    newest: Option<KeySet>,
}

impl OwnKeys {
    /// As they are published.
    pub fn published(keys: watch::Receiver<Arc<[Vec<u8>]>>) -> Self {
        Self {
            ours: keys,
            theirs: watch::Sender::default(),
        }
    }

    /// These, for good.
    pub fn fixed(keys: Arc<[Vec<u8>]>) -> Self {
        Self::published(watch::Sender::new(keys).subscribe())
    }

    fn now(&self) -> Arc<[Vec<u8>]> {
        Arc::clone(&self.ours.borrow())
    }

    fn see(&self, issuer: &str, keys: &KeySet) {
        self.theirs.send_modify(|theirs| {
            theirs.entry(issuer.to_owned()).or_default().newest = Some(keys.clone());
        });
    }

    fn accept(&self, issuer: &str, keys: &KeySet) {
        self.theirs.send_modify(|theirs| {
            theirs.entry(issuer.to_owned()).or_default().accepted = Some(keys.clone());
        });
    }

    /// Which of their keys one of these is, if any. These must be published first: a key set that arrives meanwhile is then
    /// seen here, or compared with them there.
    ///
    /// # Errors
    /// They cannot be compared.
    pub fn find_theirs(&self, keys: &[Vec<u8>]) -> Result<Option<String>, String> {
        let theirs = self.theirs.borrow().clone();
        for (issuer, seen) in theirs {
            for set in [seen.accepted, seen.newest].iter().flatten() {
                let shared = shared_key(set, keys).map_err(|why| why.to_string())?;
                if let Some(kid) = shared {
                    return Ok(Some(format!("key {kid} of {issuer}")));
                }
            }
        }
        Ok(None)
    }
}

/// The key set of one issuer: where it is, and what must not be in it.
#[derive(Clone, Debug)]
pub(crate) struct KeySource {
    /// Who publishes it.
    pub(crate) issuer: String,
    /// Where it is.
    pub(crate) location: KeysLocation,
    /// This service's signing keys.
    pub(crate) own_keys: OwnKeys,
}

/// Gets and parses the key set of an issuer. One that holds a signing key of ours is refused as a whole: whoever can
/// make this service sign could make tokens for it (contract §7), and an issuer that publishes a key which is not its
/// own is not in order.
pub(crate) async fn fetch_key_set(http: &Http, source: &KeySource) -> Result<KeySet, SourceUnavailable> {
    let (shown, document) = match &source.location {
        KeysLocation::File(path) => (path.display().to_string(), fetch::read_file(path.clone()).await?),
        KeysLocation::Uri(url) => (fetch::name(url), http.get_ok(url).await?),
        KeysLocation::Discovery => {
            let url = discovery::jwks_uri(http, &source.issuer).await?;
            (fetch::name(&url), http.get_ok(&url).await?)
        }
    };
    let refuse = |why: &dyn std::fmt::Display| fetch::unavailable(&format!("{shown}: {why}"));
    let keys = KeySet::parse(&document).map_err(|why| refuse(&why))?;
    // First seen, then compared: see `find_theirs`.
    source.own_keys.see(&source.issuer, &keys);
    let own = source.own_keys.now();
    if let Some(kid) = shared_key(&keys, &own).map_err(|why| refuse(&why))? {
        return Err(refuse(&format_args!(
            "its key {kid} is a signing key of this service: make a new key for signing"
        )));
    }
    source.own_keys.accept(&source.issuer, &keys);
    Ok(keys)
}

/// The id of a key that is one of ours, compared as keys: the encodings may differ.
fn shared_key(keys: &KeySet, own_keys: &[Vec<u8>]) -> Result<Option<String>, Refused> {
    for own in own_keys {
        let own = PKey::public_key_from_der(own).map_err(|_| "a signing key cannot be compared with it")?;
        for key in keys.keys() {
            let same = key.pkey()?.public_eq(&own);
            // Keys of different kinds are compared with an error.
            openssl_errors::forget();
            if same {
                return Ok(Some(key.kid().unwrap_or("without kid").to_owned()));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::adapters::jose::testkit::{self, Reply, Server, TIMEOUT, jwk_with_kid};

    #[tokio::test]
    async fn a_set_with_a_signing_key_of_ours_is_refused() {
        let theirs = testkit::one_key_of_each_kind();
        let set = json!({ "keys": theirs.iter().enumerate().map(|(i, key)| jwk_with_kid(key, &format!("k{i}"))).collect::<Vec<_>>() });
        let server = Server::start(move |_, _| Reply::json("200 OK", &set)).await;
        let fetch = |own: Vec<Vec<u8>>| {
            let (http, location) = (
                Http::new(None, TIMEOUT).unwrap(),
                KeysLocation::Uri(server.at("/jwks")),
            );
            async move {
                let source = KeySource {
                    issuer: "https://authority.example".to_owned(),
                    location,
                    own_keys: OwnKeys::fixed(own.into()),
                };
                fetch_key_set(&http, &source).await
            }
        };
        let der = |key: &PKey<openssl::pkey::Private>| key.public_key_to_der().unwrap();
        assert_eq!(fetch(Vec::new()).await.unwrap().keys().count(), 4);
        let others = testkit::one_key_of_each_kind().iter().map(der).collect();
        assert_eq!(fetch(others).await.unwrap().keys().count(), 4);
        for key in &theirs {
            let own = vec![der(&testkit::p256()), der(key)];
            let text = fetch(own).await.unwrap_err().0;
            assert!(text.contains("signing key of this service"), "{text}");
        }
        // What cannot be compared is no reason to go on.
        assert!(fetch(vec![b"garbage".to_vec()]).await.is_err());
    }

    /// A key that a reload adds is compared, too.
    #[tokio::test]
    async fn keys_of_ours_are_those_of_now() {
        let theirs = testkit::p256();
        let set = json!({ "keys": [jwk_with_kid(&theirs, "k")] });
        let server = Server::start(move |_, _| Reply::json("200 OK", &set)).await;
        let ours = watch::Sender::new(Arc::from([]));
        let source = KeySource {
            issuer: "https://issuer.example".to_owned(),
            location: KeysLocation::Uri(server.at("/jwks")),
            own_keys: OwnKeys::published(ours.subscribe()),
        };
        let http = Http::new(None, TIMEOUT).unwrap();
        let shared = |key: &PKey<openssl::pkey::Private>| {
            let key = key.public_key_to_der().unwrap();
            source.own_keys.find_theirs(&[key]).unwrap()
        };
        assert_eq!(shared(&theirs), None, "nothing was seen yet");
        assert!(fetch_key_set(&http, &source).await.is_ok());
        assert_eq!(
            shared(&theirs).as_deref(),
            Some("key k of https://issuer.example")
        );
        assert_eq!(shared(&testkit::p256()), None);
        ours.send_replace(Arc::from([theirs.public_key_to_der().unwrap()]));
        assert!(fetch_key_set(&http, &source).await.is_err());
    }

    #[test]
    fn another_encoding_of_the_key_is_the_key() {
        let key = testkit::p256();
        let set = KeySet::parse(
            json!({ "keys": [jwk_with_kid(&key, "k")] })
                .to_string()
                .as_bytes(),
        )
        .unwrap();
        // SubjectPublicKeyInfo of P-256 with a compressed point (RFC 5480 §2.2): after 26 bytes 04 x y becomes 02|03 x.
        let plain = key.public_key_to_der().unwrap();
        let sign = 2 + (plain[90] & 1);
        let mut der = [&plain[..26], &[sign], &plain[27..59]].concat();
        (der[1], der[24]) = (57, 34);
        assert_eq!(shared_key(&set, &[der]).unwrap().as_deref(), Some("k"));
    }
}
