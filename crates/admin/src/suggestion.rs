//! The known name that is nearest to an unknown one.

/// The name out of `known` that was probably meant by `unknown`, both dotted paths. The last part decides, so that a
/// key in the wrong section is found, too; `None` when nothing is near.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let part = last_part(unknown);
    let candidates = known.into_iter().map(|name| {
        let whole = distance(unknown, name);
        (distance(part, last_part(name)), whole, name)
    });
    let (near, _, name) = candidates.min()?;
    // A third of the letters may be wrong: more, and the suggestion would mislead.
    (near <= (part.chars().count() / 3).max(1)).then_some(name)
}

fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Levenshtein's distance: how many characters to insert, remove or replace.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_levenshteins() {
        for (left, right, expected) in
            [("", "abc", 3), ("kitten", "sitting", 3), ("a", "a", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn a_slip_and_a_wrong_section_are_found_and_nonsense_is_not() {
        let known =
            ["cluster_mode.cp_metadata_port", "cluster_mode.tls.key_path", "metrics.port", "data_dir"];
        for (unknown, expected) in [
            ("cluster_mode.cp_metadata_prot", Some("cluster_mode.cp_metadata_port")),
            ("cp_metadata_port", Some("cluster_mode.cp_metadata_port")),
            ("datadir", Some("data_dir")),
            ("metrics.prt", Some("metrics.port")),
            ("colour", None),
        ] {
            assert_eq!(nearest(unknown, known), expected, "{unknown}");
        }
    }
}
