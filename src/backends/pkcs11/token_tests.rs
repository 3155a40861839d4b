//! What several backends, tokens and users of one module owe each other: PINs that are not tried twice, sessions that are
//! closed, and a module that nobody ends under others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cryptoki::context::Function;
use cryptoki::error::RvError;

use super::library::TokenState;
use super::module::load_once;
use super::pins;
use super::tests::{Fake, PIN, begin, digest, hsm, text_of, until};
use super::*;

fn module_of(fake: &Fake) -> Arc<Module<Fake>> {
    Arc::new(Module::new(fake.clone()))
}

/// Another backend, which names its token in another way.
fn named(fake: &Fake, pin: &str, module: &Arc<Module<Fake>>, token: TokenName) -> Hsm<Fake> {
    let like = hsm(fake, pin, module);
    let key = Key {
        token,
        name: like.key.name.clone(),
        algorithm: like.key.algorithm,
        allow_extractable: false,
    };
    Hsm {
        key: Arc::new(key),
        ..like
    }
}

fn label(label: &str) -> TokenName {
    TokenName {
        label: Some(label.into()),
        serial: None,
    }
}

fn serial(serial: &str) -> TokenName {
    TokenName {
        label: None,
        serial: Some(serial.into()),
    }
}

#[tokio::test]
async fn whatever_may_have_counted_as_a_wrong_pin_is_not_tried_again() {
    for (code, again) in [
        (RvError::ArgumentsBad, false),
        (RvError::FunctionFailed, false),
        (RvError::GeneralError, false),
        (RvError::DeviceError, false),
        (RvError::PinLocked, false),
        (RvError::PinExpired, false),
        (RvError::VendorDefined(0x8000_0001), false),
        (RvError::UnknownErrorCode(0x7fff_0001), false),
        (RvError::CryptokiNotInitialized, true),
        (RvError::TokenNotPresent, true),
        (RvError::DeviceRemoved, true),
        (RvError::SessionHandleInvalid, true),
        (RvError::SessionClosed, true),
        (RvError::UserPinNotInitialized, true),
        (RvError::UserAnotherAlreadyLoggedIn, true),
    ] {
        let fake = Fake::new();
        let module = module_of(&fake);
        fake.0.says.set(Some((Function::Login, code)));
        begin(&hsm(&fake, PIN, &module)).await.unwrap_err();
        fake.0.says.set(None);
        let second = begin(&hsm(&fake, PIN, &module)).await;
        assert_eq!(second.is_ok(), again, "{code:?}: {second:?}");
        assert_eq!(
            fake.count(|dials| &dials.log_ins),
            1 + usize::from(again),
            "{code:?}"
        );
    }
}

#[tokio::test]
async fn a_token_is_one_however_it_is_named() {
    let fake = Fake::new();
    let module = module_of(&fake);
    for token in [label("Signer"), serial("0123")] {
        begin(&named(&fake, "000000", &module, token)).await.unwrap_err();
    }
    assert_eq!(fake.count(|dials| &dials.log_ins), 1);
    // Another token has refused nothing yet.
    let state = TokenState {
        serial: "4567".into(),
        ..fake.0.state.get()
    };
    fake.0.state.set(state);
    begin(&hsm(&fake, "000000", &module)).await.unwrap_err();
    assert_eq!(fake.count(|dials| &dials.log_ins), 2);
}

#[tokio::test]
async fn every_refused_pin_is_remembered_and_at_last_none_is_tried() {
    let fake = Fake::new();
    let module = module_of(&fake);
    let wrong: Vec<String> = (0..pins::MOST).map(|pin| format!("{pin:06}")).collect();
    for so_many in [2, pins::MOST] {
        for pin in wrong[..so_many].iter().cycle().take(3 * so_many) {
            begin(&hsm(&fake, pin, &module)).await.unwrap_err();
        }
        assert_eq!(fake.count(|dials| &dials.log_ins), so_many);
    }
    let full = begin(&hsm(&fake, "999999", &module)).await.unwrap_err();
    assert!(text_of(&full, RemoteError::Failed).contains("too many PINs"));
    assert_eq!(fake.count(|dials| &dials.log_ins), pins::MOST);
}

#[tokio::test]
async fn what_a_token_says_of_its_pin_is_asked_right_before_each_try() {
    let fake = Fake::new();
    let module = module_of(&fake);
    fake.0.logs_in.set(false);
    let (first, second) = (hsm(&fake, "000000", &module), hsm(&fake, "111111", &module));
    let first = tokio::spawn(async move { begin(&first).await.map(drop) });
    until(&fake, |fake| fake.count(|dials| &dials.log_ins) == 1).await;
    let second = tokio::spawn(async move { begin(&second).await.map(drop) });
    // It has a session, so it has looked for its token, and waits until the first try is over.
    until(&fake, |fake| fake.count(|dials| &dials.open) == 2).await;
    let state = TokenState {
        final_try: true,
        ..fake.0.state.get()
    };
    fake.0.state.set(state);
    fake.0.logs_in.set(true);
    first.await.unwrap().unwrap_err();
    let second = second.await.unwrap().unwrap_err();
    assert!(text_of(&second, RemoteError::Failed).contains("locks the token"));
    assert_eq!(fake.count(|dials| &dials.log_ins), 1);
}

