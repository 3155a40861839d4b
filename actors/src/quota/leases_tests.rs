//! Every order in which replicas, their messages, the store and time can act, up to a depth.

use std::collections::HashSet;

use super::*;
use crate::testing::{self, LeaseModel};

const LIFE: u64 = 3;

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

/// A question on its way: asked, done by the store or not yet, with what it will answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Message {
    Take {
        id: LeaseId,
        asked: u64,
        granted: Option<bool>,
    },
    Renew {
        ids: Vec<LeaseId>,
        asked: u64,
        done: bool,
    },
    Release {
        id: LeaseId,
    },
}

#[derive(Clone, Debug)]
struct Replica {
    book: Book,
    alive: bool,
    /// Work in progress, each with its lease.
    running: Vec<LeaseId>,
    /// Delivered in the order sent, as on one connection.
    sent: Vec<Message>,
}

#[derive(Clone, Debug)]
struct World {
    now: u64,
    store: LeaseModel,
    replicas: Vec<Replica>,
    limit: usize,
    /// How often the store may still forget everything.
    losses: u8,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    Process,
    Answer,
    LoseAnswer,
    Finish,
    Renew,
    Crash,
}

const STEPS: [Step; 7] = [
    Step::Ask,
    Step::Process,
    Step::Answer,
    Step::LoseAnswer,
    Step::Finish,
    Step::Renew,
    Step::Crash,
];

impl World {
    fn new(replicas: u64, limit: usize, losses: u8) -> Self {
        let replica = |holder| Replica {
            book: Book::new(holder, at(LIFE)),
            alive: true,
            running: Vec::new(),
            sent: Vec::new(),
        };
        Self {
            // The store was born one life ago.
            now: LIFE,
            store: LeaseModel {
                life: at(LIFE),
                ..LeaseModel::default()
            },
            replicas: (0..replicas).map(replica).collect(),
            limit,
            losses,
        }
    }

    /// The world after a step of one replica; `None` where it cannot be taken.
    fn after(&self, index: usize, step: Step) -> Option<Self> {
        let mut world = self.clone();
        let (acme, now) = (testing::tenant("acme"), world.now);
        let store = &mut world.store;
        let replica = world.replicas.get_mut(index).filter(|replica| replica.alive)?;
        match step {
            Step::Ask => {
                let busy = replica.running.len() + replica.sent.len();
                let may = busy < 2 && !replica.book.is_overdue(&acme, at(now));
                may.then_some(())?;
                let id = replica.book.next();
                replica.sent.push(Message::Take {
                    id,
                    asked: now,
                    granted: None,
                });
            }
            Step::Process => {
                let waits = |message: &&mut Message| {
                    !matches!(
                        message,
                        Message::Take { granted: Some(_), .. } | Message::Renew { done: true, .. }
                    )
                };
                match replica.sent.iter_mut().find(waits)? {
                    Message::Take { id, granted, .. } => {
                        *granted = Some(store.take(&acme, *id, world.limit, at(now)));
                    }
                    Message::Renew { ids, done, .. } => {
                        for id in ids.iter() {
                            store.renew(&acme, *id, at(now));
                        }
                        *done = true;
                    }
                    Message::Release { id } => {
                        let id = *id;
                        store.release(&acme, id);
                        replica.sent.retain(|message| *message != Message::Release { id });
                    }
                }
            }
            Step::Answer | Step::LoseAnswer => {
                let told = matches!(step, Step::Answer);
                let message = (!replica.sent.is_empty()).then(|| replica.sent.remove(0))?;
                match message {
                    Message::Take {
                        id,
                        asked,
                        granted: Some(true),
                    } if told => {
                        replica.book.taken(&acme, id, at(asked));
                        replica.running.push(id);
                    }
                    Message::Take {
                        granted: Some(false), ..
                    } if told => {}
                    // Lost on its way there, or on its way back.
                    Message::Take { id, .. } if !told => replica.book.owe(&acme, id, at(now)),
                    Message::Renew {
                        ids,
                        asked,
                        done: true,
                    } if told => {
                        replica.book.renewed(&vec![(acme, ids)], at(asked));
                    }
                    Message::Renew { .. } if !told => {}
                    _ => return None,
                }
            }
            Step::Finish => {
                let id = replica.running.pop()?;
                replica.book.give_back(&acme, id, at(now)).then_some(())?;
                for (_, id, _) in replica.book.take_owed(at(now)) {
                    replica.sent.push(Message::Release { id });
                }
            }
            Step::Renew => {
                let ids: Vec<_> = replica
                    .book
                    .to_renew()
                    .into_iter()
                    .flat_map(|(_, ids)| ids)
                    .collect();
                (!ids.is_empty() && replica.sent.is_empty()).then_some(())?;
                replica.sent.push(Message::Renew {
                    ids,
                    asked: now,
                    done: false,
                });
            }
            Step::Crash => {
                replica.alive = false;
                replica.running.clear();
                replica.sent.clear();
            }
        }
        Some(world)
    }

