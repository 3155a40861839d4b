//! A wire to a neighbour that can be cut, held or made to lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use signer::dev::listener::{Bound, Running};
use tokio::sync::watch;

/// What happens to requests on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// They pass.
    Open,
    /// They wait until the state changes.
    Held,
    /// They are answered with this status.
    Answers(u16),
    /// They are answered 200 with a body that means nothing.
    Babbles,
}

/// The wire; its `running.base_url` stands for the neighbour's.
pub(crate) struct Wire {
    pub(crate) running: Running,
    state: watch::Sender<State>,
    seen: Arc<AtomicUsize>,
}

#[derive(Clone)]
struct Shared {
    target: String,
    state: watch::Receiver<State>,
    seen: Arc<AtomicUsize>,
    http: reqwest::Client,
}

impl Wire {
    pub(crate) fn to(target: &str) -> Self {
        let state = watch::Sender::new(State::Open);
        let seen = Arc::new(AtomicUsize::new(0));
        let shared = Shared {
            target: target.to_owned(),
            state: state.subscribe(),
            seen: Arc::clone(&seen),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        let running = Bound::any_port().unwrap().serve(move |routes| {
            routes
                .app_data(web::Data::new(shared.clone()))
                .default_service(web::to(pass));
        });
        Self {
            running: running.unwrap(),
            state,
            seen,
        }
    }

    pub(crate) fn open(&self) {
        self.state.send_replace(State::Open);
    }

    pub(crate) fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    pub(crate) fn answers(&self, status: u16) {
        self.state.send_replace(State::Answers(status));
    }

    pub(crate) fn babbles(&self) {
        self.state.send_replace(State::Babbles);
    }

    /// Requests that have come so far.
    pub(crate) fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }
}

async fn pass(request: HttpRequest, body: web::Bytes, shared: web::Data<Shared>) -> HttpResponse {
    shared.seen.fetch_add(1, Ordering::SeqCst);
    let mut state = shared.state.clone();
    let settled = state
        .wait_for(|state| *state != State::Held)
        .await
        .map(|state| *state);
    match settled {
        Ok(State::Open) => {}
        Ok(State::Answers(status)) => return HttpResponse::build(status.try_into().unwrap()).finish(),
        Ok(State::Babbles) => return HttpResponse::Ok().json("babble"),
        Ok(State::Held) | Err(_) => return HttpResponse::ServiceUnavailable().finish(),
    }
    let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes()).unwrap();
    let mut onward = shared
        .http
        .request(method, format!("{}{}", shared.target, request.uri()));
    for name in [header::ACCEPT, header::CONTENT_TYPE] {
        for value in request.headers().get_all(&name) {
            onward = onward.header(name.as_str(), value.as_bytes());
        }
    }
    let answer = onward.body(body).send().await.unwrap();
    let mut back = HttpResponse::build(answer.status().as_u16().try_into().unwrap());
    for (name, value) in answer.headers() {
        if !["content-length", "transfer-encoding", "connection", "date"].contains(&name.as_str()) {
            back.append_header((name.as_str(), value.as_bytes()));
        }
    }
    back.body(answer.bytes().await.unwrap())
}
