//! One GET request, bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;

use crate::Error;

/// Largest answer in bytes. A status of a thousand groups has about half a megabyte.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub text: String,
}

/// Asks `http://host:port/path` and waits at most `time_max` for the whole answer.
pub fn get(url: &str, time_max: Duration) -> Result<Answer, Error> {
    let uri: Uri = url.parse().map_err(|error| Error::Invalid(format!("'{url}' is not a URL: {error}")))?;
    if uri.scheme_str() != Some("http") || uri.host().is_none() {
        return Err(Error::Invalid(format!("'{url}' is not an admin address: write http://host:port")));
    }
    let unreachable = |reason: String| Error::Unreachable { url: url.to_owned(), reason };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| unreachable(error.to_string()))?;
    let answer = runtime.block_on(async { tokio::time::timeout(time_max, ask(&uri)).await });
    // A name that is still being looked up must not hold the program.
    runtime.shutdown_background();
    match answer {
        Ok(answer) => answer.map_err(unreachable),
        Err(_) => Err(unreachable(format!("no answer within {} s", time_max.as_secs_f64()))),
    }
}

async fn ask(uri: &Uri) -> Result<Answer, String> {
    let text = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(80);
    let stream = tokio::net::TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    tokio::spawn(connection);
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| text(&error))?;
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    Ok(Answer { status, text: String::from_utf8_lossy(&body).into_owned() })
}
