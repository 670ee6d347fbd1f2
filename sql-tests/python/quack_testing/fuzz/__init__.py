"""Random SQL, seeded, that must do on a cluster what it does on a plain DuckDB file.

A script is made statement by statement, looking at the plain file's catalog, so that most statements mean something;
all worlds run the same script, and what each statement gives is compared. See main.py.
"""
