//! The runner of DuckDB's test format against real processes: wrong files fail, and no file touches the next.

use std::path::Path;
use std::sync::Arc;

use quack_sql_tests::duckdb_format::parse;
use quack_sql_tests::duckdb_format::pool::Pool;
use quack_sql_tests::duckdb_format::run::{self, Outcome};
use quack_sql_tests::duckdb_format::world::{Kind, World};
use quack_sql_tests::environment::Environment;

/// Leaves everything behind that a file can leave behind.
const DIRT: &str = "
statement ok
CREATE TABLE t AS SELECT 1 AS i

statement ok
CREATE SCHEMA s

statement ok
CREATE TEMP TABLE mine AS SELECT 1 AS i

statement ok con1
PREPARE p AS SELECT 1

statement ok
ATTACH ':memory:' AS extra

statement ok
CREATE TABLE memory.main.kept AS SELECT 1 AS i

statement ok
CREATE PERSISTENT SECRET secret (TYPE http, BEARER_TOKEN 'x')

statement ok
SET GLOBAL default_null_order = 'nulls_first'

statement ok
SET GLOBAL threads = 1

statement ok con1
SET VARIABLE v = 1

statement ok
COPY (SELECT 1) TO 'relative.csv'

statement ok
COPY (SELECT 1) TO '__TEST_DIR__/own.csv'

statement ok con1
USE s

statement ok con1
BEGIN

statement ok con1
INSERT INTO cp.main.t VALUES (2)
";

/// Finds nothing of it.
const CLEAN: &str = "
query I
SELECT count(*) FROM duckdb_tables()
----
0

query I
SELECT count(*) FROM duckdb_schemas() WHERE NOT internal AND schema_name <> 'main'
----
0

query I con1
SELECT count(*) FROM duckdb_prepared_statements()
----
0

query T
SELECT database_name FROM duckdb_databases() WHERE NOT internal ORDER BY ALL
----
cp
memory

query I
SELECT count(*) FROM duckdb_secrets()
----
0

query T con1
SELECT current_setting('default_null_order')
----
NULLS_LAST

query T con1
SELECT coalesce(getvariable('v')::VARCHAR, 'none') || current_schema()
----
nonemain

query I
SELECT (SELECT count(*) FROM glob('*.csv')) + (SELECT count(*) FROM glob('__TEST_DIR__/*'))
----
0

statement ok con1
BEGIN
";

fn pool(folder: &Path) -> Arc<Pool> {
    let environment = Environment::read().expect("`make dist venv` was run");
    Arc::new(Pool::new(environment, folder).expect("the pool starts"))
}

fn outcome(pool: &Arc<Pool>, kind: Kind, text: &str) -> Outcome {
    let script = parse::parse(text).expect("the text is in the format");
    let scratch = tempfile::tempdir().expect("there is room");
    let world = World::start(pool, kind, scratch.path(), scratch.path()).expect("the world starts");
    run::run(&script, "runner/inline", world, scratch.path())
}

fn each_kind(check: impl Fn(&Arc<Pool>, Kind)) {
    let folder = tempfile::tempdir().expect("there is room");
    let pool = pool(folder.path());
    for kind in Kind::ALL {
        check(&pool, kind);
    }
    pool.finish().expect("the processes end by themselves");
}

#[test]
fn what_a_file_leaves_behind_does_not_reach_the_next_one() {
    each_kind(|pool, kind| {
        // The pool gives the same processes again.
        for text in [DIRT, CLEAN, DIRT, CLEAN] {
            assert_eq!(outcome(pool, kind, text), Outcome::Passed, "{kind}");
        }
    });
}

#[test]
fn a_process_that_a_file_has_broken_is_not_used_again() {
    each_kind(|pool, kind| {
        let broken = "statement ok\nATTACH ':memory:' AS extra\n\nstatement ok\nSELECT nothing\n";
        assert!(matches!(outcome(pool, kind, broken), Outcome::Failed(_)), "{kind}");
        assert_eq!(outcome(pool, kind, CLEAN), Outcome::Passed, "{kind}");
    });
}

#[test]
fn files_that_expect_something_else_fail_with_their_line() {
    let wrong = [
        ("\nquery I\nSELECT 1\n----\n2\n", "line 2: SELECT 1\nrow 1, column 1"),
        (
            "query I\nSELECT 1\n----\n1 values hashing to 00000000000000000000000000000000\n",
            "expected 1 values hashing",
        ),
        ("query I nosort x\nSELECT 1\n\nquery I nosort x\nSELECT 2\n", "line 4: SELECT 2\nthe label x"),
        ("query II\nSELECT 1\n----\n1\t2\n", "expected 2 columns, found 1"),
        ("query I\nSELECT nothing\n----\n1\n", "Binder Error"),
        ("query I\nSELECT 1\n----\n<FILE>:nowhere.csv\n", "nowhere.csv"),
        ("statement ok\nSELECT nothing\n", "Binder Error"),
        ("statement error\nSELECT 1\n----\nBinder Error\n", "expected an error, and it worked"),
        ("statement error\nSELECT nothing\n----\nCatalog Error\n", "expected the error: Catalog Error"),
        ("statement maybe\nSELECT nothing\n----\nCatalog Error\n", "expected the error: Catalog Error"),
        ("statement error\nSELECT error('INTERNAL Error: x')\n----\nINTERNAL\n", "a bug: "),
        ("loop i 0 2\n\nquery I\nSELECT ${i}\n----\n0\n\nendloop\n", "line 3 i=1: "),
        ("concurrentloop i 0 2\n\nquery I\nSELECT ${i}\n----\n0\n\nendloop\n", "line 3 i=1: "),
        ("concurrentloop i 0 2\n\nstatement ok con1\nSELECT 1\n\nendloop\n", "cannot name its connection"),
        ("concurrentloop i 0 2\n\nrestart\n\nendloop\n", "cannot stand in a concurrent loop"),
        ("onlyif i=1\nstatement ok\nSELECT 1\n", "no loop around"),
        ("foreach a,b 1\n\nstatement ok\nSELECT ${a}\n\nendloop\n", "values at a time"),
        ("test-env X 1\n\ntest-env X 2\n", "line 3: the variable \"X\" is defined already"),
        ("reset label x\n", "no label \"x\""),
        ("require no such thing\n", "`require no such thing` is not known"),
        ("unzip nowhere.gz\n", "unzip nowhere.gz"),
    ];
    let folder = tempfile::tempdir().expect("there is room");
    let pool = pool(folder.path());
    for (text, shows) in wrong {
        match outcome(&pool, Kind::Native, text) {
            Outcome::Failed(message) => assert!(message.contains(shows), "{text}\n{message}"),
            other => panic!("{text}\n{other:?}"),
        }
    }
}

#[test]
fn nodes_that_do_not_all_take_a_statement_about_the_process_are_a_failure() {
    let folder = tempfile::tempdir().expect("there is room");
    let secret = "CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'x')";
    // The nodes share a folder that each would have to itself, and the second one finds what the first has put there.
    let text =
        format!("statement ok\nSET secret_directory = '__TEST_DIR__/shared'\n\nstatement ok\n{secret}\n");
    let outcome = outcome(&pool(folder.path()), Kind::Three, &text);
    assert!(matches!(&outcome, Outcome::Failed(message) if message.contains("did not: ")), "{outcome:?}");
}
