//! What happens to files.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join(database::NAME)
}

#[tokio::test]
async fn answers_outlive_the_process_and_end_with_their_time() {
    let (folder, clock) = (folder(), FakeClock::default());
    let store = open(folder.path(), &clock).expect("opened");
    answered(&store, claim("t", "k", 1, 1), "answer").await;
    assert_eq!(store.claim(claim("t", "k", 1, 2)).await, kept(1, "answer"));
    assert_eq!(
        store.claim(claim("t", "k", 2, 3)).await,
        Ok(Claimed::OtherRequest)
    );
    drop(store);
    let store = open(folder.path(), &clock).expect("opened again");
    assert_eq!(store.claim(claim("t", "k", 1, 4)).await, kept(1, "answer"));
    clock.advance(TTL - Duration::from_secs(1));
    assert_eq!(store.claim(claim("t", "k", 1, 5)).await, kept(1, "answer"));
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        store.claim(claim("t", "k", 2, 6)).await,
        taken(None),
        "and for any request"
    );
}

#[tokio::test]
async fn a_clock_that_is_put_back_revives_nothing() {
    let (folder, clock) = (folder(), FakeClock::default());
    let store = open(folder.path(), &clock).expect("opened");
    answered(&store, claim("t", "k", 1, 1), "answer").await;
    clock.advance(TTL);
    store.tend().await;
    clock.set_back(TTL * 2);
    assert_eq!(store.claim(claim("t", "k", 1, 2)).await, taken(None));
    assert_eq!(store.begin(claim("t", "k", 1, 2)).await, Ok(Ownership::Own));
    drop(store);
    // Nor does a restart, and what was written since ends in its time.
    let store = open(folder.path(), &clock).expect("opened again");
    assert_eq!(store.claim(claim("t", "k", 1, 3)).await, taken(Some(2)));
    assert_eq!(store.give_up(claim("t", "k", 1, 3), End::Unknown).await, Ok(()));
    clock.advance(TTL);
    assert_eq!(store.claim(claim("t", "k", 1, 4)).await, taken(None));
}

#[tokio::test]
async fn an_attempt_that_a_crash_ended_is_named_to_the_next() {
    let (folder, clock) = (folder(), FakeClock::default());
    let store = open(folder.path(), &clock).expect("opened");
    let (begun, only_claimed) = (claim("t", "begun", 1, 1), claim("t", "claimed", 1, 2));
    assert_eq!(store.claim(begun).await, taken(None));
    assert_eq!(store.claim(only_claimed).await, taken(None));
    assert_eq!(store.begin(begun).await, Ok(Ownership::Own));
    drop(store);
    let store = open(folder.path(), &clock).expect("opened again");
    assert_eq!(store.claim(claim("t", "begun", 1, 3)).await, taken(Some(1)));
    assert_eq!(store.claim(claim("t", "claimed", 1, 4)).await, taken(None));
    // The old attempt is of a process that is gone; whatever it says now counts no more.
    assert_eq!(store.keep(begun, "late".into()).await, Ok(Ownership::TakenOver));
}

