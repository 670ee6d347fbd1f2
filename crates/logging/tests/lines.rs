//! The lines that a process writes. Each test runs itself once more as a process of its own, and reads what that wrote.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::process::Command;

use quack_logging::{Format, name_node, start};

const CHILD: &str = "QUACK_LOGGING_TEST_CHILD";

/// In the test's process: runs the test called `name` in another one, and returns the lines that it wrote. In that
/// other process: `None`, after `work`.
fn lines_of(name: &str, work: impl FnOnce()) -> Option<Vec<String>> {
    if std::env::var_os(CHILD).is_some() {
        work();
        return None;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{text}");
    Some(text.lines().map(str::to_owned).collect())
}

#[test]
fn json_lines_are_objects_with_the_node_and_without_what_was_not_asked_for() {
    let name = "json_lines_are_objects_with_the_node_and_without_what_was_not_asked_for";
    let Some(lines) = lines_of(name, || {
        start("info,quiet=off", Format::Json).unwrap();
        start("trace", Format::Text).unwrap();
        tracing::info!("before the name");
        name_node("n0");
        name_node("n0");
        tracing::warn!(count = 7, text = "a \"b\"\nc", "after it");
        tracing::info!(target: "quiet", "not asked for");
        tracing::debug!("not asked for either");
        name_node("n1");
        tracing::info!("of either");
    }) else {
        return;
    };
    let objects: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).expect(line)).collect();
    let messages: Vec<_> = objects.iter().map(|object| &object["message"]).collect();
    assert_eq!(messages, ["before the name", "after it", "of either"]);
    let nodes: Vec<_> = objects.iter().map(|object| object["node_id"].as_str()).collect();
    assert_eq!(nodes, [None, Some("n0"), None]);
    assert_eq!((&objects[1]["count"], &objects[1]["text"]), (&7.into(), &"a \"b\"\nc".into()));
    assert_eq!((&objects[1]["level"], &objects[1]["target"]), (&"WARN".into(), &"lines".into()));
}

#[test]
fn text_lines_end_with_the_node() {
    let Some(lines) = lines_of("text_lines_end_with_the_node", || {
        start("lines=debug", Format::Text).unwrap();
        name_node("n0");
        tracing::debug!(count = 7, "done");
    }) else {
        return;
    };
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].contains(" DEBUG ") && lines[0].ends_with("lines: done count=7 node_id=n0"),
        "{lines:?}"
    );
}

/// Logs when its thread ends.
struct LogsAtTheEnd(Cell<bool>);

impl Drop for LogsAtTheEnd {
    fn drop(&mut self) {
        tracing::info!("a thread ends");
        self.0.set(true);
    }
}

thread_local! {
    static AT_THE_END: LogsAtTheEnd = const { LogsAtTheEnd(Cell::new(false)) };
}

#[test]
fn a_thread_that_logs_while_it_ends_ends() {
    let Some(lines) = lines_of("a_thread_that_logs_while_it_ends_ends", || {
        start("info", Format::Text).unwrap();
        let ends = std::thread::spawn(|| {
            // Before the buffer of the lines, and therefore destroyed after it.
            AT_THE_END.with(|at_the_end| assert!(!at_the_end.0.get()));
            tracing::info!("a thread works");
        });
        ends.join().unwrap();
        tracing::info!("the process goes on");
    }) else {
        return;
    };
    assert!(lines.iter().any(|line| line.ends_with("the process goes on")), "{lines:?}");
}

#[test]
fn a_line_that_cannot_be_written_is_lost_and_does_no_harm() {
    let Some(lines) = lines_of("a_line_that_cannot_be_written_is_lost_and_does_no_harm", || {
        start("info", Format::Text).unwrap();
        // A standard error that refuses writes.
        let null = std::fs::File::open("/dev/null").unwrap();
        rustix::stdio::dup2_stderr(&null).unwrap();
        tracing::info!("lost");
    }) else {
        return;
    };
    assert_eq!(lines, Vec::<String>::new());
}
