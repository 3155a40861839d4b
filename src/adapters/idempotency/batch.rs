//! What is done with the keys of one transaction: the decisions.

use std::collections::HashMap;

use bytes::Bytes;
use redb::{Database, ReadableDatabase};
use signer_actors::domain::digest::Sha256Digest;
use signer_actors::domain::ids::AuditId;
use signer_actors::ports::{Claim, Claimed, End, Ownership, StateUnavailable};

use super::Settings;
use super::database::{self, Known, Look, Tables, View};
use super::entry::Entry;
use super::keeper::{Answer, Op, Told};

/// An attempt under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    request: Sha256Digest,
    pub(super) attempt: AuditId,
    earlier: Option<AuditId>,
    share: [u8; 16],
    /// Whether the file knows of the attempt.
    begun: bool,
    /// Whether the file knows of the key.
    on_disk: bool,
}

/// Attempts under way, with what a transaction that is not durable yet has changed.
pub(super) struct Attempts<'a> {
    pub(super) settled: &'a HashMap<[u8; 32], Held>,
    pub(super) changed: HashMap<[u8; 32], Option<Held>>,
}

impl Attempts<'_> {
    fn get(&self, id: &[u8; 32]) -> Option<Held> {
        match self.changed.get(id) {
            Some(changed) => *changed,
            None => self.settled.get(id).copied(),
        }
    }

    fn set(&mut self, id: &[u8; 32], held: Option<Held>) {
        self.changed.insert(*id, held);
    }

    /// An attempt that outlives what the file says of its key has the key still, and takes its place among all.
    fn forgotten(&mut self, id: &[u8; 32]) {
        if let Some(mut held) = self.get(id) {
            held.on_disk = false;
            self.set(id, Some(held));
        }
    }

    /// Keys that the file does not know of: of all, and of this tenant.
    fn counts(&self, share: &[u8; 16]) -> (u64, u64) {
        let kept = self
            .settled
            .iter()
            .filter(|(id, _)| !self.changed.contains_key(*id));
        let all = kept.map(|(_, held)| held).chain(self.changed.values().flatten());
        all.filter(|held| !held.on_disk).fold((0, 0), |(all, own), held| {
            (all + 1, own + u64::from(held.share == *share))
        })
    }
}

/// One transaction.
pub(super) struct Batch<'a> {
    pub(super) attempts: Attempts<'a>,
    pub(super) settings: &'a Settings,
    pub(super) now: u64,
}

