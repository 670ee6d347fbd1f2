"""Random expressions over columns, deterministic ones: no chance, no time, nothing that depends on the order of rows.

A scope is a list of pairs, an expression's text and its type.
"""

from quack_testing.fuzz.values import parse, value

INTEGER, VARCHAR, BOOLEAN = parse("INTEGER"), parse("VARCHAR"), parse("BOOLEAN")
COMPARISONS = ["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"]
# Aggregates whose value does not depend on the order of rows.
AGGREGATES = ["count({0})", "min({0})", "max({0})", "count(DISTINCT {0})", "bool_or({0} IS NULL)", "list({0} ORDER BY {0})"]
NUMBER_AGGREGATES = ["sum({0})", "avg({0})", "min({0})", "bit_xor({0})", "count(*) FILTER (WHERE {0} > 3)"]


def scope_of(table, alias=None):
    return [(f"{alias or table.name}.{column.name}", column.type) for column in table.columns]


class Expressions:
    def __init__(self, random):
        self.random = random

    def constant(self, of, nulls=0.1):
        return value(self.random, of, nulls)

    def predicate(self, scope, depth=0):
        random = self.random
        choice = random.random()
        if not scope or choice < 0.03:
            return random.choice(["true", "false", "NULL"])
        if choice < 0.25 and depth < 2:
            parts = [self.predicate(scope, depth + 1) for _ in range(2)]
            return "(" + random.choice([" AND ", " OR "]).join(parts) + ")"
        if choice < 0.3 and depth < 2:
            return f"NOT {self.predicate(scope, depth + 1)}"
        text, of = random.choice(scope)
        if choice < 0.4:
            return f"{text} IS {random.choice(['', 'NOT ', 'NOT '])}NULL"
        if choice < 0.43:
            return f"hash({text}) % {random.randint(2, 3)} = 0"
        if choice < 0.5 and of.name == "VARCHAR":
            like = random.choice(["LIKE", "NOT LIKE", "ILIKE", "SIMILAR TO"])
            return f"{text} {like} {random.choice(['%a%', 'a%', '_', '%'])!r}"
        if choice < 0.6:
            return f"{text} IN ({', '.join(self.constant(of) for _ in range(random.randint(1, 4)))})"
        if choice < 0.7:
            return f"{text} BETWEEN {self.constant(of)} AND {self.constant(of)}"
        if choice < 0.78 and of.is_integer:
            return f"{text} % {random.randint(2, 4)} = {random.randint(0, 2)}"
        if choice < 0.9:
            return f"{text} {random.choice(['<', '>', '<>', '>='])} {self.constant(of, 0)}"
        return f"{text} {random.choice(COMPARISONS)} {self.of_type(of, scope, depth + 1)}"

    def of_type(self, of, scope, depth=0):
        """An expression that can be assigned to a column of the type."""
        random = self.random
        same = [text for text, other in scope if other == of]
        choice = random.random()
        if depth > 2 or choice < 0.3:
            return self.constant(of)
        if choice < 0.45 and same:
            return random.choice(same)
        if choice < 0.55:
            parts = (self.predicate(scope, depth + 1), *(self.of_type(of, scope, depth + 1) for _ in range(2)))
            return "CASE WHEN {} THEN {} ELSE {} END".format(*parts)
        if choice < 0.6:
            return f"coalesce({self.of_type(of, scope, depth + 1)}, {self.constant(of, 0)})"
        if choice < 0.64 and scope:
            return f"try_cast({random.choice(scope)[0]} AS {of.text})"
        if of.is_number and same:
            return self.number(of, random.choice(same), scope, depth)
        if of.name == "VARCHAR":
            return self.text(scope, depth)
        if of.name in ("LIST", "STRUCT", "MAP") and same:
            return self.nested(of, random.choice(same))
        if of.name in ("DATE", "TIMESTAMP") and same:
            return f"({random.choice(same)} + INTERVAL '{random.randint(-3, 3)} days')::{of.name}"
        if of == BOOLEAN:
            return f"({self.predicate(scope, depth + 1)})"
        return random.choice(same) if same else self.constant(of)

    def number(self, of, text, scope, depth):
        random = self.random
        other = self.of_type(of, scope, depth + 1)
        return random.choice(
            [
                f"{text} + {random.randint(1, 3)}",
                f"{text} - {random.randint(1, 3)}",
                f"{text} * 2",
                # Not the minus of zero: plain DuckDB drops an update in place to an equal value, of a large table.
                f"0 - {text}" if of.name in ("FLOAT", "DOUBLE") else f"-{text}",
                f"abs({text})",
                f"greatest({text}, {other})",
                f"{text} + {other}",
                f"nullif({text}, {other})",
                f"CASE WHEN {text} > 100 THEN 0 ELSE {text} + 1 END",
            ]
        )

    def text(self, scope, depth):
        random = self.random
        parts = [f"{random.choice(scope)[0]}::VARCHAR" if scope else "'t'", self.of_type(VARCHAR, scope, depth + 1)]
        form = random.choice(["upper({1})", "{0} || {1}", "concat({0}, '-', {1})", "left({0}, 5)", "md5({0})", "{0}"])
        return form.format(*parts)

    def nested(self, of, text):
        random = self.random
        if of.name == "LIST":
            one = self.constant(of.parts[0][1])
            forms = [
                "list_append({0}, {1})",
                "{0} || [{1}]",
                "{0}[2:]",
                "list_reverse({0})",
                "list_filter({0}, x -> x IS NOT NULL)",
            ]
            return random.choice(forms).format(text, one)
        if of.name == "STRUCT":
            name, inner = random.choice(of.parts)
            others = {label: f"{text}.{label}" for label, _ in of.parts}
            others[name] = self.constant(inner)
            return "{" + ", ".join(f"{label}: {field}" for label, field in others.items()) + "}"
        (_, key), (_, inner) = of.parts
        return f"map_concat({text}, MAP {{{self.constant(key, 0)}: {self.constant(inner)}}})"

    def aggregate(self, scope):
        text, of = self.random.choice(scope)
        # The sum of floating-point numbers depends on the order.
        forms = NUMBER_AGGREGATES if of.is_integer else AGGREGATES
        return self.random.choice(forms + ["count(*)"]).format(text)

    def generated(self, columns):
        """An expression for a generated column, which no row can make fail."""
        name, of = self.random.choice(columns)
        if of.is_integer:
            return self.random.choice([f"({name}::DOUBLE * 2)", f"({name} IS NULL)", f"({name}::VARCHAR || '!')"])
        return self.random.choice([f"({name} IS NULL)", f"(length({name}::VARCHAR))", f"(md5({name}::VARCHAR))"])
