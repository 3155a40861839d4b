//! `POST /sign/dsse/batch` (contract §2.2, ADR 0023).

use std::sync::Arc;

use actix_web::http::header::{ContentType, HeaderName};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use signer_actors::domain::code::Code;
use signer_actors::domain::statement::StatementDraft;
use signer_actors::pipeline::state::{Authenticated, Released, Session};
use signer_actors::pipeline::{BatchItem, BatchRequest, Context, Failure, Refusal, Stage, sign_batch, turn};
use signer_actors::runtime::Deadline;

use super::sign::{Received, draft_of, outcome_of, pipeline_options, poe_of, receive, recorded, tell};
use crate::http::budget::HeldBytes;
use crate::http::dto::batch_request::{Element, parse_batch};
use crate::http::dto::batch_response::{ItemAnswer, results};
use crate::http::dto::body::{BodyError, BodyErrorKind};
use crate::http::dto::sign_request::ReturnBundle;
use crate::http::dto::told::whole;
use crate::http::problem::{Outcome, Problem, insert_rate};
use crate::http::state::{AppState, Limits};

/// What an item's answer has beside its payload, in bytes: identity, certificates, plan, release.
const BESIDE_PAYLOAD: usize = 8 * 1024;
/// A timestamp with the certificates of its authority, as they are, in base64.
const TIMESTAMP: usize = 16 * 1024;
/// How many times the largest body the payloads of an answer may be, in base64.
const LARGEST_ANSWER: usize = 2;

/// Signs many statements.
pub async fn sign_dsse_batch(
    state: Data<AppState>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let mut received = receive(&state, &request, payload).await?;
    // The body may have taken all of the time there was.
    received.context.deadline = Deadline::after(state.limits.request_timeout);
    let parsed = match read(&state, &request, &mut received).await {
        Ok(parsed) => parsed,
        Err(problem) => return Err(recorded(&state, &received.session, &received.context, problem).await),
    };
    let Received {
        session,
        context,
        bytes,
        held,
    } = received;
    drop(bytes);
    run_to_its_end(state, session, parsed, context, held).await
}

/// A batch as its body says it.
struct Parsed {
    batch: BatchRequest,
    /// What each item is to be answered with; in its place the problem, where its shape is at fault.
    wanted: Vec<Result<ReturnBundle, Problem>>,
    bounds: Bounds,
}

/// What the body asks for, with room for its answer.
async fn read(state: &AppState, request: &HttpRequest, received: &mut Received) -> Result<Parsed, Problem> {
    let parsed = read_items(state, &received.session, &received.context, &received.bytes).await?;
    if request
        .headers()
        .contains_key(HeaderName::from_static("idempotency-key"))
    {
        let what =
            "a batch has no Idempotency-Key: leave it out, or send what must not be signed twice one by one";
        return Err(Problem::new(Code::InvalidRequest, Stage::Shape, what));
    }
    parsed.bounds.reserve(&state.limits, &mut received.held)?;
    Ok(parsed)
}

/// Reads the items one by one, each when it is its tenant's turn: however many there are and however large they are, what
/// else waits on this worker is looked at in between.
async fn read_items(
    state: &AppState,
    session: &Session<Authenticated>,
    context: &Context,
    bytes: &Bytes,
) -> Result<Parsed, Problem> {
    turn(session, context).await?;
    let body = parse_batch(bytes)?;
    let mut parsed = Parsed {
        wanted: Vec::with_capacity(body.items.len()),
        batch: BatchRequest {
            items: Vec::with_capacity(body.items.len()),
            scanner: body.scanner,
            poe: poe_of(body.poe),
        },
        bounds: Bounds::default(),
    };
    let timestamp = state.services.timestamps.as_ref().map_or(0, |_| TIMESTAMP);
    let beside = BESIDE_PAYLOAD + timestamp;
    for (place, element) in body.items.into_iter().enumerate() {
        turn(session, context).await?;
        match read_item(state, place, element) {
            Ok((item, returned)) => {
                parsed.bounds.add(&item.draft, returned, beside);
                parsed.batch.items.push(item);
                parsed.wanted.push(Ok(returned));
            }
            // It is one body: what is not JSON at one place is none.
            Err(error) if error.kind == BodyErrorKind::Json => {
                let detail = format!("items[{place}]: {}", error.detail);
                return Err(BodyError::new(error.kind, detail).into());
            }
            Err(error) => parsed.wanted.push(Err(error.into())),
        }
    }
    Ok(parsed)
}

