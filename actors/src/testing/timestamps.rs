//! A timestamp authority.

use super::*;

/// An authority that answers with the bytes it was asked about.
#[derive(Clone, Debug)]
pub struct FakeTimestamps {
    /// When it says that a signature was there, after [`NOW`] in seconds; or why it does not.
    pub answer: Dial<Result<i64, TimestampSourceError>>,
    /// Answers are held back while false.
    pub open: Dial<bool>,
    /// Times asked.
    pub asked: Arc<AtomicU32>,
    /// The most questions at once.
    pub most: Arc<AtomicU32>,
    /// Makes asking panic.
    pub bomb: Bomb,
    running: Arc<AtomicU32>,
}

impl Default for FakeTimestamps {
    fn default() -> Self {
        Self {
            answer: Dial::new(Ok(0)),
            open: Dial::new(true),
            asked: Arc::default(),
            most: Arc::default(),
            bomb: Bomb::default(),
            running: Arc::default(),
        }
    }
}

impl TimestampSource for FakeTimestamps {
    fn stamp(&self, signature: Signature) -> PortFuture<Result<Timestamp, TimestampSourceError>> {
        let this = self.clone();
        Box::pin(async move {
            this.asked.fetch_add(1, Ordering::SeqCst);
            let running = this.running.fetch_add(1, Ordering::SeqCst) + 1;
            this.most.fetch_max(running, Ordering::SeqCst);
            this.open.until(|open| *open).await;
            this.running.fetch_sub(1, Ordering::SeqCst);
            this.bomb.tick();
            let seconds = this.answer.get()?;
            Ok(Timestamp {
                response: signature.0.into(),
                time: NOW() + chrono::Duration::seconds(seconds),
            })
        })
    }
}
