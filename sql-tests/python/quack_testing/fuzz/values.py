"""DuckDB's types as the generator sees them: chosen at random, read from the catalog, and values of them.

Values come from small ranges, so that keys meet each other and joins find something.
"""

from dataclasses import dataclass

WORDS = ["", "a", "b", "c", "A", "bb", "Duck", "quack", "x y", "0", "12", "ü", "日本", "it''s", "longer than twelve bytes"]
NAMES = ["a", "b", "c", "d", '"x y"']
# Types that can be a key; in front those that are chosen more often.
KEYS = [
    "INTEGER", "INTEGER", "INTEGER", "BIGINT", "VARCHAR", "VARCHAR", "DATE", "UUID", "DECIMAL(9,2)", "TIMESTAMP", "BLOB",
    "BOOLEAN", "UTINYINT", "HUGEINT", "DOUBLE", "TIMESTAMPTZ", "TIME",
]  # fmt: skip
PLAIN = [
    "INTEGER", "INTEGER", "BIGINT", "VARCHAR", "VARCHAR", "DOUBLE", "DECIMAL(18,3)", "DATE", "TIMESTAMP", "BOOLEAN",
]  # fmt: skip
OTHERS = [
    "TINYINT", "SMALLINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DECIMAL(4,1)",
    "DECIMAL(38,10)", "UUID", "BLOB", "BIT", "TIME", "TIME_NS", "TIMETZ", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS",
    "TIMESTAMPTZ", "INTERVAL", "BIGNUM", "JSON", "VARIANT", "ENUM('a', 'b', 'c')", "GEOMETRY", "TIMESTAMPTZ_NS",
]  # fmt: skip
LONG_NAMES = {
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ",
    "TIME WITH TIME ZONE": "TIMETZ",
    "TIMESTAMP_NS WITH TIME ZONE": "TIMESTAMPTZ_NS",
}
INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "BIGNUM"}
UNSIGNED = {"UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"}
FLOATS = {"FLOAT", "DOUBLE"}


@dataclass(frozen=True)
class Type:
    """A type: `name` is that of the kind, `text` the whole of it, `parts` what is inside, by label."""

    name: str
    text: str
    parts: tuple = ()

    @property
    def is_number(self):
        return self.name in INTEGERS | UNSIGNED | FLOATS or self.name == "DECIMAL"

    @property
    def is_integer(self):
        return self.name in INTEGERS | UNSIGNED

    @property
    def can_be_key(self):
        return self.text in KEYS or self.name == "ENUM"


