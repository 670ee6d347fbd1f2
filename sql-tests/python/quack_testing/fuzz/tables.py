"""Random CREATE TABLE statements."""

from quack_testing.fuzz.expressions import scope_of
from quack_testing.fuzz.values import KEYS, parse, random_type, value

COLUMN_NAMES = ["a", "b", "c", "d", "e", "f", "g", "h"]
ODD_NAMES = ['"Mixed Case"', '"select"', '"ü"']


class Tables:
    def __init__(self, random, expressions):
        self.random = random
        self.expressions = expressions

    def column_type(self, model):
        if model.types and self.random.random() < 0.08:
            return self.random.choice(model.types)
        return random_type(self.random)

    def default(self, model, of):
        choice = self.random.random()
        if model.sequences and of.is_integer and choice < 0.5:
            return f"nextval('{self.random.choice(model.sequences)}')"
        if choice < 0.85:
            return value(self.random, of, 0)
        return {"INTEGER": "1 + 2", "VARCHAR": "concat('x', 'y')", "DATE": "'2024-01-01'"}.get(of.name, "NULL")

    def column(self, model, name, key=False):
        """The definition of a column, and its type."""
        text = self.random.choice(KEYS) if key else self.column_type(model)
        of = parse(text)
        definition = f"{name} {text}"
        if of.name == "VARCHAR" and self.random.random() < 0.15:
            definition += f" COLLATE {self.random.choice(['NOCASE', 'NOACCENT', 'NOCASE.NOACCENT', 'POSIX'])}"
        if self.random.random() < 0.25:
            definition += f" DEFAULT {self.default(model, of)}"
        if not key and self.random.random() < 0.12:
            definition += " NOT NULL"
        return definition, of

    def create(self, model, name, temporary=False):
        random = self.random
        names = COLUMN_NAMES[: random.randint(1, 6)]
        if random.random() < 0.15:
            names[-1] = random.choice(ODD_NAMES)
        key_count = random.choice([0, 0, 1, 1, 1, 2])
        parts, scope = [], []
        for number, column in enumerate(names):
            definition, of = self.column(model, column, number < key_count)
            parts.append(definition)
            scope.append((column, of))
        parts += self.constraints(model, names, key_count, scope)
        if random.random() < 0.2:
            kind = random.choice(["VIRTUAL", "VIRTUAL", "STORED"]) if random.random() < 0.1 else "VIRTUAL"
            parts.append(f"gen AS ({self.expressions.generated(scope)}) {kind}")
        form = "CREATE TEMP TABLE" if temporary else random.choice(["CREATE TABLE"] * 5 + ["CREATE OR REPLACE TABLE"])
        return f"{form} {name} ({', '.join(parts)})"

    def constraints(self, model, names, key_count, scope):
        random = self.random
        parts = []
        if key_count:
            parts.append(f"{random.choice(['PRIMARY KEY', 'PRIMARY KEY', 'UNIQUE'])} ({', '.join(names[:key_count])})")
        keys = [(name, of) for name, of in scope if of.can_be_key]
        if keys and random.random() < 0.2:
            parts.append(f"UNIQUE ({random.choice(keys)[0]})")
        if random.random() < 0.25:
            parts.append(f"CONSTRAINT good CHECK ({self.check(scope)})")
        parents = [table for table in model.permanent() if table.keys]
        if parents and random.random() < 0.45:
            parts += self.foreign_key(random.choice(parents), scope)
        if key_count == 1 and random.random() < 0.12:
            same = [name for name, of in scope[1:] if of == scope[0][1]]
            if same:
                parts.append(f"FOREIGN KEY ({same[0]}) REFERENCES {{SELF}} ({names[0]})")
        return parts

    def foreign_key(self, parent, scope):
        key = self.random.choice(parent.keys)
        mine = []
        for name in key:
            fitting = [own for own, of in scope if of == parent.column(name).type and own not in mine]
            if not fitting:
                return []
            mine.append(self.random.choice(fitting))
        return [f"FOREIGN KEY ({', '.join(mine)}) REFERENCES {parent.full_name} ({', '.join(key)})"]

    def check(self, scope):
        """A condition that most rows meet, and that looks at no zone."""
        plain = [(name, of) for name, of in scope if "TZ" not in of.text and of.name not in ("JSON", "VARIANT")]
        numbers = [name for name, of in plain if of.is_integer]
        if numbers:
            return f"{self.random.choice(numbers)} {self.random.choice(['<> 7', '< 1000', '>= -2', 'IS NOT NULL'])}"
        name = self.random.choice(scope)[0]
        return f"{name} IS NOT NULL OR true"

    def create_as(self, model, name):
        other = self.random.choice(model.tables)
        scope = scope_of(other)
        where = f" WHERE {self.expressions.predicate(scope)}" if self.random.random() < 0.5 else ""
        chosen = self.random.sample(scope, self.random.randint(1, len(scope)))
        columns = ", ".join(text for text, _ in chosen)
        form = self.random.choice(["CREATE TABLE", "CREATE TABLE", "CREATE OR REPLACE TABLE", "CREATE TABLE IF NOT EXISTS"])
        tail = self.random.choice(["", "", "", " WITH NO DATA"])
        return f"{form} {name} AS SELECT {columns} FROM {other.full_name}{where}{tail}"
