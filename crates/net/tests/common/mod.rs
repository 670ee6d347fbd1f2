//! A service that does what the text of a statement says, and a client that sends raw bytes.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_net::{Limits, Opening, Prepared, Server, ServerConfig, Service, ServiceError};
use quack_wire::protocol_1::{Connecting, Request, Response};
use quack_wire::{Header, ResultId};

pub const TOKEN: &str = "token-of-the-tests";

/// A serialized INTEGER type, and a chunk of one such column with one row.
pub const INTEGER: &[u8] = b"d\0\x0d\xff\xff";
pub const CHUNK: &[u8] = b"d\0\x01e\0\x01d\0\x0d\xff\xfff\0\x01d\0\0f\0\x04\x07\0\0\0\xff\xff\xff\xff";

/// Understands these texts; their words are separated by one blank:
/// - `wait MS`: runs so long, or until it is interrupted;
/// - `stubborn MS`: runs so long, and ignores interrupts;
/// - `rows N`: a result of so many batches to fetch;
/// - `broken`: a result whose first fetch fails;
/// - `large N`: a result of one chunk of so many bytes;
/// - `error TEXT`, `panic TEXT`;
/// - anything else: a result of one row.
#[derive(Default)]
pub struct Fake {
    pub sessions: Mutex<HashMap<String, Session>>,
    /// What has happened, in order.
    pub events: Mutex<Vec<String>>,
    /// Calls that run, and the most there were at a time.
    running: Mutex<(usize, usize)>,
    /// What to run when a client says `stop`.
    pub on_stop: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[derive(Default)]
pub struct Session {
    batches: usize,
    interrupted: bool,
    running: bool,
    in_transaction: bool,
}

impl Fake {
    fn note(&self, event: impl Into<String>) {
        self.events.lock().unwrap().push(event.into());
    }

    pub fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    pub fn running_max(&self) -> usize {
        self.running.lock().unwrap().1
    }

    /// Runs a call, and checks that the session's calls do not overlap.
    fn call<T>(&self, id: &str, run: impl FnOnce() -> T) -> T {
        let mut sessions = self.sessions.lock().unwrap();
        let session = sessions.get_mut(id).expect("a call of a session that is not open");
        assert!(!session.running, "two calls of a session at a time");
        (session.running, session.interrupted) = (true, false);
        drop(sessions);
        let mut running = self.running.lock().unwrap();
        running.0 += 1;
        running.1 = running.1.max(running.0);
        drop(running);
        let result = run();
        self.running.lock().unwrap().0 -= 1;
        if let Some(session) = self.sessions.lock().unwrap().get_mut(id) {
            session.running = false;
        }
        result
    }

    fn run(&self, id: &str, sql: &str) -> Result<Prepared, ServiceError> {
        let (word, rest) = sql.split_once(' ').unwrap_or((sql, ""));
        let number = rest.parse::<u64>().unwrap_or(0);
        let mut chunk = Bytes::from_static(CHUNK);
        let mut more = false;
        let end = Instant::now() + Duration::from_millis(number);
        match word {
            "wait" => {
                while Instant::now() < end {
                    if self.sessions.lock().unwrap()[id].interrupted {
                        self.note(format!("interrupted {sql}"));
                        return Err(ServiceError::new("Interrupt", "Interrupted!"));
                    }
                    thread::sleep(Duration::from_millis(2));
                }
            }
            "BEGIN" => self.sessions.lock().unwrap().get_mut(id).unwrap().in_transaction = true,
            "COMMIT" => self.sessions.lock().unwrap().get_mut(id).unwrap().in_transaction = false,
            "stubborn" => thread::sleep(Duration::from_millis(number)),
            "rows" => {
                self.sessions.lock().unwrap().get_mut(id).unwrap().batches = number as usize;
                more = true;
            }
            "broken" => {
                self.sessions.lock().unwrap().get_mut(id).unwrap().batches = usize::MAX;
                more = true;
            }
            "large" => chunk = vec![0; number as usize].into(),
            "error" => return Err(ServiceError::new("Catalog", rest)),
            "stop" => {
                let stop = self.on_stop.lock().unwrap().take();
                stop.expect("something to run")();
            }
            _ => {}
        }
        Ok(Prepared {
            types: vec![Bytes::from_static(INTEGER)],
            names: vec!["x".into()],
            chunks: vec![chunk],
            more,
        })
    }
}

impl Service for Fake {
    fn connect(&self, session: &str, opening: &Opening) -> Result<(), ServiceError> {
        if opening.platform == "forbidden" {
            return Err(ServiceError::new("Permission", "this platform is forbidden"));
        }
        self.sessions.lock().unwrap().insert(session.into(), Session::default());
        self.note(format!("connect {session}"));
        Ok(())
    }

    fn prepare(&self, session: &str, sql: &str) -> Result<Prepared, ServiceError> {
        if sql == "panic" {
            panic!("as the client has asked");
        }
        self.call(session, || self.run(session, sql))
    }

