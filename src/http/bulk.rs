//! Publishes many updates in one request: `POST` to the hub with a JSON object in each line. Lines are
//! processed as they arrive, and answered in the same order while others still arrive. A bad line does not
//! stop the others. Only lines with an id or an idempotency key can be repeated safely.

mod answers;
mod lines;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_http::ConnectionType;
use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Version,
        header::{HeaderName, HeaderValue},
    },
    web,
};
use futures_util::StreamExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::sleep,
};

use self::answers::{Answers, output};
pub(crate) use self::lines::{Line, Lines};
use super::{
    idempotency_key::IDEMPOTENCY_KEY,
    policy::Policy,
    problem::{Challenge, Problem},
    publish_rights::{authorize, may_not_publish},
    update::{self, Update},
};
use crate::{
    auth::Access,
    broadcaster::Hub,
    event::{GivenId, KeyedUpdate},
    event_log::{Ack, Append, AppendKey, AppendResult, NumberedAck},
    transport::{Connection, Shared},
};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Maximum number of lines of one request that are not answered yet. At this number, reading pauses.
const MAX_LINES_IN_FLIGHT: usize = 8192;

/// Number of lines after which the other tasks of the thread may run.
const LINES_PER_TURN: usize = 256;

/// Pause before the next look at what a request waits for: space in the log's queue, or a client that reads
/// its answers.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// How long a client must be silent before the response begins, if its body has not ended and not too many
/// answers wait. Many proxies forward no more of a body once the response has begun, so a client that sends
/// everything without a pause gets its response after its body.
const SILENCE: Duration = Duration::from_secs(1);

