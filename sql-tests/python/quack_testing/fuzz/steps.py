"""The steps of a script."""

from dataclasses import dataclass, field

# What a step does besides running its text.
SQL, APPEND, CHECK, RESTART = "sql", "append", "check", "restart"
# A text that plain DuckDB does not know, and that changes nothing of what can be compared.
CLUSTER = "cluster"

# How a restart ends the cluster's processes, if not in the ordinary way.
KILL = "kill"


@dataclass
class Step:
    """One step: a text by default.

    `ordered`: the rows come in an order. `pins`: the connection stays on its node from then on, because what the text
    makes is there alone. `table` and `rows` are what is appended."""

    sql: str = ""
    action: str = SQL
    connection: str = "a"
    ordered: bool = False
    pins: bool = False
    table: tuple = ()
    rows: list = field(default_factory=list)

    def shown(self):
        """As a record of a .test file, or a comment where there is none."""
        if self.action == SQL:
            return f"statement maybe {self.connection}\n{self.sql}\n----\n"
        if self.action == APPEND:
            return f"# append to {'.'.join(self.table)} on {self.connection}: {self.rows}\n"
        return f"{self.sql or 'restart'}\n" if self.action == RESTART else "# compare all tables and the catalog\n"
