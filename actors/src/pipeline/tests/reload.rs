//! Other keys while requests go on.

use std::sync::Arc;

use super::*;
use crate::ports::SigningBackend;
use crate::signer::SignerError;
use crate::testing::FakeBackend;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

impl Rig {
    fn new_backend(&self, id: &str) -> FakeBackend {
        FakeBackend::new(id, SigningMode::Kms, &self.world.fakes.clock)
    }

    /// These sign from here on, the first of them by default.
    async fn sign_with(&self, backends: &[&FakeBackend]) {
        let mut handles = Vec::new();
        for backend in backends {
            let backend: Arc<dyn SigningBackend> = Arc::new((*backend).clone());
            handles.push(self.controls.start(&backend, soon()).await.expect("an open key"));
        }
        let key = backends.first().map(|backend| backend.info.id.clone());
        self.controls.put_signers(Signers {
            backends: handles,
            defaults: Defaults {
                mode: SigningMode::Kms,
                key,
            },
        });
    }

    async fn signed_by(&self) -> String {
        let released = self.sign().await.expect("a signature");
        released.key().identity().backend.to_string()
    }
}

#[actix::test]
async fn requests_in_progress_end_with_the_key_that_they_began_with() {
    let rig = rig(|world| world.fakes.keyful.sign_open.set(false));
    let mut first = Box::pin(rig.sign());
    assert!((&mut first).now_or_never().is_none());
    futures_util::future::select(&mut first, Box::pin(until(|| rig.signed() == 1))).await;
    let mut old = rig.new_backend("file");
    old.info.state = KeyState::Retired;
    let new = rig.new_backend("file-2");
    rig.sign_with(&[&new, &old]).await;
    assert_eq!(rig.signed_by().await, "file-2");
    assert_eq!(
        new.opened.load(Ordering::SeqCst),
        1,
        "it was open before the first request"
    );
    assert_eq!(old.opened.load(Ordering::SeqCst), 0, "and a retired one never is");
    rig.world.fakes.keyful.sign_open.set(true);
    let first = first.await.expect("a signature");
    assert_eq!(first.key().identity().backend.as_str(), "file");
    assert_eq!(rig.services.signers().backends.len(), 2);
}

/// A request that has passed its gates signs nothing with a key that was revoked meanwhile; a retired one it still uses.
#[actix::test]
async fn a_key_revoked_meanwhile_signs_nothing_more() {
    for (state, signs) in [(KeyState::Revoked, false), (KeyState::Retired, true)] {
        let rig = rig(|world| world.fakes.releases.open.set(false));
        let mut first = Box::pin(rig.sign());
        assert!((&mut first).now_or_never().is_none());
        let asked = Box::pin(until(|| {
            rig.world.fakes.releases.checks.load(Ordering::SeqCst) > 0
        }));
        futures_util::future::select(&mut first, asked).await;
        let mut old = rig.new_backend("file");
        old.info.state = state;
        rig.sign_with(&[&rig.new_backend("file-2"), &old]).await;
        rig.world.fakes.releases.open.set(true);
        let first = first.await;
        assert_eq!(
            (first.is_ok(), rig.signed()),
            (signs, u32::from(signs)),
            "{state:?}"
        );
        if !signs {
            assert_eq!(why(&first), (Stage::Signing, Code::ModeNotEntitled));
        }
    }
}

#[actix::test]
async fn retired_and_unknown_keys_refuse_at_once() {
    let rig = rig(|world| world.options.key = KeyId::parse("file"));
    assert_eq!(rig.signed_by().await, "file");
    let mut old = rig.new_backend("file");
    for state in [KeyState::Retired, KeyState::Revoked] {
        old.info.state = state;
        rig.sign_with(&[&rig.new_backend("file-2"), &old]).await;
        let refused = rig.sign().await;
        // A key that is not the default needs a feature, which the plan of tests has.
        assert_eq!(why(&refused).1, Code::ModeNotEntitled, "{state:?}");
    }
    rig.sign_with(&[&rig.new_backend("file-2")]).await;
    assert_eq!(why(&rig.sign().await), (Stage::Shape, Code::InvalidRequest));
    let probe = rig.probe().await;
    assert_eq!(why(&probe), (Stage::Shape, Code::InvalidRequest));
}

#[actix::test]
async fn a_key_that_cannot_be_opened_takes_nobodys_place() {
    let rig = rig(|_| ());
    let broken = rig.new_backend("file-2");
    for (error, told) in [
        (
            BackendError::Unavailable("sealed".into()),
            SignerError::Unavailable,
        ),
        (BackendError::Failed("self-test".into()), SignerError::Backend),
    ] {
        broken.open.set(Err(error));
        let backend: Arc<dyn SigningBackend> = Arc::new(broken.clone());
        let started = rig.controls.start(&backend, soon()).await;
        assert_eq!(started.map(drop).expect_err("no key").error, told);
    }
    broken.open.set(Ok(None));
    broken.open_up.set(false);
    let backend: Arc<dyn SigningBackend> = Arc::new(broken.clone());
    let hung = rig
        .controls
        .start(&backend, Deadline::after(Duration::from_millis(20)));
    assert!(hung.await.is_err());
    assert_eq!(rig.signed_by().await, "file");
}

/// A key that made a signature which does not verify signs no more, whatever table or id a reload gives it; another key does.
#[actix::test]
async fn a_disabled_key_stays_disabled_until_it_is_another_key() {
    let rig = rig(|world| world.fakes.keyful.corrupt.set(true));
    assert_eq!(why(&rig.sign().await).1, Code::SigningBackendError);
    let disabled = (Stage::Signing, Code::SigningBackendUnavailable);
    for id in ["file", "file-2"] {
        let edited = rig.new_backend(id);
        rig.sign_with(&[&edited]).await;
        assert_eq!(why(&rig.sign().await), disabled, "{id}");
        assert_eq!(edited.opened.load(Ordering::SeqCst), 0, "{id}");
    }
    let mut other = rig.new_backend("file");
    other.info.key = Some(Sha256Digest::of(b"another key"));
    rig.sign_with(&[&other]).await;
    assert_eq!(rig.signed_by().await, "file");
}

/// It is found out by a request that began before the reload, which has opened the key in another actor meanwhile.
#[actix::test]
async fn a_key_disabled_during_a_reload_is_disabled_after_it() {
    let rig = rig(|world| {
        world.fakes.keyful.sign_open.set(false);
        world.fakes.keyful.corrupt.set(true);
    });
    let mut first = Box::pin(rig.sign());
    assert!((&mut first).now_or_never().is_none());
    futures_util::future::select(&mut first, Box::pin(until(|| rig.signed() == 1))).await;
    let edited = rig.new_backend("file");
    rig.sign_with(&[&edited]).await;
    let open = || {
        rig.services
            .signers()
            .backends
            .iter()
            .all(|one| one.open.borrow().is_some())
    };
    assert!(open(), "the same key, in another actor");
    rig.world.fakes.keyful.sign_open.set(true);
    assert_eq!(why(&first.await).1, Code::SigningBackendError);
    let refused = rig.sign().await;
    assert_eq!(why(&refused), (Stage::Signing, Code::SigningBackendUnavailable));
    assert_eq!(edited.signed.load(Ordering::SeqCst), 0);
    assert!(!open(), "nor is it shown as open");
}