/// Responds with one line for each line of the body. The body is read in the background.
pub(super) async fn publish(
    request: &HttpRequest,
    payload: web::Payload,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
    access: Arc<Access>,
) -> Result<HttpResponse, Problem> {
    if request.headers().contains_key(IDEMPOTENCY_KEY) {
        return Err(Problem::KeyOfManyUpdates);
    }
    if !access.can_publish() {
        return Err(may_not_publish(&hub));
    }
    let permit = hub.begin_bulk()?;
    if let Some(connection) = request.conn_data::<Connection>() {
        connection.limit_idle_time();
    }
    let is_minimal = prefers_minimal(request);
    let shared = request.app_data::<web::Data<Shared>>();
    // From here on, a graceful shutdown waits until the response has ended.
    let token = shared.map(|shared| shared.streams.token());
    let (output, body) = output(&policy.answers, token);
    let (begin, begun) = oneshot::channel();
    let bulk = Bulk {
        lines: Lines::new(&policy.lines, policy.limits.body),
        answers: Answers::new(output, is_minimal),
        hub,
        policy,
        access,
        begin: Some(begin),
        _permit: permit,
    };
    actix_web::rt::spawn(bulk.run(payload));
    // An error means that the request has ended.
    begun.await.ok();
    let mut response = HttpResponse::Ok();
    response.content_type("application/x-ndjson");
    if is_minimal {
        let applied = HeaderValue::from_static("return=minimal");
        response.insert_header((PREFERENCE_APPLIED, applied));
    }
    let mut response = response.body(body);
    if request.version() < Version::HTTP_11 {
        // HTTP/1.0 has no chunks. The response ends when the connection closes.
        let head = response.head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// Whether the client prefers a response with errors and a summary only (RFC 7240).
fn prefers_minimal(request: &HttpRequest) -> bool {
    let values = request.headers().get_all(PREFER);
    let mut preferences =
        values.flat_map(|value| value.as_bytes().split(|byte| b",;".contains(byte)));
    preferences.any(|preference| {
        let preference = preference.trim_ascii();
        preference.eq_ignore_ascii_case(b"return=minimal")
            || preference.eq_ignore_ascii_case(b"return=\"minimal\"")
    })
}

/// A bulk request that is being processed.
struct Bulk {
    lines: Lines,
    answers: Answers,
    hub: web::Data<Hub>,
    policy: web::Data<Policy>,
    access: Arc<Access>,
    /// Dropped when the response must begin.
    begin: Option<oneshot::Sender<()>>,
    /// Held until the last line is answered.
    _permit: OwnedSemaphorePermit,
}

/// What ends a bulk request.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// All lines are answered.
    Complete,
    /// The server reads no more lines.
    Stopped,
    /// The client has closed the connection.
    Cut,
}

impl Bulk {
    /// Reads the body and answers each line, until the body ends.
    async fn run(mut self, mut payload: web::Payload) {
        match self.answer_all(&mut payload).await {
            End::Complete => self.answers.finish(),
            End::Stopped => self.answers.end(),
            // Nobody reads the answers.
            End::Cut => {}
        }
    }

    async fn answer_all(&mut self, payload: &mut web::Payload) -> End {
        let (acks, mut acked) = mpsc::unbounded_channel();
        let revocation = self.policy.token_verifier.revocation(&self.access);
        let mut revoked = Box::pin(revocation.happens());
        let mut is_revoked = false;
        let mut state = self.hub.state();
        // Whether there are no more bytes to read, and whether there may be a complete line.
        let (mut is_read, mut has_lines) = (false, false);
        let mut end = End::Complete;
        loop {
            let is_blocked = self.hub.is_log_full()
                || self.answers.pending() >= MAX_LINES_IN_FLIGHT
                || self.answers.is_full();
            if has_lines && !is_blocked {
                has_lines = self.process(&acks, is_revoked);
                tokio::task::yield_now().await;
            }
            if is_read && !has_lines && self.answers.pending() == 0 {
                return end;
            }
            tokio::select! {
                biased;
                Some((number, result)) = acked.recv() => {
                    self.answers.acknowledge(number, result);
                    let more = std::iter::from_fn(|| acked.try_recv().ok());
                    more.for_each(|(number, result)| self.answers.acknowledge(number, result));
                }
                _ = state.wait_for(|state| state.draining), if !is_read => {
                    self.stop(&Problem::Draining);
                    (is_read, has_lines, end) = (true, false, End::Stopped);
                }
                () = &mut revoked, if !is_revoked => is_revoked = true,
                () = sleep(FULL_PAUSE), if is_blocked => {}
                () = sleep(SILENCE), if self.begin.is_some() && self.answers.are_ready() => self.begin = None,
                // Nothing to wait for: the next lines are here.
                () = std::future::ready(()), if has_lines && !is_blocked => {}
                chunk = payload.next(), if !is_read && !has_lines && !is_blocked => match chunk {
                    Some(Ok(chunk)) => {
                        has_lines = self.lines.push(&chunk).is_ok();
                        if !has_lines {
                            self.stop(&Problem::Busy);
                            (is_read, end) = (true, End::Stopped);
                        }
                    }
                    // An incomplete line is not published.
                    Some(Err(_)) => return End::Cut,
                    None => {
                        self.lines.end();
                        (is_read, has_lines) = (true, true);
                    }
                },
            }
            if self.answers.send().is_err() {
                return End::Cut;
            }
            if is_read || self.answers.is_full() {
                self.begin = None;
            }
        }
    }

    /// Answers the first line that was not processed with an error. No later line is answered, and none of
    /// them is published. Lines that wait for the log are still answered.
    fn stop(&mut self, problem: &Problem) {
        self.answers.add_refused(self.lines.number() + 1, problem);
    }

    /// Passes the next complete lines to the log, at most [`LINES_PER_TURN`], and refuses those that cannot
    /// be published. Returns whether there may be more.
    fn process(
        &mut self,
        acks: &mpsc::UnboundedSender<(u64, AppendResult)>,
        is_revoked: bool,
    ) -> bool {
        let refusal = self.token_problem(is_revoked);
        let mut appends = Vec::new();
        let mut has_more = true;
        for _ in 0..LINES_PER_TURN {
            let Some(line) = self.lines.next() else {
                has_more = false;
                break;
            };
            let update = match (&refusal, line) {
                (_, Line::TooLong(limit)) => Err(Problem::BodyTooLong(limit)),
                (Some(refusal), _) => Err(refusal.clone()),
                (None, Line::Text(json)) => self.parse(&json),
            };
            match update {
                Err(problem) => self.answers.add_refused(self.lines.number(), &problem),
                Ok((mut append, given)) => {
                    let number = self.answers.add_pending(self.lines.number(), given);
                    let ack = NumberedAck::new(number, acks.clone());
                    append.ack = Some(Ack::OfMany(ack));
                    appends.push(append);
                }
            }
        }
        if !appends.is_empty() {
            self.hub.append_all(appends);
        }
        has_more
    }

    /// Why the token allows no more updates, if so.
    fn token_problem(&self, is_revoked: bool) -> Option<Problem> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(u64::MAX, |now| now.as_secs());
        let is_expired = self.access.expires_at.is_some_and(|end| end <= now);
        (is_revoked || is_expired).then(|| Challenge::InvalidToken.to(&self.hub))
    }

    fn parse(&self, json: &[u8]) -> Result<(Append, Option<GivenId>), Problem> {
        let update = update::parse_json(json, &self.policy.limits);
        let Update { event, key } = update.map_err(Problem::InvalidUpdate)?;
        authorize(&self.access, &self.hub, &event)?;
        let key = key.map(|key| KeyedUpdate::new(self.access.publisher, &key, &event));
        let given = event.given_id().cloned();
        let mut append = Append::new(event, None);
        append.key = key.map(AppendKey::unregistered);
        Ok((append, given))
    }
}