fn read_item(
    state: &AppState,
    place: usize,
    element: Element<'_>,
) -> Result<(BatchItem, ReturnBundle), BodyError> {
    let item = element.read()?;
    let draft: StatementDraft = draft_of(state, item.subjects, item.predicate_type, item.predicate)?;
    let returned = item.options.return_bundle.unwrap_or_default();
    let options = pipeline_options(item.options);
    Ok((
        BatchItem {
            place,
            draft,
            options,
        },
        returned,
    ))
}

/// How large the answer can become, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    payloads: usize,
    beside: usize,
}

impl Bounds {
    fn add(&mut self, draft: &StatementDraft, returned: ReturnBundle, beside: usize) {
        let times = match returned {
            ReturnBundle::Dsse => 1,
            ReturnBundle::Sigstore => 2,
        };
        let encoded = draft.payload_bytes_at_most().div_ceil(3).saturating_mul(4);
        self.payloads = self.payloads.saturating_add(encoded.saturating_mul(times));
        self.beside = self.beside.saturating_add(beside.saturating_mul(times));
    }

    /// Holds the bytes of the answer before anything is signed for it.
    fn reserve(self, limits: &Limits, held: &mut HeldBytes) -> Result<(), Problem> {
        let most = limits.max_body_bytes.saturating_mul(LARGEST_ANSWER);
        if self.payloads > most {
            let what = format!(
                "the payloads of the answer could have {} bytes in base64: at most {most} are answered, split the batch",
                self.payloads
            );
            return Err(Problem::new(Code::ArtifactTooLarge, Stage::Body, what));
        }
        let grown = held.grow_to(self.payloads.saturating_add(self.beside));
        grown.map_err(|_| {
            let what = "the service holds as many bytes of bodies and answers as it may, or as it may for one tenant: try \
                again shortly, or split the batch";
            Problem::new(Code::Overloaded, Stage::Body, what)
        })
    }
}

async fn run_to_its_end(
    state: Data<AppState>,
    session: Session<Authenticated>,
    parsed: Parsed,
    context: Context,
    held: HeldBytes,
) -> Result<HttpResponse, Problem> {
    let in_flight = state.lifecycle.begin();
    // In a box, as for a single signature: a task moves what it holds by value.
    let task = actix_web::rt::spawn(Box::pin(async move {
        let _in_flight = in_flight;
        let Parsed { batch, wanted, .. } = parsed;
        let returned: Vec<_> = wanted
            .iter()
            .map(|wanted| wanted.as_ref().copied().unwrap_or_default())
            .collect();
        let origin = Arc::clone(&state.services.audit_origin);
        let tell = move |place: usize, released: Released| {
            let returned = returned.get(place).copied().unwrap_or_default();
            item_answer(&origin, &released, returned)
        };
        let answer = sign_batch(&state.services, session, batch, &context, tell).await?;
        // In order of place, as the problems of those that are missing are.
        let mut items: Vec<Option<Result<ItemAnswer, Problem>>> = Vec::with_capacity(wanted.len());
        items.extend(wanted.into_iter().map(|wanted| wanted.err().map(Err)));
        for (place, result) in answer.results {
            if let Some(slot) = items.get_mut(place) {
                *slot = Some(result.map_err(Problem::from));
            }
        }
        let pieces = results(told(&state, &context, items));
        let mut response = HttpResponse::Ok();
        response.content_type(ContentType::json());
        if let Some(rate) = answer.rate {
            insert_rate(&mut response, &rate);
        }
        let mut response = held.until_all_is_read(response.finish(), pieces);
        response.extensions_mut().insert(Outcome {
            code: "ok",
            audit_id: None,
        });
        Ok(response)
    }));
    outcome_of(task).await
}

/// The answer to one item, as a single request would have it.
fn item_answer(origin: &str, released: &Released, returned: ReturnBundle) -> Result<ItemAnswer, Failure> {
    let told = tell(origin, released, returned)?;
    let payload = &released.statement().payload;
    let whole = whole(&told, released.audit_id(), payload);
    let whole = whole.ok_or_else(|| Failure::new(Stage::Signing, Refusal::Unformed))?;
    Ok(ItemAnswer::signed(whole))
}

fn told(
    state: &AppState,
    context: &Context,
    items: Vec<Option<Result<ItemAnswer, Problem>>>,
) -> Vec<ItemAnswer> {
    let observer = &state.services.observer;
    observer.batch(items.len());
    let unformed = || Err(Failure::new(Stage::Signing, Refusal::Unformed).into());
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let (code, answer) = match item.unwrap_or_else(unformed) {
            Ok(answer) => ("ok", answer),
            Err(problem) => {
                let document = problem.document(&context.correlation);
                (
                    problem.code().as_str(),
                    ItemAnswer::refused(problem.status(), document),
                )
            }
        };
        observer.batch_item(code);
        answers.push(answer);
    }
    answers
}
