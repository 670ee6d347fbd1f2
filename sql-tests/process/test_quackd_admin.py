"""`quackd serve --config`, its health and metrics, and `quackctl`, as an operator uses them."""

import json
import re
import time
from pathlib import Path

import pytest

from quack_testing import node as nodes
from quack_testing.process import EXTENSION, ROOT, DatabaseError, pause, resume
from quack_testing.quackd import END_SECONDS, QUACKCTL, QUACKD, Quackd, quackctl, run

CONFIGURATION = """
data_dir: data
extension_path: {extension}
cluster_mode:
  node_id: n0
  cp_metadata_port: 0
  cp_metadata_token: {token}
metrics:
  port: 0
  flush_interval_ms: 50
  stale_after_ms: 1000
logging:
  format: json
"""


@pytest.fixture
def start(tmp_path):
    """Starts `quackd` in the test's folder, and kills by process id what a test leaves behind."""
    started = []

    def start(*arguments):
        started.append(Quackd(tmp_path, *arguments))
        return started[-1]

    yield start
    for quackd in started:
        if quackd.popen.poll() is None:
            quackd.popen.kill()
            quackd.popen.wait()


def write_configuration(folder, text=CONFIGURATION, **changes):
    path = folder / "node.yaml"
    path.write_text(text.format(extension=EXTENSION, token=changes.get("token", nodes.TOKEN)))
    return path


def rules(printed):
    return {finding["rule"] for finding in printed["details"]}


def test_a_node_from_a_file_serves_tells_how_it_is_and_goes_on_where_it_was(tmp_path, start, track):
    write_configuration(tmp_path)
    for round_number in range(2):
        quackd = start("serve", "--config", "node.yaml")
        assert "serving" in quackd.wait_for("/ready", 200)
        assert quackd.get("/health") == (200, "serving\n")
        before = quackd.metric('quack_raft_applied_index{group="default"}')

        client = track(nodes.stock_client(tmp_path, f"stock{round_number}", quackd.uri))
        if round_number == 0:
            client.sql("CREATE TABLE cp.t (i INTEGER)")
        client.sql(f"INSERT INTO cp.t VALUES ({round_number})")
        assert client.value("SELECT count(*) FROM cp.t") == round_number + 1

        status = json.loads(quackd.get("/status")[1])
        assert status["verdict"]["ok"] and status["verdict"]["enabled"] and status["verdict"]["is_leader"]
        assert [group["group_name"] for group in status["groups"]] == ["default"]
        assert status["groups"][0]["voters"] == ["n0"]
        assert status["servers"][0]["node_id"] == "n0"
        end = time.monotonic() + END_SECONDS
        while quackd.metric('quack_raft_applied_index{group="default"}') <= before:
            assert time.monotonic() < end
        assert quackd.metric('quack_server_connections{catalog="cp"}') >= 1
        assert quackd.metric("quack_process_resident_memory_bytes") > 0

        assert quackd.get("/nothing")[0] == 404
        assert quackd.get("/health", "POST")[0] == 405
        assert quackd.terminate() == 0


def test_logs_are_json_and_hide_the_token(tmp_path, start):
    write_configuration(tmp_path)
    quackd = start("serve", "--config", "node.yaml")
    quackd.wait_for("/ready", 200)
    assert quackd.terminate() == 0
    lines = [json.loads(line) for line in quackd.stderr_path.read_text().splitlines()]
    # Those of the program and those of the extension, in one form.
    assert [line["message"] for line in lines] == ["starting", "log opened", "role", "serving", "stopping", "stopped"]
    assert {line["node_id"] for line in lines} == {"n0"}
    assert {line["target"].split("::")[0] for line in lines} == {"quackd", "quack_node"}
    everything = quackd.stderr_path.read_text() + quackd.popen.stdout.read()
    assert nodes.TOKEN not in everything