#[tokio::test]
async fn a_token_that_hangs_keeps_nobody_from_another() {
    let fake = Fake::new();
    fake.0.others.set(vec![TokenState {
        label: "Second".into(),
        serial: "89ab".into(),
        ..TokenState::default()
    }]);
    let module = module_of(&fake);
    fake.0.logs_in.set(false);
    let first = hsm(&fake, PIN, &module);
    let first = tokio::spawn(async move { begin(&first).await.map(drop) });
    until(&fake, |fake| fake.count(|dials| &dials.log_ins) == 1).await;
    let second = named(&fake, PIN, &module, label("Second"));
    let second = tokio::time::timeout(Duration::from_secs(5), begin(&second)).await;
    fake.0.logs_in.set(true);
    first.await.unwrap().unwrap();
    second.expect("another token's login is not waited for").unwrap();
}

#[tokio::test]
async fn sessions_of_a_key_that_is_dropped_while_all_threads_hang_are_closed_later() {
    let fake = Fake::new();
    let module = module_of(&fake);
    let signer = hsm(&fake, PIN, &module);
    let dropped = begin(&signer).await.unwrap();
    dropped.sign(digest()).await.unwrap();
    let kept = begin(&signer).await.unwrap();
    fake.0.up.set(false);
    for _ in 0..2 {
        let hung = tokio::time::timeout(Duration::from_millis(10), kept.sign(digest())).await;
        assert!(hung.is_err());
    }
    until(&fake, |fake| fake.count(|dials| &dials.inside) == 2).await;
    drop(dropped);
    fake.0.up.set(true);
    // Whoever comes next closes them. The other key has one session for each thread, and one that keeps the login.
    kept.sign(digest()).await.unwrap();
    until(&fake, |fake| fake.count(|dials| &dials.open) == 3).await;
}

#[tokio::test]
async fn another_token_in_the_slot_is_not_signed_with() {
    let fake = Fake::new();
    let module = module_of(&fake);
    let session = begin(&hsm(&fake, PIN, &module)).await.unwrap();
    let state = TokenState {
        serial: "4567".into(),
        ..fake.0.state.get()
    };
    fake.0.state.set(state);
    let text = text_of(&session.sign(digest()).await.unwrap_err(), RemoteError::Ended);
    assert!(text.contains("another token"), "{text}");
    assert_eq!(fake.count(|dials| &dials.open), 1, "only what keeps the login");
}

#[tokio::test]
async fn a_module_that_cannot_tell_its_tokens_is_not_ended_under_others() {
    let fake = Fake::new();
    let module = module_of(&fake);
    let session = begin(&hsm(&fake, PIN, &module)).await.unwrap();
    fake.0
        .says
        .set(Some((Function::GetSlotList, RvError::DeviceMemory)));
    begin(&hsm(&fake, PIN, &module)).await.unwrap_err();
    assert_eq!(fake.count(|dials| &dials.ends), 0);
    fake.0.says.set(None);
    session.sign(digest()).await.unwrap();
    // One that says that it does not run is started, whatever was open.
    fake.0
        .says
        .set(Some((Function::GetSlotList, RvError::CryptokiNotInitialized)));
    begin(&hsm(&fake, PIN, &module)).await.unwrap_err();
    assert_eq!(fake.count(|dials| &dials.starts), 2);
}

#[tokio::test]
async fn a_module_that_others_started_is_not_ended() {
    let fake = Fake::new();
    let module = module_of(&fake);
    fake.0.of_others.set(true);
    let missing = named(&fake, PIN, &module, label("another"));
    text_of(&begin(&missing).await.unwrap_err(), RemoteError::Unavailable);
    assert_eq!(fake.count(|dials| &dials.ends), 0);
    // They ended it: whoever starts it then may end it.
    fake.0.of_others.set(false);
    fake.0
        .says
        .set(Some((Function::GetSlotList, RvError::CryptokiNotInitialized)));
    begin(&missing).await.unwrap_err();
    fake.0.says.set(None);
    assert_eq!(
        (fake.count(|dials| &dials.starts), fake.count(|dials| &dials.ends)),
        (2, 0)
    );
    begin(&missing).await.unwrap_err();
    assert_eq!(fake.count(|dials| &dials.ends), 1);
}

#[test]
fn one_library_is_loaded_once_whatever_its_paths() {
    let folder = tempfile::tempdir().unwrap();
    let [file, link, other] = ["module.so", "link.so", "other.so"].map(|name| folder.path().join(name));
    std::fs::write(&file, "one").unwrap();
    std::fs::write(&other, "two").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mut loaded = BTreeMap::new();
    let mut load = |path| load_once(&mut loaded, path, || Ok(())).unwrap();
    let first = load(&link);
    assert!(Arc::ptr_eq(&first, &load(&file)));
    let dotted = folder
        .path()
        .join("..")
        .join(folder.path().file_name().unwrap())
        .join("module.so");
    assert!(Arc::ptr_eq(&first, &load(&dotted)));
    assert!(!Arc::ptr_eq(&first, &load(&other)));
    // A new version behind a link waits for a new process.
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    assert!(Arc::ptr_eq(&first, &load(&link)));
}
