//! The names that `foreach` knows for lists of types, such as `<integral>`.

const SIGNED: &[&str] = &["tinyint", "smallint", "integer", "bigint", "hugeint"];
const UNSIGNED: &[&str] = &["utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"];
const FLOATING: &[&str] = &["float", "double"];
const OTHERS: &[&str] = &["bool", "interval", "varchar"];
const COMPRESSIONS: &[&str] =
    &["none", "uncompressed", "rle", "bitpacking", "dictionary", "fsst", "dict_fsst", "alp", "alprd"];
/// Columns of `test_all_types()`.
const COLUMNS: &str = "bool tinyint smallint int bigint hugeint uhugeint utinyint usmallint uint ubigint date time \
    timestamp timestamp_s timestamp_ms timestamp_ns time_tz timestamp_tz float double dec_4_1 dec_9_4 dec_18_6 \
    dec38_10 uuid interval varchar blob bit small_enum medium_enum large_enum int_array double_array date_array \
    timestamp_array timestamptz_array varchar_array nested_int_array struct struct_of_arrays array_of_structs map \
    union fixed_int_array fixed_varchar_array fixed_nested_int_array fixed_nested_varchar_array fixed_struct_array \
    struct_of_fixed_array fixed_array_of_int_list list_of_fixed_int_array";

/// The values of a `foreach` with these words: groups are spelt out, and `!word` takes a word away again.
///
/// Fails on a group that is not known.
pub fn expand(words: &[&str]) -> Result<Vec<String>, String> {
    let mut values: Vec<String> = Vec::new();
    for word in words {
        if let Some(excluded) = word.strip_prefix('!')
            && let Some(position) = values.iter().position(|value| value == excluded)
        {
            values.remove(position);
            continue;
        }
        match group(&word.to_ascii_lowercase()) {
            Some(members) => values.extend(members.iter().map(|member| (*member).to_owned())),
            None if word.starts_with('<') && word.ends_with('>') && word.len() > 2 => {
                return Err(format!("there is no group {word}"));
            }
            None => values.push((*word).to_owned()),
        }
    }
    Ok(values)
}

fn group(name: &str) -> Option<Vec<&'static str>> {
    let parts: &[&[&str]] = match name {
        "<signed>" => &[SIGNED],
        "<unsigned>" => &[UNSIGNED],
        "<integral>" => &[SIGNED, UNSIGNED],
        "<numeric>" => &[SIGNED, UNSIGNED, FLOATING],
        "<alltypes>" => &[SIGNED, UNSIGNED, FLOATING, OTHERS],
        "<compression>" => &[COMPRESSIONS],
        "<all_types_columns>" => return Some(COLUMNS.split_whitespace().collect()),
        _ => return None,
    };
    Some(parts.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_spelt_out_among_plain_words() {
        let values = expand(&["date", "<signed>", "x"]).unwrap();
        assert_eq!(values, ["date", "tinyint", "smallint", "integer", "bigint", "hugeint", "x"]);
        assert_eq!(expand(&["<integral>"]).unwrap().len(), 10);
        assert_eq!(expand(&["<Numeric>"]).unwrap().len(), 12);
        assert_eq!(expand(&["<alltypes>"]).unwrap().len(), 15);
        assert_eq!(expand(&["<all_types_columns>"]).unwrap().len(), 53);
    }

    #[test]
    fn a_word_can_be_taken_away() {
        assert_eq!(
            expand(&["<unsigned>", "!uhugeint", "!ubigint"]).unwrap(),
            ["utinyint", "usmallint", "uinteger"]
        );
        assert_eq!(expand(&["!a"]).unwrap(), ["!a"]);
    }

    #[test]
    fn an_unknown_group_is_refused() {
        assert!(expand(&["<integers>"]).unwrap_err().contains("<integers>"));
        assert_eq!(expand(&["<", "<>", ">="]).unwrap(), ["<", "<>", ">="]);
    }
}
