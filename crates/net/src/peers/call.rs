//! One call to a peer, from its request to its answer.

use std::future::pending;

use bytes::Bytes;
use h2::Reason;
use h2::client::SendRequest;
use http::{HeaderValue, Request, StatusCode};
use quack_types::NodeId;
use tokio::time::{Instant, timeout_at};

use crate::CallError;
use crate::h2_io::{CALL_PATH, DEADLINE_HEADER, receive_all, receive_text, send_all};

/// Longest name of a method.
const METHOD_CHARS_MAX: usize = 64;

/// What is called, and until when.
#[derive(Debug)]
pub(super) struct Call {
    pub node: NodeId,
    pub method: String,
    pub body: Bytes,
    pub start: Instant,
    pub deadline: Instant,
    /// Largest answer.
    pub answer_bytes_max: usize,
}

impl Call {
    /// Whether a method can have this name: it becomes part of a path.
    pub(super) fn is_method(name: &str) -> bool {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        (1..=METHOD_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed)
    }

    pub(super) fn unreachable(&self, reason: impl Into<String>) -> CallError {
        CallError::Unreachable { node: self.node.clone(), reason: reason.into() }
    }

    fn refused(&self, text: impl Into<String>) -> CallError {
        CallError::Refused { node: self.node.clone(), text: text.into() }
    }

    fn timed_out(&self) -> CallError {
        CallError::TimedOut { node: self.node.clone(), deadline: self.deadline - self.start }
    }

    fn broken(&self, error: &h2::Error) -> CallError {
        if error.is_remote() && error.reason() == Some(Reason::REFUSED_STREAM) {
            // HTTP/2's word for "not even looked at" (RFC 9113, section 8.7).
            return self.unreachable("the node takes no more requests");
        }
        CallError::Broken { node: self.node.clone(), reason: error.to_string() }
    }

    /// Makes the call on a connection that another task drives.
    pub(super) async fn run(self, requests: SendRequest<Bytes>) -> Result<Bytes, CallError> {
        let mut requests = match timeout_at(self.deadline, requests.ready()).await {
            Ok(Ok(requests)) => requests,
            Ok(Err(error)) => return Err(self.unreachable(error.to_string())),
            Err(_) => return Err(self.unreachable("too many calls to this node are under way")),
        };
        let millis = self.deadline.saturating_duration_since(Instant::now()).as_millis();
        let mut request = Request::new(());
        *request.method_mut() = http::Method::POST;
        // The host is not looked at: the certificates have said who is who.
        *request.uri_mut() = format!("https://peer{CALL_PATH}{}", self.method)
            .parse()
            .map_err(|_| self.refused(format!("'{}' is no method", self.method)))?;
        let millis = HeaderValue::from(u64::try_from(millis).unwrap_or(u64::MAX));
        request.headers_mut().insert(DEADLINE_HEADER, millis);
        let (response, mut stream) = requests
            .send_request(request, self.body.is_empty())
            .map_err(|error| self.unreachable(error.to_string()))?;
        // An answer may come before all of the body has gone: a refusal, typically.
        let body = self.body.clone();
        let sending = async {
            if !body.is_empty() {
                let _ = send_all(&mut stream, body, true).await;
            }
            pending::<()>().await;
        };
        let answer = async {
            tokio::select! {
                biased;
                answer = self.answer(response) => answer,
                () = sending => Err(self.timed_out()),
            }
        };
        timeout_at(self.deadline, answer).await.unwrap_or_else(|_| Err(self.timed_out()))
    }

    async fn answer(&self, response: h2::client::ResponseFuture) -> Result<Bytes, CallError> {
        let (head, mut body) = response.await.map_err(|error| self.broken(&error))?.into_parts();
        match head.status {
            StatusCode::OK => match receive_all(&mut body, self.answer_bytes_max).await {
                Ok(answer) => Ok(answer),
                Err(error) => {
                    Err(CallError::Broken { node: self.node.clone(), reason: format!("its answer: {error}") })
                }
            },
            // The words of the server where ours are the same.
            StatusCode::GATEWAY_TIMEOUT => Err(self.timed_out()),
            _ => Err(self.refused(receive_text(&mut body).await)),
        }
    }
}
