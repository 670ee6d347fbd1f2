"""Disks that are full, that flip bits, or whose folder is gone, under one node of a cluster.

A full disk is stood in for by the limit on the size of files (RLIMIT_FSIZE), which works on every machine and without
privileges, as a file system of its own would not: a write beyond it fails with EFBIG where a full disk says ENOSPC,
because Python, which hosts the nodes, ignores the signal SIGXFSZ. With a limit of 0 every write of a file fails, with a
larger one a write breaks off in the middle of a file. A node waits until there is room, and goes on by itself.
"""

import contextlib
import random
import re
import resource
import shutil

import pytest
from quack_testing.cluster import Cluster, wait_for
from quack_testing.load import LINEARIZABLE, Load
from quack_testing.preload import preloaded
from quack_testing.process import DatabaseError
from quack_testing.proxy import HEALTHY, Fault, FaultProxy

SEEDS = 20
NO_ROOM = 0
UNLIMITED = resource.RLIM_INFINITY
FULL = "File too large|quota exceeded|No space left|no room on the disk"
DAMAGED = "corrupt|damaged|Corrupt|contradicts"
REMEDY = "backup|empty folder"
MIB = 1 << 20
# A node notices its disk at the next write; a verification leaves out who has said nothing for ten seconds.
DEGRADED_SECONDS = 20
VERIFY_SECONDS = 40


def limit_files(pid, size):
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))


@contextlib.contextmanager
def limited_files(size):
    """Processes that are started meanwhile have no room for larger files; nor has this one, which writes none."""
    limit_files(0, size)
    try:
        yield
    finally:
        limit_files(0, UNLIMITED)


def state(node):
    """What a node says of itself: its state, and the reason if it is not well."""
    ((state, reason),) = node.sql("SELECT state, reason FROM quack_raft_status() WHERE group_name = 'default'")
    return state, reason


def wait_degraded(node):
    def degraded():
        name, reason = state(node)
        return reason if name == "degraded" else None

    return wait_for(degraded, f"{node.name} to be degraded", DEGRADED_SECONDS)


def followers(cluster):
    leader = cluster.leader()
    return [node for node in cluster.alive() if node is not leader]


def assert_refuses(node, pattern):
    for statement in ("INSERT INTO cp.bag VALUES (-1, 'refused')", "SELECT count(*) FROM cp.bag"):
        with pytest.raises(DatabaseError, match=pattern) as caught:
            node.sql(statement)
        assert "degraded" in str(caught.value)


def wait_ok(node):
    wait_for(lambda: state(node)[0] == "ok", f"{node.name} to go on by itself", DEGRADED_SECONDS)


def find_room(node):
    """There is room again, and nothing else is done."""
    limit_files(node.process.pid, UNLIMITED)
    wait_ok(node)


