"""Arguments for functions of which only the types of their parameters are known.

What the arguments mean is not known, so there are several of each type, columns and constants; a function that needs
something particular, such as a format or a path in a document, has arguments of its own in `ARGUMENTS`.
"""

# A column of each type, by which a call depends on its row, and its values. The last row of all is of NULLs.
COLUMNS = {
    "BOOLEAN": ["true", "false"],
    "TINYINT": ["1", "5", "-7"],
    "SMALLINT": ["2", "300", "-7"],
    "INTEGER": ["3", "70000", "-7"],
    "BIGINT": ["4", "12", "-7"],
    "HUGEINT": ["5", "36893488147419103232", "-7"],
    "UTINYINT": ["1", "5", "7"],
    "USMALLINT": ["2", "300", "7"],
    "UINTEGER": ["3", "70000", "7"],
    "UBIGINT": ["4", "12", "7"],
    "UHUGEINT": ["5", "36893488147419103232", "7"],
    "FLOAT": ["0.5", "0.1", "-0.25", "'nan'"],
    "DOUBLE": ["0.5", "0.1", "-0.25", "'inf'"],
    "DECIMAL(9,2)": ["1.25", "7.5", "-0.01"],
    "BIGNUM": ["17", "36893488147419103232", "-7"],
    "VARCHAR": ["'one'", "'Grüße, Welt'", "'42'", "''"],
    "BLOB": ["'a\\x00b'", "'one'", "''"],
    "BIT": ["'10110'", "'01001'", "'11111'"],
    "UUID": ["'01234567-89ab-7cde-8f01-23456789abcd'", "'00000000-0000-4000-8000-000000000001'"],
    "DATE": ["'2024-02-29'", "'1999-12-31'", "'1969-07-20'"],
    "TIME": ["'12:34:56.789'", "'00:00:00'"],
    "TIME_NS": ["'12:34:56.789012345'", "'00:00:00'"],
    "TIME WITH TIME ZONE": ["'12:34:56+02'", "'00:00:00-07'"],
    "TIMESTAMP": ["'2024-02-29 12:34:56.789'", "'1969-07-20 20:17:40'", "'infinity'"],
    "TIMESTAMP_S": ["'2024-02-29 12:34:56'", "'1969-07-20 20:17:40'"],
    "TIMESTAMP_MS": ["'2024-02-29 12:34:56.789'", "'1969-07-20 20:17:40'"],
    "TIMESTAMP_NS": ["'2024-02-29 12:34:56.789012345'", "'1969-07-20 20:17:40'"],
    "TIMESTAMP WITH TIME ZONE": ["'2024-03-31 01:30:00+00'", "'1969-07-20 20:17:40+00'"],
    "TIMESTAMPTZ_NS": ["'2024-03-31 01:30:00+00'", "'1969-07-20 20:17:40+00'"],
    "INTERVAL": ["'3 days'", "'1 month 2 hours'", "'-5 minutes'"],
    "JSON": ["""'{"a": [1, 2], "b": "x"}'""", "'[1, 2, 3]'", "'7'"],
    "VARIANT": ["{'a': 1, 'b': 'x'}", "42", "'text'"],
    "GEOMETRY": ["'POINT (1 2)'", "'LINESTRING (0 0, 3 4)'", "'POLYGON ((0 0, 4 0, 4 4, 0 0))'"],
    "INTEGER[]": ["[3, 1, 2]", "[]", "[7, NULL]"],
    "BIGINT[]": ["[3, 1, 2]", "[4]"],
    "DOUBLE[]": ["[0.5, 1.5, 2.5]", "[0.1, 0.2, 0.3]"],
    "FLOAT[]": ["[0.5, 1.5, 2.5]", "[0.1, 0.2, 0.3]"],
    "BOOLEAN[]": ["[true, false]", "[true]"],
    "VARCHAR[]": ["['one', 'two']", "['42']"],
    "INTEGER[][]": ["[[1, 2], [3]]", "[[]]"],
    "DOUBLE[3]": ["[0.5, 1.5, 2.5]", "[0.1, 0.2, 0.3]"],
    "FLOAT[3]": ["[0.5, 1.5, 2.5]", "[0.1, 0.2, 0.3]"],
    "STRUCT(a INTEGER, b VARCHAR)": ["{'a': 1, 'b': 'x'}", "{'a': NULL, 'b': 'y'}"],
    "MAP(VARCHAR, INTEGER)": ["MAP {'a': 1, 'b': 2}", "MAP {}"],
    "UNION(a INTEGER, b VARCHAR)": ["union_value(a := 1)", "union_value(b := 'x')"],
    "ENUM('low', 'high')": ["'low'", "'high'"],
}
ROWS = 6


