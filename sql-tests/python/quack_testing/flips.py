"""Damages files of one of three nodes: `python -m quack_testing.flips 10`.

A node is killed or stopped, one of its files gets another bit, a page of zeros, or another end, and the node is started again.
It may refuse that in words, say that it cannot go on, or serve what the others hold. The others must go on and lose nothing,
and the node must never serve anything else than they. What was damaged is put back, or the node begins with an empty folder.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from quack_testing.cluster import Cluster, wait_for
from quack_testing.process import DatabaseError, ProcessEnded

PAGE = 4096
SECONDS_TO_SETTLE = 60
ROWS_AT_FIRST = 3000
# Rows of so many bytes, so that the store has several blocks.
ROW_BYTES = 200
# DuckDB's own words for what must not happen.
UNWORDED = ("INTERNAL Error", "FATAL Error", "assertion", "panicked")
REFUSED, UNFIT, SERVES = "refused", "unfit", "serves"


@dataclass
class Damage:
    """Another content of a file, from `offset` on; `before` is what was there, up to the end of the file."""

    path: Path
    kind: str
    offset: int
    before: bytes

    def undo(self):
        with open(self.path, "r+b") as file:
            file.seek(self.offset)
            file.write(self.before)


def class_of(path, folder):
    """The files of which each has its own format: a name without its numbers."""
    return "".join("#" if letter.isdigit() else letter for letter in str(path.relative_to(folder)))


def damage(draw, folder):
    """Damages a file of a class that was drawn first: there are many files of the log."""
    classes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "lock" and path.stat().st_size:
            classes.setdefault(class_of(path, folder), []).append(path)
    name = draw.choice(sorted(classes))
    path = draw.choice(classes[name])
    content = path.read_bytes()
    offset = draw.choice([draw.randrange(len(content)), draw.randrange(min(64, len(content))), len(content) - 1])
    kind = draw.choice(["bit", "bit", "bit", "page", "end"])
    if kind == "page":
        offset -= offset % PAGE
    harm = Damage(path, kind, offset, content[offset:])
    changed = bytearray(content)
    if kind == "bit":
        changed[offset] ^= 1 << draw.randrange(8)
    elif kind == "page":
        changed[offset : offset + PAGE] = bytes(min(PAGE, len(content) - offset))
    else:
        del changed[offset:]
    # Another inode would forget nothing that the damaged one keeps.
    with open(path, "r+b") as file:
        file.write(changed)
        file.truncate(len(changed))
    return name, harm


@dataclass
class Found:
    """What came of the trials."""

    outcomes: Counter = field(default_factory=Counter)
    words: Counter = field(default_factory=Counter)
    wrong: list = field(default_factory=list)

    def show(self):
        for (name, kind, outcome), count in sorted(self.outcomes.items()):
            print(f"{name} {kind} {outcome}: {count}")
        for words, count in self.words.most_common(20):
            print(f"  {count} x {words}")
        print(f"{sum(self.outcomes.values())} trials, {len(self.wrong)} wrong")
        for text in self.wrong:
            print(f"WRONG {text}")


class Flips:
    def __init__(self, folder, track, draw):
        self.draw = draw
        self.rows = 0
        self.found = Found()
        self.cluster = Cluster(folder, 3, track, consistency="linearizable").start()
        first = self.cluster["n0"]
        first.sql("CREATE TABLE t (id INTEGER PRIMARY KEY, pad VARCHAR)")
        self.write(first, ROWS_AT_FIRST)

    def write(self, node, rows):
        node.sql(f"INSERT INTO t SELECT {self.rows} + i, repeat('x', {ROW_BYTES}) FROM range({rows}) r(i)")
        self.rows += rows

    def trial(self):
        """Damages one node, and heals it."""
        node = self.draw.choice(list(self.cluster.nodes.values()))
        others = [other for other in self.cluster.nodes.values() if other is not node]
        if self.draw.random() < 0.5:
            node.sql("CHECKPOINT cp")
        if self.draw.random() < 0.5:
            node.kill()
        else:
            assert node.stop() == 0, node.process.stderr_tail()
        wait_for(lambda: self.write(others[0], 1) is None, "a write without the node")
        if self.draw.random() < 0.3:
            for other in others:
                other.sql("CHECKPOINT cp")
        name, harm = damage(self.draw, node.data_dir)
        outcome, words = self.start(node)
        self.found.outcomes[name, harm.kind, outcome] += 1
        told = f"{name} {harm.kind} at {harm.offset}: {outcome}, {words}"
        if words:
            self.found.words["".join("#" if letter.isdigit() else letter for letter in words)[:160]] += 1
        if any(word in words for word in UNWORDED) or "exit code -" in words:
            self.found.wrong.append(told)
        self.others_go_on(others, told)
        self.heal(node, harm, outcome, told)

    def start(self, node):
        """Whether the node refused to start, cannot go on, or serves, and its words for it."""
        try:
            node.start(attach=False)
        except DatabaseError as error:
            node.kill()
            return REFUSED, str(error).split("\n")[0]
        except ProcessEnded as error:
            return REFUSED, f"ended: {error}"

        def settled():
            state, reason = node.sql("SELECT state, reason FROM quack_raft_status() WHERE group_name = 'default'")[0]
            if state not in ("ok", "starting", "joining"):
                return UNFIT, f"{state}: {reason}"
            try:
                node.attach()
                # A store that cannot be read says so here; one that was read is compared.
                node.sql("FROM quack_state_hash()")
                return SERVES, ""
            except DatabaseError as error:
                if "orrupt" in str(error) or "degraded" in str(error):
                    return UNFIT, str(error).split("\n")[0]
                raise

        try:
            return wait_for(settled, "the node's decision", SECONDS_TO_SETTLE)
        except AssertionError as error:
            return UNFIT, f"undecided: {error}"

    def others_go_on(self, others, told):
        try:
            wait_for(lambda: self.write(others[1], 1) is None, "a write of the others")
            for other in others:
                ((count,),) = other.sql("SELECT count(*) FROM t")
                states = other.sql("SELECT DISTINCT state FROM quack_raft_status()")
                if count != self.rows or states != [("ok",)]:
                    self.found.wrong.append(f"{told}; {other.name} has {count} of {self.rows} rows and is {states}")
        except (AssertionError, DatabaseError, ProcessEnded) as error:
            self.found.wrong.append(f"{told}; the others do not go on: {error}")

    def heal(self, node, harm, outcome, told):
        if outcome == SERVES:
            try:
                self.cluster.wait_equal()
            except AssertionError as error:
                self.found.wrong.append(f"{told}; it serves something else: {error}")
                outcome = UNFIT
        if outcome == REFUSED:
            # It must have left its folder alone.
            harm.undo()
        elif outcome == UNFIT:
            node.kill()
            shutil.rmtree(node.data_dir)
        if outcome != SERVES:
            try:
                node.start()
            except (DatabaseError, ProcessEnded) as error:
                self.found.wrong.append(f"{told}; it does not start when the damage is undone: {error}")
                node.kill()
                shutil.rmtree(node.data_dir)
                node.start()
            self.cluster.wait_equal()
            # A node that begins anew learns first, and until it votes no other one may be away.
            wait_for(lambda: all(map(self.has_all_voters, self.cluster.alive())), "three voters")

    def has_all_voters(self, node):
        voters = node.sql("SELECT len(voters) FROM quack_raft_status() WHERE group_name = 'default'")
        return voters == [(len(self.cluster.nodes),)]


def run(folder, track, draw, is_over):
    """Damages nodes until it is over; what was found."""
    flips = Flips(folder, track, draw)
    while not is_over(flips.found):
        flips.trial()
    flips.cluster.stop()
    return flips.found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("minutes", type=float, nargs="?", default=5)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    deadline = time.monotonic() + 60 * options.minutes
    nodes = []

    def track(node):
        nodes.append(node)
        return node

    with tempfile.TemporaryDirectory(prefix="quack-flips-") as folder:
        try:
            found = run(Path(folder), track, random.Random(options.seed), lambda _: time.monotonic() > deadline)
        finally:
            for node in nodes:
                if node.process is not None:
                    node.kill()
    found.show()
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
