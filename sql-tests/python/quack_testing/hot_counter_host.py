"""A program that serves, and raises one counter from many threads, so that most statements meet a conflict and repeat.

usage: hot_counter_host.py EXTENSION DATA_DIR ROUNDS

Each thread raises the counter in another way; a repeated statement must mean what it meant the first time: the same
parameters, variables, search path, temporary macros, and rows for RETURNING. Prints one line of JSON: how often each way
has raised the counter, by how much it has grown in all, and the errors.
"""

import json
import sys
import threading

import duckdb


def by_text(connection, _):
    return connection.execute("UPDATE cp.counter SET n = n + 1 WHERE id = 1").fetchone()[0]


def by_parameters(connection, _):
    return connection.execute("UPDATE cp.counter SET n = n + $step WHERE id = $id", {"id": 1, "step": 1}).fetchone()[0]


def by_execute(connection, number):
    if number == 0:
        connection.execute("PREPARE raise AS UPDATE cp.counter SET n = n + ? WHERE id = ?")
    return connection.execute("EXECUTE raise(1, 1)").fetchone()[0]


def by_variable(connection, _):
    connection.execute("SET VARIABLE step = 1")
    return connection.execute("UPDATE cp.counter SET n = n + getvariable('step') WHERE id = 1").fetchone()[0]


def by_search_path(connection, _):
    connection.execute("USE cp.main")
    return connection.execute("UPDATE counter SET n = n + 1 WHERE id = 1").fetchone()[0]


def by_temporary_macro(connection, number):
    if number == 0:
        connection.execute("CREATE TEMPORARY MACRO one_more(x) AS x + 1")
    return connection.execute("UPDATE cp.counter SET n = one_more(n) WHERE id = 1").fetchone()[0]


def by_returning(connection, _):
    rows = connection.execute("UPDATE cp.counter SET n = n + 1 WHERE id = 1 RETURNING id, n, 'raised'").fetchall()
    assert len(rows) == 1 and rows[0][0] == 1 and rows[0][2] == "raised", rows
    seen.append(rows[0][1])
    return 1


def by_merge(connection, _):
    return connection.execute(
        "MERGE INTO cp.counter USING (SELECT 1 AS id) source USING (id) WHEN MATCHED THEN UPDATE SET n = n + 1"
    ).fetchone()[0]


def by_with(connection, _):
    ((n,),) = connection.execute(
        "WITH raised AS (UPDATE cp.counter SET n = n + 1 WHERE id = 1 RETURNING n) SELECT -n FROM raised"
    ).fetchall()
    seen.append(-n)
    return 1


def by_with_and_parameters(connection, _):
    query = "WITH raised AS (UPDATE cp.counter SET n = n + ? WHERE id = 1 RETURNING n) SELECT n + ? FROM raised"
    ((n,),) = connection.execute(query, [1, 1000000]).fetchall()
    seen.append(n - 1000000)
    return 1


def by_trigger(connection, number):
    return connection.execute("INSERT INTO cp.orders VALUES (?)", [number]).fetchone()[0]


WAYS = [
    by_text,
    by_parameters,
    by_execute,
    by_variable,
    by_search_path,
    by_temporary_macro,
    by_returning,
    by_merge,
    by_with,
    by_with_and_parameters,
    by_trigger,
]
seen = []


def main():
    extension, data_dir, rounds = sys.argv[1:]
    database = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    database.execute(f"LOAD '{extension}'")
    database.execute(f"CALL quack_serve('quack:127.0.0.1:0', data_dir := '{data_dir}')")
    database.execute("CREATE TABLE cp.counter (id INTEGER PRIMARY KEY, n BIGINT)")
    database.execute("INSERT INTO cp.counter VALUES (1, 0), (2, 0)")
    database.execute("CREATE TABLE cp.orders (number INTEGER)")
    trigger = "CREATE TRIGGER count AFTER INSERT ON cp.orders UPDATE cp.counter SET n = n + 1 WHERE id = 1"
    database.execute(trigger)
    raised = {way.__name__: 0 for way in WAYS}
    errors = set()

    def run(way):
        connection = database.cursor()
        for number in range(int(rounds)):
            try:
                raised[way.__name__] += way(connection, number)
            except (duckdb.Error, AssertionError) as error:
                errors.add(f"{way.__name__}: {error}")

    threads = [threading.Thread(target=run, args=[way]) for way in WAYS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counter = database.execute("SELECT n FROM cp.counter ORDER BY id").fetchall()
    different = len(set(seen)) == len(seen)
    print(json.dumps({"raised": raised, "counter": counter, "seen_are_different": different, "errors": sorted(errors)}))


if __name__ == "__main__":
    main()
