"""Every way in which a serving process can end, many times, with queries in flight.

Neither hang, nor crash, nor lose an acknowledged row. The rounds of one ending follow each other on the same
data folder, so each start is also a recovery from the ending before.
"""

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from quack_testing import wire
from quack_testing.process import EXTENSION, PYTHON, ROOT

ROUNDS = int(os.environ.get("QUACK_LIFECYCLE_ROUNDS", "50"))
# Two series side by side, each on its own data folder.
SERIES = 2
ENDINGS = {
    "exit": 0,
    "libc_exit": 0,
    "close": 0,
    "detach": 0,
    "stop": 0,
    "fork": 0,
    "sigterm": -signal.SIGTERM,
    "sigterm_handled": 0,
}
LOCAL_WORK = ("close", "detach", "stop", "fork")
HOST = ROOT / "sql-tests/python/quack_testing/lifecycle_host.py"
WRITERS = 2
ACKNOWLEDGED_MIN = 6
END_SECONDS = 40


class Load:
    """Remote sessions that read and write until their server is gone."""

    def __init__(self, url, first_key):
        self.endpoint = wire.Endpoint(url)
        self.acknowledged = []
        self.threads = [
            threading.Thread(target=self.run, args=(self.write, first_key + number * 10**8)) for number in range(WRITERS)
        ]
        self.threads.append(threading.Thread(target=self.run, args=(self.read, 0)))
        for thread in self.threads:
            thread.start()

    def run(self, work, key):
        try:
            session = self.endpoint.connect("token-of-the-lifecycles")
            while work(session, key):
                key += 1
        except (OSError, AssertionError, wire.http.client.HTTPException):
            pass  # The server is gone.

    def post(self, session, sql):
        return self.endpoint.post(wire.prepare_request(session, sql)).kind == wire.PREPARE_RESPONSE

    def write(self, session, key):
        done = self.post(session, f"INSERT INTO cp.t VALUES ({key}, 'remote')")
        if done:
            self.acknowledged.append(key)
        return done

    def read(self, session, _key):
        return self.post(session, "SELECT sum(hash(id, pad, r.i)) FROM cp.t, range(5000) r(i)")


class Output:
    """The lines of a host, read while it runs."""

    def __init__(self, stream):
        self.stream = stream
        self.acknowledged = []
        self.errors = []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        for line in self.stream:
            word, _, rest = line.strip().partition(" ")
            if word == "ack":
                self.acknowledged.append(int(rest))
            else:
                self.errors.append(line)


def wait_until(condition, what, seconds=60):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"{what() if callable(what) else what} took longer than {seconds} s"
        time.sleep(0.005)


def one_round(folder, ending, number):
    """Runs a host to its end; returns the keys that were acknowledged."""
    errors = folder / f"round-{number}.stderr"
    with open(errors, "wb") as stderr:
        host = subprocess.Popen(
            [PYTHON, HOST, EXTENSION, folder / "n0", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        word, _, url = host.stdout.readline().strip().partition(" ")
        assert word == "serving", errors.read_text()
        output = Output(host.stdout)
        load = Load(url, (number + 1000) * 10**9)
        host.stdin.write(ending + "\n" if ending in LOCAL_WORK else "")
        host.stdin.flush()
        wait_until(lambda: len(load.acknowledged) >= ACKNOWLEDGED_MIN, "writing through remote sessions")
        if ending in LOCAL_WORK:
            wait_until(
                lambda: len(output.acknowledged) >= ACKNOWLEDGED_MIN,
                lambda: f"writing in the process, {len(output.acknowledged)} rows so far, {output.errors},",
            )
        host.stdin.write("now\n" if ending in LOCAL_WORK else ending + "\n")
        host.stdin.flush()
        try:
            code = host.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"round {number}: still there {END_SECONDS} s after {ending}: {errors.read_text()}")
        assert code == ENDINGS[ending], f"round {number} ended with {code}: {errors.read_text()}{output.errors}"
    finally:
        if host.poll() is None:
            host.kill()
            host.wait()
    output.thread.join(10)
    for thread in load.threads:
        thread.join(60)
        assert not thread.is_alive(), "a remote session waits for a server that is gone"
    return load.acknowledged + output.acknowledged


def series(folder, ending, rounds):
    folder.mkdir()
    keys = []
    for number in range(rounds):
        keys += one_round(folder, ending, number)
    return folder, keys


@pytest.mark.parametrize("ending", ENDINGS)
def test_ending_with_queries_in_flight(ending, tmp_path, new_process):
    with ThreadPoolExecutor(SERIES) as pool:
        runs = [
            pool.submit(series, tmp_path / f"series-{number}", ending, (ROUNDS + SERIES - 1) // SERIES)
            for number in range(SERIES)
        ]
        results = [run.result() for run in runs]
    for folder, keys in results:
        process = new_process(folder.name, config={})
        process.sql(f"LOAD '{EXTENSION}'")
        ((uri, *_),) = process.sql(
            f"CALL quack_serve('quack:127.0.0.1:0', token := 'token-of-the-tests', node_id := 'n0', data_dir := '{folder}/n0')"
        )
        process.sql(f"ATTACH '{uri}' AS cp (TYPE quack, TOKEN 'token-of-the-tests')")
        stored = [key for (key,) in process.sql("SELECT id FROM cp.t")]
        assert len(stored) == len(set(stored))
        missing = set(keys) - set(stored)
        assert not missing, f"{len(missing)} of {len(keys)} acknowledged rows are gone, such as {min(missing)}"
        process.close_database()
        assert process.exit() == 0, process.stderr_tail()
