//! What is logged: levels, for everything or by the beginning of a target.

use tracing_subscriber::EnvFilter;

use crate::Error;

/// The parser below also takes numbers, and an empty level; no operator could guess what those mean.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Whether this can be given to [`start`](crate::start).
///
/// A directive must name a level. A target alone would log everything of it, and a misspelt level would be a target
/// that no event has: a log without lines.
///
/// # Errors
/// [`Error::Directive`] for the first part that is wrong.
pub fn check(directives: &str) -> Result<(), Error> {
    parse(directives).map(drop)
}

pub(crate) fn parse(directives: &str) -> Result<EnvFilter, Error> {
    let parts: Vec<_> = directives.split(',').map(str::trim).collect();
    for part in &parts {
        let refuse = |reason: String| Error::Directive { directive: (*part).to_owned(), reason };
        let level = part.rsplit('=').next().unwrap_or(part);
        if !LEVELS.iter().any(|known| level.eq_ignore_ascii_case(known)) {
            return Err(refuse(String::new()));
        }
        EnvFilter::builder().parse(part).map_err(|error| refuse(format!(" ({error})")))?;
    }
    let all = parts.join(",");
    EnvFilter::builder()
        .parse(&all)
        .map_err(|error| Error::Directive { directive: all, reason: format!(" ({error})") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_alone_and_of_targets_are_taken() {
        for directives in ["info", "OFF", "warn,quack_node=debug", "info, quack=trace , h2=off"] {
            assert_eq!(check(directives), Ok(()), "{directives}");
        }
    }

    #[test]
    fn what_would_log_nothing_or_something_else_is_refused_with_the_part_that_is_wrong() {
        for (directives, wrong) in [
            ("inof", "inof"),
            ("info,quack_node", "quack_node"),
            ("quack_node=loud", "quack_node=loud"),
            ("info,", ""),
            ("", ""),
            ("3", "3"),
            ("quack_node=", "quack_node="),
            ("a[{=info", "a[{=info"),
        ] {
            let error = check(directives).expect_err(directives).to_string();
            assert!(error.starts_with(&format!("'{wrong}' does not say what to log")), "{error}");
        }
    }
}