def column(type_name):
    """The name of the column of a type."""
    return "c_" + "".join(letter if letter.isalnum() else "_" for letter in type_name.split("(")[0].lower()) + (
        f"_{list(COLUMNS).index(type_name)}"
    )


def table_columns():
    """The columns for CREATE TABLE, `id` excepted."""
    return ", ".join(f"{column(name)} {name}" for name in COLUMNS)


def table_rows():
    """VALUES for the table of the arguments."""
    rows = []
    for row in range(ROWS):
        values = [
            "NULL" if row == ROWS - 1 else f"{texts[row % len(texts)]}::{name}" for name, texts in COLUMNS.items()
        ]
        rows.append(f"({row}, {', '.join(values)})")
    return "VALUES " + ", ".join(rows)


# Types that stand for others, as DuckDB lists them; the same position in each list belongs together.
ANY = ["INTEGER", "VARCHAR", "INTEGER[]", "DATE", "DOUBLE", "STRUCT(a INTEGER, b VARCHAR)", "MAP(VARCHAR, INTEGER)",
       "TIMESTAMP", "BLOB", "BOOLEAN"]  # fmt: skip
ALIASES = {
    "ANY": ANY, "T": ANY, "K": ["VARCHAR"], "V": ["INTEGER"],
    "ANY[]": ["INTEGER[]", "VARCHAR[]", "INTEGER[][]", "DOUBLE[]"],
    "T[]": ["INTEGER[]", "VARCHAR[]", "INTEGER[][]", "DOUBLE[]"],
    "K[]": ["VARCHAR[]"], "V[]": ["INTEGER[]"], "T[][]": ["INTEGER[][]"],
    "MAP(K, V)": ["MAP(VARCHAR, INTEGER)"], "DECIMAL": ["DECIMAL(9,2)"],
    "DOUBLE[ANY]": ["DOUBLE[3]"], "FLOAT[ANY]": ["FLOAT[3]"],
    "STRUCT": ["STRUCT(a INTEGER, b VARCHAR)"], "UNION": ["UNION(a INTEGER, b VARCHAR)"],
    "TIMESTAMPTZ": ["TIMESTAMP WITH TIME ZONE"], "TIMETZ": ["TIME WITH TIME ZONE"],
}  # fmt: skip
# Constants, for what must not depend on the row or where only certain values are allowed.
SMALL = {name: [f"2::{name}", f"1::{name}"] for name in (
    "TINYINT", "SMALLINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "DECIMAL(9,2)",
)}  # fmt: skip
CONSTANTS = {
    **SMALL,
    "VARCHAR": ["'1'", "'a'", "'hour'", "'day'", "'%Y-%m-%d'", "'$.a'", "'2024-02-29'", "'ASC'", "'sum'", "'NULLS FIRST'",
                "'UTC'", "'main'"],  # fmt: skip
    "INTEGER": ["2", "1", "0", "20"],
    "BIGINT": ["2::BIGINT", "1::BIGINT", "0::BIGINT"],
    "DOUBLE": ["0.5::DOUBLE", "2::DOUBLE"],
    "FLOAT": ["0.5::FLOAT", "1::FLOAT"],
    "BOOLEAN": ["true"],
    "DOUBLE[]": ["[0.25, 0.5]::DOUBLE[]"],
    "FLOAT[]": ["[0.25, 0.5]::FLOAT[]"],
    "VARCHAR[]": ["['hour']", "['a']", "['$.a', '$.b']", "['day', 'month']", "['%Y', '%Y-%m-%d']"],
    "INTERVAL": ["INTERVAL 3 DAY"],
    "TIMESTAMP": ["'2020-01-01'::TIMESTAMP"],
    "DATE": ["'2020-01-01'::DATE"],
    "ANY": ["1", "'a'", "true", "'3 days'"],
    "JSON": ["'7'::JSON"],
    "MAP(VARCHAR, VARCHAR)": ["MAP {'a': 'b'}"],
    "STRUCT(\"year\" BIGINT, \"month\" BIGINT, \"day\" BIGINT)": ["{'year': 2024, 'month': 2, 'day': 29}"],
    "TUPLE": ["row(1, 'x')", f"row({column('INTEGER')}, {column('VARCHAR')})"],
    "TUPLE(K, V)[]": [f"[('a', 1), ('b', {column('INTEGER')})]"],
    "LAMBDA": ["lambda x: x IS NOT NULL", "lambda x: x", "lambda x, y: x", "lambda x, y: x + y"],
}
# Arguments of functions that take only certain ones: the whole list, of any length.
ARGUMENTS = {}


