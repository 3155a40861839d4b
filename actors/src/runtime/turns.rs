//! Who waits, and whose turn it is: parties take turns, and of each the one that has waited longest is next. So whoever has
//! many wait keeps nobody else waiting for all of them. Pure: it neither counts what runs nor knows what it is.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Those who wait, by party.
#[derive(Debug)]
pub struct Turns<P, T> {
    queues: HashMap<P, VecDeque<T>>,
    /// The parties with a queue, the next one first; each once.
    order: VecDeque<P>,
    waiting: usize,
}

impl<P, T> Default for Turns<P, T> {
    fn default() -> Self {
        Self {
            queues: HashMap::new(),
            order: VecDeque::new(),
            waiting: 0,
        }
    }
}

impl<P: Clone + Eq + Hash, T> Turns<P, T> {
    /// Puts one behind the party's others.
    pub fn push(&mut self, party: &P, one: T) {
        match self.queues.get_mut(party) {
            Some(queue) => queue.push_back(one),
            None => {
                self.queues.insert(party.clone(), VecDeque::from([one]));
                self.order.push_back(party.clone());
            }
        }
        self.waiting = self.waiting.saturating_add(1);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How many of a party wait.
    pub fn of(&self, party: &P) -> usize {
        self.queues.get(party).map_or(0, VecDeque::len)
    }

    /// How many parties wait.
    pub fn parties(&self) -> usize {
        self.order.len()
    }

    /// Takes the next one out: of the first party that may go on, its first one that still wants to. Those before it, which do
    /// not, are dropped, and cost their party no turn.
    pub fn next(&mut self, may: impl Fn(&P) -> bool, wants: impl Fn(&T) -> bool) -> Option<(P, T)> {
        loop {
            let place = self.order.iter().position(&may)?;
            let party = self.order.remove(place)?;
            let Some(queue) = self.queues.get_mut(&party) else {
                continue;
            };
            let before = queue.len();
            let next = std::iter::from_fn(|| queue.pop_front()).find(&wants);
            self.waiting = self.waiting.saturating_sub(before.saturating_sub(queue.len()));
            if queue.is_empty() {
                self.queues.remove(&party);
            } else {
                self.order.push_back(party.clone());
            }
            if let Some(next) = next {
                return Some((party, next));
            }
        }
    }

    /// Keeps of a party only these.
    pub fn retain(&mut self, party: &P, keep: impl FnMut(&T) -> bool) {
        if let Some(queue) = self.queues.get_mut(party) {
            let before = queue.len();
            queue.retain(keep);
            self.waiting = self.waiting.saturating_sub(before.saturating_sub(queue.len()));
            if queue.is_empty() {
                self.queues.remove(party);
                self.order.retain(|other| other != party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(turns: &mut Turns<char, u8>) -> String {
        let next = || turns.next(|_| true, |_| true);
        std::iter::from_fn(next)
            .map(|(party, one)| format!("{party}{one} "))
            .collect()
    }

    fn waiting(list: &str) -> Turns<char, u8> {
        let mut turns = Turns::default();
        for one in list.split(' ') {
            let (party, one) = one.split_at(1);
            turns.push(
                &party.chars().next().expect("a party"),
                one.parse().expect("a number"),
            );
        }
        turns
    }

    #[test]
    fn parties_take_turns_and_each_keeps_its_order() {
        let mut turns = waiting("a1 a2 a3 b1 c1 c2");
        assert_eq!((turns.len(), turns.parties(), turns.of(&'a')), (6, 3, 3));
        assert_eq!(all(&mut turns), "a1 b1 c1 a2 c2 a3 ");
        assert_eq!((turns.len(), turns.of(&'a'), turns.is_empty()), (0, 0, true));
        turns.push(&'a', 4);
        assert_eq!(all(&mut turns), "a4 ");
    }

    #[test]
    fn who_may_not_is_passed_over_and_keeps_the_turn() {
        let mut turns = waiting("a1 b1 b2 c1");
        let mut next = |not: char| turns.next(|party| *party != not, |_| true);
        assert_eq!(next('a'), Some(('b', 1)));
        assert_eq!(next('c'), Some(('a', 1)));
        assert_eq!(next('b'), Some(('c', 1)));
        assert_eq!(next('b'), None);
        assert_eq!((turns.len(), turns.parties()), (1, 1));
    }

    #[test]
    fn who_wants_no_more_costs_no_turn() {
        let mut turns = waiting("a1 a2 a3 b1 c1");
        let next = turns.next(|_| true, |one| *one == 3);
        assert_eq!(next, Some(('a', 3)), "the first two are gone");
        assert_eq!(turns.len(), 2);
        assert_eq!(turns.next(|_| true, |_| false), None);
        assert_eq!((turns.len(), turns.is_empty(), turns.queues.len()), (0, true, 0));
    }

    #[test]
    fn what_is_taken_back_leaves_nothing_behind() {
        let mut turns = waiting("a1 b1 b2 c1");
        turns.retain(&'b', |one| *one != 1);
        turns.retain(&'c', |_| false);
        turns.retain(&'d', |_| false);
        assert_eq!((turns.len(), turns.parties()), (2, 2));
        assert_eq!(all(&mut turns), "a1 b2 ");
        assert!(turns.queues.is_empty());
    }
}
