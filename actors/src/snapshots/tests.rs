use std::time::Duration;

use super::*;
use crate::domain::release::Verdict;
use crate::ports::Unobserved;
use crate::runtime::{Answers, Deadline, Mailbox, start};
use crate::testing;

type Asked = Mailbox<Snapshots<Releases>>;

fn snapshots() -> Asked {
    let here = actix::Arbiter::current();
    start(&here, 16, testing::vitals(), || {
        Snapshots::new(Arc::new(Unobserved))
    })
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

async fn recall(asked: &Asked, key: ImageDigest, second: u64) -> Option<Arc<ReleaseReport>> {
    let now = Duration::from_millis(second);
    asked.ask(Recall { key, now }, soon()).await.expect("an answer")
}

async fn remember(asked: &Asked, key: ImageDigest, standing: Standing) {
    let answer = Arc::new(testing::report(Verdict::Trusted));
    let remember = Remember {
        key,
        answer,
        standing,
    };
    asked.ask(remember, soon()).await.expect("an answer");
}

#[actix::test]
async fn an_answer_is_repeated_while_it_stands() {
    let (asked, answers, image) = (snapshots(), Answers::default(), testing::image());
    assert_eq!(recall(&asked, image, 0).await, None);
    let second = Duration::from_secs(1);
    remember(&asked, image, answers.standing(Duration::ZERO, second)).await;
    assert!(recall(&asked, image, 999).await.is_some());
    assert_eq!(recall(&asked, image, 1000).await, None);
    // What has ended is gone, whatever a clock says later.
    assert_eq!(recall(&asked, image, 0).await, None);
    remember(&asked, image, answers.standing(second, 2 * second)).await;
    answers.withdraw();
    assert_eq!(recall(&asked, image, 1000).await, None);
}

#[actix::test]
async fn an_answer_that_is_good_once_is_not_repeated() {
    let (asked, image) = (snapshots(), testing::image());
    remember(&asked, image, Standing::once()).await;
    assert_eq!(recall(&asked, image, 0).await, None);
}
