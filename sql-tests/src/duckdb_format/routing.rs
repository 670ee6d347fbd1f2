//! Which node of a cluster takes a statement, by what a user's connection could do there.
//!
//! 1. Every statement goes to the next node, regardless of its connection; a connection has one connection at
//!    every node.
//! 2. A statement about the connection or the process (SET, RESET, PRAGMA, USE, LOAD, CREATE SECRET, …) goes to
//!    all nodes, first to the one whose turn it is. All must say the same: it worked, or it did not.
//! 3. BEGIN keeps the connection on its node, up to COMMIT or ROLLBACK.
//! 4. What exists on one connection only (a temporary object, a prepared statement, the seed of random numbers)
//!    keeps the connection on its node from then on.
//! 5. What exists in one process only (an attached database, the process's own database `memory`, its log) keeps all
//!    connections on that node from then on, except those that rule 3 or 4 keeps elsewhere.
//! 6. A text of several statements goes to one node; with a statement of rule 2 among others, rule 4 holds.

use std::collections::BTreeMap;

use super::sql_text::{self, Token, word};

/// Options of `read_csv` that make temporary tables.
const REJECTS: [&str; 3] = ["STORE_REJECTS", "REJECTS_TABLE", "REJECTS_SCAN"];

/// Where a statement goes: the node whose result counts, and whether all others run it after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node whose result counts.
    pub node: usize,
    /// Whether the others run it, too, and must agree.
    pub all: bool,
}

/// What a text does to its connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Every statement is about the connection or the process.
    everywhere: bool,
    /// `USE`, which is of no interest to nodes that the connection never goes to.
    only_connection: bool,
    /// The last BEGIN (true), COMMIT or ROLLBACK (false).
    transaction: Option<bool>,
    /// There is a BEGIN.
    begins: bool,
    /// There are several statements, and those before the one that fails have worked.
    several: bool,
    /// It sets what outlives a restart of DuckDB's own runner.
    setting: bool,
    /// Something exists on this connection only.
    local: bool,
    /// Something exists in this process only.
    process: bool,
}

/// The state of all connections.
#[derive(Debug)]
pub struct Router {
    nodes: usize,
    next: usize,
    home: Option<usize>,
    connections: BTreeMap<String, Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// In a transaction.
    transaction: Option<usize>,
    /// For good.
    pinned: Option<usize>,
}

impl Router {
    /// A router over so many nodes.
    pub fn new(nodes: usize) -> Self {
        Self { nodes, next: 0, home: None, connections: BTreeMap::new() }
    }

    /// Where a text with these effects goes.
    pub fn route(&mut self, connection: &str, effects: Effects) -> Target {
        let kept = self.connections.entry(connection.to_owned()).or_default();
        let fixed = kept.transaction.or(kept.pinned).or(self.home);
        let stays = kept.pinned.or(self.home).is_some();
        let node = fixed.unwrap_or_else(|| {
            let node = self.next;
            self.next = (node + 1) % self.nodes;
            node
        });
        Target { node, all: effects.everywhere && !(effects.only_connection && stays) }
    }

    /// Takes note of what a text has done; `worked` tells whether it did.
    pub fn done(&mut self, connection: &str, effects: Effects, node: usize, worked: bool) {
        let kept = self.connections.entry(connection.to_owned()).or_default();
        kept.transaction = match effects.transaction {
            // It is unknown which of several statements has failed: the connection stays where a transaction may be.
            _ if !worked && effects.several => kept.transaction.or(effects.begins.then_some(node)),
            Some(true) if worked => Some(node),
            // A COMMIT that fails has ended the transaction all the same.
            Some(false) => None,
            _ => kept.transaction,
        };
        if effects.local && worked {
            kept.pinned = Some(node);
        }
        if effects.process && worked {
            self.home = Some(node);
        }
    }

    /// A connection is made anew.
    pub fn forget(&mut self, connection: &str) {
        self.connections.remove(connection);
    }
}

impl Effects {
    /// What `text` does.
    pub fn of(text: &str) -> Self {
        let statements = sql_text::statements(text);
        let mut effects = Self {
            everywhere: !statements.is_empty(),
            setting: !statements.is_empty(),
            several: statements.len() > 1,
            ..Self::default()
        };
        let mut about_the_connection = false;
        for statement in &statements {
            effects.everywhere &= is_about_the_connection(statement);
            about_the_connection |= is_about_the_connection(statement);
            effects.setting &= is_setting(statement);
            effects.only_connection |= word(statement, 0) == "USE";
            effects.begins |= transaction(statement) == Some(true);
            effects.transaction = transaction(statement).or(effects.transaction);
            effects.local |= is_local(statement);
            effects.process |= is_of_the_process(statement);
        }
        effects.local |= about_the_connection && !effects.everywhere;
        effects.everywhere &= !effects.process;
        effects
    }

