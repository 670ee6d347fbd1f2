"""Nine shapes of queries whose plans and times must be those of plain DuckDB."""

TABLES = """
CREATE TABLE {catalog}.facts (id BIGINT PRIMARY KEY, tenant INTEGER, amount DOUBLE, note VARCHAR);
INSERT INTO {catalog}.facts
    SELECT i, (i * 7919) % 1000, (i % 10007) / 7, 'note ' || (i % 5000) FROM range({rows}) r(i);
CREATE TABLE {catalog}.tenants (id INTEGER PRIMARY KEY, name VARCHAR);
INSERT INTO {catalog}.tenants SELECT i, 'tenant ' || i FROM range(1000) r(i);
"""

SHAPES = {
    "sum": "SELECT sum(amount) FROM {catalog}.facts",
    "filter": "SELECT count(*), sum(amount) FROM {catalog}.facts WHERE note = 'note 77' OR tenant = 5",
    "range of ids": "SELECT sum(amount) FROM {catalog}.facts WHERE id BETWEEN {rows} / 2 AND {rows} / 2 + 1000",
    "join": "SELECT name, sum(amount) FROM {catalog}.facts f JOIN {catalog}.tenants t ON f.tenant = t.id "
    "WHERE t.id < 100 GROUP BY name ORDER BY name",
    "primary key": "SELECT * FROM {catalog}.facts WHERE id = {rows} / 3",
    "top n": "SELECT id, amount, note FROM {catalog}.facts ORDER BY amount DESC, id LIMIT 10",
    "count": "SELECT count(*) FROM {catalog}.facts",
    "min and max": "SELECT min(id), max(id), min(tenant), max(tenant) FROM {catalog}.facts",
    "group": "SELECT tenant, count(*), avg(amount) FROM {catalog}.facts GROUP BY tenant ORDER BY tenant",
}


def shape(name, catalog, rows):
    # The halves and thirds are computed here, so that both sides get the same constants.
    text = SHAPES[name].replace("{rows} / 2", str(rows // 2)).replace("{rows} / 3", str(rows // 3))
    return text.format(catalog=catalog)


def statements(catalog, rows):
    return [s for s in TABLES.format(catalog=catalog, rows=rows).split(";") if s.strip()]
