//! An Authority and its proofs.

use super::*;

/// An Authority that publishes the keys it is told to.
#[derive(Clone, Debug)]
pub struct FakeAuthority {
    /// Key ids published; `None`: down.
    pub published: Dial<Option<Vec<String>>>,
    /// What verifying yields, with a known key.
    pub token: Dial<Result<AccessToken, TokenRejection>>,
    /// `kid` of tokens.
    pub kid: Dial<String>,
    /// Times the keys were fetched.
    pub fetches: Arc<AtomicU32>,
    /// Makes a fetch panic.
    pub bomb: Bomb,
}

impl Default for FakeAuthority {
    fn default() -> Self {
        Self {
            published: Dial::new(Some(vec!["k1".into()])),
            token: Dial::new(Ok(access_token())),
            kid: Dial::new("k1".into()),
            fetches: Arc::default(),
            bomb: Bomb::default(),
        }
    }
}

#[derive(Debug)]
struct FakeKeys {
    kids: Vec<String>,
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
            Ok(Arc::new(FakeKeys { kids, authority }) as Arc<dyn TokenVerifier>)
        })
    }
}

impl TokenVerifier for FakeKeys {
    fn knows(&self, kid: &str) -> bool {
        self.kids.iter().any(|known| known == kid)
    }

    fn verify(&self, _token: &str, _now: DateTime<Utc>) -> Result<AccessToken, TokenRejection> {
        let kid = self.authority.kid.get();
        if !self.knows(&kid) {
            return Err(TokenRejection::UnknownKey { kid });
        }
        self.authority.token.get()
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

    fn nonce(&self, _now: DateTime<Utc>) -> Option<String> {
        self.nonce.get()
    }

    fn window_seconds(&self) -> i64 {
        90
    }
}
