//! What a line looks like: what `tracing_subscriber` makes of an event, and the node that it is about.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{self, FormatEvent, FormatFields, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, Layer as Fmt};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::Format;
use crate::stderr::StandardError;

/// Makes the text of an event.
enum Form {
    Text(format::Format<Full>),
    Json(format::Format<Json>),
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        match self {
            Self::Text(text) => text.format_event(context, Writer::new(&mut line), event)?,
            Self::Json(json) => json.format_event(context, Writer::new(&mut line), event)?,
        }
        let line = line.trim_end_matches('\n');
        // A name of a node holds nothing that would have to be escaped.
        match (self, crate::node(), line.strip_prefix('{')) {
            (_, None, _) => writeln!(writer, "{line}"),
            (Self::Json(_), Some(node), Some(rest)) => writeln!(writer, "{{\"node_id\":\"{node}\",{rest}"),
            (_, Some(node), _) => writeln!(writer, "{line} node_id={node}"),
        }
    }
}

/// Writes lines.
pub(crate) struct Lines<S>(Fmt<S, format::DefaultFields, Form, fn() -> StandardError>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Lines<S> {
    pub fn layer(format: Format) -> Self {
        let form = match format {
            Format::Text => Form::Text(format::format().with_ansi(false)),
            Format::Json => Form::Json(
                // Libraries below have spans; ours have none.
                format::format().json().flatten_event(true).with_current_span(false).with_span_list(false),
            ),
        };
        Self(
            tracing_subscriber::fmt::layer()
                .event_format(form)
                .with_ansi(false)
                .with_writer((|| StandardError) as fn() -> StandardError),
        )
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines<S> {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // The layer keeps a buffer for each thread, and panics on a thread that ends and has given its buffer back.
        // Such a thread may be ending a server: a log line must not stop it. The error has no place to go.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.on_event(event, context)));
    }
}