def arguments(names, *lists):
    """Registers lists of arguments; `{TYPE}` stands for the column of a type."""
    for name in names.split():
        for text in lists:
            for type_name in COLUMNS:
                text = text.replace("{" + type_name + "}", column(type_name))
            ARGUMENTS.setdefault(name, []).append(text)


arguments("array_sort list_sort array_grade_up list_grade_up grade_up", "{INTEGER[]}, 'DESC', 'NULLS FIRST'")
arguments("array_to_string array_to_string_comma_default", "{VARCHAR[]}, '-'", "{VARCHAR[]}")
arguments("list_bool_and list_bool_or", "{BOOLEAN[]}")
arguments("finalize", "(SELECT sum({INTEGER}) EXPORT_STATE FROM args)")
arguments("combine", "(SELECT sum({INTEGER}) EXPORT_STATE FROM args), (SELECT sum(id) EXPORT_STATE FROM args)")
arguments("combine_aggr", "(SELECT sum({INTEGER}) EXPORT_STATE FROM args)")
arguments("create_sort_key", "{VARCHAR}, 'DESC NULLS LAST'")
arguments("current_setting", "'TimeZone'")
arguments("getvariable", "'place'")
arguments("nextval", "'numbers'")
arguments("currval", "'numbers'")
arguments("setval", "'numbers', 50", "'numbers', 60, true")
arguments("enum_code enum_first enum_last enum_range", "{ENUM('low', 'high')}")
arguments("enum_range_boundary", "'low'::ENUM('low', 'high'), {ENUM('low', 'high')}")
arguments("from_json from_json_strict json_transform json_transform_strict", "{JSON}, '\"JSON\"'")
arguments("json_serialize_sql json_serialize_plan", "'SELECT 42 AS answer'")
arguments("json_deserialize_sql", "json_serialize_sql('SELECT 42 AS answer')")
arguments("like_escape ilike_escape not_like_escape not_ilike_escape", "{VARCHAR}, '%o$%%', '$'")
arguments("make_type", "'VARCHAR'")
arguments("map", "['a', 'b'], [1, {INTEGER}]")
arguments("map_contains_entry", "{MAP(VARCHAR, INTEGER)}, 'a', 1")
arguments("parse_duckdb_log_message", "'QueryLog', {VARCHAR}")
arguments("parse_formatted_bytes", "'16 kB'")
arguments("quantile quantile_disc", "{INTEGER}, 0.5")
arguments("regexp_extract regexp_extract_all", "{VARCHAR}, '(o)(n)', ['x', 'y']", "{VARCHAR}, '(o)(n)', 1, 'i'")
arguments("regexp_full_match regexp_matches regexp_split_to_array", "{VARCHAR}, 'O.', 'i'")
arguments("str_split_regex string_split_regex", "{VARCHAR}, 'O.', 'i'")
arguments("regexp_replace", "{VARCHAR}, 'O(.)', '-\\1-', 'ig'")
arguments("split_part", "{VARCHAR}, 'n', 1")
arguments("st_geomfromgeojson", "'{\"type\": \"Point\", \"coordinates\": [1, 2]}'")
arguments("st_geomfromwkb", "st_aswkb({GEOMETRY})")
arguments("vertex_extract", "'POINT (1 2)'::GEOMETRY, 'x'")
arguments("struct_insert", "{STRUCT(a INTEGER, b VARCHAR)}, c := {INTEGER}")
arguments("struct_update", "{STRUCT(a INTEGER, b VARCHAR)}, a := {INTEGER}")
arguments("switch", "{VARCHAR}, MAP {'one': 1, '42': 2}", "{VARCHAR}, MAP {'one': 1, '42': 2}, 3")
arguments("union_value", "a := {INTEGER}")
arguments("uuid_extract_timestamp", "uuidv7()")
arguments("arg_max arg_max_nulls_last arg_min arg_min_nulls_last argmax argmin max_by min_by", "{INTEGER}, {DATE}, 2")
arguments("max min", "{DATE}, 2")
arguments("histogram histogram_exact", "{INTEGER}, [1, 10, 100]")
arguments("st_setcrs", "{GEOMETRY}, 'OGC:CRS84'")
arguments("variant_group_object", "'k' || id, {VARIANT}")
# Of table functions; the files are those of `make_files`.
arguments("read_csv read_csv_auto read_single_csv_file sniff_csv read_text read_blob", "'arguments.csv'")
arguments("read_text read_blob read_csv read_csv_auto", "['arguments.csv']")
for prefix in ("read_json", "read_ndjson"):
    for suffix in ("", "_auto", "_objects", "_objects_auto"):
        arguments(prefix + suffix, "'arguments.json'")
