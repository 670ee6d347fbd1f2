"""Damaged data folders: refused loudly, with the file's name, and left exactly as they were.

The one exception is what a crash leaves behind, the torn end of the log: it is cut off, and nothing that was
acknowledged is lost.
"""

import hashlib
import os
import re
import shutil

import pytest

from quack_testing import node as nodes
from quack_testing.process import EXTENSION, DatabaseError

ROWS = 500


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A data folder with a checkpoint, and a log that goes on behind it, as a kill leaves it."""
    node = nodes.Node(tmp_path_factory.mktemp("good")).start()
    node.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, pad VARCHAR)")
    node.sql(f"INSERT INTO t SELECT i, repeat('x', 100) FROM range({ROWS // 2}) r(i)")
    node.sql("CHECKPOINT cp")
    for number in range(ROWS // 2, ROWS):
        node.sql(f"INSERT INTO t VALUES ({number}, 'y')")
    node.kill()
    return node.data_dir


@pytest.fixture
def folder(good, tmp_path):
    shutil.copytree(good, tmp_path / "n0")
    return tmp_path / "n0"


@pytest.fixture
def loaded(new_process):
    process = new_process("loaded")
    process.sql(f"LOAD '{EXTENSION}'")
    yield process
    process.close_database()
    assert process.exit() == 0, process.stderr_tail()


def serve(process, folder):
    return process.sql(
        f"CALL quack_serve('quack:127.0.0.1:0', token := 'token-of-the-files', node_id := 'n0', data_dir := '{folder}')"
    )


def contents(folder):
    """The bytes of every file but the lock, whose content means nothing."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def log_files(folder):
    files = sorted(path for path in (folder / "log").rglob("*") if path.is_file())
    assert files, "the log has no files"
    return files


def used_bytes(path):
    """The length of a file without the zeroes that a preallocated segment ends in."""
    return len(path.read_bytes().rstrip(b"\0"))


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def flip(path, offset):
    byte = path.read_bytes()[offset]
    overwrite(path, offset, bytes([byte ^ 0xFF]))


def damage_log_middle(folder):
    path = max(log_files(folder), key=used_bytes)
    flip(path, used_bytes(path) // 2)


def damage_log_start(folder):
    flip(log_files(folder)[0], 3)


def zero_log_middle(folder):
    path = max(log_files(folder), key=used_bytes)
    overwrite(path, used_bytes(path) // 2, bytes(64))


# name: (how to damage the folder, text of the refusal)
DAMAGE = {
    "identity_empty": (lambda folder: (folder / "identity").write_bytes(b""), "identity"),
    "identity_garbage": (lambda folder: (folder / "identity").write_bytes(os.urandom(200)), "identity"),
    "identity_cut_off": (lambda folder: os.truncate(folder / "identity", 9), "identity"),
    "identity_one_bit": (lambda folder: flip(folder / "identity", 20), "identity"),
    "identity_missing": (lambda folder: (folder / "identity").unlink(), "identity"),
    "identity_is_a_folder": (
        lambda folder: ((folder / "identity").unlink(), (folder / "identity").mkdir()),
        "identity",
    ),
    "log_missing": (lambda folder: shutil.rmtree(folder / "log"), "log"),
    "log_empty": (lambda folder: [path.unlink() for path in log_files(folder)], "log"),
    "log_is_a_file": (lambda folder: (shutil.rmtree(folder / "log"), (folder / "log").write_text("x")), "log"),
    "log_damaged_in_the_middle": (damage_log_middle, "log"),
    "log_damaged_at_the_start": (damage_log_start, "log"),
    "log_zeroed_in_the_middle": (zero_log_middle, "log"),
    "store_garbage": (lambda folder: (folder / "store.duckdb").write_bytes(os.urandom(50_000)), "store.duckdb"),
    "store_empty": (lambda folder: (folder / "store.duckdb").write_bytes(b""), "store.duckdb"),
    "store_cut_off": (lambda folder: os.truncate(folder / "store.duckdb", 5000), "store.duckdb"),
    "store_is_a_folder": (
        lambda folder: ((folder / "store.duckdb").unlink(), (folder / "store.duckdb").mkdir()),
        "store.duckdb",
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_and_nothing_is_changed(loaded, folder, name):
    damage, text = DAMAGE[name]
    damage(folder)
    before = contents(folder)
    with pytest.raises(DatabaseError) as caught:
        serve(loaded, folder)
    message = str(caught.value)
    assert re.search(text, message), message
    assert not message.startswith("INTERNAL"), message
    assert contents(folder) == before, "a refused start changed files"


def test_a_store_of_another_cluster_is_refused(loaded, folder, tmp_path, new_node):
    other = new_node("other").start()
    other.sql("CREATE TABLE foreign_rows AS SELECT 1 AS id")
    assert other.stop() == 0
    shutil.copy(other.data_dir / "store.duckdb", folder / "store.duckdb")
    before = contents(folder)
    with pytest.raises(DatabaseError, match="store|cluster"):
        serve(loaded, folder)
    assert contents(folder) == before


def test_a_folder_with_other_files_is_refused(loaded, tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "letter.txt").write_text("Dear reader")
    with pytest.raises(DatabaseError, match="documents"):
        serve(loaded, folder)
    assert [path.name for path in folder.iterdir()] in (["letter.txt"], ["lock", "letter.txt"], ["letter.txt", "lock"])


# What a crash in the middle of a write can leave: a shorter file, or a sector that never got there.
TORN_ENDS = {
    "half_a_record": lambda path, used: os.truncate(path, used - 3),
    "zeroes_at_the_end": lambda path, used: overwrite(path, used - 20, bytes(20)),
}


@pytest.mark.parametrize("name", TORN_ENDS)
def test_the_torn_end_of_the_log_is_cut_off(loaded, folder, name):
    """The last write is lost, which could not have been acknowledged like this, and no other."""
    path = max((file for file in log_files(folder) if used_bytes(file)), key=lambda file: file.name)
    TORN_ENDS[name](path, used_bytes(path))
    ((uri, *_),) = serve(loaded, folder)
    loaded.sql(f"ATTACH '{uri}' AS cp (TYPE quack, TOKEN 'token-of-the-files')")
    ((count, highest),) = loaded.sql("SELECT count(*), max(id) FROM cp.t")
    assert count == highest + 1
    assert count >= ROWS - 1
    loaded.sql("INSERT INTO cp.t VALUES (100000, 'after')")
    loaded.sql(f"CALL quack_stop('{uri}')")


def test_files_that_cannot_be_read_name_themselves(loaded, folder):
    """As root everything can be read, so a link to nowhere stands in for it."""
    (folder / "identity").unlink()
    (folder / "identity").symlink_to("/no/such/identity")
    with pytest.raises(DatabaseError, match="identity"):
        serve(loaded, folder)
