//! Every directive, and everything that must not be passed over in silence.

use std::time::Duration;

use super::parse;
use crate::duckdb_format::record::{Command, Expectation, Load, Loop, Query, Record, Sort, Statement};

fn commands(text: &str) -> Vec<Command> {
    parse(text).unwrap().records.into_iter().map(|record| record.command).collect()
}

fn only(text: &str) -> Command {
    let mut commands = commands(text);
    assert_eq!(commands.len(), 1, "{commands:?}");
    commands.remove(0)
}

fn statement(sql: &str) -> Command {
    Command::Statement(Statement { expectation: Expectation::Ok, connection: None, sql: sql.to_owned() })
}

fn query(text: &str) -> Query {
    match only(text) {
        Command::Query(query) => query,
        other => panic!("{other:?}"),
    }
}

fn loop_of(text: &str) -> Loop {
    match only(text) {
        Command::Loop(definition) => definition,
        other => panic!("{other:?}"),
    }
}

fn error(text: &str) -> String {
    parse(text).unwrap_err()
}

#[test]
fn headers_are_comments_with_a_description() {
    let script = parse("# name: x/y.test\n# description: What it shows.\n# group: [x]\n\n\n").unwrap();
    assert_eq!(script.description, "What it shows.");
    assert!(script.records.is_empty());
}

#[test]
fn a_record_knows_its_line() {
    let script = parse("# comment\n\nstatement ok\nA\n\n# more\nstatement ok\nB\n").unwrap();
    assert_eq!(script.records.iter().map(|record| record.line).collect::<Vec<_>>(), [3, 7]);
}

#[test]
fn statements_are_ok_or_errors_or_either() {
    assert_eq!(only("statement ok\nSELECT\n  1;\n"), statement("SELECT\n  1;"));
    let expected = [
        (
            "statement error con2\nA\n----\nfirst\n# second\n",
            Expectation::Error("first\n# second".to_owned()),
        ),
        ("statement maybe con2\r\nA\r\n----\r\nbusy\r\n", Expectation::Maybe("busy".to_owned())),
    ];
    for (text, expectation) in expected {
        let connection = Some("con2".to_owned());
        assert_eq!(
            only(text),
            Command::Statement(Statement { expectation, connection, sql: "A".to_owned() })
        );
    }
}

#[test]
fn a_comment_ends_a_statement_but_not_a_result() {
    assert_eq!(commands("statement ok\nA\n# note\n\nstatement ok\nB\n"), [statement("A"), statement("B")]);
    assert_eq!(query("query I\nA\n----\n1\n# 2\n3\n\n# the end\n").expected, ["1", "# 2", "3"]);
}

#[test]
fn statements_that_say_too_little_or_too_much_are_refused() {
    assert!(error("statement\nA\n").contains("line 1: write `statement"));
    assert!(error("\nstatement error\nA\n").contains("needs `----`"));
    assert!(error("statement error\nA\n----\n").contains("needs `----`"));
    assert!(error("statement maybe\nA\n").contains("needs `----`"));
    assert!(error("statement ok\nA\n----\n1\n").contains("nothing to compare"));
    assert!(error("statement debug\nA\n").contains("not `debug`"));
    assert!(error("statement ok\n\nA\n").contains("no SQL"));
    assert!(error("statement ok a b\nA\n").contains("write `statement"));
}

#[test]
fn queries_have_types_an_order_and_a_label_or_a_connection() {
    let plain = query("query ITR\nA\n----\n1\t2\t3\n4\t5\t6\n");
    let lines = vec!["1\t2\t3".to_owned(), "4\t5\t6".to_owned()];
    let expected = Query {
        columns: 3,
        sort: Sort::None,
        connection: None,
        label: None,
        sql: "A".to_owned(),
        expected: lines,
    };
    assert_eq!(plain, expected);
    assert_eq!(query("query I nosort\nA\n").sort, Sort::None);
    assert_eq!(query("query I rowsort\nA\n").sort, Sort::Rows);
    assert_eq!(query("query I sort\nA\n").sort, Sort::Rows);
    let labelled = query("query I valuesort label-1\nA\n----\n");
    assert_eq!((labelled.sort, labelled.label.as_deref()), (Sort::Values, Some("label-1")));
    assert_eq!(query("query I con1\nA\n").connection.as_deref(), Some("con1"));
}

#[test]
fn queries_that_are_written_wrongly_are_refused() {
    assert!(error("query\nA\n").contains("write `query"));
    assert!(error("query IX\nA\n").contains("'X'"));
    assert!(error("query I nosort label more\nA\n").contains("`more`"));
    assert!(error("query I\n----\n1\n").contains("no SQL"));
}

#[test]
fn loops_nest() {
    let outer =
        loop_of("loop i 2 4\n\nforeach t <signed> !tinyint date\n\nstatement ok\nA\n\nendloop\n\nendloop\n");
    assert_eq!(
        (outer.variable.as_str(), outer.values.as_slice()),
        ("i", ["2".to_owned(), "3".to_owned()].as_slice())
    );
    let [Record { line: 3, command: Command::Loop(inner), .. }] = outer.body.as_slice() else {
        panic!("{outer:?}")
    };
    assert_eq!(inner.values, ["smallint", "integer", "bigint", "hugeint", "date"]);
    assert_eq!(inner.body[0].command, statement("A"));
    assert!(!outer.concurrent && !inner.concurrent);
}

#[test]
fn loops_can_be_concurrent() {
    assert!(loop_of("concurrentloop i 0 3\n\nstatement ok\nA\n\nendloop\n").concurrent);
    let several = loop_of("concurrentforeach a,b x,1 y,2\n\nendloop\n");
    assert!(several.concurrent);
    assert_eq!((several.variable.as_str(), several.values.len()), ("a,b", 2));
}

