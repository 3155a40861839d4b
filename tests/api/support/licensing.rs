//! A Licensing that says what a test tells it to, to whoever asks as RFC 7662 wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};
use signer::dev::listener::{Bound, Running};
use tokio::sync::watch;

use super::unb64;

/// What introspection answers.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// Active, with the token's own claims.
    Active,
    /// Active, with these members in place of the token's.
    With(Value),
    /// `active: false`
    Inactive,
    /// This status.
    Status(u16),
    /// This body.
    Raw(&'static str),
    /// This status, with these fields and this body.
    Exactly(u16, Vec<(&'static str, &'static str)>, Vec<u8>),
    /// A body that is announced as longer than it is.
    Truncated,
    /// Nothing, until the test says something else.
    Silence,
}

/// The scripted service.
pub(crate) struct Licensing {
    pub(crate) running: Running,
    says: watch::Sender<Says>,
    asked: Arc<AtomicUsize>,
}

pub(crate) const CREDENTIAL: &str = "licensing-credential-7c1f9a";

#[derive(Clone)]
struct Shared {
    says: watch::Receiver<Says>,
    asked: Arc<AtomicUsize>,
}

impl Licensing {
    pub(crate) fn start() -> Self {
        let says = watch::Sender::new(Says::Active);
        let asked = Arc::new(AtomicUsize::new(0));
        let shared = Shared {
            says: says.subscribe(),
            asked: Arc::clone(&asked),
        };
        let running = Bound::any_port().unwrap().serve(move |routes| {
            routes
                .app_data(web::Data::new(shared.clone()))
                .route("/introspect", web::post().to(introspect));
        });
        Self {
            running: running.unwrap(),
            says,
            asked,
        }
    }

    /// From now on.
    pub(crate) fn says(&self, says: Says) {
        self.says.send_replace(says);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[derive(serde::Deserialize)]
struct Form {
    token: String,
}

async fn introspect(request: HttpRequest, shared: web::Data<Shared>, form: web::Form<Form>) -> HttpResponse {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let authorization = request.headers().get("authorization");
    if authorization.is_none_or(|value| *value != format!("Bearer {CREDENTIAL}")) {
        return HttpResponse::Unauthorized().finish();
    }
    let claims = form.token.split('.').nth(1).map(unb64).unwrap_or_default();
    let mut claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["active"] = json!(true);
    let mut settled = shared.says.clone();
    let spoken = settled.wait_for(|says| !matches!(says, Says::Silence)).await;
    let says = spoken.map(|says| says.clone()).unwrap();
    match says {
        Says::Silence => unreachable!("waited for"),
        Says::Exactly(status, fields, body) => {
            let mut answer = HttpResponse::build(status.try_into().unwrap());
            for field in fields {
                answer.append_header(field);
            }
            answer.body(body)
        }
        Says::Truncated => {
            let all = claims.to_string();
            let half = web::Bytes::copy_from_slice(&all.as_bytes()[..all.len() / 2]);
            let pieces = futures_util::stream::iter([Ok(half), Err(std::io::Error::other("cut"))]);
            HttpResponse::Ok()
                .content_type("application/json")
                .streaming(pieces)
        }
        Says::Active => HttpResponse::Ok().json(claims),
        Says::With(members) => {
            for (name, value) in members.as_object().unwrap() {
                claims[name] = value.clone();
            }
            HttpResponse::Ok().json(claims)
        }
        Says::Inactive => HttpResponse::Ok().json(json!({ "active": false })),
        Says::Status(status) => HttpResponse::build(status.try_into().unwrap()).finish(),
        Says::Raw(body) => HttpResponse::Ok().content_type("application/json").body(body),
    }
}
