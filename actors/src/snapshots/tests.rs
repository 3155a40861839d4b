use super::*;
use crate::domain::release::Verdict;
use crate::ports::Unobserved;
use crate::runtime::Answers;
use crate::testing;

fn snapshots() -> Snapshots<Releases> {
    Snapshots::new(Arc::new(Unobserved))
}

fn report() -> Arc<ReleaseReport> {
    Arc::new(testing::report(Verdict::Trusted))
}

#[test]
fn an_answer_is_repeated_while_it_stands() {
    let (mut asked, answers, image) = (snapshots(), Answers::default(), testing::image());
    let millis = Duration::from_millis;
    assert_eq!(asked.recall(&image, Duration::ZERO), None);
    let second = Duration::from_secs(1);
    asked.remember(image, report(), answers.standing(Duration::ZERO, second));
    assert!(asked.recall(&image, millis(999)).is_some());
    assert_eq!(asked.recall(&image, millis(1000)), None);
    // What has ended is gone, whatever a clock says later.
    assert_eq!(asked.recall(&image, Duration::ZERO), None);
    asked.remember(image, report(), answers.standing(second, 2 * second));
    answers.withdraw();
    assert_eq!(asked.recall(&image, millis(1000)), None);
}

#[test]
fn an_answer_that_is_good_once_is_not_repeated() {
    let (mut asked, image) = (snapshots(), testing::image());
    asked.remember(image, report(), Standing::once());
    assert_eq!(asked.recall(&image, Duration::ZERO), None);
}
