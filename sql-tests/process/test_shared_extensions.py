"""What needs an extension of DuckDB is taken when all members have it. Python's DuckDB has icu, and `quackd` has not."""

from importlib.metadata import version

import pytest
from quack_testing import node as nodes
from quack_testing.process import DatabaseError
from quack_testing.quackd import Quackd

# Each with words of what is refused, where not all have icu.
NEEDS_ICU = {
    "a function": ("CREATE TABLE cp.t (a TIMESTAMPTZ, CHECK (date_trunc('day', a) > '2020-01-01'))", "CHECK needs"),
    "an operator": ("CREATE TABLE cp.t (a TIMESTAMPTZ, b AS (a + INTERVAL 1 DAY))", "the generated column needs"),
    "a cast": ("CREATE TABLE cp.t (a TIMESTAMPTZ, CHECK (a::DATE > '2020-01-01'))", "CHECK needs"),
    "a cast of text": ("CREATE TABLE cp.t (a VARCHAR, CHECK (a::TIMESTAMPTZ > '2020-01-01'))", "CHECK needs"),
    "a cast within a list": ("CREATE TABLE cp.t (a VARCHAR[], CHECK (a::TIMESTAMPTZ[] IS NOT NULL))", "CHECK needs"),
    "the name of a time zone": ("CREATE TABLE cp.t (a TIMESTAMPTZ, CHECK (a > '2020-01-01 00:00:00 Europe/Berlin'))", "CHECK needs"),
    "a collation": ("CREATE TABLE cp.t (a VARCHAR COLLATE de)", "collation of the column's type needs"),
    "a collation in a CHECK": ("CREATE TABLE cp.t (a VARCHAR, CHECK (a COLLATE de > 'b'))", "CHECK needs"),
    "a collation of a new column": ("ALTER TABLE cp.text ADD COLUMN b VARCHAR COLLATE de", "collation of the column's"),
    "an index": ("CREATE INDEX i ON cp.moments (date_trunc('day', a))", "CREATE INDEX over needs"),
    "a type": ("ALTER TABLE cp.text ALTER a TYPE TIMESTAMPTZ", "ALTER COLUMN ... TYPE needs"),
    "a type by an expression": ("ALTER TABLE cp.moments ALTER a TYPE BIGINT USING year(a)", "ALTER COLUMN ... TYPE needs"),
    "a default of rows that are there": (
        "ALTER TABLE cp.text ADD COLUMN b TIMESTAMPTZ DEFAULT '2020-01-01 00:00:00 Europe/Berlin'", "DEFAULT needs",
    ),
}  # fmt: skip
if version("duckdb") != "2.0.0":
    # Later versions make no index over what depends on a time zone.
    del NEEDS_ICU["an index"]
NEEDS_NOTHING = [
    "CREATE TABLE cp.n0 (a TIMESTAMPTZ DEFAULT now(), CHECK (a > '2020-01-01' AND a < '2100-01-01 00:00:00+02'))",
    "CREATE TABLE cp.n1 (a TIMESTAMPTZ DEFAULT current_timestamp + INTERVAL 1 DAY, CHECK (epoch_us(a) > 0))",
    "CREATE TABLE cp.n2 (a TIMESTAMPTZ, CHECK (coalesce(a, '2020-01-01') IN ('2020-01-01', '2021-01-01')))",
    "CREATE TABLE cp.n3 (a TIMESTAMPTZ, CHECK (a > DATE '2020-01-01' OR a < TIMESTAMP '2019-01-01 10:00:00'))",
    "CREATE TABLE cp.n4 (a VARCHAR COLLATE nocase, b VARCHAR COLLATE noaccent.nocase, CHECK (a COLLATE nfc > ''))",
    "CREATE TABLE cp.n5 (a TIMESTAMP, b AS (date_trunc('day', a)), CHECK (a + INTERVAL 1 DAY > '2020-01-01'))",
    "CREATE VIEW cp.n6 AS SELECT date_trunc('day', a) AS b FROM cp.moments",
    "ALTER TABLE cp.text ADD COLUMN c TIMESTAMPTZ DEFAULT '2020-01-01 00:00:00+02'",
    "INSERT INTO cp.moments SELECT date_trunc('day', '2020-01-01 12:00:00 Europe/Berlin'::TIMESTAMPTZ)",
]
PREPARE = [
    "CREATE TABLE cp.text (a VARCHAR)",
    "INSERT INTO cp.text VALUES ('2020-01-01'), (NULL)",
    "CREATE TABLE cp.moments (a TIMESTAMPTZ)",
    "INSERT INTO cp.moments VALUES ('2020-01-01 10:00:00+00'), (NULL)",
]
CONFIGURATION = """data_dir: data
cluster_mode:
  node_id: n2
  cp_metadata_port: {port}
  cp_metadata_token: {token}
  cp_metadata_peers: {peers}
  tls: {{cert_path: {cert}, key_path: {key}, ca_cert_path: {authority}}}
metrics:
  port: 0
"""


@pytest.fixture
def mixed(new_cluster, tmp_path):
    """A cluster of two Python processes and a `quackd`."""
    cluster = new_cluster(3)
    cluster.nodes.pop("n2")
    folder = tmp_path / "quackd"
    folder.mkdir()
    files = {name: path.strip("'") for name, path in cluster.certificates.issue("n2").items()}
    (folder / "n2.yaml").write_text(
        CONFIGURATION.format(
            port=cluster.ports["n2"],
            token=nodes.TOKEN,
            peers=cluster.peers().replace("'", '"'),
            cert=files["cert_file"],
            key=files["key_file"],
            authority=files["client_ca_file"],
        )
    )
    for node in cluster.nodes.values():
        node.start(attach=False)
    quackd = Quackd(folder, "serve", "--config", folder / "n2.yaml")
    try:
        for node in cluster.nodes.values():
            node.attach()
        yield cluster
    finally:
        quackd.popen.kill()
        quackd.popen.wait()


def test_what_needs_an_extension_is_refused_where_a_member_does_not_have_it(mixed):
    cluster = mixed
    node = cluster["n0"]
    for text in PREPARE:
        node.sql(text)
    for name, (text, words) in NEEDS_ICU.items():
        with pytest.raises(DatabaseError, match="node 'n2' did not have it") as error:
            node.sql(text)
        assert words in str(error.value), (name, error.value)
    for text in NEEDS_NOTHING:
        node.sql(text)
    for table in ("n0", "n1"):
        node.sql(f"INSERT INTO cp.{table} DEFAULT VALUES")
    node.sql("INSERT INTO cp.n2 VALUES ('2021-01-01')")
    assert {state for _, _, state, _ in node.sql("FROM quack_verify('cp')")} == {"equal"}
    assert cluster["n1"].sql("SELECT count(*) FROM cp.n0") == [(1,)]


@pytest.mark.parametrize("case", NEEDS_ICU, ids=str)
def test_what_needs_an_extension_is_taken_where_all_members_have_it(shared_cluster, case):
    node, other = shared_cluster["n0"], shared_cluster["n1"]
    for text in [*PREPARE, NEEDS_ICU[case][0]]:
        node.sql(text)
    shared_cluster.wait_equal()
    for table in ("t", "text", "moments"):
        other.sql(f"DROP TABLE IF EXISTS cp.{table}")
