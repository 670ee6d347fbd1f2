"""`quackd`: the same node as a program of its own."""

import signal
import subprocess

from quack_testing import node as nodes
from quack_testing.process import ROOT

QUACKD = ROOT / "dist/bin/quackd"
END_SECONDS = 60


def start(folder, *arguments):
    return subprocess.Popen(
        [QUACKD, "--data-dir", folder, "--token", nodes.TOKEN, *arguments], stdout=subprocess.PIPE, text=True
    )


def uri_of(quackd):
    word, _, rest = quackd.stdout.readline().partition("listening at ")
    assert word == ""
    return rest.split(" ")[0]


def test_it_serves_a_stock_client_ends_on_sigterm_and_goes_on_where_it_was(tmp_path, track):
    for round_number in range(2):
        quackd = start(tmp_path / "data", "--listen", "quack:127.0.0.1:0")
        try:
            client = track(nodes.stock_client(tmp_path, f"stock{round_number}", uri_of(quackd)))
            if round_number == 0:
                client.sql("CREATE TABLE cp.t (i INTEGER)")
            client.sql(f"INSERT INTO cp.t VALUES ({round_number})")
            assert client.value("SELECT count(*) FROM cp.t") == round_number + 1
            quackd.send_signal(signal.SIGTERM)
            assert quackd.wait(END_SECONDS) == 0
        finally:
            if quackd.poll() is None:
                quackd.kill()
                quackd.wait()


def test_a_wrong_command_line_is_refused_with_the_usage():
    result = subprocess.run([QUACKD, "--bogus", "1"], capture_output=True, text=True)
    assert result.returncode == 2
    assert "unknown argument '--bogus'" in result.stderr
    assert "usage: quackd" in result.stderr


def test_a_folder_that_cannot_be_served_is_an_error(tmp_path):
    (tmp_path / "stray").write_text("x")
    result = subprocess.run([QUACKD, "--data-dir", tmp_path], capture_output=True, text=True, timeout=END_SECONDS)
    assert result.returncode == 1
    assert "is not a node's data folder" in result.stderr
