//! A bounded set of names, owned by one task and asked by messages: revoked licences, proof identifiers that were seen.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

/// Requests that may wait for the task.
const QUEUE: usize = 64;

enum Question {
    /// Adds a name until this time (seconds since the epoch); answers whether it was new and was kept.
    Add(String, i64, i64, oneshot::Sender<Added>),
    Contains(String, oneshot::Sender<bool>),
}

/// What became of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It was not there and is now.
    New,
    /// It was there already.
    Known,
    /// No room: nothing is evicted, because forgetting would undo a revocation or allow a replay.
    Full,
}

/// The address of the task. The task ends with the last of them.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    questions: mpsc::Sender<Question>,
}

impl Keeper {
    /// Starts the task with room for this many names.
    pub(super) fn start(capacity: usize) -> Self {
        let (questions, mut incoming) = mpsc::channel(QUEUE);
        actix_rt::spawn(async move {
            let mut names: HashMap<String, i64> = HashMap::new();
            while let Some(question) = incoming.recv().await {
                match question {
                    Question::Add(name, now, until, reply) => {
                        let _ = reply.send(add(&mut names, capacity, name, now, until));
                    }
                    Question::Contains(name, reply) => {
                        let _ = reply.send(names.contains_key(&name));
                    }
                }
            }
        });
        Self { questions }
    }

    /// Adds a name until `until`. `None` when the task is gone.
    pub(super) async fn add(&self, name: String, now: i64, until: i64) -> Option<Added> {
        let (reply, answer) = oneshot::channel();
        self.questions
            .send(Question::Add(name, now, until, reply))
            .await
            .ok()?;
        answer.await.ok()
    }

    /// True when the name is kept. `None` when the task is gone.
    pub(super) async fn contains(&self, name: &str) -> Option<bool> {
        let (reply, answer) = oneshot::channel();
        self.questions
            .send(Question::Contains(name.to_owned(), reply))
            .await
            .ok()?;
        answer.await.ok()
    }
}

fn add(names: &mut HashMap<String, i64>, capacity: usize, name: String, now: i64, until: i64) -> Added {
    if names.get(&name).is_some_and(|end| *end >= now) {
        return Added::Known;
    }
    if names.len() >= capacity {
        names.retain(|_, end| *end >= now);
    }
    if names.len() >= capacity {
        return Added::Full;
    }
    names.insert(name, until);
    Added::New
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn keeps_names_until_their_time_and_evicts_none_before() {
        let keeper = Keeper::start(2);
        assert_eq!(keeper.add("a".to_owned(), 100, 110).await, Some(Added::New));
        assert_eq!(keeper.add("a".to_owned(), 110, 120).await, Some(Added::Known));
        assert_eq!(keeper.add("b".to_owned(), 105, 200).await, Some(Added::New));
        assert_eq!(keeper.add("c".to_owned(), 110, 200).await, Some(Added::Full));
        assert_eq!(keeper.contains("c").await, Some(false));
        assert_eq!(keeper.add("c".to_owned(), 111, 200).await, Some(Added::New));
        assert_eq!(keeper.contains("b").await, Some(true));
        assert_eq!(keeper.add("a".to_owned(), 111, 200).await, Some(Added::Full));
    }
}