#[test]
fn loops_that_cannot_run_are_refused() {
    assert!(
        error("statement ok\nA\n\nloop i 0 2\n\nstatement ok\nA\n")
            .contains("line 4: this loop has no `endloop`")
    );
    assert!(error("endloop\n").contains("without its loop"));
    assert!(error("loop i 0\n").contains("write `loop"));
    assert!(error("loop i 0 x\n").contains("`x` is no number"));
    assert!(error("loop i 3 3\n").contains("no round"));
    assert!(error("loop i 0 99999999\n").contains("at most"));
    assert!(error("foreach i\n").contains("write `foreach"));
    assert!(error("foreach i <nothing>\n").contains("<nothing>"));
}

#[test]
fn single_lines_become_commands() {
    let text = |text: &str| text.to_owned();
    let load =
        |path: Option<&str>, read_only| Command::Load(Load { path: path.map(str::to_owned), read_only });
    for (line, command) in [
        ("require json", Command::Require(vec![text("json")])),
        ("require vector_size 512", Command::Require(vec![text("vector_size"), text("512")])),
        ("require-env A", Command::RequireEnv(text("A"), None)),
        ("require-env A b", Command::RequireEnv(text("A"), Some(text("b")))),
        ("test-env A b", Command::TestEnv(text("A"), text("b"))),
        ("load", load(None, false)),
        ("load x.db", load(Some("x.db"), false)),
        ("load x.db readonly", load(Some("x.db"), true)),
        ("load x.db readwrite", load(Some("x.db"), false)),
        ("restart", Command::Restart),
        ("reconnect", Command::Reconnect),
        ("sleep 2 seconds", Command::Sleep(Duration::from_secs(2))),
        ("sleep 3 millisecond", Command::Sleep(Duration::from_millis(3))),
        ("unzip a.gz", Command::Unzip(text("a.gz"), None)),
        ("unzip a.gz b", Command::Unzip(text("a.gz"), Some(text("b")))),
        ("mode output_result", Command::Print(true)),
        ("mode no_output", Command::Print(false)),
        (
            "set ignore_error_messages HTTP Error, gone",
            Command::IgnoreErrors(vec![text("HTTP Error"), text("gone")]),
        ),
        ("set always_fail_error_messages", Command::AlwaysFail(Vec::new())),
        ("set seed 0.5", Command::Seed(text("0.5"))),
        ("reset label x", Command::ResetLabel(text("x"))),
    ] {
        assert_eq!(only(line), command, "{line}");
    }
    assert!(commands("hash-threshold 100\n\ntags a b\n").is_empty());
}

#[test]
fn single_lines_that_are_written_wrongly_are_refused() {
    for line in [
        "require",
        "require-env",
        "require-env a b c",
        "test-env a",
        "load x.db sometimes",
        "restart now",
        "reconnect now",
        "sleep 1",
        "sleep 1 fortnight",
        "sleep 60 seconds",
        "unzip",
        "mode",
        "mode output_hash",
        "mode unskip",
        "set",
        "set seed x",
        "set nothing x",
        "reset",
        "reset label",
        "reset nothing x",
        "hash-threshold",
        "hash-threshold x",
        "tags",
        "halt now",
        "loops i 0 1",
        "Statement ok",
        "control resultmode rowwise",
    ] {
        assert!(error(&format!("\n{line}\n")).starts_with("line 2: "), "{line}");
    }
    assert!(error("loop i 0 1\n\nrequire-env a\n\nendloop\n").contains("in a loop"));
}

#[test]
fn an_unknown_directive_is_refused_even_where_it_is_skipped() {
    assert!(error("subtest x\n").contains("`subtest` is not known"));
    assert!(error("mode skip\n\nsubtest x\n\nmode unskip\n").contains("line 3: the directive `subtest`"));
}

#[test]
fn a_single_line_needs_an_empty_one_behind_it() {
    assert!(error("require json\nstatement ok\nA\n").contains("line 1: an empty line must follow"));
    assert!(parse("require json\n# a comment\nrestart\n").is_ok());
}

#[test]
fn skipped_records_are_left_out() {
    let text = "statement ok\nA\n\nmode skip\n\nmode skip\n\nstatement ok\nB\n\nloop i 0 2\n\nendloop\n\n\
        mode unskip\n\nquery I\nC\n----\n1\n\nmode unskip\n\nstatement ok\nD\n";
    assert_eq!(commands(text), [statement("A"), statement("D")]);
}

#[test]
fn nothing_is_read_after_halt() {
    assert_eq!(commands("statement ok\nA\n\nhalt\n\nnonsense\n"), [statement("A")]);
}

#[test]
fn conditions_decide_by_system_or_by_loop() {
    let text = "skipif duckdb\nstatement ok\nA\n\nonlyif duckdb\nstatement ok\nB\n\nskipif mysql\nonlyif oracle\n\
        statement ok\nC\n\nloop i 0 3\n\nskipif i=1\nonlyif i<5&&i<>2\nstatement ok\nD\n\nendloop\n";
    let script = parse(text).unwrap();
    assert_eq!(script.records.len(), 2);
    assert_eq!(script.records[0].command, statement("B"));
    let Command::Loop(definition) = &script.records[1].command else { panic!("{script:?}") };
    assert_eq!(definition.body[0].conditions.len(), 3);
    assert!(error("skipif\nstatement ok\nA\n").contains("name a system"));
    assert!(error("skipif i=1\n\nstatement ok\nA\n").contains("without a record"));
    assert!(error("onlyif mysql\nloop i 0 2\n\nendloop\n").contains("cannot be left out"));
}
