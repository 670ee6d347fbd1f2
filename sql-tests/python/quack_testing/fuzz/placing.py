"""Tables that change their groups."""

from quack_testing.fuzz.steps import CLUSTER, Step

ENABLE = "SELECT quack_multiraft_sql_set_enabled(true)"
GROUPS_MAX = 4


def place(random, model):
    """Another place for one of the tables, if there are any."""
    tables = [table for table in model.permanent() if table.stored]
    if not tables:
        return None
    table = random.choice(tables)
    column = random.choice(table.stored).name.strip('"')
    placement = random.choice([
        "SET GROUP 'one'",
        "SET GROUP 'two'",
        "SET GROUP DEFAULT",
        f"SET (quack_shard_key = '{column}', quack_initial_groups = {random.randint(1, GROUPS_MAX)})",
    ])  # fmt: skip
    return Step(f"ALTER TABLE {table.full_name} {placement}", CLUSTER)