@pytest.mark.parametrize("role, room", [("follower", NO_ROOM), ("leader", NO_ROOM), ("leader", 700_000)])
def test_a_full_disk_stops_one_node_and_nothing_is_lost(new_cluster, role, room):
    cluster = new_cluster(**LINEARIZABLE).start()
    with Load(cluster) as load:
        load.wait_for_writes(20)
        node = cluster.leader() if role == "leader" else followers(cluster)[0]
        others = [other.name for other in cluster.alive() if other is not node]
        limit_files(node.process.pid, room)
        # Writes at another node use up the little room that is left.
        for number in range(room // 10_000):
            cluster[others[0]].sql(f"INSERT INTO cp.bag SELECT {-number - 10}, repeat('x', 10000)")
        assert re.search(FULL, wait_degraded(node))
        assert_refuses(node, FULL)
        load.wait_for_writes(30, *others)
        said = cluster[others[0]].sql(f"SELECT state, reason FROM quack_nodes('cp') WHERE node_id = '{node.name}'")
        assert said[0][0] == "degraded" and re.search(FULL, said[0][1])
        find_room(node)
        load.wait_for_writes(5, node.name)
        cluster[others[0]].sql("DELETE FROM cp.bag WHERE k < 0")
        # What the node has done is as durable as ever.
        load.leave(node)
        node.kill_and_start()
        load.use(node)
        load.wait_for_writes(5, node.name)
    load.check()


def test_a_node_alone_takes_no_write_without_room_and_goes_on(node):
    node.sql("CREATE TABLE cp.t (i BIGINT PRIMARY KEY)")
    acknowledged, unknown = set(), set()
    for round in range(4):
        limit_files(node.process.pid, NO_ROOM)
        for number in range(round * 100, round * 100 + 3):
            try:
                node.sql(f"INSERT INTO cp.t VALUES ({number})")
                acknowledged.add(number)
            except DatabaseError as error:
                assert re.search("the disk of the node's data folder is full|no room on the disk", str(error))
                if "outcome of the write is unknown" in str(error):
                    unknown.add(number)
        assert re.search(FULL, wait_degraded(node))
        if round == 2:
            # A start without room takes what is kept in reserve, if that helps; here it waits, or says why it does not serve.
            node.kill()
            node.start()
            wait_ok(node)
        else:
            find_room(node)
        node.sql(f"INSERT INTO cp.t VALUES ({round * 100 + 50})")
        acknowledged.add(round * 100 + 50)
    there = {number for (number,) in node.sql("FROM cp.t")}
    assert acknowledged <= there <= acknowledged | unknown
    node.kill_and_start()
    assert there == {number for (number,) in node.sql("FROM cp.t")}


def test_a_node_without_room_stops_when_it_is_told_to(cluster):
    cluster["n0"].sql("CREATE TABLE cp.bag (k BIGINT, node VARCHAR)")
    cluster.wait_equal()
    node = followers(cluster)[0]
    limit_files(node.process.pid, NO_ROOM)
    cluster.leader().sql("INSERT INTO cp.bag SELECT range, 'x' FROM range(5000)")
    wait_degraded(node)
    assert node.stop() == 0, node.process.stderr_tail()
    node.start()
    cluster.wait_equal()


@pytest.mark.parametrize("table", ["of one row group", "of several", "with a key"])
def test_entries_for_which_the_store_has_no_room_wait_for_it(new_cluster, table):
    cluster, writer, node = without_room_in_the_store(new_cluster, " PRIMARY KEY" if table == "with a key" else "")
    rows = 500_000 if table == "of several" else 130_000
    for first in range(0, 3 * rows, rows):
        writer.sql(f"INSERT INTO cp.t SELECT {first} + range, hash(range) FROM range({rows})")
    assert re.search(FULL, wait_degraded(node)), cluster.first_difference()
    with pytest.raises(DatabaseError, match=FULL):
        node.sql("CHECKPOINT cp")
    find_room(node)
    cluster.wait_equal()
    node.sql("CHECKPOINT cp")
    node.kill_and_start()
    cluster.wait_equal()


@pytest.mark.parametrize("table", ["of one row group", "of several", "with a key"])
def test_a_disk_that_is_full_at_a_commit_refuses_no_entry(new_cluster, tmp_path, table):
    """The system had not said that there was no room, so that the node has not waited. DuckDB says of every failed commit that
    the transaction failed, as it does where another one is in the way.
    """
    without_room = tmp_path / "without room"
    without_room.touch()
    cluster = new_cluster(**LINEARIZABLE)
    preload = {"LD_PRELOAD": preloaded("quota_shim"), "QUACK_FILE_WITHOUT_ROOM": str(without_room)}
    for node in cluster.nodes.values():
        node.environment = preload
    cluster.start()
    writer = cluster.leader()
    key = " PRIMARY KEY" if table == "with a key" else ""
    writer.sql(f"CREATE TABLE cp.t (i BIGINT{key}, h UBIGINT)")
    cluster.wait_equal()
    node = followers(cluster)[0]
    without_room.write_text(str(node.data_dir / "store.duckdb"))
    rows = 500_000 if table == "of several" else 130_000
    for first in range(0, 3 * rows, rows):
        writer.sql(f"INSERT INTO cp.t SELECT {first} + range, hash(range) FROM range({rows})")
    assert re.search(FULL, wait_degraded(node)), cluster.first_difference()
    # With room again: what the failed commit has left in memory is not stored, neither on request nor at the end.
    without_room.write_text("")
    with pytest.raises(DatabaseError, match="degraded and stores nothing"):
        node.sql("CHECKPOINT cp")
    assert node.stop() == 0, node.process.stderr_tail()
    node.start()
    cluster.wait_equal()


def test_a_checkpoint_that_breaks_off_says_what_to_do(new_node, tmp_path):
    """DuckDB says to detach the database, which is the server's."""
    without_room = tmp_path / "without room"
    without_room.touch()
    node = new_node(default_catalog=False)
    node.environment = {"LD_PRELOAD": preloaded("quota_shim"), "QUACK_FILE_WITHOUT_ROOM": str(without_room)}
    node.start()
    node.sql("CREATE TABLE cp.t AS SELECT range AS i FROM range(1000)")
    without_room.write_text("store.duckdb")
    with pytest.raises(DatabaseError, match=FULL):
        node.sql("CHECKPOINT cp")
    for statement in ("SELECT count(*) FROM cp.t", "INSERT INTO cp.t VALUES (1)", "BEGIN; FROM cp.t"):
        with pytest.raises(DatabaseError, match="this node is degraded.*start") as caught:
            node.sql(statement, "another")
        assert "etach" not in str(caught.value)
    node.sql("ROLLBACK", "another")
    without_room.write_text("")
    node.sql(f"CALL quack_stop('{node.uri}')")
    node.serve()
    node.attach()
    assert node.value("SELECT count(*) FROM cp.t") == 1000


def without_room_in_the_store(new_cluster, key=""):
    """A cluster, one that writes, and a node of it whose files have room, but for the store, which is the largest."""
    cluster = new_cluster(**LINEARIZABLE).start()
    writer, node = cluster.leader(), followers(cluster)[0]
    writer.sql(f"CREATE TABLE cp.t (i BIGINT{key}, h UBIGINT)")
    writer.sql("CREATE TABLE cp.u (h UBIGINT, g UBIGINT)")
    for first in range(4):
        writer.sql(f"INSERT INTO cp.u SELECT hash(range), hash(-range) FROM range({first * MIB}, {(first + 1) * MIB})")
    cluster.wait_equal()
    node.sql("CHECKPOINT cp")
    store = node.data_dir / "store.duckdb"
    larger = [path for path in node.data_dir.rglob("*") if path.stat().st_size > store.stat().st_size]
    assert larger == [], "writes of other files would fail first"
    limit_files(node.process.pid, store.stat().st_size)
    return cluster, writer, node


def test_a_degraded_leader_does_not_go_on_saying_that_it_leads(cluster):
    """Otherwise a client would see two leaders as soon as the others have elected one."""
    cluster["n0"].sql("CREATE TABLE cp.bag (k BIGINT, node VARCHAR)")
    cluster.wait_equal()
    node = cluster.leader()
    other = cluster.others(node)[0]
    limit_files(node.process.pid, NO_ROOM)
    wait_for(lambda: other.sql("INSERT INTO cp.bag VALUES (1, 'the next leader decides')"), "a write")
    wait_degraded(node)
    ((role, leader, safe),) = node.sql("SELECT role, leader_id, linearizable_read_safe FROM quack_raft_status()")
    assert not safe
    assert (role, leader) != ("leader", node.name)


def test_a_degraded_node_gives_no_data_to_its_own_process(cluster):
    """What it holds grows old without end, and no session knows."""
    cluster["n0"].sql("CREATE TABLE cp.bag (k BIGINT, node VARCHAR)")
    cluster.wait_equal()
    node = followers(cluster)[0]
    limit_files(node.process.pid, NO_ROOM)
    cluster.leader().sql("INSERT INTO cp.bag VALUES (1, 'acknowledged')")
    assert re.search(FULL, wait_degraded(node))
    assert_refuses(node, FULL)


@pytest.mark.parametrize("ends", ["room", "kill -9"])
def test_full_disks_of_a_quorum_stop_writing_and_nothing_acknowledged_is_lost(new_cluster, ends):
    cluster = new_cluster(**LINEARIZABLE).start()
    with Load(cluster) as load:
        load.wait_for_writes(20)
        full = cluster.alive()[:2]
        for node in full:
            limit_files(node.process.pid, NO_ROOM)
        for node in full:
            assert re.search(FULL, wait_degraded(node))
        if ends == "kill -9":
            for node in full:
                load.leave(node)
                node.kill()
            # One cannot be attached without the other.
            for node in full:
                node.start(attach=False)
            for node in full:
                node.attach()
                load.use(node)
        else:
            for node in full:
                limit_files(node.process.pid, UNLIMITED)
        load.wait_for_writes(5, *cluster.names)
    load.check()


def test_a_checkpoint_without_room_is_postponed(new_cluster):
    cluster = new_cluster(default_catalog=False).start()
    cluster["n0"].sql("CREATE TABLE cp.bag (k BIGINT, node VARCHAR)")
    cluster["n0"].sql("INSERT INTO cp.bag SELECT range, md5(range::VARCHAR) FROM range(50000)")
    cluster.wait_equal()
    node = followers(cluster)[0]
    limit_files(node.process.pid, NO_ROOM)
    with pytest.raises(DatabaseError, match="no room on the disk.* for a checkpoint.*make room"):
        node.sql("CHECKPOINT cp")
    assert state(node) == ("ok", None)
    assert node.value("SELECT count(*) FROM cp.bag") == 50_000
    cluster.leader().sql("INSERT INTO cp.bag VALUES (-1, 'before')")
    wait_degraded(node)
    for statement in ("INSERT INTO cp.bag VALUES (-2, 'refused')", "SELECT count(*) FROM cp.bag"):
        with pytest.raises(DatabaseError, match=FULL):
            node.sql(statement)
    find_room(node)
    node.sql("CHECKPOINT cp")
    cluster.leader().sql("INSERT INTO cp.bag VALUES (-3, 'after')")
    cluster.wait_equal()
    assert node.value("SELECT count(*) FROM cp.bag") == 50_002


def test_a_verification_leaves_out_a_degraded_node(cluster):
    cluster["n0"].sql("CREATE TABLE cp.t (i INTEGER)")
    cluster.wait_equal()
    node = followers(cluster)[0]
    limit_files(node.process.pid, NO_ROOM)
    cluster.leader().sql("INSERT INTO cp.t VALUES (1)")
    wait_degraded(node)
    verify = "SELECT node_id, state FROM quack_verify('cp')"
    rows = dict(cluster.leader(among=cluster.others(node)).sql(verify, timeout=VERIFY_SECONDS))
    assert rows == {other.name: "equal" for other in cluster.others(node)} | {node.name: "unknown"}


def test_a_snapshot_without_room_waits_for_it_and_then_arrives(cluster):
    fill(cluster, 40_000)
    node = followers(cluster)[0]
    node.kill()
    shutil.rmtree(node.data_dir)
    with limited_files(MIB):
        node.start(attach=False)

    def waits():
        name, reason = state(node)
        return name == "joining" and re.search(FULL, reason or "")

    wait_for(waits, "a node that says that it has no room")
    cluster.others(node)[0].sql("INSERT INTO cp.t VALUES (-1, 'meanwhile')")
    limit_files(node.process.pid, UNLIMITED)
    node.attach()
    cluster.wait_equal()
    assert node.value("SELECT count(*) FROM cp.t") == 40_001


# Flipped bits.


def fill(cluster, rows):
    """A table whose file has several blocks, and many small entries in the log."""
    cluster["n0"].sql("CREATE TABLE cp.t (i BIGINT PRIMARY KEY, v VARCHAR)")
    cluster["n0"].sql(f"INSERT INTO cp.t SELECT i, md5(i::VARCHAR) || sha1(i::VARCHAR) FROM range({rows}) r(i)")
    cluster.wait_equal()


def write_byte(path, at, byte):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(bytes([byte]))


@contextlib.contextmanager
def flipped(path, at, bit):
    """Flips a bit, and flips it back unless the node has written over it."""
    before = path.read_bytes()[at]
    write_byte(path, at, before ^ 1 << bit)
    try:
        yield
    finally:
        after = path.read_bytes()
        if len(after) > at and after[at] == before ^ 1 << bit:
            write_byte(path, at, before)


def last_segment(node):
    return max((node.data_dir / "log").iterdir())


def used_bytes(path):
    """The length of a file without the zeroes that a segment ends in."""
    return len(path.read_bytes().rstrip(b"\0"))


def place_in_log(draw, node):
    """Some of the large entries in the middle, and as many of the small ones at the end."""
    path = last_segment(node)
    used = used_bytes(path)
    return path, used - int(used ** draw.random())


def place_in_store(draw, node):
    path = node.data_dir / "store.duckdb"
    return path, draw.randrange(path.stat().st_size)


def settled(node):
    """What a node says of itself once it has come as far as the others, or has given up."""
    ((name, reason, leader, applied, committed),) = node.sql(
        "SELECT state, reason, leader_id, applied_index, commit_index FROM quack_raft_status()"
    )
    done = name == "degraded" or name == "ok" and leader is not None and applied == committed
    return (name, reason) if done else None


def answers(node):
    """All that the node holds, read in two ways, so that what does not check cannot hide."""
    rows = node.sql("SELECT count(*), count(DISTINCT v), sum(hash(i, v)) FROM cp.t")
    ((_, _, state_hash),) = node.sql("FROM quack_state_hash()")
    return rows, state_hash


def verdict(node, right):
    """Serves the folder; returns the words in which it, or what it reads, is refused, or None if all of it is right."""
    try:
        node.serve()
    except DatabaseError as error:
        return str(error)
    try:
        name, reason = wait_for(lambda: settled(node), "a node that has caught up")
        if name == "degraded":
            return reason
        node.attach()
        try:
            found = answers(node)
        except DatabaseError:
            # DuckDB's own words for a block that does not check; the node's reason says more.
            return wait_degraded(node)
        assert found == right, "a wrong answer"
        return None
    finally:
        node.stop_serving()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A cluster of three, one of which is dead, and has a process that serves nothing; what is right."""
    cluster = Cluster(tmp_path_factory.mktemp("damaged"), default_catalog=False)
    try:
        cluster.start()
        fill(cluster, 15_000)
        node = followers(cluster)[0]
        node.sql("CHECKPOINT cp")
        for number in range(40):
            cluster["n0"].sql(f"INSERT INTO cp.t VALUES ({-number - 1}, 'behind the checkpoint')")
        cluster.wait_equal()
        right = answers(cluster["n0"])
        node.kill()
        node.load()
        yield cluster, node, right
    finally:
        for each in cluster.alive():
            each.kill()


@pytest.mark.parametrize("place", [place_in_log, place_in_store])
def test_flipped_bits_are_refused_or_without_effect(damaged, place):
    """No flipped bit gives a wrong answer, and none reaches the other nodes."""
    cluster, node, right = damaged
    refusals = []
    for seed in range(SEEDS):
        draw = random.Random(f"{place.__name__} {seed}")
        path, at = place(draw, node)
        with flipped(path, at, draw.randrange(8)):
            words = verdict(node, right)
            assert words is None or re.search(DAMAGED, words), f"byte {at} of {path.name}: {words}"
            refusals.append(words)
    found = [words for words in refusals if words]
    print(f"{place.__name__}: {len(found)} of {SEEDS} refused")
    # Many places of both files hold something.
    assert len(found) >= SEEDS // 4, refusals
    for other in cluster.others(node):
        assert answers(other) == right
    # Nothing of it stays once the bits are right again.
    assert verdict(node, right) is None


@pytest.mark.parametrize("place", [place_in_log, place_in_store])
def test_a_refusal_of_flipped_bits_names_the_file_and_what_to_do(damaged, place):
    cluster, node, right = damaged
    for seed in range(SEEDS):
        draw = random.Random(f"{place.__name__} {seed}")
        path, at = place(draw, node)
        with flipped(path, at, draw.randrange(8)):
            words = verdict(node, right)
            assert words is None or path.name in words and re.search(REMEDY, words), words


def test_a_node_whose_files_are_damaged_comes_back_from_an_empty_folder(damaged):
    cluster, node, right = damaged
    path = last_segment(node)
    with flipped(path, used_bytes(path) // 2, 0), pytest.raises(DatabaseError, match=REMEDY):
        node.serve()
    shutil.rmtree(node.data_dir)
    node.serve()
    node.attach()
    cluster.wait_equal()
    assert answers(node) == right


def test_flipped_bits_in_half_a_snapshot_are_thrown_away_with_it(tmp_path, track):
    names = ["n0", "n1", "n2"]
    cluster = None
    proxy = FaultProxy(names, lambda: cluster.pids())
    try:
        cluster = Cluster(tmp_path, track=track, addresses=proxy.ports)
        proxy.targets.update(cluster.ports)
        cluster.start()
        fill(cluster, 80_000)
        right = answers(cluster["n0"])
        node = followers(cluster)[0]
        store = node.data_dir / "store.duckdb"
        node.kill()
        shutil.rmtree(node.data_dir)
        pairs = [pair for other in cluster.others(node) for pair in ((node.name, other.name), (other.name, node.name))]
        for seed in range(3):
            proxy.set(dict.fromkeys(pairs, Fault(rate=3 * MIB)))
            node.start(attach=False)
            wait_for(lambda: store.exists() and store.stat().st_size >= MIB, "half a snapshot")
            node.kill()
            assert not (node.data_dir / "identity").exists(), "the whole snapshot has arrived"
            draw = random.Random(f"snapshot {seed}")
            for _ in range(SEEDS):
                at = draw.randrange(store.stat().st_size)
                write_byte(store, at, store.read_bytes()[at] ^ 1 << draw.randrange(8))
        proxy.set(dict.fromkeys(pairs, HEALTHY))
        node.start()
        cluster.wait_equal()
        assert [answers(each) for each in cluster.alive()] == [right] * 3
        cluster.stop()
    finally:
        proxy.close()


# A folder that is gone.


def test_a_folder_that_is_deleted_under_a_node_is_lost_without_a_trace_of_harm(new_cluster):
    cluster = new_cluster(**LINEARIZABLE).start()
    with Load(cluster) as load:
        load.wait_for_writes(20)
        node = followers(cluster)[0]
        others = [other.name for other in cluster.others(node)]
        shutil.rmtree(node.data_dir)
        # Open files live on; the first that is to be made, or found, is not there.
        with contextlib.suppress(DatabaseError):
            node.sql("CHECKPOINT cp")
        load.wait_for_writes(30, *others)
        load.leave(node)
        node.kill()
        load.wait_for_writes(10, *others)
        node.start()
        load.use(node)
        load.wait_for_writes(5, node.name)
        members = f"SELECT incarnation, role FROM quack_nodes('cp') WHERE node_id = '{node.name}'"
        wait_for(lambda: node.sql(members) == [(1, "voter")], "a vote of its new life")
    load.check()