def test_the_environment_says_before_the_configuration_what_is_logged_and_how(tmp_path, start, monkeypatch):
    write_configuration(tmp_path)
    monkeypatch.setenv("QUACK_LOG", "off,quack_node=info")
    monkeypatch.setenv("QUACK_LOG_FORMAT", "text")
    quackd = start("serve", "--config", "node.yaml")
    quackd.wait_for("/ready", 200)
    assert quackd.terminate() == 0
    opened, role = quackd.stderr_path.read_text().splitlines()
    assert " quack_node::" in opened and ": log opened" in opened and opened.endswith(" node_id=n0")
    assert 'role="leader"' in role

    monkeypatch.setenv("QUACK_LOG", "inof")
    result = run(QUACKD, "serve", "--config", "node.yaml", cwd=tmp_path)
    assert result.returncode == 1
    assert "QUACK_LOG is not valid: 'inof' does not say what to log" in result.stderr
    monkeypatch.delenv("QUACK_LOG")
    path = write_configuration(tmp_path, CONFIGURATION + "  level: inof\n")
    result = run(QUACKD, "serve", "--config", path)
    assert result.returncode == 5 and "logging.level: 'inof' does not say what to log" in result.stderr


def test_metrics_count_what_clients_do_and_are_those_of_the_page(tmp_path, start, track):
    write_configuration(tmp_path)
    quackd = start("serve", "--config", "node.yaml")
    quackd.wait_for("/ready", 200)
    client = track(nodes.stock_client(tmp_path, "stock", quackd.uri))
    client.sql("CREATE TABLE cp.t (i INTEGER PRIMARY KEY)")
    applied = 'quack_proposal_seconds_count{outcome="applied"}'

    def wait_for_metric(name, value):
        end = time.monotonic() + END_SECONDS
        while (now := quackd.metric(name)) != value:
            assert time.monotonic() < end and now < value, (name, now, value)
            time.sleep(0.05)

    # The first statement of the process, and the table.
    wait_for_metric(applied, 2)
    for i in range(20):
        client.sql(f"INSERT INTO cp.t VALUES ({i})")
    with pytest.raises(DatabaseError, match="Duplicate key"):
        client.sql("INSERT INTO cp.t VALUES (7)")
    wait_for_metric(applied, 2 + 21)
    with pytest.raises(DatabaseError, match="Authentication failed"):
        nodes.stock_client(tmp_path, "thief", quackd.uri, token="a wrong token, but long")
    wait_for_metric('quack_sessions_refused_total{reason="token"}', 1)
    assert quackd.metric("quack_apply_entries_sum") == 2 + 21
    assert quackd.metric('quack_log_append_seconds_count{fsync="true"}') >= 2 + 21
    assert quackd.metric("quack_proposal_seconds_sum" + '{outcome="applied"}') > 0
    assert quackd.metric('quack_proposal_seconds_bucket{outcome="applied",le="+Inf"}') == 2 + 21
    assert quackd.metric('quack_proposal_seconds_count{outcome="unknown"}') == 0
    assert quackd.metric('quack_raft_leader_changes_total{group="default"}') == 1

    lines = quackd.get("/metrics")[1].splitlines()
    types = {tuple(line.split(" ")[2:]) for line in lines if line.startswith("# TYPE ")}
    assert len(types) == sum(line.startswith("# TYPE ") for line in lines), "each family stands once"
    page = (ROOT / "docs/metrics.md").read_text()
    described = set(re.findall(r"^\| `(quack_\w+)(?:\{[\w,]+\})?` \| (\w+) \|", page, re.MULTILINE))
    # Snapshots are between nodes.
    assert described - types == {("quack_snapshot_seconds", "histogram"), ("quack_snapshot_bytes_total", "counter")}
    assert types <= described
    assert quackd.terminate() == 0


def test_the_flags_have_the_admin_face_too(tmp_path, start):
    quackd = start(
        "--data-dir", tmp_path / "data", "--listen", "quack:127.0.0.1:0", "--token", nodes.TOKEN,
        "--extension", EXTENSION, "--admin-port", "0",
    )  # fmt: skip
    quackd.wait_for("/ready", 200)
    assert quackd.terminate() == 0


def test_a_stopped_process_answers_nothing_and_a_continued_one_is_well_again(tmp_path, start):
    write_configuration(tmp_path)
    quackd = start("serve", "--config", "node.yaml")
    quackd.wait_for("/ready", 200)
    pause(quackd)
    code, printed = quackctl("cp-metadata", "status", "--url", f"http://{quackd.admin}", "--timeout", 1)
    assert (code, printed["code"]) == (6, "network")
    assert "no answer within 1 s" in printed["message"]
    resume(quackd)
    quackd.wait_for("/ready", 200)
    assert quackd.terminate() == 0


