"""What lanes give and cost: rows per second with 1, 2, 4 and 8 of them, and a cluster of very many that does nothing.

Three nodes on this machine, mTLS between them. Clients in the processes of all nodes insert batches of rows: into one
table, and into four. Each number is the best of several rounds, in which all ways are measured in turn; for comparison
the same clients write to a table in the default group. What is applied everywhere is what counts: a round ends when all
nodes hold all rows, and that time is part of it.

Then as many tables are created, each in a group of its own, and left alone: processor time of all nodes together,
messages between them and fsyncs, each per second, next to those of the same cluster before. The same with one node
killed, and when half of the tables have been dropped while it is away; then it comes back.
"""

import argparse
import os
import tempfile
import time

from host import write_json

from quack_testing.cluster import Cluster, wait_for

BATCH_ROWS = 1024
ROUNDS = 3
ROUND_SECONDS = 4
CLIENTS = 4
LANES = (1, 2, 4, 8)
REST_SECONDS_MAX = 300
# How long the cluster is watched while it does nothing.
IDLE_ROUNDS = 5
WAKES = 21

# Runs in a node's process, so that nothing but the write is measured.
WRITE_CODE = """
import threading, time
tables, clients, rows, seconds, first = {tables!r}, {clients}, {rows}, {seconds}, {first}
done, errors = [0] * clients, []
def client(number):
    connection = database.cursor()
    connection.execute("USE cp")
    table = tables[number % len(tables)]
    insert = f"INSERT INTO {{table}} SELECT $1 + range, ($1 + range) % 64, 'some payload ' || range FROM range({{rows}})"
    end = time.perf_counter() + seconds
    try:
        while time.perf_counter() < end:
            connection.execute(insert, [first + (number * 100000 + done[number]) * rows])
            done[number] += 1
    except duckdb.Error as error:
        errors.append(str(error))
worker.writing = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(clients)]
worker.done, worker.errors = done, errors
for thread in worker.writing:
    thread.start()
"""
WRITTEN_CODE = """
for thread in worker.writing:
    thread.join()
result = [sum(worker.done), worker.errors]
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="?", type=int, default=1000, help="that do nothing")
    parser.add_argument("--seconds", type=float, default=ROUND_SECONDS, help="of each round")
    parser.add_argument("--json", help="write the results to this file too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quack-bench-", dir=os.environ.get("QUACK_BENCH_DIR")) as folder:
        cluster = Cluster(folder).start()
        try:
            enable(cluster)
            results = {"throughput": throughput(cluster, arguments.seconds), "idle": idle(cluster, arguments)}
            results["one_away"] = one_away(cluster, arguments)
        finally:
            for node in cluster.alive():
                node.kill()
    write_json(arguments.json, results)


def enable(cluster):
    assert cluster.alive()[0].value("SELECT quack_multiraft_sql_set_enabled(true)")
    cluster.wait_equal()


def throughput(cluster, seconds):
    """Rows per second by the number of lanes, 0 for the default group, into one table and into four."""
    results = {}
    for count in (1, 4):
        ways = {}
        for lanes in (0, *LANES):
            options = f"WITH (quack_shard_key = 'tenant', quack_initial_groups = {lanes})" if lanes else ""
            ways[lanes] = [f"t{count}_{lanes}_{number}" for number in range(count)]
            for table in ways[lanes]:
                cluster.alive()[0].sql(f"CREATE TABLE {table} (id BIGINT, tenant INTEGER, payload VARCHAR) {options}")
        cluster.wait_equal()
        best = {lanes: 0 for lanes in ways}
        for round_number in range(ROUNDS):
            for lanes, tables in ways.items():
                best[lanes] = max(best[lanes], write(cluster, tables, seconds, round_number))
        for lanes, rate in best.items():
            where = f"{lanes} lanes" if lanes else "default group"
            ratio = f"{rate / best[0]:>7.2f} of the default group" if lanes else ""
            print(f"{count} table{'s' if count > 1 else ' '}, {where:<14}{rate:>10,.0f} rows/s{ratio}", flush=True)
        results[count] = best
        for tables in ways.values():
            for table in tables:
                cluster.alive()[0].sql(f"DROP TABLE {table}")
    return results


def write(cluster, tables, seconds, round_number):
    nodes = cluster.alive()
    start = time.perf_counter()
    for number, node in enumerate(nodes):
        first = (round_number * len(nodes) + number) * 10**12
        fields = {"tables": tables, "clients": CLIENTS, "rows": BATCH_ROWS, "seconds": seconds, "first": first}
        node.process.python(WRITE_CODE.format(**fields))
    written = 0
    for node in nodes:
        done, errors = node.process.python(WRITTEN_CODE)
        assert not errors, errors[0]
        written += done
    cluster.wait_equal()
    return written * BATCH_ROWS / (time.perf_counter() - start)


def measured(node, name, label, value):
    where = f"name = '{name}' AND labels['{label}'] = '{value}'"
    return node.value(f"SELECT value FROM quack_metrics() WHERE {where}") or 0


def sample(cluster):
    """Processor seconds, messages and fsyncs so far, of all nodes together."""
    total = {"cpu_seconds": 0, "messages_default": 0, "messages_lanes": 0, "fsyncs": 0}
    for node in cluster.alive():
        with open(f"/proc/{node.process.popen.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        total["cpu_seconds"] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        total["messages_default"] += measured(node, "quack_raft_messages_total", "group", "default")
        total["messages_lanes"] += measured(node, "quack_raft_messages_total", "group", "lanes")
        total["fsyncs"] += measured(node, "quack_log_append_seconds_count", "fsync", "true")
    return total


def do_nothing(cluster, title, round_seconds):
    before, start = sample(cluster), time.perf_counter()
    time.sleep(IDLE_ROUNDS * round_seconds)
    after, seconds = sample(cluster), time.perf_counter() - start
    rates = {key: (after[key] - before[key]) / seconds for key in before}
    print(
        f"{title:<22}{rates['cpu_seconds'] * 100:>7.1f} % of a core{rates['messages_default']:>8.1f} messages/s of the "
        f"default group{rates['messages_lanes']:>8.1f} of lanes{rates['fsyncs']:>8.1f} fsyncs/s",
        flush=True,
    )
    return rates


def idle(cluster, arguments):
    groups = arguments.groups
    time.sleep(5)
    results = {"before": do_nothing(cluster, "no lanes", arguments.seconds)}
    node, start = cluster.alive()[0], time.perf_counter()
    for number in range(groups):
        node.sql(f"CREATE TABLE g{number} (i INTEGER) WITH (quack_group = 'g{number}')")
    print(f"{groups:,} groups were created in {time.perf_counter() - start:.1f} s", flush=True)
    cluster.wait_equal()

    def all_led():
        query = "SELECT count(*) FROM quack_group_status('cp') WHERE kind = 'lane' AND leader_id IS NOT NULL AND lag = 0"
        time.sleep(1)
        return all(node.value(query) >= groups for node in cluster.alive())

    wait_for(all_led, "leaders of all groups", REST_SECONDS_MAX)
    leaders = "SELECT leader_id, count(*) FROM quack_group_status('cp') WHERE kind = 'lane' GROUP BY ALL ORDER BY ALL"
    print(f"led by: {dict(node.sql(leaders))}", flush=True)

    wait_for_rest(cluster)
    results["with"] = do_nothing(cluster, f"{groups:,} groups at rest", arguments.seconds)
    results["wake_ms"] = sorted(wake(node, groups // 2 + number) for number in range(WAKES))
    print(f"the first write into one of them: {results['wake_ms'][WAKES // 2]:.1f} ms", flush=True)
    return results


def wait_for_rest(cluster):
    def rests():
        before = sample(cluster)
        time.sleep(2)
        return sample(cluster)["messages_lanes"] == before["messages_lanes"]

    wait_for(rests, "lanes that rest", REST_SECONDS_MAX)


def one_away(cluster, arguments):
    """The same with a member that is not there, which groups and dropped groups could wait for."""
    groups = arguments.groups
    away = cluster.others(cluster.leader())[0]
    away.kill()
    node = cluster.leader()
    wait_for_rest(cluster)
    results = {"with": do_nothing(cluster, f"{groups:,}, a node is away", arguments.seconds)}
    for number in range(0, groups, 2):
        node.sql(f"DROP TABLE g{number}")
    wait_for_rest(cluster)
    results["dropped"] = do_nothing(cluster, f"{groups // 2:,} of them dropped", arguments.seconds)
    start = time.perf_counter()
    away.start()
    cluster.wait_equal()
    results["back_seconds"] = time.perf_counter() - start
    print(f"the node is back and has everything after {results['back_seconds']:.1f} s", flush=True)
    wait_for_rest(cluster)
    results["back"] = do_nothing(cluster, f"{groups // 2:,} groups, all nodes", arguments.seconds)
    return results


def wake(node, group):
    started = time.perf_counter()
    node.sql(f"INSERT INTO g{group} VALUES (1)")
    return (time.perf_counter() - started) * 1000


if __name__ == "__main__":
    main()
