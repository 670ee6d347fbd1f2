"""The settings that `make environments` gives its hosts."""

import duckdb
import pytest
from quack_testing.environments import settings


def test_every_setting_of_duckdb_is_known():
    """A release of DuckDB that adds a setting, or drops one, fails here: give it its class, in `settings.py`."""
    names = {name for (name,) in duckdb.connect().execute("SELECT name FROM duckdb_settings()").fetchall()}
    assert names - settings.known() == set()
    assert settings.known() - names == set()


def test_no_setting_has_two_classes():
    classes = (settings.MEANING, settings.WORK, settings.PLANS, settings.SAME, settings.SHOWN, settings.OUTSIDE, settings.FIXED)
    assert sum(map(len, classes)) == len({name for of_class in classes for name in of_class})


@pytest.mark.parametrize("name", sorted({*settings.MEANING, *settings.WORK, *settings.PLANS} - settings.ABSENT))
def test_duckdb_takes_every_value(name):
    usual, values = settings.MEANING.get(name) or (None, {**settings.WORK, **settings.PLANS}[name])
    for value in values:
        connection = duckdb.connect()
        connection.execute(f"SET GLOBAL {name} = {value}")
        if usual:
            connection.execute(f"SET SESSION {name} = {usual}")
