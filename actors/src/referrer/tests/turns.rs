//! Who is next, and who is not kept waiting.

use std::collections::HashSet;
use std::iter::from_fn;

use proptest::prelude::*;

use super::*;
use crate::domain::digest::{ImageDigest, Sha256Digest};
use crate::testing::tenant;

fn key(n: u8) -> Key {
    (ImageDigest::from(Sha256Digest([n; 32])), None)
}

#[test]
fn a_tenant_that_asks_without_end_has_half_of_the_places() {
    let mut turns = Turns::new(8);
    let (greedy, modest) = (tenant("greedy"), tenant("modest"));
    for n in 0..100 {
        turns.queue(&greedy, key(n));
    }
    let began: Vec<_> = from_fn(|| turns.next()).collect();
    assert_eq!(began.len(), 4);
    turns.queue(&modest, key(200));
    assert_eq!(turns.next(), Some((modest.clone(), key(200))), "at once");
    turns.end(&Turn::Of(greedy.clone()));
    assert_eq!(turns.next(), Some((greedy, key(4))), "in order");
}

#[test]
fn tenants_take_turns() {
    let mut turns = Turns::new(2);
    let names = ["a", "b", "c"].map(tenant);
    for n in 0..3 {
        for (tenant, offset) in names.iter().zip([0, 10, 20]) {
            turns.queue(tenant, key(offset + n));
        }
    }
    let mut order = Vec::new();
    while let Some((tenant, key)) = turns.next() {
        turns.end(&Turn::Of(tenant));
        order.push(key.0);
    }
    assert_eq!(order, [0, 10, 20, 1, 11, 21, 2, 12, 22].map(|n| key(n).0));
}

#[test]
fn refreshes_have_what_is_left_over() {
    let mut turns = Turns::new(8);
    let tenants: Vec<_> = (0..8).map(|n| tenant(&format!("t{n}"))).collect();
    while turns.may_refresh() {
        turns.begin_refresh();
    }
    assert_eq!(turns.refreshing, 2);
    // They take no place from anyone.
    for (n, tenant) in (0..).zip(&tenants) {
        turns.queue(tenant, key(n));
    }
    assert_eq!(from_fn(|| turns.next()).count(), 8);
    turns.end(&Turn::Refresh);
    assert!(!turns.may_refresh(), "no place is free");
    turns.end(&Turn::Of(tenants[0].clone()));
    assert!(!turns.may_refresh(), "nor yet, with the other refresh");
    turns.end(&Turn::Of(tenants[1].clone()));
    assert!(turns.may_refresh());
    // With one place there is still a refresh, and still a lookup.
    let mut one = Turns::new(0);
    assert!(one.may_refresh());
    one.begin_refresh();
    one.queue(&tenants[0], key(1));
    assert!(one.next().is_some());
}

#[test]
fn what_is_withdrawn_takes_no_turn() {
    let mut turns = Turns::new(1);
    let (a, b) = (tenant("a"), tenant("b"));
    turns.queue(&a, key(1));
    turns.queue(&b, key(1));
    turns.queue(&b, key(2));
    assert_eq!(turns.next(), Some((a.clone(), key(1))));
    turns.withdraw(&b, &key(1));
    turns.withdraw(&b, &key(9));
    turns.withdraw(&a, &key(1));
    turns.end(&Turn::Of(a));
    assert_eq!(turns.next(), Some((b.clone(), key(2))));
    turns.end(&Turn::Of(b));
    assert_eq!(turns.next(), None);
    assert!(turns.waiting.is_empty() && turns.of_tenant.is_empty());
}

proptest! {
    /// Bounds hold, nothing is lost, nothing runs twice, and nobody waits while a place is free for them.
    #[test]
    fn turns_keep_to_the_bounds(
        places in 1..6_usize,
        steps in prop::collection::vec((0..5_u8, 0..4_usize, any::<u8>()), 1..200),
    ) {
        let names = ["a", "b", "c", "d"].map(tenant);
        let mut turns = Turns::new(places);
        let mut waiting: Vec<(usize, u8)> = Vec::new();
        let mut running: Vec<usize> = Vec::new();
        let mut refreshing = 0;
        for (what, who, n) in steps {
            match what {
                0 | 1 if !waiting.contains(&(who, n)) => {
                    turns.queue(&names[who], key(n));
                    waiting.push((who, n));
                }
                2 => if let Some(who) = running.pop() {
                    turns.end(&Turn::Of(names[who].clone()));
                },
                3 => {
                    turns.withdraw(&names[who], &key(n));
                    waiting.retain(|one| *one != (who, n));
                }
                _ if refreshing > 0 => {
                    turns.end(&Turn::Refresh);
                    refreshing -= 1;
                }
                _ => {}
            }
            while let Some((tenant, began)) = turns.next() {
                let place = waiting.iter().position(|(who, n)| names[*who] == tenant && key(*n) == began);
                let (who, _) = waiting.remove(place.expect("it was queued"));
                running.push(who);
            }
            if turns.may_refresh() {
                turns.begin_refresh();
                refreshing += 1;
            }
            let of = |who: usize| running.iter().filter(|one| **one == who).count();
            let most = (places / 2).max(1);
            prop_assert!(running.len() <= places && (0..4).all(|who| of(who) <= most));
            prop_assert!(refreshing <= (places / 4).max(1));
            let may_run = |who: usize| running.len() < places && of(who) < most;
            prop_assert!(waiting.iter().all(|(who, _)| !may_run(*who)), "somebody waits in vain");
            let waits: HashSet<_> = waiting.iter().map(|(who, _)| names[*who].clone()).collect();
            prop_assert_eq!(turns.waiting.parties(), waits.len());
        }
    }
}
