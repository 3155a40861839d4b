//! An Authority and its proofs.

use chrono::TimeDelta;

use super::*;

/// By how much clocks may differ.
const SKEW: TimeDelta = TimeDelta::seconds(30);

/// An Authority that publishes the keys it is told to.
#[derive(Clone, Debug)]
pub struct FakeAuthority {
    /// Key ids published; `None`: down.
    pub published: Dial<Option<Vec<String>>>,
    /// What verifying yields, with a known key.
    pub token: Dial<Result<AccessToken, TokenRejection>>,
    /// `kid` of tokens.
    pub kid: Dial<String>,
    /// Thumbprint of every key that is published.
    pub key: Dial<Sha256Digest>,
    /// Tokens verified in full.
    pub verified: Arc<AtomicU32>,
    /// Times the keys were fetched.
    pub fetches: Arc<AtomicU32>,
    /// Makes a fetch panic.
    pub bomb: Bomb,
    /// Makes a look at a remembered token panic.
    pub recall_bomb: Bomb,
}

impl Default for FakeAuthority {
    fn default() -> Self {
        Self {
            published: Dial::new(Some(vec!["k1".into()])),
            token: Dial::new(Ok(access_token())),
            kid: Dial::new("k1".into()),
            key: Dial::new(AUTHORITY_KEY),
            verified: Arc::default(),
            fetches: Arc::default(),
            bomb: Bomb::default(),
            recall_bomb: Bomb::default(),
        }
    }
}

#[derive(Debug)]
struct FakeKeys {
    kids: Vec<String>,
    key: Sha256Digest,
    authority: FakeAuthority,
}

impl AuthoritySource for FakeAuthority {
    fn fetch(&self) -> PortFuture<Result<Arc<dyn TokenVerifier>, SourceUnavailable>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.bomb.tick();
        let authority = self.clone();
        Box::pin(async move {
            let kids = authority
                .published
                .get()
                .ok_or_else(|| SourceUnavailable("down".into()))?;
            let key = authority.key.get();
            Ok(Arc::new(FakeKeys { kids, key, authority }) as Arc<dyn TokenVerifier>)
        })
    }
}

impl TokenVerifier for FakeKeys {
    fn knows(&self, kid: &str) -> bool {
        self.kids.iter().any(|known| known == kid)
    }

    fn verify(&self, token: &PresentedToken<'_>, now: DateTime<Utc>) -> Result<AccessToken, TokenRejection> {
        self.authority.verified.fetch_add(1, Ordering::SeqCst);
        let kid = self.authority.kid.get();
        if !self.knows(&kid) {
            return Err(TokenRejection::UnknownKey { kid });
        }
        let verified = AccessToken {
            digest: token.digest(),
            key_id: kid,
            key: self.key,
            ..self.authority.token.get()?
        };
        let outcome = verified.validity.check(now, SKEW);
        outcome.map_err(|why| TokenRejection::Invalid(format!("{why:?}")))?;
        Ok(verified)
    }

    fn still_accepts(&self, token: &AccessToken, now: DateTime<Utc>) -> bool {
        self.authority.recall_bomb.tick();
        self.knows(&token.key_id) && self.key == token.key && token.validity.check(now, SKEW).is_ok()
    }
}

/// Accepts proofs; each is new unless told otherwise.
#[derive(Clone, Debug)]
pub struct FakeProofs {
    /// What verifying yields; a fresh replay id is put in when `fresh`.
    pub proof: Dial<Result<VerifiedProof, ProofRejection>>,
    /// Whether every proof has an id of its own.
    pub fresh: Dial<bool>,
    /// The nonce handed out.
    pub nonce: Dial<Option<String>>,
    count: Arc<AtomicU64>,
}

impl Default for FakeProofs {
    fn default() -> Self {
        Self {
            proof: Dial::new(Ok(proof())),
            fresh: Dial::new(true),
            nonce: Dial::new(None),
            count: Arc::default(),
        }
    }
}

impl ProofVerifier for FakeProofs {
    fn verify(
        &self,
        _: &Credentials,
        _: &AccessToken,
        _: DateTime<Utc>,
    ) -> Result<VerifiedProof, ProofRejection> {
        let mut proof = self.proof.get()?;
        if self.fresh.get() {
            proof.replay_id = Sha256Digest::of(&self.count.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        }
        Ok(proof)
    }

    fn uses_nonces(&self) -> bool {
        self.nonce.get().is_some()
    }

    fn nonce(&self, _now: DateTime<Utc>) -> Option<String> {
        self.nonce.get()
    }

    fn window_seconds(&self) -> i64 {
        90
    }
}
