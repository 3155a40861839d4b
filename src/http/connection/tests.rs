use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

const PATIENCE: Patience = Patience {
    head: Duration::from_secs(5),
    idle: Duration::from_secs(15),
};

fn guarded(io: DuplexStream) -> Guarded<DuplexStream> {
    let refusals = |status| (status == 400).then(|| Bytes::from_static(b"a document"));
    Guarded::new(io, PATIENCE, Rc::new(refusals))
}

/// A guarded connection and its caller.
fn connected() -> (Guarded<DuplexStream>, DuplexStream) {
    let (ours, theirs) = duplex(1024);
    (guarded(ours), theirs)
}

/// Reads until the end; how long that took, in seconds.
async fn until_the_end(guarded: &mut Guarded<DuplexStream>) -> u64 {
    let begun = Instant::now();
    let mut all = Vec::new();
    guarded.read_to_end(&mut all).await.expect("an end");
    begun.elapsed().as_secs()
}

/// One byte a second.
fn drip(mut caller: DuplexStream) {
    tokio::spawn(async move {
        while caller.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_says_nothing_is_given_up() {
    let (mut guarded, _caller) = connected();
    assert_eq!(until_the_end(&mut guarded).await, 6);
    let (mut guarded, _caller) = connected();
    drop(guarded.connection().enter());
    assert_eq!(until_the_end(&mut guarded).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_given_up() {
    let (mut guarded, caller) = connected();
    drip(caller);
    assert_eq!(until_the_end(&mut guarded).await, 6);
}

#[tokio::test(start_paused = true)]
async fn the_head_of_a_later_request_is_timed_from_its_own_first_byte() {
    let (mut guarded, mut caller) = connected();
    let mut byte = [0];
    for _ in 0..3 {
        caller.write_all(b"x").await.expect("room");
        guarded.read_exact(&mut byte).await.expect("a byte");
        let request = guarded.connection().enter();
        // However long the work takes, it is not the caller's fault.
        let waiting = tokio::time::timeout(Duration::from_secs(60), guarded.read_exact(&mut byte));
        assert!(waiting.await.is_err());
        drop(request);
        tokio::time::sleep(Duration::from_secs(14)).await;
    }
    drip(caller);
    assert_eq!(until_the_end(&mut guarded).await, 5);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_being_read_is_a_sign_of_life() {
    let (mut guarded, mut caller) = connected();
    drop(guarded.connection().enter());
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(19)).await;
        guarded.write_all(b"answer").await.expect("room");
        caller.read_exact(&mut [0; 6]).await.expect("an answer");
    }
    assert_eq!(until_the_end(&mut guarded).await, 20);
}

#[tokio::test]
async fn an_invitation_waits_until_the_body_is_wanted() {
    let (mut guarded, mut caller) = connected();
    let mut seen = vec![0; CONTINUE.len()];
    let request = guarded.connection().enter();
    guarded.write_all(CONTINUE).await.expect("taken");
    guarded.flush().await.expect("flushed");
    let early = tokio::time::timeout(Duration::from_millis(20), caller.read_u8());
    assert!(early.await.is_err(), "nothing yet");
    guarded.connection().invite_body();
    guarded.flush().await.expect("flushed");
    caller.read_exact(&mut seen).await.expect("the invitation");
    assert_eq!(seen, CONTINUE);
    guarded.flush().await.expect("flushed");
    guarded.write_all(b"HTTP/1.1 200 OK").await.expect("room");
    assert_eq!(caller.read_u8().await.expect("the answer alone follows"), b'H');
    drop(request);
}

#[tokio::test]
async fn a_body_that_was_invited_at_once_is() {
    let (mut guarded, mut caller) = connected();
    let _request = guarded.connection().enter();
    guarded.connection().invite_body();
    guarded.write_all(CONTINUE).await.expect("room");
    guarded.flush().await.expect("flushed");
    guarded.write_all(b"x").await.expect("room");
    let mut seen = vec![0; CONTINUE.len() + 1];
    caller.read_exact(&mut seen).await.expect("once");
    assert_eq!(seen, [CONTINUE, b"x"].concat());
}

#[tokio::test]
async fn a_refusal_comes_without_an_invitation() {
    let (mut guarded, mut caller) = connected();
    // As actix-http does when the answer is there at once.
    drop(guarded.connection().enter());
    let answer = [CONTINUE, b"HTTP/1.1 401 Unauthorized\r\n\r\n"].concat();
    guarded.write_all(&answer).await.expect("room");
    drop(guarded);
    let mut seen = Vec::new();
    caller.read_to_end(&mut seen).await.expect("an end");
    assert_eq!(seen, b"HTTP/1.1 401 Unauthorized\r\n\r\n");
}

#[tokio::test]
async fn an_invitation_is_written_whole_through_a_narrow_pipe() {
    let (ours, mut theirs) = duplex(7);
    let mut guarded = guarded(ours);
    let request = guarded.connection().enter();
    guarded.write_all(CONTINUE).await.expect("taken");
    guarded.connection().invite_body();
    let reading = tokio::spawn(async move {
        let mut seen = Vec::new();
        theirs.read_to_end(&mut seen).await.expect("an end");
        seen
    });
    guarded.write_all(b"HTTP/1.1 200 OK").await.expect("room");
    drop((request, guarded));
    let expected = [CONTINUE, b"HTTP/1.1 200 OK"].concat();
    assert_eq!(reading.await.expect("read"), expected);
}

#[tokio::test]
async fn what_was_no_request_is_answered_in_our_words() {
    const BARE: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let ours = b"HTTP/1.1 400 Bad Request\r\nx-correlation-id: 1\r\n\r\n";
    let longer = [BARE, b"x"].concat();
    let good = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let unknown = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    for (written, expected) in [
        (BARE, &b"a document"[..]),
        (ours, ours),
        (&longer, &longer),
        (good, good),
        (unknown, unknown),
    ] {
        let (mut guarded, mut caller) = connected();
        guarded.write_all(written).await.expect("room");
        guarded.flush().await.expect("flushed");
        drop(guarded);
        let mut seen = Vec::new();
        caller.read_to_end(&mut seen).await.expect("an end");
        assert_eq!(seen, expected);
    }
    // Behind other answers, too, which actix-http writes in one go.
    let both = [ours, BARE].concat();
    let (mut guarded, mut caller) = connected();
    guarded.write_all(&both).await.expect("room");
    guarded.flush().await.expect("flushed");
    drop(guarded);
    let mut seen = Vec::new();
    caller.read_to_end(&mut seen).await.expect("an end");
    assert_eq!(seen, [&ours[..], b"a document"].concat());
    // A handler's own word is left as it is.
    let (mut guarded, mut caller) = connected();
    let _request = guarded.connection().enter();
    guarded.write_all(BARE).await.expect("room");
    let mut seen = vec![0; BARE.len()];
    caller.read_exact(&mut seen).await.expect("all of it");
    assert_eq!(seen, BARE);
}

/// As actix-http does: reads, writes what it has, and flushes once that is empty; `answers` of so many bytes.
async fn serve(guarded: &mut Guarded<DuplexStream>, answers: usize, bytes: usize) -> io::Result<()> {
    drop(guarded.connection().enter());
    let nothing = std::future::poll_fn(|cx| {
        let (mut space, mut guarded) = ([0; 8], Pin::new(&mut *guarded));
        let mut space = ReadBuf::new(&mut space);
        Poll::Ready(guarded.as_mut().poll_read(cx, &mut space).is_pending())
    });
    assert!(nothing.await);
    for _ in 0..answers {
        guarded.write_all(&vec![b'x'; bytes]).await?;
        guarded.flush().await?;
    }
    Ok(())
}

/// Reads so many bytes a second.
fn read_slowly(mut caller: DuplexStream, pace: usize) {
    tokio::spawn(async move {
        let mut piece = vec![0; pace];
        while caller.read_exact(&mut piece).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_read_too_slowly_end_the_connection() {
    for (answers, bytes) in [(1, 8 << 20), (128, 64 << 10)] {
        let (mut guarded, caller) = connected();
        read_slowly(caller, 64 << 10);
        let begun = Instant::now();
        let error = serve(&mut guarded, answers, bytes).await.expect_err("too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // 10 s, and what was read by then at half the least pace.
        assert_eq!(begun.elapsed().as_secs(), 19, "{answers}");
        let (mut guarded, caller) = connected();
        read_slowly(caller, 128 << 10);
        serve(&mut guarded, answers, bytes).await.expect("fast enough");
    }
    let (mut guarded, _caller) = connected();
    let begun = Instant::now();
    serve(&mut guarded, 1, 2048).await.expect_err("nothing read");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_pace_of_one_answer_is_no_matter_of_the_next() {
    let (mut guarded, caller) = connected();
    read_slowly(caller, 2048);
    // Each is stuck for a while, and all has been read in between.
    for _ in 0..20 {
        serve(&mut guarded, 1, 12 * 1024).await.expect("fast enough");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}
