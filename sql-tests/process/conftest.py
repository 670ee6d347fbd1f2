"""Fixtures of the process tests: nodes and stock clients that end with their test, even if it fails."""

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from quack_testing import cluster as clusters  # noqa: E402
from quack_testing import node as nodes  # noqa: E402
from quack_testing import process as processes  # noqa: E402
from quack_testing import scenarios  # noqa: E402


@contextmanager
def tracking():
    """Gives what registers processes and nodes; kills by process id those that are left at the end."""
    tracked = []

    def add(thing):
        tracked.append(thing)
        return thing

    try:
        yield add
    finally:
        for thing in reversed(tracked):
            process = getattr(thing, "process", thing)
            if process is not None and process.popen.poll() is None:
                process.kill()


@pytest.fixture
def track():
    """Registers processes and nodes; kills by process id those that a test leaves behind."""
    with tracking() as add:
        yield add


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    """One cluster of three nodes for all tests of a file, which leave it well."""
    with tracking() as add:
        yield clusters.Cluster(tmp_path_factory.mktemp("shared"), 3, add).start()


@pytest.fixture(scope="module", params=[1, 3], ids=["node1", "nodes3"])
def stage(request, tmp_path_factory):
    """One node, and three, for the scenarios of a file."""
    with tracking() as add:
        yield scenarios.Stage(tmp_path_factory.mktemp("stage"), add, request.param)


@pytest.fixture
def play(stage, tmp_path, track):
    """Plays a scenario on the stage, beside plain DuckDB."""

    def run(scenario):
        plain = scenarios.Plain(tmp_path / "plain", track, scenario)
        try:
            stage.enter(scenario)
            scenarios.Play(scenario, stage, plain).run()
        except BaseException:
            stage.leave()
            raise

    return run


@pytest.fixture
def new_node(tmp_path, track):
    """Makes nodes that are not started yet: `new_node()`, `new_node("n1")`."""
    return lambda name="n0", **options: track(nodes.Node(tmp_path, name, **options))


@pytest.fixture
def node(new_node):
    """A serving node with its catalog attached as `cp`; it must end in the ordinary way."""
    node = new_node().start()
    yield node
    if node.process.popen.poll() is None:
        assert node.stop() == 0, node.process.stderr_tail()


@pytest.fixture
def new_cluster(tmp_path, track):
    """Makes clusters that are not started yet: `new_cluster()`, `new_cluster(5)`."""
    return lambda count=3, **options: clusters.Cluster(tmp_path, count, track, **options)


@pytest.fixture
def cluster(new_cluster):
    """Three nodes, each with the catalog attached as `cp`."""
    return new_cluster().start()


@pytest.fixture
def new_process(tmp_path, track):
    """Makes DuckDB 2.0 processes without the extension."""
    return lambda name="plain", **options: track(processes.Process(tmp_path, name, **options))


@pytest.fixture
def new_stock(tmp_path, track, node):
    """Makes stock clients of `node`: `new_stock()`, `new_stock("stock1")`."""
    return lambda name="stock", **options: track(nodes.stock_client(tmp_path, name, node.uri, **options))


@pytest.fixture
def stock(new_stock):
    """A stock client of `node`."""
    return new_stock()