    fn fetch(&self, session: &str) -> Result<Vec<Bytes>, ServiceError> {
        self.call(session, || {
            let mut sessions = self.sessions.lock().unwrap();
            let session = sessions.get_mut(session).unwrap();
            if session.batches == usize::MAX {
                return Err(ServiceError::new("IO", "broken in the middle"));
            }
            if session.batches == 0 {
                return Ok(Vec::new());
            }
            session.batches -= 1;
            Ok(vec![Bytes::from_static(CHUNK); 2])
        })
    }

    fn append(&self, session: &str, schema: &str, table: &str, chunk: Bytes) -> Result<(), ServiceError> {
        self.call(session, || {
            self.note(format!("append {schema}.{table} {}", chunk.len()));
            if table == "slow" {
                thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        })
    }

    fn is_in_transaction(&self, session: &str) -> bool {
        self.sessions.lock().unwrap()[session].in_transaction
    }

    fn disconnect(&self, session: &str) -> Result<(), ServiceError> {
        self.call(session, || ());
        self.sessions.lock().unwrap().remove(session);
        self.note(format!("disconnect {session}"));
        Ok(())
    }

    fn interrupt(&self, session: &str) {
        self.note("interrupt");
        if let Some(session) = self.sessions.lock().unwrap().get_mut(session) {
            session.interrupted = true;
        }
    }
}

/// Limits that let a test end soon.
pub fn limits() -> Limits {
    Limits {
        body_bytes_max: 1 << 20,
        bodies_bytes_max: 4 << 20,
        head_time_max: Duration::from_millis(300),
        body_time_max: Duration::from_millis(900),
        stall_time_max: Duration::from_millis(300),
        idle_time_max: Duration::from_millis(600),
        ..Limits::default()
    }
}

pub fn config(limits: Limits) -> ServerConfig {
    ServerConfig {
        duckdb_version: "v2.0.0".into(),
        platform: "linux_amd64".into(),
        limits,
        ..ServerConfig::new("quack:127.0.0.1:0".parse().unwrap(), TOKEN)
    }
}

pub fn start(limits: Limits) -> (Server, Arc<Fake>) {
    let fake = Arc::new(Fake::default());
    (Server::start(&config(limits), fake.clone()).unwrap(), fake)
}

/// Waits for something that happens on another thread.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// An HTTP response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn response(&self) -> (Header, Response) {
        assert_eq!(self.status, 200, "{}", self.head);
        let (header, body) = Header::decode(&self.body).unwrap();
        let response = Response::decode(header.message_type, body).unwrap();
        (header, response)
    }

    pub fn error(&self) -> String {
        match self.response().1 {
            Response::Error { message } => message,
            other => panic!("{other:?}"),
        }
    }
}

/// One socket.
pub struct Client {
    pub socket: TcpStream,
    received: Vec<u8>,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self { socket, received: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// The next response; `None` when the server has closed the connection before one.
    pub fn receive(&mut self, head_only: bool) -> Option<Answer> {
        loop {
            if let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.received[..end].to_vec()).unwrap();
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                let mut answer = Answer { status, head, body: Bytes::new() };
                let length = answer.header("Content-Length").map_or(0, |length| length.parse().unwrap());
                let length = if head_only { 0 } else { length };
                if self.received.len() >= end + 4 + length {
                    answer.body = Bytes::copy_from_slice(&self.received[end + 4..end + 4 + length]);
                    self.received.drain(..end + 4 + length);
                    return Some(answer);
                }
            }
            let mut buffer = [0; 65536];
            match self.socket.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.received.extend(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Waits for the server to close the connection without a further word; how long that took.
    pub fn closed(&mut self) -> Duration {
        let start = Instant::now();
        assert!(self.receive(false).is_none(), "an answer instead of the end");
        start.elapsed()
    }

    pub fn http(&mut self, request: &str) -> Answer {
        self.send(request);
        self.receive(request.starts_with("HEAD")).expect("an answer")
    }

    pub fn post(&mut self, body: &[u8]) -> Answer {
        self.send(post(body));
        self.receive(false).expect("an answer")
    }

    pub fn request(&mut self, session: &str, request: &Request) -> Answer {
        self.post(&request.encode(session, Some(1)).concat())
    }

    pub fn sql(&mut self, session: &str, sql: &str) -> Answer {
        self.request(session, &prepare(sql))
    }

    /// Opens a session and returns its id.
    pub fn open(&mut self) -> String {
        let (header, response) = self.request("", &connect(TOKEN)).response();
        assert!(matches!(response, Response::Connected(_)), "{response:?}");
        header.session
    }
}

pub fn post(body: &[u8]) -> Vec<u8> {
    let head = format!("POST /quack HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub fn connect(token: &str) -> Request {
    Request::Connect(Connecting {
        token: token.into(),
        duckdb_version: "v1.5.5".into(),
        platform: "linux_amd64".into(),
        version_min: 1,
        version_max: 1,
    })
}

pub fn prepare(sql: &str) -> Request {
    Request::Prepare { sql: sql.into() }
}

pub fn fetch(result: ResultId) -> Request {
    Request::Fetch { result }
}
