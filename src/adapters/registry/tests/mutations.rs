//! Honest answers, changed by chance. What a digest binds is never trusted after any change; what none binds (a listing, a
//! tag) is trusted only if the signature is still the one that was made.

use signer_actors::domain::release::ReleaseSigner;
use signer_actors::domain::release::Verdict::Trusted;

use super::fake::Fake;
use super::*;

/// Changes of each answer.
const EACH: u64 = 30;

/// A small generator (Marsaglia, xorshift64): the same changes in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// One to three changes of some bytes; never none.
    fn change(&mut self, honest: &[u8]) -> Vec<u8> {
        let mut bytes = honest.to_vec();
        while bytes == honest {
            for _ in 0..=self.below(3) {
                self.once(&mut bytes);
            }
        }
        bytes
    }

    fn once(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let end = (at + 1 + self.below(40)).min(bytes.len());
        match self.below(6) {
            0 => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << self.below(8)),
            1 => bytes.truncate(at),
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => {
                let copy = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => bytes.insert(at, self.below(256) as u8),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = b' '),
        }
    }
}

#[actix_web::test]
async fn changed_answers_are_not_trusted() {
    for (seed, layout) in (1_u64..).zip(LAYOUTS) {
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15 ^ seed);
        let mut world = World::new(layout);
        let image = World::path(&format!("manifests/{}", world.digest));
        // A tag is bound by no digest, and neither is a listing.
        let mut loose = vec![world.listing.clone()];
        let mut bound = vec![world.blob.clone(), image.clone()];
        let carrier = world.carrier.clone();
        if layout == Layout::Legacy {
            &mut loose
        } else {
            &mut bound
        }
        .push(carrier);
        loose.retain(|path| !path.is_empty());
        // What is asked with HEAD stays; the image's content is changed.
        let found = world.routes[&image].clone();
        world.routes.insert(format!("HEAD {image}"), found);
        let honest = world.routes.clone();
        let digest = ImageDigest::parse(&world.digest).unwrap();
        let releases = RegistryReleases::new(&world.settings, Arc::new(At(Utc::now()))).unwrap();
        let fake = Fake::start(world.listener, world.routes);
        let good = releases.check(digest, None).await.unwrap();
        let kept = |signer: &Option<ReleaseSigner>| *signer == good.signer;
        let mut still = 0;
        for path in bound.iter().chain(&loose) {
            for _ in 0..EACH {
                let mut reply = honest[path].clone();
                reply.body = fake::Body::Whole(chance.change(reply.bytes()));
                let shown = format!("{layout:?} {path} {:?}", String::from_utf8_lossy(reply.bytes()));
                fake.set(path, reply);
                match releases.check(digest, None).await {
                    Ok(report) if report.verdict == Trusted => {
                        assert!(loose.contains(path), "trusted: {shown}");
                        assert!(kept(&report.signer), "another signer: {shown}");
                        still += 1;
                    }
                    _ => {}
                }
            }
            fake.set(path, honest[path].clone());
        }
        assert_outcome(
            "as it was",
            &releases.check(digest, None).await,
            Expect::Is(Trusted),
        );
        // Most changes of a listing hide or break what it names.
        assert!(still < EACH, "{layout:?}: {still}");
        println!(
            "{layout:?}: {still} of {} changes are of no account",
            EACH * (bound.len() + loose.len()) as u64
        );
        fake.stop().await;
    }
}