def test_stopping_is_bounded_while_a_query_runs_and_nothing_is_lost(tmp_path, start, track):
    path = write_configuration(tmp_path, CONFIGURATION + "shutdown_timeout_secs: 1\n")
    quackd = start("serve", "--config", "node.yaml")
    client = track(nodes.stock_client(tmp_path, "stock", quackd.uri))
    client.sql("CREATE TABLE cp.t (i INTEGER)")
    client.sql("INSERT INTO cp.t VALUES (1)")
    before = quackd.metric("quack_process_cpu_seconds_total")
    endless = "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b"
    client.start_sql(f"FROM quack_query_by_name('cp', '{endless}')")
    end = time.monotonic() + END_SECONDS
    while quackd.metric("quack_process_cpu_seconds_total") < before + 1:
        assert time.monotonic() < end
    assert quackd.get("/ready")[0] == 200
    assert quackd.terminate() == 1
    assert "stopping takes too long" in quackd.stderr_path.read_text()

    path.write_text(path.read_text().replace("shutdown_timeout_secs: 1\n", ""))
    quackd = start("serve", "--config", "node.yaml")
    again = track(nodes.stock_client(tmp_path, "again", quackd.uri))
    assert again.sql("FROM cp.t") == [(1,)]
    assert quackd.terminate() == 0


def test_every_mistake_of_a_configuration_is_told_at_once_and_nothing_is_made(tmp_path):
    path = write_configuration(tmp_path, CONFIGURATION.replace("node_id", "nodeid") + "logs: 1\n", token="short")
    result = run(QUACKD, "serve", "--config", path)
    assert result.returncode == 5
    for text in ["did you mean cluster_mode.node_id?", "there is no key logs", "the token has 5 characters"]:
        assert text in result.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["node.yaml"]


def test_a_missing_configuration_and_a_taken_admin_port_are_told(tmp_path, start):
    assert run(QUACKD, "serve", "--config", tmp_path / "nothing.yaml").returncode == 3
    assert run(QUACKD, "serve", env={}).returncode == 2
    write_configuration(tmp_path)
    quackd = start("serve", "--config", "node.yaml")
    port = quackd.admin.rsplit(":", 1)[1]
    second = tmp_path / "second"
    second.mkdir()
    path = write_configuration(second, CONFIGURATION.replace("port: 0\n  flush", f"port: {port}\n  flush"))
    result = run(QUACKD, "serve", "--config", path)
    assert result.returncode == 1
    assert "set metrics.host and metrics.port" in result.stderr
    assert quackd.terminate() == 0


def test_the_settings_of_duckdb_are_duckdbs_to_check(tmp_path):
    path = write_configuration(tmp_path, CONFIGURATION + "duckdb:\n  memory_limit: much\n")
    result = run(QUACKD, "serve", "--config", path)
    assert result.returncode == 1
    assert "SET memory_limit = 'much'" in result.stderr


def test_status_finds_the_node_by_its_file(tmp_path, start):
    path = write_configuration(tmp_path)
    quackd = start("serve", "--config", "node.yaml")
    quackd.wait_for("/ready", 200)
    port = quackd.admin.rsplit(":", 1)[1]
    path.write_text(path.read_text().replace("port: 0\n  flush", f"port: {port}\n  flush"))
    code, printed = quackctl("cp-metadata", "status", "--config", path)
    assert code == 0
    verdict = {"enabled": True, "ok": True, "leader_id": "n0", "is_leader": True, "linearizable_read_safe": True}
    assert verdict.items() <= printed["verdict"].items()
    text = run(QUACKCTL, "cp-metadata", "status", "--config", path)
    assert text.returncode == 0
    assert "n0 is well" in text.stdout and "leader_id              n0 (this node)" in text.stdout
    assert quackd.terminate() == 0
    assert quackctl("cp-metadata", "status", "--config", path)[0] == 6
    assert quackctl("cp-metadata", "status", "--config", tmp_path / "nothing.yaml")[0] == 3
    assert quackctl("cp-metadata", "status", "--url", "ftp://x")[0] == 5


