//! An Authority that is hostile, broken into or merely broken: what it publishes opens the door to nobody.
//!
//! Each case is a service of its own, started between the same neighbours with this Authority's answers.

mod table;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use signer::bootstrap;
use signer::config::AuthorityKeys;
use signer::dev::listener::Bound;

use super::case::{Case, Change, Expected, TOKEN, Target, call};
use super::keys::THIEF;
use super::{caught, failures, keys, report, unchanged};
use crate::support::{Draft, Mint, World, jwk};

const UNAVAILABLE: Expected = Expected::Refused(503, "authority_unavailable", "authentication");
/// Services at once.
const AT_ONCE: usize = 4;

/// What is answered at one address.
#[derive(Clone)]
struct Page {
    status: u16,
    location: Option<String>,
    content_type: &'static str,
    body: Vec<u8>,
}

/// One case's own part of the Authority.
struct Site<'a> {
    world: &'a World,
    base: String,
}

/// Paths below the site's base, and what is there.
type Pages = Vec<(&'static str, Page)>;

struct Hostile {
    name: &'static str,
    pages: fn(&Site<'_>) -> Pages,
    /// Whether keys are found by discovery, at an issuer that is the site's base.
    discovered: bool,
    token: fn(&mut Draft),
    expected: Expected,
}

fn json_page(body: &Value) -> Page {
    page(200, body.to_string().into_bytes())
}

fn page(status: u16, body: impl Into<Vec<u8>>) -> Page {
    Page {
        status,
        location: None,
        content_type: "application/json",
        body: body.into(),
    }
}

fn good(site: &Site<'_>) -> Value {
    Mint::jwks(&site.world.mint.authority, "authority-1")
}

/// The good key set in text, changed.
fn text(site: &Site<'_>, edit: fn(String) -> Vec<u8>) -> Pages {
    vec![("/jwks", page(200, edit(good(site).to_string())))]
}

/// The good key with these members.
fn key(site: &Site<'_>, edit: fn(&mut Value)) -> Pages {
    let mut set = good(site);
    edit(&mut set["keys"][0]);
    vec![("/jwks", json_page(&set))]
}

/// The good key set with one more key.
fn beside(site: &Site<'_>, more: Value) -> Pages {
    let mut set = good(site);
    set["keys"].as_array_mut().unwrap().push(more);
    vec![("/jwks", json_page(&set))]
}

/// A thief's key with these members, by the id `thief`.
fn thief(members: &Value) -> Value {
    let mut key = jwk(&THIEF);
    key["kid"] = json!("thief");
    for (name, value) in members.as_object().unwrap() {
        key[name] = value.clone();
    }
    key
}

fn by_thief(token: &mut Draft) {
    token.header["kid"] = json!("thief");
    token.by(&THIEF);
}

fn as_issued(_token: &mut Draft) {}

fn served(name: &'static str, pages: fn(&Site<'_>) -> Pages) -> Hostile {
    Hostile {
        name,
        pages,
        discovered: false,
        token: as_issued,
        expected: UNAVAILABLE,
    }
}

/// The set is good, the token is by another of its keys, which must not count.
fn abused(name: &'static str, pages: fn(&Site<'_>) -> Pages, token: fn(&mut Draft)) -> Hostile {
    Hostile {
        token,
        expected: TOKEN,
        ..served(name, pages)
    }
}

fn discovered(name: &'static str, pages: fn(&Site<'_>) -> Pages) -> Hostile {
    Hostile {
        discovered: true,
        ..served(name, pages)
    }
}

impl Hostile {
    fn accepted(self) -> Self {
        let expected = Expected::Accepted;
        Self { expected, ..self }
    }

    fn expect(self, expected: Expected) -> Self {
        Self { expected, ..self }
    }
}

impl Hostile {
    fn with_token(self, token: fn(&mut Draft)) -> Self {
        Self { token, ..self }
    }

    /// As a case for the service that asks this site.
    fn case(&self, issuer: Option<String>) -> Case {
        let edit = self.token;
        let change = move |token: &mut Draft| {
            if let Some(issuer) = &issuer {
                token.claim("iss", issuer.as_str());
            }
            edit(token);
        };
        call(self.name, move |call| call.token(&change)).expect(self.expected)
    }
}

pub(crate) fn names() -> Vec<String> {
    table::cases().iter().map(|case| case.name.to_owned()).collect()
}

async fn answer(request: HttpRequest, pages: web::Data<HashMap<String, Page>>) -> HttpResponse {
    let Some(page) = pages.get(request.path()) else {
        return HttpResponse::NotFound().finish();
    };
    let mut response = HttpResponse::build(page.status.try_into().unwrap());
    response.content_type(page.content_type);
    if let Some(location) = &page.location {
        response.insert_header(("location", location.as_str()));
    }
    response.body(page.body.clone())
}

#[actix::test]
async fn authorities() {
    keys::make();
    let world = World::new("").await;
    let bound = Bound::any_port().unwrap();
    let base = |index: usize| format!("{}/{index}", bound.base_url);
    let cases = table::cases();
    let mut pages = HashMap::new();
    for (index, case) in cases.iter().enumerate() {
        let (world, base) = (&world, base(index));
        for (path, page) in (case.pages)(&Site { world, base }) {
            pages.insert(format!("/{index}{path}"), page);
        }
    }
    let bases: Vec<String> = (0..cases.len()).map(base).collect();
    let pages = Arc::new(pages);
    let running = bound.serve(move |routes| {
        routes
            .app_data(web::Data::from(Arc::clone(&pages)))
            .default_service(web::to(answer));
    });
    let running = running.unwrap();
    let checked = stream::iter(cases.iter().zip(&bases))
        .map(|(case, base)| {
            let world = &world;
            async move { (case.name.to_owned(), caught(check(world, case, base)).await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    running.stop().await;
    report("jwks", cases.len(), &failures("jwks", checked));
}

/// A service of its own, for one request.
async fn check(world: &World, case: &Hostile, base: &str) {
    let mut settings = world.settings();
    settings.audit.directory = world.folder.path().join(format!("audit {}", case.name));
    settings.state.directory = world.folder.path().join(format!("state {}", case.name));
    if case.discovered {
        settings.auth.issuer = base.to_owned();
        settings.auth.keys = AuthorityKeys::Discovery;
    } else {
        settings.auth.keys = AuthorityKeys::Uri(format!("{base}/jwks").parse().unwrap());
    }
    let log = slog::Logger::root(slog::Discard, slog::o!());
    let service = bootstrap::start(&settings, log).await.unwrap();
    let issuer = case.discovered.then(|| base.to_owned());
    let at = format!("http://{}", service.listen);
    let good: Change = Rc::new(unchanged);
    let target = Target {
        world,
        base: &at,
        clock: None,
        good: &good,
    };
    let done = caught(case.case(issuer).check(&target)).await;
    for server in &service.servers {
        server.stop(false).await;
    }
    let soon = signer_actors::runtime::Deadline::after(std::time::Duration::from_secs(5));
    service.stop_actors(soon).await;
    done.unwrap_or_else(|why| panic!("{why}"));
}
