//! Connections that turn in circles are slowed down.
//!
//! A caller who sends requests faster than their answers are made or read fills actix-http's buffer. It then takes no more,
//! but wakes itself again at once for as long as that lasts, which the caller decides: one connection without any traffic
//! would take a whole core.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::Connection;

/// Turns without progress that cost nothing: wakings of a handler, parts of a TLS record.
const FREE: u32 = 128;
/// How long each further one waits.
const PAUSE: Duration = Duration::from_millis(10);

/// The work of one connection, polled no more often than it gets on.
pub(super) struct Paced<F> {
    work: Pin<Box<F>>,
    connection: Connection,
    /// Polls since something was read, written, begun or ended.
    in_vain: u32,
    pause: Pin<Box<Sleep>>,
}

impl<F> Paced<F> {
    pub(super) fn new(work: F, connection: Connection) -> Self {
        Self {
            work: Box::pin(work),
            connection,
            in_vain: 0,
            pause: Box::pin(sleep_until(Instant::now())),
        }
    }
}

impl<F: Future> Future for Paced<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if this.in_vain > FREE {
            ready!(this.pause.as_mut().poll(cx));
        }
        let before = this.connection.progress();
        let ended = this.work.as_mut().poll(cx);
        if this.connection.progress() != before {
            this.in_vain = 0;
        } else {
            this.in_vain = this.in_vain.saturating_add(1);
        }
        if this.in_vain > FREE {
            this.pause.as_mut().reset(Instant::now() + PAUSE);
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::super::connection::{Guarded, Patience};
    use super::*;

    fn connection() -> Connection {
        let patience = Patience {
            head: Duration::from_secs(5),
            idle: Duration::from_secs(5),
        };
        let (io, _caller) = tokio::io::duplex(16);
        Guarded::new(io, patience, Rc::new(|_| None)).connection().clone()
    }

    /// Polls in a second of work that wakes itself all the time, until it was polled so often.
    async fn polls(most: u32, on_poll: impl Fn(&Connection)) -> u32 {
        let (connection, polls) = (connection(), Cell::new(0));
        let seen = connection.clone();
        let circles = poll_fn(|cx| {
            polls.set(polls.get() + 1);
            on_poll(&seen);
            cx.waker().wake_by_ref();
            if polls.get() < most {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        let paced = Paced::new(circles, connection);
        let _ = tokio::time::timeout(Duration::from_secs(1), paced).await;
        polls.get()
    }

    #[tokio::test(start_paused = true)]
    async fn turning_in_circles_is_slow_and_getting_on_is_not() {
        let polled = polls(100_000, |_| ()).await;
        assert!((FREE..=FREE + 110).contains(&polled), "{polled}");
        assert_eq!(
            polls(100_000, |connection| drop(connection.enter())).await,
            100_000
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_is_heard_at_most_a_pause_later() {
        let begun = Instant::now();
        assert_eq!(polls(FREE + 2, |_| ()).await, FREE + 2);
        assert!(begun.elapsed() <= PAUSE * 2, "{:?}", begun.elapsed());
    }
}