def test_a_generated_cluster_is_valid_and_each_mistake_has_its_exit_code(tmp_path):
    code, printed = quackctl("cp-metadata", "generate-local-configs", "--nodes", 3, "--out", tmp_path / "c")
    assert code == 0
    files = printed["configurations"]
    assert [Path(file).name for file in files] == ["n0.yaml", "n1.yaml", "n2.yaml"]
    assert (Path(printed["token_path"]).stat().st_mode & 0o777) == 0o600
    code, printed = quackctl("cp-metadata", "validate-config", *files)
    assert (code, printed["details"]) == (0, [])
    assert [node["node_id"] for node in printed["nodes"]] == ["n0", "n1", "n2"]

    code, printed = quackctl("cp-metadata", "generate-local-configs", "--nodes", 3, "--out", tmp_path / "c")
    assert code == 5 and "--force" in printed["message"]

    path = Path(files[1])
    path.write_text(path.read_text().replace("n2:voter", "n2:captain").replace("data/n1", "data/n0"))
    code, printed = quackctl("cp-metadata", "validate-config", *files)
    assert code == 5
    assert rules(printed) == {"wrong_role", "shared_data_dir", "peers_differ", "even_voters"}
    text = run(QUACKCTL, "cp-metadata", "validate-config", *files)
    assert "there is no role 'captain'" in text.stdout

    path.unlink()
    assert quackctl("cp-metadata", "validate-config", *files)[0] == 3


def test_certificates_are_made_checked_and_never_overwritten(tmp_path):
    ca, out = tmp_path / "ca", tmp_path / "certs"
    assert quackctl("cert", "init", "--out", ca)[0] == 0
    assert quackctl("cert", "init", "--out", ca)[0] == 5
    code, printed = quackctl("cert", "issue", "--ca", ca, "--node", "n0", "--node", "n1", "--out", out)
    assert code == 0
    assert sorted(path.name for path in out.iterdir()) == ["ca.crt", "n0.crt", "n0.key", "n1.crt", "n1.key"]
    for path in [ca / "ca.key", out / "n0.key", out / "n1.key"]:
        assert (path.stat().st_mode & 0o777) == 0o600

    def check(node, cert="n0", key="n0", authority=out / "ca.crt"):
        code, printed = quackctl(
            "cert", "check", "--ca", authority, "--cert", out / f"{cert}.crt", "--key", out / f"{key}.key", "--node", node
        )
        return code, rules(printed)

    assert check("n0") == (0, set())
    assert check("n1") == (5, {"certificate_lacks_dns_name", "certificate_lacks_uri_name"})
    assert check("n0", key="n1") == (5, {"key_does_not_match"})
    assert check("n0", cert="n9") == (3, {"file_missing"})
    assert quackctl("cert", "init", "--out", tmp_path / "other")[0] == 0
    assert check("n0", authority=tmp_path / "other/ca.crt") == (5, {"certificate_wrong_ca"})

    before = (out / "n0.key").read_bytes()
    assert quackctl("cert", "issue", "--ca", ca, "--node", "n0", "--out", out)[0] == 5
    assert (out / "n0.key").read_bytes() == before
    assert quackctl("cert", "issue", "--ca", ca, "--node", "n0", "--out", out, "--force")[0] == 0
    assert (out / "n0.key").read_bytes() != before
    assert check("n0") == (0, set())

    for arguments in [
        ("--ca", ca, "--node", "n/0"),
        ("--ca", ca, "--node", "ca"),
        ("--ca", ca, "--node", "n2", "--days", 0),
        ("--ca", ca, "--node", "n2", "--days", 9999),
    ]:
        assert quackctl("cert", "issue", "--out", out, *arguments)[0] == 5
    assert quackctl("cert", "issue", "--ca", tmp_path / "nowhere", "--node", "n2", "--out", out)[0] == 3


def test_a_wrong_command_line_of_quackctl_is_a_broken_rule(tmp_path):
    code, printed = quackctl("cp-metadata", "stats")
    assert code == 5 and "status" in printed["message"]
    result = run(QUACKCTL, "cert")
    assert result.returncode == 5 and "Usage: quackctl cert" in result.stderr
    assert run(QUACKCTL, "--help").returncode == 0
    assert run(QUACKCTL, "--version").stdout.startswith("quackctl ")
