//! What one repository may learn of another: nothing. Hosts, credentials and tokens stay with those they belong to.

use signer_actors::domain::release::Verdict::Trusted;
use zeroize::Zeroizing;

use super::super::Credentials;
use super::Expect::{Doubt, Is};
use super::fake::{Fake, Reply};
use super::*;

/// Another host that would answer well, is public enough, and is not configured.
#[actix_web::test]
async fn only_configured_hosts_are_asked() {
    for (moved, configured) in [("blob", false), ("blob", true), ("token", false), ("token", true)] {
        let mut world = World::new(Layout::Bundle);
        let (listener, host) = fake::listener();
        world.settings.plain_http.push(host.clone());
        if configured {
            world.settings.trusted_hosts = vec![host.clone()];
        }
        let path = World::path(&format!("manifests/{}", world.digest));
        let (blob, good) = (world.blob.clone(), world.routes[&path].clone());
        let routes = if moved == "blob" {
            let redirect = Reply::status(307).with("Location", &format!("http://{host}/blob"));
            [("/blob".to_owned(), world.routes.insert(blob, redirect).unwrap())].into()
        } else {
            let challenge = format!("Bearer realm=\"http://{host}/token\"");
            world.routes.insert(format!("auth {path}"), good);
            world
                .routes
                .insert(path, Reply::status(401).with("WWW-Authenticate", &challenge));
            let scope = format!("/token?scope=repository%3A{}%3Apull", NAME.replace('/', "%2F"));
            [(scope, Reply::ok(r#"{"token":"t"}"#))].into()
        };
        let mut other = fake::Fake::start(listener, routes);
        let expected = if configured { Is(Trusted) } else { Doubt };
        assert_outcome(
            &format!("{moved}, configured: {configured}"),
            &world.outcome().await,
            expected,
        );
        assert_eq!(other.seen.try_recv().is_ok(), configured, "{moved}");
        other.stop().await;
    }
}

/// Two repositories of one registry, each with a challenge of its own.
fn two_on_one_host() -> (World, String) {
    let mut world = World::new(Layout::Bundle);
    let other = Repository::parse(&format!("{}/stellaops/other", world.host)).unwrap();
    world.settings.repositories.push(other);
    let mut copies = Routes::new();
    for (path, reply) in world.routes.drain() {
        copies.insert(
            format!("auth {}", path.replace(NAME, "stellaops/other")),
            reply.clone(),
        );
        copies.insert(format!("auth {path}"), reply);
    }
    for name in [NAME, "stellaops/other"] {
        let image = format!("/v2/{name}/manifests/{}", world.digest);
        copies.insert(
            image,
            Reply::status(401).with("WWW-Authenticate", "Basic realm=\"r\""),
        );
    }
    world.routes = copies;
    let host = world.host.clone();
    (world, host)
}

fn credentials(host: &str, name: Option<&str>, username: &str) -> Credentials {
    Credentials {
        host: host.to_owned(),
        name: name.map(str::to_owned),
        username: username.to_owned(),
        password: Zeroizing::new("secret".to_owned()),
    }
}

/// RFC 7617 §2.
fn basic(username: &str) -> Option<String> {
    use base64::Engine as _;
    let pair = format!("{username}:secret");
    Some(format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    ))
}

#[actix_web::test]
async fn each_repository_has_its_own_credentials() {
    for (own, expected_other) in [
        (vec![Some(NAME), None], "host"),
        (vec![None, Some(NAME)], "host"),
        (vec![Some(NAME), Some("stellaops/other")], "stellaops/other"),
    ] {
        let (mut world, host) = two_on_one_host();
        let all = own
            .iter()
            .map(|name| credentials(&host, *name, name.unwrap_or("host")));
        world.settings.credentials = all.collect();
        world.settings.threshold = 1;
        let digest = ImageDigest::parse(&world.digest).unwrap();
        let releases = RegistryReleases::new(&world.settings, Arc::new(At(Utc::now()))).unwrap();
        let mut fake = Fake::start(world.listener, world.routes);
        for repository in releases.repositories() {
            let outcome = releases.check(digest, Some(Arc::clone(&repository))).await;
            assert_outcome(&repository, &outcome, Is(Trusted));
        }
        let mut authorized = 0;
        while let Ok(seen) = fake.seen.try_recv() {
            let Some(sent) = seen.authorization else { continue };
            authorized += 1;
            let user = if seen.target.contains(NAME) {
                NAME
            } else {
                expected_other
            };
            assert_eq!(Some(sent), basic(user), "{}", seen.target);
        }
        assert!(authorized >= 6, "{authorized}");
        fake.stop().await;
    }
}

/// A registry names another configured one, which would answer well, as realm and as storage.
#[actix_web::test]
async fn another_registrys_host_is_foreign() {
    for lie in ["blob", "realm", "page"] {
        let mut world = World::new(Layout::Bundle);
        let (listener, host) = fake::listener();
        world.settings.plain_http.push(host.clone());
        world
            .settings
            .repositories
            .push(Repository::parse(&format!("{host}/{NAME}")).unwrap());
        world.settings.credentials = vec![credentials(&world.host, None, "robot")];
        let good = world.routes.clone();
        let image = World::path(&format!("manifests/{}", world.digest));
        match lie {
            "blob" => {
                let location = format!("http://{host}{}", world.blob);
                *world.reply(&world.blob.clone()) = Reply::status(307).with("Location", &location);
            }
            "realm" => {
                let realm = format!("Bearer realm=\"http://{host}/token\"");
                *world.reply(&image) = Reply::status(401).with("WWW-Authenticate", &realm);
            }
            _ => {
                let link = format!("<http://{host}{}>; rel=\"next\"", world.listing);
                let reply = world.reply(&world.listing.clone()).clone().with("Link", &link);
                *world.reply(&world.listing.clone()) = reply;
            }
        }
        let mut other = Fake::start(listener, good);
        let digest = ImageDigest::parse(&world.digest).unwrap();
        let releases = RegistryReleases::new(&world.settings, Arc::new(At(Utc::now()))).unwrap();
        let fake = Fake::start(world.listener, world.routes);
        let first = Arc::clone(&releases.repositories()[0]);
        assert_outcome(lie, &releases.check(digest, Some(first)).await, Doubt);
        assert!(other.seen.try_recv().is_err(), "{lie}: the other one was asked");
        fake.stop().await;
        other.stop().await;
    }
}

/// A tag is resolved once: what it names later is looked at in the next check, not in this one.
#[actix_web::test]
async fn a_tag_that_moves_is_what_it_was_first() {
    let mut world = World::new(Layout::Legacy);
    let moved = forge::manifest(&[], None).to_string();
    world
        .routes
        .insert(format!("again {}", world.carrier), Reply::ok(moved));
    let digest = ImageDigest::parse(&world.digest).unwrap();
    let releases = RegistryReleases::new(&world.settings, Arc::new(At(Utc::now()))).unwrap();
    let mut fake = Fake::start(world.listener, world.routes);
    assert_outcome("first", &releases.check(digest, None).await, Is(Trusted));
    let mut asked = 0;
    while let Ok(seen) = fake.seen.try_recv() {
        asked += usize::from(seen.target == world.carrier);
    }
    assert_eq!(asked, 1);
    assert_outcome("then", &releases.check(digest, None).await, Is(Verdict::Unsigned));
    fake.stop().await;
}

/// Proxies in the environment would resolve and connect past every check.
#[actix_web::test]
async fn nothing_goes_by_way_of_a_proxy() {
    // Setting the environment of a running process is not safe; the client's own words are.
    let world = World::new(Layout::Bundle);
    let releases = RegistryReleases::new(&world.settings, Arc::new(At(Utc::now()))).unwrap();
    let shown = format!("{:?}", releases.inner.transport);
    assert!(!shown.to_lowercase().contains("proxies"), "{shown}");
}