    /// Whether the text does nothing but set what outlives a restart.
    pub fn is_setting(self) -> bool {
        self.setting
    }

    /// What a text that [is a setting](Self::is_setting) sets: a later one of the same name makes up for it.
    pub fn setting_name(text: &str) -> String {
        let statements = sql_text::statements(text);
        let [statement] = statements.as_slice() else { return text.to_owned() };
        let scope = ["GLOBAL", "SESSION", "LOCAL"].contains(&word(statement, 1));
        match word(statement, if scope { 2 } else { 1 }) {
            _ if word(statement, 0) == "USE" => "SCHEMA".to_owned(),
            "SEARCH_PATH" => "SCHEMA".to_owned(),
            name => name.to_owned(),
        }
    }
}

fn is_about_the_connection(statement: &[Token]) -> bool {
    match word(statement, 0) {
        "SET" | "RESET" | "PRAGMA" | "USE" | "LOAD" | "INSTALL" => true,
        "CREATE" | "DROP" => (1..5).any(|index| word(statement, index) == "SECRET"),
        _ => false,
    }
}

fn is_setting(statement: &[Token]) -> bool {
    match word(statement, 0) {
        "SET" => word(statement, 1) != "VARIABLE",
        "RESET" | "USE" => true,
        "PRAGMA" => statement.contains(&Token::Symbol('=')),
        _ => false,
    }
}

fn transaction(statement: &[Token]) -> Option<bool> {
    match (word(statement, 0), word(statement, 1)) {
        ("BEGIN", _) | ("START", "TRANSACTION") => Some(true),
        ("COMMIT" | "ROLLBACK" | "END" | "ABORT", _) => Some(false),
        _ => None,
    }
}

fn is_local(statement: &[Token]) -> bool {
    let any =
        |words: &[&str]| statement.iter().any(|t| matches!(t, Token::Word(w) if words.contains(&w.as_str())));
    let created = word(statement, 0) == "CREATE"
        && (1..5).any(|index| ["TEMP", "TEMPORARY"].contains(&word(statement, index)))
        && !is_about_the_connection(statement);
    created
        || any(&REJECTS)
        || word(statement, 0) == "PREPARE"
        || names(statement, "TEMP", '.')
        || names(statement, "SETSEED", '(')
}

fn is_of_the_process(statement: &[Token]) -> bool {
    let first = word(statement, 0);
    ["ATTACH", "DETACH"].contains(&first)
        || (first == "CALL" && word(statement, 1).contains("LOG"))
        || (first == "USE" && word(statement, 1) == "MEMORY")
        || names(statement, "MEMORY", '.')
}