arguments("read_single_json_file", "'arguments.json'")
arguments("parquet_scan read_parquet read_single_parquet_file", "'arguments.parquet'")
for suffix in ("metadata", "file_metadata", "full_metadata", "kv_metadata", "schema"):
    arguments("parquet_" + suffix, "'arguments.parquet'")
arguments("parquet_bloom_probe", "'arguments.parquet', 'id', 1")
arguments("read_duckdb", "'arguments.duckdb', table_name := 'args'")
arguments("glob", "'arguments.*'")
arguments("json_execute_serialized_sql", "json_serialize_sql('SELECT 42 AS answer')")
arguments("json_each json_tree", "'{\"a\": [1, 2], \"b\": {\"c\": 3}}'::JSON", "'{\"a\": [1, 2], \"b\": 3}', '$.a'")
arguments("unnest", "[3, 1, 2]")
arguments("repeat_row", "1, 'a', num_rows := 3")
arguments("summary", "(SELECT id FROM args)")
arguments("query", "'SELECT 42 AS answer'")
arguments("query_table duckdb_table_sample storage_info table_info show pragma_show", "'args'")
arguments("pragma_storage_info pragma_table_info", "'args'")
arguments("histogram histogram_values", "args, {INTEGER}")
arguments("duckdb_logs_parsed", "'QueryLog'")
arguments("generate_series range", "5", "TIMESTAMPTZ '2024-03-30', TIMESTAMPTZ '2024-04-02', INTERVAL 1 DAY")
arguments("quack_nodes quack_verify", "'cp'")


def choices(type_name):
    """Arguments of a type: columns, and constants."""
    names = ALIASES.get(type_name, [type_name])
    columns = [column(name) for name in names if name in COLUMNS]
    constants = CONSTANTS.get(type_name, []) + (CONSTANTS.get(names[0], []) if names != [type_name] else [])
    constants = constants or [f"{text}::{name}" for name in names for text in COLUMNS.get(name, [])[:2]] or ["NULL"]
    return columns or constants, constants
