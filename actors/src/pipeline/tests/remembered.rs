//! Remembered tokens: a verification is saved, and nothing else.

use std::num::NonZeroUsize;

use super::*;

const TEN: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9);
const CERTIFICATE: Sha256Digest = Sha256Digest([5; 32]);

/// On a worker that remembers this many tokens.
fn remembering(tokens: NonZeroUsize, change: impl FnOnce(&mut World)) -> Rig {
    let mut rig = rig(change);
    rig.services = rig.services.on_worker(Some(tokens));
    rig
}

/// A caller whose requests carry no proof, so that time may go by.
fn by_certificate(world: &mut World) {
    world.token.confirmation = Confirmation {
        jkt: None,
        x5t_s256: Some(CERTIFICATE),
    };
    world.credentials.scheme = Scheme::Bearer;
    world.credentials.proof = None;
    world.credentials.client_certificate = Some(CERTIFICATE);
}

impl Rig {
    async fn passes(&self) {
        self.authenticate(Scope::Sign).await.expect("a caller");
    }

    async fn refused(&self, code: Code) {
        let outcome = self.authenticate(Scope::Sign).await;
        assert_eq!(why(&outcome), (Stage::Authentication, code));
    }

    /// Tokens verified in full since the start.
    fn verified(&self) -> u32 {
        self.world.fakes.authority.verified.load(Ordering::SeqCst)
    }

    fn later(&self, seconds: u64) {
        self.world.fakes.clock.advance(Duration::from_secs(seconds));
    }

    /// Has the keys fetched anew, as a request does that finds them old.
    async fn keys_are_refreshed(&self) {
        self.later(240);
        let fetches = &self.world.fakes.authority.fetches;
        let before = fetches.load(Ordering::SeqCst);
        self.passes().await;
        until(|| fetches.load(Ordering::SeqCst) > before).await;
        // The fetch has come back when the published keys are young again.
        let young = || {
            let keys = self.services.authority_keys.borrow().clone();
            keys.is_some_and(|keys| keys.fetched == self.services.clock.monotonic())
        };
        until(young).await;
    }
}

#[actix::test]
async fn a_token_is_verified_once_and_its_proof_always() {
    let rig = remembering(TEN, |_| ());
    for _ in 0..5 {
        rig.sign().await.expect("a signature");
    }
    assert_eq!(rig.verified(), 1);
    let proofs = &rig.world.fakes.proofs;
    proofs.fresh.set(false);
    rig.passes().await;
    rig.refused(Code::InvalidDpopProof).await;
    proofs.proof.set(Err(ProofRejection::Invalid("bad".into())));
    rig.refused(Code::InvalidDpopProof).await;
    assert_eq!(rig.verified(), 1);
}

#[actix::test]
async fn without_memory_every_token_is_verified() {
    let rig = rig(|_| ());
    for _ in 0..3 {
        rig.passes().await;
    }
    assert_eq!(rig.verified(), 3);
}

#[actix::test]
async fn what_the_token_is_bound_to_and_allows_is_checked_on_every_request() {
    let mut rig = remembering(TEN, |world| world.token.confirmation.x5t_s256 = Some(CERTIFICATE));
    rig.world.credentials.client_certificate = Some(CERTIFICATE);
    rig.passes().await;

    let thief = VerifiedProof {
        thumbprint: Sha256Digest([9; 32]),
        ..testing::proof()
    };
    rig.world.fakes.proofs.proof.set(Ok(thief));
    rig.refused(Code::InvalidToken).await;
    rig.world.fakes.proofs.proof.set(Ok(testing::proof()));

    rig.world.credentials.client_certificate = Some(Sha256Digest([9; 32]));
    rig.refused(Code::InvalidToken).await;
    rig.world.credentials.client_certificate = None;
    rig.refused(Code::InvalidToken).await;
    rig.world.credentials.client_certificate = Some(CERTIFICATE);

    rig.world.credentials.scheme = Scheme::Bearer;
    rig.refused(Code::InvalidToken).await;
    rig.world.credentials.scheme = Scheme::Dpop;

    let outcome = rig.authenticate(Scope::Audit).await;
    assert_eq!(why(&outcome), (Stage::Authentication, Code::InsufficientScope));
    rig.passes().await;
    assert_eq!(rig.verified(), 1);
}

#[actix::test]
async fn it_dies_when_its_key_leaves() {
    let rig = remembering(TEN, by_certificate);
    rig.passes().await;
    rig.world.fakes.authority.published.set(Some(vec!["k2".into()]));
    rig.keys_are_refreshed().await;
    assert_eq!(rig.verified(), 1, "until the keys without it have come");
    rig.refused(Code::InvalidToken).await;
    assert!(rig.verified() > 1);
}

#[actix::test]
async fn it_dies_when_its_key_id_names_another_key() {
    for signed_by_the_new_one in [true, false] {
        let rig = remembering(TEN, by_certificate);
        rig.passes().await;
        let authority = &rig.world.fakes.authority;
        authority.key.set(Sha256Digest([3; 32]));
        rig.keys_are_refreshed().await;
        assert_eq!(rig.verified(), 1, "until the new keys have come");
        if signed_by_the_new_one {
            rig.passes().await;
            rig.passes().await;
            assert_eq!(rig.verified(), 2, "once more, and remembered with the new key");
        } else {
            let bad = TokenRejection::Invalid("its signature does not hold".into());
            authority.token.set(Err(bad));
            rig.refused(Code::InvalidToken).await;
        }
    }
}

