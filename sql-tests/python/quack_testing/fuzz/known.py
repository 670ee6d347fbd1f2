"""Differences that are known, each with its reason and its document. A difference that is not here fails the run.

An entry names the kinds of difference, and what the step, a statement before it, plain DuckDB's answer and the cluster's
must match.
"""

import re
from dataclasses import dataclass

from quack_testing.fuzz.outcome import CLASS, ROWS, SUCCESS, TEXT


@dataclass(frozen=True)
class Known:
    """`ends`: the worlds hold different rows from then on, so that the script ends there."""

    reason: str
    kinds: tuple
    step: str = ""
    before: str = ""
    native: str = ""
    cluster: str = ""
    ends: bool = False

    def explains(self, difference, earlier):
        return (
            difference.kind in self.kinds
            and re.search(self.step, difference.step, re.DOTALL) is not None
            and (not self.before or any(re.search(self.before, statement) for statement in earlier))
            and re.search(self.native, difference.native, re.DOTALL) is not None
            and re.search(self.cluster, difference.cluster, re.DOTALL) is not None
        )


KNOWN = [
    Known(
        "DuckDB replaces a row to update a nested or indexed column, and refuses if others refer to it, though they may go "
        "on referring to the new row; the cluster replaces every row and looks at what is so in the end "
        "(docs/transactions.md)",
        (SUCCESS,),
        step=r"UPDATE|MERGE|REPLACE",
        native=r"^Constraint Error: Violates foreign key constraint because key .* is still referenced",
        ends=True,
    ),
    Known(
        "keys that an UPDATE gives and takes are looked at in the end; DuckDB refuses those that the transaction has written itself",
        (SUCCESS,),
        step=r"^(EXECUTE|UPDATE|MERGE|WITH)",
        native=r"^Constraint Error: (PRIMARY KEY or UNIQUE constraint violation|Duplicate key)",
        cluster=r"^(?!\w[\w ]* Error: )",
        ends=True,
    ),
    Known(
        "what a failed or undone statement has drawn from a sequence stays drawn, on a plain file only until it is opened "
        "again (ARCHITECTURE.md: the log decides who gets which value, and a statement that fails gives nothing back)",
        (ROWS,),
        step=r"last_value FROM duckdb_sequences.* -- after restart$",
        ends=True,
    ),
    Known(
        "an UPDATE replaces the row, and keys that a transaction has changed before are reported in DuckDB's words for its "
        "local storage (docs/transactions.md)",
        (TEXT,),
        native=r"^Constraint Error: Duplicate key .* violates (primary key|unique) constraint",
        cluster=r"^Constraint Error: PRIMARY KEY or UNIQUE constraint violation: duplicate key",
    ),
    Known(
        "DuckDB takes a write of no rows for changes of the transaction; a cluster, which has nothing to write, does not",
        (SUCCESS,),
        step=r"^CHECKPOINT cp$",
        native=r"^TransactionContext Error: Cannot CHECKPOINT: ",
        ends=True,
    ),
    Known(
        "of two errors of a statement another one is told: the cluster evaluates all rows before it stores one",
        (CLASS,),
        step=r"^(INSERT|UPDATE|MERGE|WITH|EXECUTE)",
        native=r"^Constraint Error: ",
        cluster=r"^(Out of Range|Conversion) Error: ",
    ),
    Known(
        "of two errors of a statement another one is told: a cluster looks at the values that it is to store first",
        (CLASS,),
        step=r"^(EXECUTE|INSERT|UPDATE|MERGE|WITH)",
        native=r"^Constraint Error: ",
        cluster=r"^Invalid Input Error: Malformed value for column",
    ),
    Known(
        "of two errors of an ALTER another one is told: the origin tries it with the rows that are there first",
        (CLASS,),
        step=r"^ALTER TABLE .* TYPE",
        native=r"^(Binder|Catalog) Error: ",
        cluster=r"^(Out of Range|Conversion) Error: ",
    ),
    Known(
        "a transaction that has deleted rows changes the type of what is left; DuckDB converts the deleted ones, too",
        (SUCCESS,),
        step=r"^ALTER TABLE .* TYPE",
        native=r"^(Conversion|Out of Range) Error: ",
        ends=True,
    ),
    Known(
        "DuckDB forgets until the next start that a table refers to another one when that table is altered; a cluster goes on to "
        "refuse changes of the other one (sql-tests/process/test_dependencies.py)",
        (SUCCESS,),
        step=r"^(ALTER|DROP) TABLE",
        cluster=r"^Dependency Error: Cannot (alter|drop) entry",
        ends=True,
    ),
    Known(
        "a statement about groups, which plain DuckDB does not have, is a change of the transaction (docs/groups.md)",
        (SUCCESS,),
        step=r"^CHECKPOINT cp$",
        cluster=r"^TransactionContext Error: Cannot CHECKPOINT: the current transaction has transaction local changes",
        ends=True,
    ),
    Known(
        "DuckDB refuses BETWEEN of nested values when it is evaluated, and does not say that it may fail: a cluster evaluates it "
        "for rows that the transaction has deleted",
        (CLASS, SUCCESS),
        cluster=r"Invalid type for BETWEEN",
        ends=True,
    ),
    Known(
        "all that is not a number is one value in a cluster: DuckDB itself keeps its sign until a checkpoint "
        "(docs/transactions.md)",
        (ROWS,),
        native=r"'-nan'",
        ends=True,
    ),
    Known(
        "DuckDB drops an update in place to a value that is equal and not the same, and a cluster does not",
        (ROWS,),
        native=r"'-?0\.0'",
        cluster=r"'-?0\.0'",
        ends=True,
    ),
    Known(
        "a row that INSERT OR REPLACE finds, of a table whose columns are all in the key, is counted and, by DuckDB, not "
        "returned",
        (ROWS,),
        step=r"^(EXECUTE|INSERT OR REPLACE .* RETURNING)",
        native=r"only here: \[\]$",
    ),
    Known(
        "a row that INSERT OR REPLACE finds, and that DuckDB does not return, is counted in WITH",
        (ROWS,),
        step=r"^WITH w AS \(INSERT OR REPLACE .* SELECT count\(",
        native=r"^n\n",
    ),
    Known(
        "what each node would draw for itself is refused (docs/transactions.md)",
        (SUCCESS, CLASS),
        step=r"^ALTER TABLE .* ADD COLUMN .* DEFAULT nextval",
        cluster=r"^Not implemented Error: ",
        ends=True,
    ),
    Known(
        "names in a definition are whole: the catalog's stands before them (docs/definitions.md)",
        (ROWS,),
        step=r"^(PRAGMA|DESCRIBE|SHOW|SELECT \* FROM information_schema)",
        cluster=r"\bcp\.",
    ),
    Known(
        "a host may have attached the catalog under a name in other letters",
        (ROWS,),
        step=r"^SELECT current_database\(\)",
        cluster=r"'CP'",
    ),
    Known(
        "DuckDB 2.0.0 makes a VARIANT of a UNION with JSON whose parts refer beyond its end, and reads what lies there; a "
        "cluster refuses the value (docs/clients.md)",
        (SUCCESS, CLASS),
        step=r"^(EXECUTE|INSERT|UPDATE|MERGE|WITH|CREATE)",
        cluster=r"^Invalid Input Error: Malformed value for column .* VARIANT: a child inside has a value that there is not",
        ends=True,
    ),
    Known(
        "DuckDB looks for a key of the transaction's own rows in an index that it has made at COMMIT alone, and then ends",
        (SUCCESS,),
        step=r"^(COPY|EXECUTE|INSERT|UPDATE|MERGE|WITH)",
        before=r"^CREATE UNIQUE INDEX",
        cluster=r"^Constraint Error: PRIMARY KEY or UNIQUE constraint violation: duplicate key",
        ends=True,
    ),
    Known(
        "a transaction that has updated rows and makes a key of their table is told to COMMIT first (docs/transactions.md)",
        (SUCCESS, CLASS),
        step=r"^(ALTER TABLE|CREATE UNIQUE INDEX)",
        cluster=r"^TransactionContext Error: Cannot create index with outstanding updates: ",
        ends=True,
    ),
    Known(
        "an UPDATE in a transaction replaces rows, so that an index that is not unique can be made after it",
        (SUCCESS,),
        step=r"^CREATE INDEX",
        native=r"^TransactionContext Error: Cannot create index with outstanding updates",
        ends=True,
    ),
    Known(
        "a key or an index over changed rows and changed columns is made in the next transaction (docs/transactions.md)",
        (SUCCESS, CLASS),
        step=r"^(ALTER TABLE|CREATE (UNIQUE )?INDEX)",
        cluster=r"^Not implemented Error: this transaction has deleted or updated rows of table .* COMMIT first",
        ends=True,
    ),
    Known(
        "DuckDB leaves rows out of RETURNING where a table has more than one row group",
        (ROWS,),
        step=r"^EXECUTE|^(UPDATE|MERGE|WITH|DELETE).* RETURNING ",
        before=r"FROM range\((1228|3000)\d\d\)",
        native=r"only here: \[\]$",
    ),
    Known(
        "a column is the one that decides where rows of the table lie (docs/groups.md)",
        (SUCCESS, CLASS),
        step=r"^ALTER TABLE .* DROP COLUMN",
        cluster=r"^Binder Error: Cannot drop column .*: it is the shard key of table",
        ends=True,
    ),
    Known(
        "DuckDB says in a default that a field was renamed or added with where its function lies; after IMPORT a cluster does not",
        (ROWS,),
        step=r"duckdb_columns|information_schema",
        native=r'remap_struct\(.*"system"\.struct_pack',
        cluster=r"remap_struct\(.* struct_pack",
    ),
    Known(
        "DuckDB 2.0.0 loses the second of two IN lists of a column when NULL is in it, and plans a cluster's write otherwise",
        (ROWS,),
        step=r"^(EXECUTE|UPDATE|MERGE|WITH|DELETE).* IN \(.* IN \([^()]*(\([^()]*\)[^()]*)*\bNULL\b",
        ends=True,
    ),
    Known(
        "CREATE INDEX IF NOT EXISTS of an index that exists gives a count that DuckDB has not set",
        (ROWS,),
        step=r"^CREATE (UNIQUE )?INDEX IF NOT EXISTS",
        native=r"^Count\n",
    ),
]


@dataclass(frozen=True)
class Avoided:
    """A statement that no script has inside of a transaction, because of what comes after it."""

    reason: str
    step: str


AVOIDED = [
    Avoided("plain DuckDB loses the index when the transaction is rolled back; a cluster does not", r"^COMMENT ON INDEX"),
    Avoided("the comment shows when the transaction is committed (docs/transactions.md)", r"^COMMENT ON SEQUENCE"),
]


def is_avoided(sql):
    return any(re.search(avoided.step, sql) for avoided in AVOIDED)


def known(difference, earlier):
    """The entry that explains a difference after these statements, or None."""
    return next((entry for entry in KNOWN if entry.explains(difference, earlier)), None)
