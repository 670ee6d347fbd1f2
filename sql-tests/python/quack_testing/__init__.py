"""What the tests share: processes that host DuckDB, stock clients, nodes, and raw protocol messages."""