#[tokio::test]
async fn many_at_once_share_transactions_and_one_has_the_key() {
    let (folder, clock) = (folder(), FakeClock::default());
    let store = open(folder.path(), &clock).expect("opened");
    let all = (1..=64).map(|attempt| store.claim(claim("t", "k", 1, attempt)));
    let all = futures_util::future::join_all(all).await;
    let had = all.iter().filter(|claimed| **claimed == taken(None)).count();
    let busy = all
        .iter()
        .filter(|claimed| **claimed == Ok(Claimed::InFlight))
        .count();
    assert_eq!((had, busy), (1, 63));
    let keys: Vec<String> = (0..300).map(|key| format!("k{key}-more")).collect();
    let each = keys
        .iter()
        .map(|key| answered(&store, claim("t", key, 1, 1), "answer"));
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn one_tenant_leaves_room_for_the_next_and_nobody_is_put_out() {
    let (folder, clock) = (folder(), FakeClock::default());
    let store = open_sized(folder.path(), &clock, 12).expect("opened");
    let fill = async |tenant: &str| {
        let mut count = 0;
        loop {
            let next = claim(tenant, &format!("k{count}"), 1, 1);
            match store.claim(next).await.expect("an answer") {
                Claimed::Full => return count,
                _ => assert_eq!(store.keep(next, "answer".into()).await, Ok(Ownership::Own)),
            }
            count += 1;
        }
    };
    assert_eq!(fill("a").await, 6, "as many as are left free");
    assert_eq!(fill("b").await, 3);
    assert_eq!(fill("c").await, 2);
    assert_eq!(store.claim(claim("a", "k0", 1, 2)).await, kept(1, "answer"));
    assert_eq!(store.claim(claim("a", "new", 1, 2)).await, Ok(Claimed::Full));
    clock.advance(TTL);
    store.tend().await;
    assert_eq!(fill("c").await, 6, "time makes room");
}

#[tokio::test]
async fn an_attempt_that_outlives_what_the_file_knows_of_it_keeps_its_place() {
    let (folder, clock) = (folder(), FakeClock::default());
    let store = open_sized(folder.path(), &clock, 2).expect("opened");
    let long = claim("a", "long", 1, 1);
    assert_eq!(store.claim(long).await, taken(None));
    assert_eq!(store.begin(long).await, Ok(Ownership::Own));
    clock.advance(TTL);
    store.tend().await;
    assert_eq!(
        store.claim(claim("a", "next", 1, 2)).await,
        Ok(Claimed::Full),
        "one held, one left free"
    );
    assert_eq!(store.claim(claim("a", "long", 1, 3)).await, Ok(Claimed::InFlight));
    assert_eq!(store.keep(long, "answer".into()).await, Ok(Ownership::Own));
    assert_eq!(store.claim(claim("a", "long", 1, 4)).await, kept(1, "answer"));
    assert_eq!(store.claim(claim("a", "next", 1, 5)).await, Ok(Claimed::Full));
}

#[tokio::test]
async fn the_file_is_private_and_says_nothing_of_the_caller() {
    let (folder, clock) = (folder(), FakeClock::default());
    let directory = folder.path().join("made");
    let store = open(&directory, &clock).expect("opened");
    answered(&store, claim("tenant-canary", "key-canary", 1, 1), "answer").await;
    drop(store);
    let path = directory.join(database::NAME);
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&directory)), (0o600, 0o700));
    let bytes = std::fs::read(&path).expect("readable");
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(holds(b"answer") && !holds(b"tenant-canary") && !holds(b"key-canary"));
}

#[tokio::test]
async fn a_file_that_is_in_use_damaged_or_foreign_is_refused_with_a_remedy() {
    let (folder, clock) = (folder(), FakeClock::default());
    let store = open(folder.path(), &clock).expect("opened");
    answered(&store, claim("t", "k", 1, 1), "answer").await;
    let refused = open(folder.path(), &clock).expect_err("in use");
    assert!(
        refused.contains("in use by another process") && refused.contains("state.directory"),
        "{refused}"
    );
    assert!(matches!(inspect(folder.path()), Ok(Inspected::Busy(_))));
    drop(store);
    assert!(matches!(inspect(folder.path()), Ok(Inspected::Holds(_, 1))));
    let whole = std::fs::read(file(&folder)).expect("readable");
    let check = |bytes: &[u8], expected: &str| {
        std::fs::write(file(&folder), bytes).expect("written");
        let refused = open(folder.path(), &clock).expect_err(expected);
        assert!(
            refused.contains(expected) && refused.contains("move"),
            "{refused}"
        );
        // What is cut off looks like what was not closed.
        let inspected = inspect(folder.path());
        assert!(!matches!(inspected, Ok(Inspected::Holds(..))), "{inspected:?}");
    };
    check(
        b"not a database at all, but long enough to be read as one",
        "cannot be understood",
    );
    check(&[0xff; 8192], "cannot be understood");
    check(&whole[..whole.len() / 2], "cannot be understood");
    std::fs::remove_file(file(&folder)).expect("removed");
    std::fs::create_dir(file(&folder)).expect("made");
    let refused = open(folder.path(), &clock).expect_err("a folder");
    assert!(refused.contains("not a regular file"), "{refused}");
    std::fs::remove_dir(file(&folder)).expect("removed");
    assert!(matches!(inspect(folder.path()), Ok(Inspected::Absent(_))));
    // Made by a crash between its creation and its first write.
    std::fs::write(file(&folder), b"").expect("written");
    open(folder.path(), &clock).expect("begun");
}

#[tokio::test]
async fn tables_of_another_version_are_refused() {
    let (folder, clock) = (folder(), FakeClock::default());
    drop(open(folder.path(), &clock).expect("opened"));
    let database = redb::Database::open(file(&folder)).expect("a database");
    let transaction = database.begin_write().expect("begun");
    {
        let meta: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("meta");
        let mut meta = transaction.open_table(meta).expect("a table");
        meta.insert("format", 2).expect("inserted");
    }
    transaction.commit().expect("committed");
    drop(database);
    let refused = open(folder.path(), &clock).expect_err("another version");
    assert!(refused.contains("another version"), "{refused}");
    assert!(
        inspect(folder.path())
            .expect_err("another version")
            .contains("another version")
    );
}
