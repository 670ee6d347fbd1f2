"""A program that serves, and reads and writes in threads of its own, and then ends in the way it is told.

usage: lifecycle_host.py EXTENSION DATA_DIR ROUND

It prints `serving <listen_url>`, then `ack <id>` for each row that its own threads wrote. The name of an
ending on standard input makes it end. What a plain DuckDB cannot stand is not asked of it: Python ends
threads that are inside DuckDB by unwinding them, which aborts the process with or without an extension, so
the endings that leave through `exit` have their queries in flight on the connections of remote clients only.
"""

import ctypes
import os
import signal
import sys
import threading
import time
import traceback

import duckdb

TOKEN = "token-of-the-lifecycles"
PRINTING = threading.Lock()
WRITERS, READERS = 2, 1
JOIN_SECONDS = 20


def say(line):
    """Prints one whole line: `print` writes it in pieces, between which another thread may write."""
    with PRINTING:
        print(line, flush=True)


def main():
    extension, data_dir, round_number = sys.argv[1:]
    host = Host(extension, data_dir, int(round_number))
    host.serve()
    ending = sys.stdin.readline().strip()
    if ending in ("detach", "stop", "fork", "close"):
        host.work()
        ending_now = sys.stdin.readline().strip()
        assert ending_now == "now", ending_now
    getattr(host, "end_by_" + ending)()


class Host:
    def __init__(self, extension, data_dir, round_number):
        self.round = round_number
        self.database = duckdb.connect(config={"allow_unsigned_extensions": "true"})
        self.database.execute(f"LOAD '{extension}'")
        self.data_dir = data_dir
        self.connections, self.threads = [], []
        self.leaving = False

    def serve(self):
        self.uri, url, _token = self.database.execute(
            f"CALL quack_serve('quack:127.0.0.1:0', token := '{TOKEN}', node_id := 'n0', "
            f"data_dir := '{self.data_dir}')"
        ).fetchone()
        self.database.execute(f"ATTACH '{self.uri}' AS cp (TYPE quack, TOKEN '{TOKEN}')")
        self.database.execute("CREATE TABLE IF NOT EXISTS cp.t (id BIGINT PRIMARY KEY, pad VARCHAR)")
        say(f"serving {url}")

    def work(self):
        for number in range(WRITERS + READERS):
            connection = self.database.cursor()
            self.connections.append(connection)
            work = self.write if number < WRITERS else self.read
            thread = threading.Thread(target=self.run, args=(work, connection, number))
            self.threads.append(thread)
            thread.start()

    def run(self, work, connection, number):
        try:
            while not self.leaving:
                work(connection, number)
        except duckdb.Error as error:
            # The ending took its connection, its catalog or its server away.
            say("error " + str(error).replace("\n", " "))

    def write(self, connection, number):
        key = (self.round * WRITERS + number) * 10**9 + time.monotonic_ns() % 10**9
        connection.execute("INSERT INTO cp.t VALUES (?, 'local')", [key])
        say(f"ack {key}")

    def read(self, connection, _number):
        connection.execute("SELECT sum(hash(id, pad, r.i)) FROM cp.t, range(5000) r(i)").fetchall()

    def join(self):
        """Ends the threads of this program: interrupts what runs until each has left."""
        self.leaving = True
        limit = time.monotonic() + JOIN_SECONDS
        for thread, connection in zip(self.threads, self.connections):
            while thread.is_alive():
                if time.monotonic() > limit:
                    print("a thread of the program cannot be interrupted", file=sys.stderr, flush=True)
                    os._exit(99)
                connection.interrupt()
                thread.join(0.01)

    def end_by_exit(self):
        sys.exit(0)

    def end_by_libc_exit(self):
        ctypes.CDLL(None).exit(0)

    def end_by_close(self):
        self.join()
        for connection in [*self.connections, self.database]:
            connection.close()

    def end_by_detach(self):
        # Other threads and remote sessions are using the catalog at this moment: it is refused, and they go on.
        try:
            self.database.execute("DETACH cp")
            os._exit(96)
        except duckdb.BinderException:
            self.database.execute(f"INSERT INTO cp.t VALUES ({-1 - self.round}, 'after DETACH')")
        self.join()

    def end_by_stop(self):
        self.database.execute(f"CALL quack_stop('{self.uri}')")
        self.join()

    def end_by_fork(self):
        child = os.fork()
        if child == 0:
            # The child has none of the threads; it must be able to leave in the ordinary way.
            ctypes.CDLL(None).exit(0)
        limit = time.monotonic() + JOIN_SECONDS
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > limit:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                print("the child of a fork did not end", file=sys.stderr, flush=True)
                os._exit(98)
            time.sleep(0.005)
        status = ended[1]
        # The parent goes on: it writes, and its server answers.
        self.database.execute(f"INSERT INTO cp.t VALUES ({-1 - self.round}, 'after the fork')")
        self.join()
        sys.exit(97 if status else 0)

    def end_by_sigterm(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(JOIN_SECONDS)

    def end_by_sigterm_handled(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(JOIN_SECONDS)


if __name__ == "__main__":
    try:
        main()
    except Exception:
        # The threads of this program would keep it alive.
        traceback.print_exc()
        os._exit(95)
