"""Where a script runs: a plain DuckDB file, one node, or three nodes. In all of them `cp` is the default database."""

from pathlib import Path

from quack_testing.cluster import Cluster
from quack_testing.fuzz.outcome import Outcome
from quack_testing.fuzz.steps import APPEND
from quack_testing.node import Node
from quack_testing.process import DatabaseError, Process, ProcessEnded

SECONDS_MAX = 60
BEGINS = ("BEGIN", "START")
ENDS = ("COMMIT", "ROLLBACK", "END", "ABORT")


class World:
    """`folder` is its own; `files` is where statements write files, under one name in all worlds."""

    is_replicated = True
    # Statements that set what decides about plans where clients are, and so which errors they meet.
    plans = ()

    def __init__(self, folder):
        self.folder = Path(folder)
        self.files = self.folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)

    def process_for(self, step):
        raise NotImplementedError

    def run(self, step):
        """What the step gives here."""
        try:
            process = self.process_for(step)
            if step.action == APPEND:
                process.append(step.table, step.rows, step.connection, SECONDS_MAX)
                return Outcome()
            answer = process.query(self.located(step.sql), step.connection, SECONDS_MAX)
        except DatabaseError as error:
            return Outcome(error=str(error).replace(str(self.files), "{FOLDER}"))
        except (ProcessEnded, TimeoutError) as error:
            return Outcome(error=f"{type(error).__name__}: {error}", ended=True)
        rows = tuple(tuple(row) for row in answer["rows"])
        return Outcome(columns=tuple(answer["columns"]), types=tuple(answer["types"]), rows=rows)

    def located(self, sql):
        return sql.replace("{FOLDER}", str(self.files))

    def processes(self):
        raise NotImplementedError

    def check(self):
        """What is wrong by itself at the end, as a text."""
        return ""

    def kill(self):
        for process in self.processes():
            if process is not None:
                process.kill()


class Native(World):
    """A database file, without the extension."""

    name = "native"
    is_replicated = False

    def __init__(self, folder):
        super().__init__(folder)
        self.process = None

    def start(self):
        self.process = Process(self.folder, "native", c_api=True)
        self.attach()
        return self

    def attach(self):
        # With several threads, RETURNING leaves rows out where a table has more than one row group.
        self.process.sql("SET threads = 1", "runner")
        for statement in self.plans:
            self.process.sql(statement, "runner")
        self.process.sql(f"ATTACH '{self.folder}/x.db' AS cp", "runner")
        self.process.request("prepare_connections", statements=["USE cp"])

    def restart(self, kill=False):
        if kill:
            self.process.kill()
        else:
            self.process.close_database()
            self.process.exit()
        self.start()

    def process_for(self, step):
        return self.process

    def processes(self):
        return [self.process]


class One(World):
    """A cluster of one node; statements run in its process."""

    name = "one"

    def __init__(self, folder):
        super().__init__(folder)
        self.node = Node(self.folder, c_api=True)

    def start(self):
        self.node.start()
        return self

    def restart(self, kill=False):
        if kill:
            self.node.kill_and_start()
        else:
            self.node.restart()

    def process_for(self, step):
        return self.node.process

    def processes(self):
        return [self.node.process]

    def check(self):
        ((state,),) = self.node.sql("SELECT state FROM quack_raft_status() WHERE group_name = 'default'", "runner")
        return "" if state == "ok" else f"the node is {state}"


class Three(World):
    """Three nodes; a statement outside of transactions goes to the next one."""

    name = "three"

    def __init__(self, folder, certificates=None):
        super().__init__(folder)
        self.cluster = Cluster(self.folder, 3, consistency="linearizable", c_api=True, certificates=certificates)
        self.turn = 0
        # By connection: the node of its transaction, and the one where it stays for good.
        self.in_transaction = {}
        self.pinned = {}

    def start(self):
        self.cluster.start()
        return self

    def restart(self, kill=False):
        self.in_transaction, self.pinned = {}, {}
        if kill:
            self.kill()
        else:
            self.cluster.stop()
        self.cluster.start()

    def process_for(self, step):
        nodes = list(self.cluster.nodes.values())
        node = self.in_transaction.get(step.connection) or self.pinned.get(step.connection)
        if node is None:
            self.turn += 1
            node = nodes[self.turn % len(nodes)]
        word = step.sql.split(" ", 1)[0].upper()
        if word in BEGINS:
            self.in_transaction[step.connection] = node
        if word in ENDS:
            self.in_transaction.pop(step.connection, None)
        if step.pins:
            self.pinned[step.connection] = node
        return node.process

    def processes(self):
        return [node.process for node in self.cluster.nodes.values()]

    def check(self):
        states = {node.sql("SELECT state FROM quack_raft_status()", "runner")[0][0] for node in self.cluster.nodes.values()}
        if states != {"ok"}:
            return f"the nodes are {states}"
        self.cluster.wait_equal()
        return ""


WORLDS = {world.name: world for world in (One, Three)}