impl Batch<'_> {
    pub(super) fn run(
        &mut self,
        database: &Database,
        ops: &[Op],
    ) -> Result<(Vec<Answer>, Option<u64>), redb::Error> {
        let must_write = ops.iter().any(|op| self.writes(op));
        if !must_write && !database::is_due(database, self.now)? {
            let view = View::of(&database.begin_read()?)?;
            let answers = ops.iter().map(|op| match op {
                Op::Claim(claim) => self.claim(&view, claim),
                Op::GiveUp(claim, _) => {
                    self.end(claim);
                    Ok(Ok(Told::Done))
                }
                _ => Ok(Ok(Told::Done)),
            });
            return Ok((answers.collect::<Result<_, _>>()?, None));
        }
        let mut transaction = database.begin_write()?;
        // Or the start after a crash would have to read the whole file.
        transaction.set_quick_repair(true);
        let (answers, entries) = {
            let mut tables = Tables::of(&transaction)?;
            for id in tables.sweep(self.now)? {
                self.attempts.forgotten(&id);
            }
            let mut answers = Vec::with_capacity(ops.len());
            for op in ops {
                answers.push(self.perform(&mut tables, op)?);
            }
            (answers, tables.counts(&[0; 16])?.0)
        };
        transaction.commit()?;
        Ok((answers, Some(entries)))
    }

    /// Whether the file may have to be changed.
    fn writes(&self, op: &Op) -> bool {
        match op {
            Op::Begin(_) | Op::Keep(..) => true,
            Op::GiveUp(claim, _) => self.attempts.get(claim.key.id()).is_none_or(|held| held.begun),
            Op::Claim(_) | Op::Tend => false,
        }
    }

    fn perform(&mut self, tables: &mut Tables<'_>, op: &Op) -> Result<Answer, redb::Error> {
        match op {
            Op::Claim(claim) => self.claim(tables, claim),
            Op::Begin(claim) => Ok(Ok(Told::Owned(self.begin(tables, claim)?))),
            Op::Keep(claim, answer) => Ok(Ok(Told::Owned(self.keep(tables, claim, answer)?))),
            Op::GiveUp(claim, end) => {
                self.end(claim);
                self.give_up(tables, claim, *end)?;
                Ok(Ok(Told::Done))
            }
            Op::Tend => Ok(Ok(Told::Done)),
        }
    }

    fn claim(&mut self, look: &impl Look, claim: &Claim) -> Result<Answer, redb::Error> {
        let id = claim.key.id();
        if let Some(held) = self.attempts.get(id) {
            let same = held.request == claim.request;
            return Ok(Ok(Told::Claimed(if same {
                Claimed::InFlight
            } else {
                Claimed::OtherRequest
            })));
        }
        let known = match look.entry(id)? {
            Known::Strange => return Ok(Err(StateUnavailable("an entry is of another version".to_owned()))),
            Known::Entry(entry) if self.now < entry.expires => Some(entry),
            Known::Entry(_) | Known::Nothing => None,
        };
        let claimed = match known {
            Some(entry) if entry.request != claim.request => Claimed::OtherRequest,
            Some(Entry {
                attempt,
                answer: Some(answer),
                ..
            }) if claim.void != Some(attempt) => Claimed::Kept { attempt, answer },
            Some(entry) => self.take(claim, Some(entry.attempt)),
            None => {
                let ((kept, own), (new, own_new)) = (
                    look.counts(claim.key.share())?,
                    self.attempts.counts(claim.key.share()),
                );
                // At most as many as are left free: there is room for the next tenant, however many one has.
                if own + own_new < self.settings.capacity.saturating_sub(kept + new) {
                    self.take(claim, None)
                } else {
                    Claimed::Full
                }
            }
        };
        Ok(Ok(Told::Claimed(claimed)))
    }

    fn take(&mut self, claim: &Claim, earlier: Option<AuditId>) -> Claimed {
        let held = Held {
            request: claim.request,
            attempt: claim.attempt,
            earlier,
            share: *claim.key.share(),
            begun: false,
            on_disk: earlier.is_some(),
        };
        self.attempts.set(claim.key.id(), Some(held));
        Claimed::Taken { earlier }
    }

    /// Whether a key is this attempt's, or nobody's.
    fn owner(
        &self,
        tables: &Tables<'_>,
        claim: &Claim,
    ) -> Result<Result<Option<Held>, Ownership>, redb::Error> {
        Ok(match self.attempts.get(claim.key.id()) {
            Some(held) if held.attempt == claim.attempt => Ok(Some(held)),
            Some(_) => Err(Ownership::TakenOver),
            None => match tables.entry(claim.key.id())? {
                Known::Entry(entry) if self.now >= entry.expires => Ok(None),
                Known::Nothing => Ok(None),
                Known::Entry(_) | Known::Strange => Err(Ownership::TakenOver),
            },
        })
    }

    fn entry(&self, claim: &Claim, earlier: Option<AuditId>, answer: Option<Bytes>) -> Entry {
        Entry {
            request: claim.request,
            attempt: claim.attempt,
            earlier,
            share: *claim.key.share(),
            expires: self.now.saturating_add(self.settings.ttl_millis()),
            answer,
        }
    }

    fn begin(&mut self, tables: &mut Tables<'_>, claim: &Claim) -> Result<Ownership, redb::Error> {
        match self.owner(tables, claim)? {
            Err(other) => Ok(other),
            Ok(None) => Ok(Ownership::Own),
            Ok(Some(held)) => {
                tables.put(claim.key.id(), &self.entry(claim, held.earlier, None))?;
                let held = Held {
                    begun: true,
                    on_disk: true,
                    ..held
                };
                self.attempts.set(claim.key.id(), Some(held));
                Ok(Ownership::Own)
            }
        }
    }

    fn keep(
        &mut self,
        tables: &mut Tables<'_>,
        claim: &Claim,
        answer: &Bytes,
    ) -> Result<Ownership, redb::Error> {
        if let Err(other) = self.owner(tables, claim)? {
            return Ok(other);
        }
        tables.put(claim.key.id(), &self.entry(claim, None, Some(answer.clone())))?;
        self.attempts.set(claim.key.id(), None);
        Ok(Ownership::Own)
    }

    /// The attempt is under way no more.
    fn end(&mut self, claim: &Claim) {
        let held = self.attempts.get(claim.key.id());
        if held.is_some_and(|held| held.attempt == claim.attempt) {
            self.attempts.set(claim.key.id(), None);
        }
    }

    fn give_up(&mut self, tables: &mut Tables<'_>, claim: &Claim, end: End) -> Result<(), redb::Error> {
        let Known::Entry(entry) = tables.entry(claim.key.id())? else {
            return Ok(());
        };
        if end == End::Unknown || entry.attempt != claim.attempt || entry.answer.is_some() {
            return Ok(());
        }
        match entry.earlier {
            Some(earlier) => {
                let before = Entry {
                    attempt: earlier,
                    earlier: None,
                    ..entry
                };
                tables.put(claim.key.id(), &before)?;
            }
            None => tables.remove(claim.key.id())?,
        }
        Ok(())
    }
}
