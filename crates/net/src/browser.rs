//! What keeps web pages away from the server: a browser on the machine of a server, or in its network, sends there what
//! any page asks it to.
//!
//! - A browser names the page that asks in `Origin`. Only the pages that are configured get in; other programs send no
//!   such header.
//! - A page can have its own name resolved to a loopback address, and then asks its own origin ("DNS rebinding"). It
//!   cannot change the name in `Host`, so plain HTTP on loopback takes none but names of this machine. TLS needs no such
//!   check: the browser compares the name with the certificate.

use std::net::IpAddr;

use hyper::Request;
use hyper::header::{self, HeaderMap, HeaderValue};

use crate::Error;

const FOREIGN_ORIGIN: &str =
    "web pages of this origin may not use this server; allow_origins of a node names those that may\n";
const FOREIGN_HOST: &str = "this name is none of this server's: connect to localhost, to its address, or to the name that it listens at\n";
/// The origin that stands for all.
const ANY: &str = "*";

/// Which pages may use a server, and which names it has.
#[derive(Debug)]
pub struct Browsers {
    origins: Vec<String>,
    names: Vec<String>,
}

impl Browsers {
    /// The pages of these origins, or all of them for `*`; and what the server is called beside its loopback names.
    pub fn new(allow_origins: &[String], names: &[String]) -> Self {
        // Machines find themselves at a loopback address under their own name, on Debian for example.
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            origins: allow_origins.iter().map(|origin| origin.to_ascii_lowercase()).collect(),
            names: names.iter().chain([&machine]).map(|name| bare(name)).collect(),
        }
    }

    /// Whether a request may be answered.
    ///
    /// # Errors
    /// It may not; these are the words of the refusal.
    pub fn check<B>(&self, request: &Request<B>, plain_from_loopback: bool) -> Result<(), &'static str> {
        if request.headers().get_all(header::ORIGIN).iter().any(|origin| !self.allows(origin)) {
            return Err(FOREIGN_ORIGIN);
        }
        if !plain_from_loopback {
            return Ok(());
        }
        let named = request.headers().get_all(header::HOST).iter().map(HeaderValue::to_str);
        let in_line = request.uri().authority().map(|authority| Ok(authority.as_str()));
        if named.chain(in_line).all(|host| host.is_ok_and(|host| self.is_own(host))) {
            return Ok(());
        }
        Err(FOREIGN_HOST)
    }

    /// The headers that let the page of an allowed request read the answer.
    pub(crate) fn permit(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let Some(origin) = origin else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        self.origins.iter().any(|allowed| allowed == ANY || allowed.eq_ignore_ascii_case(origin))
    }

    /// Whether `host`, perhaps with a port, is this machine. An address is: only names can be made to lead elsewhere.
    fn is_own(&self, host: &str) -> bool {
        let name = bare(host);
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.names.contains(&name)
    }
}

/// Checks that an entry of `allow_origins` is what browsers send, or `*`.
///
/// # Errors
/// It is neither.
pub fn check_origin(origin: &str) -> Result<(), Error> {
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    let right = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', ',']);
    if origin == ANY || (right && HeaderValue::from_str(origin).is_ok()) {
        return Ok(());
    }
    Err(Error::Origin { found: origin.to_owned() })
}

/// A host without port, brackets, capitals and the last dot.
fn bare(host: &str) -> String {
    let host = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None if host.matches(':').count() == 1 => host.split(':').next().unwrap_or(host),
        None => host,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn browsers(origins: &[&str]) -> Browsers {
        let origins: Vec<_> = origins.iter().map(ToString::to_string).collect();
        Browsers::new(&origins, &["db.example".to_owned()])
    }

    fn request(name: header::HeaderName, value: &str) -> Request<()> {
        Request::builder().header(name, value).body(()).unwrap()
    }

    #[test]
    fn only_pages_that_are_configured_get_in() {
        let asks =
            |allowed: &[&str], origin| browsers(allowed).check(&request(header::ORIGIN, origin), false);
        for origin in ["http://evil.example", "null", "http://localhost:8080", ""] {
            assert_eq!(asks(&[], origin), Err(FOREIGN_ORIGIN), "{origin}");
            assert_eq!(asks(&["*"], origin), Ok(()));
        }
        let allowed = ["https://app.example", "http://localhost:8080"];
        assert_eq!(asks(&allowed, "https://app.example"), Ok(()));
        for origin in ["http://app.example", "https://app.example:444", "https://app.example.evil.example"] {
            assert_eq!(asks(&allowed, origin), Err(FOREIGN_ORIGIN), "{origin}");
        }
        let two = Request::builder()
            .header("origin", "https://app.example")
            .header("origin", "http://evil.example");
        assert_eq!(browsers(&allowed).check(&two.body(()).unwrap(), false), Err(FOREIGN_ORIGIN));
    }

    #[test]
    fn names_of_others_are_refused_on_plain_loopback_alone() {
        let browsers = browsers(&[]);
        for host in [
            "localhost",
            "localhost:1",
            "LocalHost.",
            "a.localhost",
            "127.0.0.1:5",
            "[::1]:5",
            "DB.example:1",
        ] {
            assert_eq!(browsers.check(&request(header::HOST, host), true), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "evil.example:5001", "localhost.evil.example", "127.0.0.1.evil.example", "", "x"]
        {
            assert_eq!(browsers.check(&request(header::HOST, host), true), Err(FOREIGN_HOST), "{host}");
            assert_eq!(browsers.check(&request(header::HOST, host), false), Ok(()), "{host}");
        }
        let in_line = Request::builder().uri("http://evil.example/quack").body(()).unwrap();
        assert_eq!(browsers.check(&in_line, true), Err(FOREIGN_HOST));
    }

    #[test]
    fn what_no_browser_sends_is_no_origin() {
        for right in ["*", "https://app.example", "http://[::1]:80"] {
            assert!(check_origin(right).is_ok(), "{right}");
        }
        for wrong in
            ["", "app.example", "https://", "https://a/", "https://a/b", "https://a,https://b", "https://a\n"]
        {
            assert!(check_origin(wrong).is_err(), "{wrong}");
        }
    }
}
