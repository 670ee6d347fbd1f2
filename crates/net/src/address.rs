//! Server addresses: `quack:host[:port]`, `quack://host[:port]`, `[ipv6]` in place of the host.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use crate::Error;

/// The port of an address that names none, as the stock extension has it.
pub const DEFAULT_PORT: u16 = 9494;

/// Longest host name (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// Where a server listens, or is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Why a text is not an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a server address: {reason}; write quack:host or quack:host:port")]
pub struct InvalidEndpoint {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Endpoint {
    /// Makes an endpoint of a host name or an address (IPv6 without brackets) and a port.
    pub fn new(host: &str, port: u16) -> Result<Self, InvalidEndpoint> {
        let invalid = |reason| InvalidEndpoint { text: host.to_owned(), reason };
        let host = check_host(host).map_err(invalid)?;
        Ok(Self { host, port })
    }

    /// The host: a name in lower case, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 0 is any free one, and only for listening.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same host with another port.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// Whether the host is written as an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        self.host.parse::<Ipv6Addr>().is_ok()
    }

    /// Whether the host means this machine, by its spelling alone: `localhost` or a loopback address.
    /// The stock client speaks plain HTTP to those and HTTPS to all others.
    pub fn is_local(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }

    /// The address as `http://host:port`, or `https://host:port`.
    pub fn url(&self, tls: bool) -> String {
        format!("{}://{}", if tls { "https" } else { "http" }, self.authority())
    }

    /// Looks up the addresses of the host, those of IPv4 first.
    pub(crate) fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        let resolve = |source| Error::Resolve { host: self.host.clone(), source };
        let mut addresses: Vec<_> =
            (self.host.as_str(), self.port).to_socket_addrs().map_err(resolve)?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        Ok(addresses)
    }

    fn authority(&self) -> String {
        if self.is_ipv6() {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    /// The canonical form, `quack:host:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "quack:{}", self.authority())
    }
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = |reason| InvalidEndpoint { text: text.to_owned(), reason };
        let rest = text.strip_prefix("quack:").ok_or_else(|| invalid("it does not start with 'quack:'"))?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (host, port) = split(rest).map_err(invalid)?;
        let port = port.map_or(Ok(DEFAULT_PORT), parse_port).map_err(invalid)?;
        let host = check_host(host).map_err(invalid)?;
        Ok(Self { host, port })
    }
}

/// Divides `host[:port]`, where the host may be an IPv6 address in brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if text.contains(['/', '?', '#', '@']) {
        return Err("it has a path, a query or a user, and an address has none");
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("its '[' is not closed")?;
        if host.parse::<Ipv6Addr>().is_err() {
            return Err("there is no IPv6 address in its brackets");
        }
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("there is something other than a port behind its brackets"),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err("an IPv6 address must stand in brackets"),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its port is not a number");
    }
    text.parse().map_err(|_| "its port is above 65535")
}

fn check_host(host: &str) -> Result<String, &'static str> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() {
        return Err("it has no host");
    }
    if host.len() > HOST_BYTES_MAX {
        return Err("its host is longer than 253 characters");
    }
    if !host.bytes().all(allowed) {
        return Err("its host has a character that no host name has");
    }
    // Names such as 1.2.3 or 256.1.1.1: some resolvers take them for addresses.
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err("its host is a number and not an IP address");
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_every_form_are_read_and_written_canonically() {
        for (text, canonical, url, local) in [
            ("quack:localhost", "quack:localhost:9494", "http://localhost:9494", true),
            ("quack:LocalHost:1", "quack:localhost:1", "http://localhost:1", true),
            ("quack://localhost:65535", "quack:localhost:65535", "http://localhost:65535", true),
            ("quack:127.0.0.1:0", "quack:127.0.0.1:0", "http://127.0.0.1:0", true),
            ("quack:127.8.8.8", "quack:127.8.8.8:9494", "http://127.8.8.8:9494", true),
            ("quack:[::1]", "quack:[::1]:9494", "http://[::1]:9494", true),
            ("quack:[0:0:0:0:0:0:0:1]:77", "quack:[::1]:77", "http://[::1]:77", true),
            (
                "quack:[::ffff:127.0.0.1]:77",
                "quack:[::ffff:127.0.0.1]:77",
                "http://[::ffff:127.0.0.1]:77",
                true,
            ),
            ("quack://[2001:db8::1]:5001", "quack:[2001:db8::1]:5001", "http://[2001:db8::1]:5001", false),
            ("quack:0.0.0.0:80", "quack:0.0.0.0:80", "http://0.0.0.0:80", false),
            (
                "quack:db-1.example_a.org:0080",
                "quack:db-1.example_a.org:80",
                "http://db-1.example_a.org:80",
                false,
            ),
            (
                "quack:localhost.example.org",
                "quack:localhost.example.org:9494",
                "http://localhost.example.org:9494",
                false,
            ),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), canonical);
            assert_eq!(endpoint.url(false), url);
            assert_eq!(endpoint.url(true), url.replace("http:", "https:"));
            assert_eq!(endpoint.is_local(), local, "{text}");
            assert_eq!(canonical.parse(), Ok(endpoint));
        }
    }

    #[test]
    fn a_text_that_is_no_address_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "does not start"),
            ("localhost", "does not start"),
            ("http://localhost", "does not start"),
            ("QUACK:localhost", "does not start"),
            ("quack:", "no host"),
            ("quack://", "no host"),
            ("quack::5001", "no host"),
            ("quack:host:", "not a number"),
            ("quack:host:x", "not a number"),
            ("quack:host:-1", "not a number"),
            ("quack:host:+1", "not a number"),
            ("quack:host: 1", "not a number"),
            ("quack:host:65536", "above 65535"),
            ("quack:host:99999999999999999999", "above 65535"),
            ("quack:host:1:2", "must stand in brackets"),
            ("quack:::1", "must stand in brackets"),
            ("quack:[::1", "not closed"),
            ("quack:[::1]5001", "behind its brackets"),
            ("quack:[127.0.0.1]", "no IPv6 address"),
            ("quack:[]", "no IPv6 address"),
            ("quack:[fe80::1%eth0]", "no IPv6 address"),
            ("quack:host/path", "a path"),
            ("quack:host:1/path", "a path"),
            ("quack:host?x=1", "a path"),
            ("quack:user@host", "a user"),
            ("quack:ho st", "character"),
            ("quack:hóst", "character"),
            ("quack:host\0", "character"),
            ("quack:256.1.1.1", "not an IP address"),
            ("quack:1.2.3", "not an IP address"),
            ("quack:7", "not an IP address"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.reason.contains(reason), "{text}: {}", error.reason);
        }
        assert!(format!("quack:{}", "h".repeat(254)).parse::<Endpoint>().is_err());
        assert!(format!("quack:{}", "h".repeat(253)).parse::<Endpoint>().is_ok());
        assert!(Endpoint::new("::1", 5).unwrap().is_local());
        assert!(Endpoint::new("[::1]", 5).is_err());
    }
}
