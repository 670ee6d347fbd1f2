//! The rows of `quack_metrics()` as families of Prometheus's text format. `docs/metrics.md` describes each name.
//!
//! What is measured, and under which names, is the extension's to say. A row that is not what it should be is left out:
//! one bad line would cost the scraper the whole page.

use std::collections::BTreeMap;

use super::Table;
use super::metrics::Text;

/// Most series that are shown. A node has a few hundred.
const SERIES_MAX: usize = 10_000;

/// One series.
struct Series<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
    labels: Vec<(&'a str, &'a str)>,
    value: f64,
}

/// Writes all families, in the order in which the node names them. The format wants the series of one family to follow
/// each other; the node may tell them as it likes.
pub(super) fn measured_metrics(measured: &Table, text: &mut Text) {
    let all = measured.rows.iter().take(SERIES_MAX).filter_map(|row| series(measured, row));
    let mut families: Vec<Vec<Series<'_>>> = Vec::new();
    let mut places = BTreeMap::new();
    for series in all {
        let place = *places.entry(family_of(&series)).or_insert(families.len());
        match families.get_mut(place) {
            Some(family) => family.push(series),
            None => families.push(vec![series]),
        }
    }
    for family in families {
        let Some(first) = family.first() else { continue };
        text.family(family_of(first), first.kind, &first.help.replace('\n', " "));
        for series in &family {
            text.sample(series.name, &series.labels, series.value);
        }
    }
}

fn series<'a>(measured: &'a Table, row: &'a [Option<String>]) -> Option<Series<'a>> {
    let name = measured.value(row, "name").filter(|name| is_name(name))?;
    let kind = measured.value(row, "kind").filter(|kind| ["counter", "gauge", "histogram"].contains(kind))?;
    let value: f64 = measured.value(row, "value")?.parse().ok()?;
    let help = measured.value(row, "help").unwrap_or_default();
    let labels = labels(measured.value(row, "labels").unwrap_or("{}"))?;
    value.is_finite().then_some(Series { name, kind, help, labels, value })
}

/// The name under which Prometheus knows the type: that of a histogram is shorter than those of its series.
fn family_of<'a>(series: &Series<'a>) -> &'a str {
    if series.kind != "histogram" {
        return series.name;
    }
    let short = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| series.name.strip_suffix(suffix));
    short.unwrap_or(series.name)
}

/// The labels in the text of a DuckDB map, `{a=b, c=d}`. Their values hold nothing that the text would quote.
fn labels(text: &str) -> Option<Vec<(&str, &str)>> {
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    let pairs = inside.split(", ").filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').filter(|(key, _)| is_name(key))).collect()
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::*;

    fn table(rows: &[[&str; 5]]) -> Table {
        let columns =
            ["name", "kind", "labels", "value", "help"].map(|name| Column::of_type(name, "VARCHAR"));
        let rows = rows.iter().map(|row| row.iter().map(|text| Some((*text).to_owned())).collect()).collect();
        Table { columns: columns.to_vec(), rows }
    }

    fn page(rows: &[[&str; 5]]) -> Vec<String> {
        let mut text = Text::default();
        measured_metrics(&table(rows), &mut text);
        text.0.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_series_of_a_histogram_stand_under_one_type() {
        let lines = page(&[
            ["quack_a_seconds_bucket", "histogram", "{outcome=applied, le=0.00005}", "3.0", "Times."],
            ["quack_a_seconds_bucket", "histogram", "{outcome=applied, le=+Inf}", "4.0", "Times."],
            ["quack_a_seconds_sum", "histogram", "{outcome=applied}", "0.000125", "Times."],
            ["quack_a_seconds_count", "histogram", "{outcome=applied}", "4.0", "Times."],
            ["quack_b_total", "counter", "{}", "18014398509481984.0", "Things."],
            ["quack_a_seconds_count", "histogram", "{outcome=refused}", "0.0", "Times."],
        ]);
        assert_eq!(
            lines,
            [
                "# HELP quack_a_seconds Times.",
                "# TYPE quack_a_seconds histogram",
                "quack_a_seconds_bucket{outcome=\"applied\",le=\"0.00005\"} 3",
                "quack_a_seconds_bucket{outcome=\"applied\",le=\"+Inf\"} 4",
                "quack_a_seconds_sum{outcome=\"applied\"} 0.000125",
                "quack_a_seconds_count{outcome=\"applied\"} 4",
                "quack_a_seconds_count{outcome=\"refused\"} 0",
                "# HELP quack_b_total Things.",
                "# TYPE quack_b_total counter",
                "quack_b_total 18014398509481984",
            ]
        );
    }

    #[test]
    fn a_row_that_is_not_what_it_should_be_is_left_out() {
        for row in [
            ["quack x", "counter", "{}", "1", "h"],
            ["quack_x", "summary", "{}", "1", "h"],
            ["quack_x", "counter", "a=b", "1", "h"],
            ["quack_x", "counter", "{a b=c}", "1", "h"],
            ["quack_x", "counter", "{}", "much", "h"],
            ["quack_x", "gauge", "{}", "NaN", "h"],
        ] {
            assert_eq!(page(&[row]), Vec::<String>::new(), "{row:?}");
        }
        assert_eq!(page(&[["quack_x", "gauge", "{}", "1", "a\nb"]])[0], "# HELP quack_x a b");
    }
}