    fn successors(&self) -> Vec<Self> {
        let steps = STEPS
            .iter()
            .flat_map(|step| (0..self.replicas.len()).map(move |index| (index, *step)));
        let mut all: Vec<_> = steps
            .filter_map(|(index, step)| self.after(index, step))
            .collect();
        let mut later = self.clone();
        later.now += 1;
        all.push(later);
        if self.losses > 0 {
            let mut lost = self.clone();
            lost.losses -= 1;
            lost.store.forget(at(self.now));
            all.push(lost);
        }
        all
    }

    /// The rule: work whose lease is believed in is never more than the plan allows.
    fn check(&self) {
        let acme = testing::tenant("acme");
        let mut believed = 0;
        for replica in self.replicas.iter().filter(|replica| replica.alive) {
            assert_eq!(
                replica.running.len(),
                replica
                    .book
                    .to_renew()
                    .iter()
                    .map(|(_, ids)| ids.len())
                    .sum::<usize>()
            );
            let held = replica.book.held.get(&acme);
            believed += held.map_or(0, |held| {
                held.values().filter(|until| at(self.now) < **until).count()
            });
        }
        assert!(believed <= self.limit, "{believed} of {}: {self:#?}", self.limit);
    }

    /// What distinguishes this world from another for all that can still happen.
    fn fingerprint(&self) -> String {
        let relative = |until: Duration| until.as_secs().saturating_sub(self.now);
        let replicas = self.replicas.iter().map(|replica| {
            let held: Vec<_> = replica
                .book
                .held
                .values()
                .flatten()
                .map(|(id, until)| (id.number, relative(*until)))
                .collect();
            let owed: Vec<_> = replica
                .book
                .owed
                .iter()
                .map(|(_, id, until)| (id.number, relative(*until)))
                .collect();
            let sent: Vec<_> = replica
                .sent
                .iter()
                .map(|message| match message {
                    Message::Take { id, asked, granted } => (id.number, self.now - asked, *granted, 0),
                    Message::Renew { ids, asked, done } => {
                        (ids.len() as u64, self.now - asked, Some(*done), 1)
                    }
                    Message::Release { id } => (id.number, 0, None, 2),
                })
                .collect();
            (
                replica.alive,
                replica.running.clone(),
                replica.book.taken,
                held,
                owed,
                sent,
            )
        });
        let replicas: Vec<_> = replicas.collect();
        let store: Vec<_> = self
            .store
            .held
            .values()
            .flatten()
            .map(|(id, until)| (*id, relative(*until)))
            .collect();
        let settles = relative(self.store.born + self.store.life);
        format!("{replicas:?}{store:?}{settles}{}", self.losses)
    }
}

/// Looks at every world within this many steps; how many there are.
fn explore(start: World, depth: usize) -> usize {
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut edge = vec![start];
    for _ in 0..depth {
        let mut next = Vec::new();
        for world in &edge {
            for successor in world.successors() {
                successor.check();
                if seen.insert(successor.fingerprint()) {
                    next.push(successor);
                }
            }
        }
        edge = next;
    }
    seen.len()
}

#[test]
fn no_order_of_events_puts_more_in_progress_than_the_plan_allows() {
    for (replicas, limit, losses, depth) in [(2, 1, 0, 7), (2, 2, 0, 6), (2, 1, 1, 6), (3, 1, 0, 5)] {
        let worlds = explore(World::new(replicas, limit, losses), depth);
        assert!(worlds > 1000, "{replicas} {limit} {losses}: only {worlds} worlds");
    }
}

#[test]
fn a_crashed_replicas_leases_end_by_themselves() {
    let mut world = World::new(2, 1, 0);
    for (index, step) in [
        (0, Step::Ask),
        (0, Step::Process),
        (0, Step::Answer),
        (0, Step::Crash),
        (1, Step::Ask),
    ] {
        world = world.after(index, step).expect("it can");
    }
    world.now += LIFE - 1;
    let early = world
        .after(1, Step::Process)
        .and_then(|world| world.after(1, Step::Answer));
    assert!(early.is_some_and(|world| world.replicas[1].running.is_empty()));
    world.now += 1;
    let then = world
        .after(1, Step::Process)
        .and_then(|world| world.after(1, Step::Answer));
    assert!(then.is_some_and(|world| world.replicas[1].running.len() == 1));
}

#[test]
fn what_is_owed_is_owed_for_a_life() {
    let (mut book, acme) = (Book::new(7, at(3)), testing::tenant("acme"));
    let (one, two) = (book.next(), book.next());
    book.taken(&acme, one, at(10));
    assert!(!book.is_overdue(&acme, at(12)) && book.is_overdue(&acme, at(13)));
    assert_eq!(
        (
            book.lapsed(at(11), at(12)),
            book.lapsed(at(12), at(13)),
            book.lapsed(at(13), at(14))
        ),
        (0, 1, 0)
    );
    assert!(book.give_back(&acme, one, at(13)) && !book.give_back(&acme, one, at(13)));
    book.owe(&acme, two, at(14));
    let owed = book.take_owed(at(15));
    assert_eq!(by_tenant(&owed), vec![(acme.clone(), vec![one, two])]);
    book.still_owed(owed);
    assert_eq!(
        by_tenant(&book.take_owed(at(16))),
        vec![(acme, vec![two])],
        "the first ended at 16"
    );
    assert!(book.take_owed(at(16)).is_empty());
}
