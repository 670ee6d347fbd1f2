//! Calls of peers: a body in, a body out, before a deadline.

use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, StatusCode};
use quack_types::NodeId;
use tokio::time::{Instant, timeout_at};

use super::{PeerFace, Refusal, head};
use crate::h2_io::{DEADLINE_HEADER, Unreceived, receive_all, send_all};
use crate::server::in_call;

/// Longest deadline. A caller that needs more time calls again.
const DEADLINE_MAX: Duration = Duration::from_secs(3600);

impl PeerFace {
    /// Carries out a call. The body is read only when there is a thread for it, so that a waiting call costs nothing
    /// here. A call that has begun runs to its end, also when the caller has gone.
    pub(super) async fn call(
        &self,
        node: &NodeId,
        method: &str,
        headers: &HeaderMap,
        mut body: RecvStream,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), Refusal> {
        let deadline = Instant::now() + deadline(headers)?;
        let permit = timeout_at(deadline, self.calls.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let text =
                format!("{} calls are being carried out: this one was not begun", self.limits.calls_max);
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
        };
        let body = self.call_body(method, &mut body, deadline).await?;
        let task = {
            let (handler, node, method) = (self.handler.clone(), node.clone(), method.to_owned());
            tokio::task::spawn_blocking(move || {
                let answer = in_call(|| handler.call(&node, &method, body));
                drop(permit);
                answer
            })
        };
        let answer = match timeout_at(deadline, task).await {
            Ok(Ok(Ok(answer))) => answer,
            Ok(Ok(Err(text))) => return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, text)),
            Ok(Err(error)) => {
                tracing::error!(%error, method, "a call of a peer has panicked");
                let text = format!("internal error: call '{method}' has panicked");
                return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text));
            }
            Err(_) => {
                let text = "the deadline has passed; the call goes on";
                return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, text));
            }
        };
        if answer.len() > self.limits.call_bytes_max {
            let text = format!("the answer to call '{method}' is too long: it has {} bytes", answer.len());
            return Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, text));
        }
        // Errors are ignored: the caller may have gone.
        if let Ok(mut stream) = respond.send_response(head(StatusCode::OK), answer.is_empty())
            && !answer.is_empty()
        {
            let _ = timeout_at(deadline, send_all(&mut stream, answer, true)).await;
        }
        Ok(())
    }

    async fn call_body(
        &self,
        method: &str,
        body: &mut RecvStream,
        deadline: Instant,
    ) -> Result<Bytes, Refusal> {
        let (status, text) = match timeout_at(deadline, receive_all(body, self.limits.call_bytes_max)).await {
            Ok(Ok(body)) => return Ok(body),
            Ok(Err(error @ Unreceived::TooLong(_))) => (StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            Ok(Err(Unreceived::Broken(error))) => (StatusCode::BAD_REQUEST, error.to_string()),
            Err(_) => (StatusCode::REQUEST_TIMEOUT, "it did not arrive before the deadline".to_owned()),
        };
        Err(Refusal::new(status, format!("the body of call '{method}' is not taken: {text}")))
    }
}

fn deadline(headers: &HeaderMap) -> Result<Duration, Refusal> {
    let millis = headers.get(DEADLINE_HEADER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match millis {
        Some(millis) => Ok(Duration::from_millis(millis).min(DEADLINE_MAX)),
        None => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("a call needs the header {DEADLINE_HEADER}: how many milliseconds its caller waits"),
        )),
    }
}