#[actix::test]
async fn it_ends_with_its_expiry_to_the_second() {
    let rig = remembering(TEN, by_certificate);
    rig.passes().await;
    rig.later(329);
    rig.passes().await;
    assert_eq!(rig.verified(), 1);
    rig.later(1);
    rig.refused(Code::InvalidToken).await;
    rig.refused(Code::InvalidToken).await;
    assert_eq!(rig.verified(), 3, "a refusal is not remembered");
}

#[actix::test]
async fn a_clock_set_back_makes_no_token_good_before_its_time() {
    type Edit = fn(&mut World);
    let edits: [Edit; 2] = [
        |_| (),
        |world| {
            world.token.validity.issued -= chrono::Duration::hours(1);
            world.token.validity.not_before = Some(testing::NOW());
        },
    ];
    for edit in edits {
        let rig = remembering(TEN, |world| {
            by_certificate(world);
            edit(world);
        });
        let clock = &rig.world.fakes.clock;
        rig.passes().await;
        clock.set_back(Duration::from_secs(30));
        rig.passes().await;
        assert_eq!(rig.verified(), 1);
        clock.set_back(Duration::from_secs(1));
        rig.refused(Code::InvalidToken).await;
        clock.jump(Duration::from_secs(1));
        rig.passes().await;
        assert_eq!(rig.verified(), 3, "refused, and verified anew");
    }
}

#[actix::test]
async fn an_expired_token_comes_to_life_through_a_verification_only() {
    let rig = remembering(TEN, by_certificate);
    rig.passes().await;
    let clock = &rig.world.fakes.clock;
    clock.jump(Duration::from_secs(330));
    rig.refused(Code::InvalidToken).await;
    clock.set_back(Duration::from_secs(330));
    rig.world
        .fakes
        .authority
        .token
        .set(Err(TokenRejection::Invalid("signature".into())));
    rig.refused(Code::InvalidToken).await;
}

#[actix::test]
async fn while_the_authority_is_down_it_lives_no_longer_than_the_keys() {
    let rig = remembering(TEN, |world| {
        by_certificate(world);
        world.token.validity.expires += chrono::Duration::hours(5);
    });
    rig.passes().await;
    rig.world.fakes.authority.published.set(None);
    rig.later(3599);
    rig.passes().await;
    assert_eq!(rig.verified(), 1);
    rig.later(1);
    rig.refused(Code::AuthorityUnavailable).await;
    assert_eq!(rig.verified(), 1);
}

#[actix::test]
async fn a_key_that_left_before_the_authority_went_down_stays_away() {
    let rig = remembering(TEN, by_certificate);
    rig.passes().await;
    let published = &rig.world.fakes.authority.published;
    published.set(Some(vec!["k2".into()]));
    rig.keys_are_refreshed().await;
    published.set(None);
    rig.refused(Code::InvalidToken).await;
    rig.later(30);
    // Whether it has come back cannot be asked (contract §3): 503, never an answer from memory.
    rig.refused(Code::AuthorityUnavailable).await;
}

#[actix::test]
async fn another_token_of_the_same_caller_is_another_token() {
    let mut rig = remembering(TEN, |_| ());
    rig.passes().await;
    rig.world.credentials.token = "another".into();
    rig.passes().await;
    rig.passes().await;
    assert_eq!(rig.verified(), 2);
    let authority = &rig.world.fakes.authority;
    authority.token.set(Err(TokenRejection::Invalid("bad".into())));
    for token in ["anothe", "another ", "Another", ""] {
        rig.world.credentials.token = token.into();
        rig.refused(Code::InvalidToken).await;
    }
}

#[actix::test]
async fn memory_is_bounded_and_what_it_forgets_is_verified() {
    let mut rig = remembering(NonZeroUsize::MIN, |_| ());
    for (token, verified) in [("a", 1), ("a", 1), ("b", 2), ("a", 3), ("a", 3), ("b", 4)] {
        rig.world.credentials.token = token.into();
        rig.passes().await;
        assert_eq!(rig.verified(), verified);
    }
}

#[actix::test]
async fn a_refused_token_leaves_no_trace() {
    let mut rig = remembering(NonZeroUsize::MIN, |_| ());
    rig.passes().await;
    let authority = rig.world.fakes.authority.clone();
    let good = authority.token.get();
    authority.token.set(Err(TokenRejection::Invalid("bad".into())));
    rig.world.credentials.token = "bad".into();
    rig.refused(Code::InvalidToken).await;
    rig.refused(Code::InvalidToken).await;
    assert_eq!(rig.verified(), 3);
    rig.world.credentials.token = "token".into();
    rig.passes().await;
    assert_eq!(rig.verified(), 3, "it pushed nothing out");
    authority.token.set(good);
    rig.world.credentials.token = "bad".into();
    rig.passes().await;
}

#[actix::test]
async fn each_worker_remembers_for_itself() {
    let mut first = remembering(TEN, by_certificate);
    let other = first.services.on_worker(Some(TEN));
    first.passes().await;
    first.passes().await;
    assert_eq!(first.verified(), 1);
    let own = std::mem::replace(&mut first.services, other);
    first.passes().await;
    first.passes().await;
    assert_eq!(first.verified(), 2);
    // What the one learns of the keys, both know.
    first.world.fakes.authority.published.set(Some(vec!["k2".into()]));
    first.keys_are_refreshed().await;
    first.refused(Code::InvalidToken).await;
    first.services = own;
    first.refused(Code::InvalidToken).await;
}

#[actix::test]
async fn a_panic_in_memory_costs_a_verification() {
    let rig = remembering(TEN, |_| ());
    rig.passes().await;
    rig.world.fakes.authority.recall_bomb.arm();
    rig.passes().await;
    assert_eq!(rig.verified(), 2);
    rig.passes().await;
    assert_eq!(rig.verified(), 2, "remembered again");
}