/// Whether `name` stands anywhere with `symbol` behind it.
fn names(statement: &[Token], name: &str, symbol: char) -> bool {
    let pairs = statement.windows(2);
    pairs.into_iter().any(|pair| word(pair, 0) == name && pair[1] == Token::Symbol(symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nodes of statements of one connection or of several, `all` for every node; all of them work.
    fn nodes(statements: &[(&str, &str)]) -> Vec<String> {
        let mut router = Router::new(3);
        let mut nodes = Vec::new();
        for (connection, text) in statements {
            let effects = Effects::of(text);
            let target = router.route(connection, effects);
            router.done(connection, effects, target.node, true);
            nodes.push(format!("{}{}", target.node, if target.all { " all" } else { "" }));
        }
        nodes
    }

    fn alone(statements: &[&str]) -> Vec<String> {
        nodes(&statements.iter().map(|text| ("a", *text)).collect::<Vec<_>>())
    }

    #[test]
    fn statements_go_round() {
        assert_eq!(
            nodes(&[("a", "SELECT 1"), ("b", "SELECT 1"), ("a", "INSERT"), ("b", "x")]),
            ["0", "1", "2", "0"]
        );
    }

    #[test]
    fn a_transaction_stays_where_it_began() {
        let statements = [
            ("a", "BEGIN"),
            ("b", "x"),
            ("a", "x"),
            ("b", "x"),
            ("a", "COMMIT"),
            ("a", "x"),
            ("a", "begin; x; commit"),
            ("a", "x"),
        ];
        assert_eq!(nodes(&statements), ["0", "1", "0", "2", "0", "0", "1", "2"]);
    }

    #[test]
    fn a_begin_that_fails_keeps_nothing_and_a_commit_that_fails_ends_it() {
        let mut router = Router::new(3);
        router.done("a", Effects::of("BEGIN"), 0, false);
        assert_eq!(router.connections["a"].transaction, None);
        router.done("a", Effects::of("BEGIN"), 0, true);
        router.done("a", Effects::of("COMMIT"), 0, false);
        assert_eq!(router.connections["a"].transaction, None);
        for text in ["BEGIN; SELECT error('x')", "BEGIN; SELECT error('x'); COMMIT"] {
            router.done("a", Effects::of(text), 2, false);
            assert_eq!(router.connections["a"].transaction, Some(2));
            router.done("a", Effects::of("SELECT error('x'); COMMIT"), 2, false);
            assert_eq!(router.connections["a"].transaction, Some(2));
            router.done("a", Effects::of("ROLLBACK; SELECT 1"), 2, true);
            assert_eq!(router.connections["a"].transaction, None);
        }
    }

    #[test]
    fn a_setting_is_told_from_what_a_restart_ends() {
        for text in
            ["SET x = 1", "SET GLOBAL x = 1", "RESET x", "USE s", "PRAGMA x = 1", "SET a = 1; SET b = 2"]
        {
            assert!(Effects::of(text).is_setting(), "{text}");
        }
        for (text, name) in
            [("SET x = 1", "X"), ("SET GLOBAL x = 1", "X"), ("RESET SESSION x", "X"), ("PRAGMA x = 1", "X")]
        {
            assert_eq!(Effects::setting_name(text), name);
        }
        for text in ["USE s", "SET schema = 's'", "SET search_path = 's'"] {
            assert_eq!(Effects::setting_name(text), "SCHEMA");
        }
        for text in ["SET VARIABLE x = 1", "PRAGMA table_info('t')", "SET a = 1; SELECT 1", "SELECT 1", ""] {
            assert!(!Effects::of(text).is_setting(), "{text}");
        }
    }

    #[test]
    fn settings_go_to_all_nodes() {
        assert_eq!(alone(&["SET x = 1", "x", "PRAGMA y", "USE s"]), ["0 all", "1", "2 all", "0 all"]);
        assert_eq!(alone(&["CREATE OR REPLACE TEMPORARY SECRET s (TYPE s3)", "x"]), ["0 all", "1"]);
        assert_eq!(alone(&["SET a = 1; SET b = 2", "x"]), ["0 all", "1"]);
    }

    #[test]
    fn what_is_local_keeps_the_connection() {
        for text in [
            "CREATE OR REPLACE TEMP TABLE t AS SELECT 1",
            "PREPARE p AS SELECT 1",
            "SELECT setseed(0.5)",
            "DROP TABLE temp.t",
            "SET x = 1; SELECT 1",
        ] {
            assert_eq!(
                nodes(&[("b", "x"), ("a", text), ("a", "x"), ("b", "x"), ("a", "x")]),
                ["0", "1", "1", "2", "1"],
                "{text}"
            );
        }
        assert_eq!(alone(&["PREPARE p AS x", "USE s", "SET x = 1"]), ["0", "0", "0 all"]);
    }

    #[test]
    fn what_is_in_one_process_keeps_all_connections() {
        for text in ["ATTACH ':memory:' AS m", "USE memory", "CREATE TABLE memory.t (i INTEGER)"] {
            assert_eq!(
                nodes(&[("b", "x"), ("a", text), ("b", "x"), ("c", "x")]),
                ["0", "1", "1", "1"],
                "{text}"
            );
        }
        assert_eq!(
            nodes(&[("b", "BEGIN"), ("a", "ATTACH x"), ("b", "x"), ("b", "COMMIT"), ("b", "x")]),
            ["0", "1", "0", "0", "1"]
        );
    }

    #[test]
    fn a_connection_made_anew_is_free_again() {
        let mut router = Router::new(3);
        router.done("a", Effects::of("PREPARE p AS x"), 2, true);
        assert_eq!(router.route("a", Effects::of("x")).node, 2);
        router.forget("a");
        assert_eq!(router.route("a", Effects::of("x")).node, 0);
    }
}
