//! Where events go: lines on standard error, in one form for the extension and for `quackd`.
//!
//! The extension is a library of its own inside its host, with its own list of who listens to events. `quackd` and the
//! extension that it loads therefore both call [`start`], with the same settings, and their lines make one stream.
//!
//! The host may fork, exit or end its threads in any order. Nothing here holds a lock, has a thread, or buffers a line;
//! a line is one `write`. Logging never fails its caller: a line that cannot be written is lost.
//!
//! What it does not know: who logs what. The code that logs keeps tokens and keys out of its events.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

mod directives;
mod line;
mod stderr;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use directives::check;

/// Says what is logged; nothing when it is absent or empty.
pub const DIRECTIVES_VARIABLE: &str = "QUACK_LOG";
/// Says in which form: `text`, which is the default, or `json`.
pub const FORMAT_VARIABLE: &str = "QUACK_LOG_FORMAT";

/// The node of this process, once it is known.
static NODE: OnceLock<String> = OnceLock::new();
/// Whether there is more than one, so that a line does not tell whose it is.
static SEVERAL_NODES: AtomicBool = AtomicBool::new(false);

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Format {
    /// As it is written in the environment.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Why logging does not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// What is to be logged cannot be understood.
    #[error(
        "'{directive}' does not say what to log{reason}: write off, error, warn, info, debug or trace, or a list such as \
         info,quack_node=debug"
    )]
    Directive {
        /// The part that is wrong.
        directive: String,
        /// What the parser says, after a colon; may be empty.
        reason: String,
    },
    /// There is no such form.
    #[error("'{0}' is no format of logs: write text or json")]
    Format(String),
    /// A variable of the environment cannot be used.
    #[error("the environment's {variable} is not valid: {source}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<Error>,
    },
}

/// What the environment asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// What is logged, if it says so.
    pub directives: Option<String>,
    /// In which form, if it says so.
    pub format: Option<Format>,
}

impl Settings {
    /// Reads [`DIRECTIVES_VARIABLE`] and [`FORMAT_VARIABLE`].
    ///
    /// # Errors
    /// [`Error::Environment`] when one of them makes no sense.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let wrong = |variable| move |error| Error::Environment { variable, source: Box::new(error) };
        let directives = given(DIRECTIVES_VARIABLE);
        if let Some(directives) = &directives {
            check(directives).map_err(wrong(DIRECTIVES_VARIABLE))?;
        }
        let format = match given(FORMAT_VARIABLE).as_deref() {
            None => None,
            Some("text") => Some(Format::Text),
            Some("json") => Some(Format::Json),
            Some(other) => return Err(wrong(FORMAT_VARIABLE)(Error::Format(other.to_owned()))),
        };
        Ok(Self { directives, format })
    }
}

/// Sends events to standard error from now on, as long as the process lives. Only the first call counts.
///
/// # Errors
/// [`Error::Directive`].
pub fn start(directives: &str, format: Format) -> Result<(), Error> {
    let filter = directives::parse(directives)?;
    let lines = line::Lines::layer(format);
    // It fails when a subscriber is installed already: the first one stays.
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
    Ok(())
}

/// Names the node that the lines of this process are about. When a second one is named, the lines name none any more.
pub fn name_node(name: &str) {
    if NODE.get_or_init(|| name.to_owned()) != name {
        SEVERAL_NODES.store(true, Ordering::Relaxed);
    }
}

/// The one node of this process.
fn node() -> Option<&'static str> {
    NODE.get().map(String::as_str).filter(|_| !SEVERAL_NODES.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(directives: &str, format: &str) -> Result<Settings, String> {
        let values = [(DIRECTIVES_VARIABLE, directives), (FORMAT_VARIABLE, format)];
        let find =
            |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        Settings::from_variables(find).map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_says_what_is_logged_and_how_and_an_empty_variable_is_none() {
        assert_eq!(settings("", ""), Ok(Settings::default()));
        let json = Settings { directives: Some("info".to_owned()), format: Some(Format::Json) };
        assert_eq!(settings("info", "json"), Ok(json));
        let error = settings("quack_node=loud", "").unwrap_err();
        assert!(error.starts_with("the environment's QUACK_LOG is not valid: 'quack_node=loud'"), "{error}");
        let error = settings("info", "yaml").unwrap_err();
        assert!(error.contains("QUACK_LOG_FORMAT") && error.contains("write text or json"), "{error}");
    }
}
