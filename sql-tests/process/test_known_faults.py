"""The table of known faults names tests that there are."""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS.parents[1] / "docs" / "known-faults.md"
COMMANDS = re.findall(r"`pytest (test_\w+\.py)(?: -k (\w+))?`", TABLE.read_text())


def test_the_table_has_commands():
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("file, words", COMMANDS)
def test_a_command_of_the_table_runs_something(file, words):
    tests = re.findall(r"^def (test_\w+)", (TESTS / file).read_text(), re.MULTILINE)
    assert any((words or "") in test for test in tests), tests