def split(text):
    """The parts between the commas that are in no brackets and no quotes."""
    parts, depth, quote, start = [], 0, None, 0
    for index, letter in enumerate(text):
        if quote:
            quote = None if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([":
            depth += 1
        elif letter in ")]":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]


def labelled(text):
    """A name and a type."""
    if text.startswith('"'):
        end = text.index('"', 1) + 1
        return text[:end], parse(text[end:].strip())
    name, _, rest = text.partition(" ")
    return name, parse(rest)


def parse(text):
    """The type of this text, as the catalog writes it."""
    text = LONG_NAMES.get(text, text)
    if text.endswith("]"):
        start = text.rindex("[")
        size = text[start + 1 : -1]
        return Type("ARRAY" if size else "LIST", text, ((size, parse(text[:start])),))
    name, bracket, rest = text.partition("(")
    if not bracket or name == "DECIMAL":
        return Type(name, text)
    inside = split(rest[:-1])
    if name in ("STRUCT", "UNION"):
        return Type(name, text, tuple(labelled(part) for part in inside))
    if name == "MAP":
        return Type(name, text, tuple(("", parse(part)) for part in inside))
    if name == "ENUM":
        return Type(name, text, tuple((part, None) for part in inside))
    return Type(name, text)


def random_type(random, depth=0):
    """The text of a type."""
    choice = random.random()
    if choice < 0.55:
        return random.choice(PLAIN)
    if choice < 0.82 or depth > 1:
        return random.choice(OTHERS)
    inner = [random_type(random, depth + 1) for _ in range(random.randint(1, 3))]
    fields = ", ".join(f"{name} {inside}" for name, inside in zip(NAMES, inner))
    return random.choice(
        [
            f"{inner[0]}[]",
            f"{inner[0]}[{random.randint(1, 3)}]",
            f"STRUCT({fields})",
            f"STRUCT({fields})",
            f"MAP({random.choice(['VARCHAR', 'INTEGER', 'DATE'])}, {inner[0]})",
            f"UNION({fields})",
        ]
    )


def clock(random):
    return f"{random.randint(0, 23):02}:{random.choice([0, 30]):02}:{random.randint(0, 3):02}"


def date(random):
    return f"20{random.randint(20, 24)}-{random.randint(1, 12):02}-{random.choice([1, 2, 28])}"


def decimal(random, scale):
    return f"{random.randint(-20, 99)}.{random.randint(0, 10**scale - 1)}"


# How a value of each kind is written.
WRITTEN = {
    "BOOLEAN": lambda random: random.choice(["true", "false"]),
    "VARCHAR": lambda random: f"'{random.choice(WORDS)}'",
    "FLOAT": lambda random: random.choice(["0.5", "1.5", "-2", "'nan'::FLOAT", "'-inf'::FLOAT", "-0.0", "1e10"]),
    "DOUBLE": lambda random: random.choice(["0.1", "2.5", "-3", "'nan'::DOUBLE", "'inf'::DOUBLE", "-0.0", "1e100"]),
    "UUID": lambda random: f"'{random.randint(0, 9):08}-0000-4000-8000-00000000000{random.randint(0, 9)}'::UUID",
    "BLOB": lambda random: random.choice(["'\\x00\\xFF'::BLOB", "'ab'::BLOB", "''::BLOB", "'\\xAA'::BLOB"]),
    "BIT": lambda random: "'" + "".join(random.choice("01") for _ in range(random.randint(1, 12))) + "'::BIT",
    "DATE": lambda random: random.choice([f"'{date(random)}'::DATE"] * 9 + ["'infinity'::DATE", "'0044-03-15 (BC)'::DATE"]),
    "TIME": lambda random: f"'{clock(random)}.123456'::TIME",
    "TIME_NS": lambda random: f"'{clock(random)}.123456789'::TIME_NS",
    "TIMETZ": lambda random: f"'{clock(random)}+0{random.randint(0, 9)}'::TIMETZ",
    "INTERVAL": lambda random: f"INTERVAL '{random.randint(0, 3)} months {random.randint(-40, 40)} days {clock(random)}'",
    "JSON": lambda random: random.choice(["'{\"k\": [1, null]}'::JSON", "'3'::JSON", "'\"t\"'::JSON", "'null'::JSON"]),
    "GEOMETRY": lambda random: f"'POINT ({random.randint(0, 3)} {random.randint(0, 3)})'::GEOMETRY",
}
EDGES = {
    "TINYINT": "127", "SMALLINT": "-32768", "INTEGER": "2147483647", "BIGINT": "-9223372036854775808", "UTINYINT": "255",
    "HUGEINT": "170141183460469231731687303715884105727", "UBIGINT": "18446744073709551615", "USMALLINT": "65535",
    "UINTEGER": "4294967295", "UHUGEINT": "340282366920938463463374607431768211455",
    "BIGNUM": "'-99999999999999999999999999999999999999999999'::BIGNUM",
}  # fmt: skip


def value(random, of, nulls=0.1):
    """A value of the type, as SQL writes it."""
    if random.random() < nulls:
        return "NULL"
    if of.is_integer:
        low = 0 if of.name in UNSIGNED else -3
        return EDGES[of.name] if random.random() < 0.03 else str(random.randint(low, 20))
    if of.name == "DECIMAL":
        return decimal(random, int(of.text.rstrip(")").split(",")[1]))
    if of.name.startswith("TIMESTAMP"):
        zone = "+00" if "TZ" in of.name else ""
        return f"'{date(random)} {clock(random)}{zone}'::{of.name}"
    if of.name in WRITTEN:
        return WRITTEN[of.name](random)
    return nested_value(random, of)


def nested_value(random, of):
    if of.name == "ENUM":
        return random.choice(of.parts)[0]
    if of.name == "VARIANT":
        return value(random, parse(random_type(random, 1)), 0) + "::VARIANT"
    if of.name in ("LIST", "ARRAY"):
        ((size, inner),) = of.parts
        values = [value(random, inner) for _ in range(int(size or random.randint(0, 3)))]
        return f"[{', '.join(values)}]::{of.text}"
    if of.name == "STRUCT":
        fields = ", ".join(f"{name}: {value(random, inner)}" for name, inner in of.parts)
        return f"{{{fields}}}"
    if of.name == "MAP":
        (_, key), (_, inner) = of.parts
        keys = dict.fromkeys(value(random, key, 0) for _ in range(random.randint(0, 2)))
        return f"MAP {{{', '.join(f'{key}: {value(random, inner)}' for key in keys)}}}"
    if of.name == "UNION":
        name, inner = random.choice(of.parts)
        return f"union_value({name} := {value(random, inner, 0)}::{inner.text})"
    return "NULL"
