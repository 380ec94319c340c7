//! Cells and replies as pandas reads and prints them, and VLMEvalKit with it.
//!
//! Unusual here: an option that is `None`, `NA` or `null` is missing, and a column of whole numbers with a hole is
//! printed as `17.0`. Published numbers contain both.

use std::collections::BTreeMap;

use crate::published::Item;

/// What pandas takes for a missing value.
const MISSING: [&str; 18] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan",
];
const ALSO_MISSING: &str = "null";

/// Whether pandas reads the cell as missing.
pub fn is_missing(cell: &str) -> bool {
    MISSING.contains(&cell) || cell == ALSO_MISSING
}

/// A column's cells as pandas reads them, and prints them then.
pub fn pandas_column(column: Vec<Option<String>>) -> Vec<Option<String>> {
    as_pandas(column.into_iter().map(|cell| cell.filter(|cell| !is_missing(cell))).collect())
}

/// A column's cells as they are printed after pandas has guessed the column's type.
fn as_pandas(column: Vec<Option<String>>) -> Vec<Option<String>> {
    let holes = column.iter().any(Option::is_none);
    let all = |fits: &dyn Fn(&str) -> bool| column.iter().flatten().all(|cell| fits(cell.trim()));
    if all(&|cell| cell.parse::<i64>().is_ok()) {
        let print = |cell: String| match cell.trim().parse::<i64>() {
            Ok(number) if holes => float(number as f64),
            Ok(number) => number.to_string(),
            Err(_) => cell,
        };
        return column.into_iter().map(|cell| cell.map(print)).collect();
    }
    // Rust also reads `inf` and `nan` in any case; so does pandas.
    if all(&|cell| cell.parse::<f64>().is_ok()) {
        let print = |cell: String| cell.trim().parse().map_or(cell, float);
        return column.into_iter().map(|cell| cell.map(print)).collect();
    }
    column
}

/// A number as Python prints a float.
pub(crate) fn float(value: f64) -> String {
    /// From here on Python writes an exponent.
    const LARGE: f64 = 1e16;
    const SMALL: f64 = 1e-4;
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() || (SMALL..LARGE).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

/// Replies as they come back from the kit's file of results: one that pandas takes for missing is the text `nan`, and
/// replies that are all numbers are printed as such (`0042` as `42`).
fn stored_replies(replies: impl Iterator<Item = Option<String>>) -> Vec<String> {
    pandas_column(replies.collect()).into_iter().map(|reply| reply.unwrap_or_else(|| "nan".to_owned())).collect()
}

/// Replies as they come back from the kit's files of results: each part has one file, with a row for every reply that
/// there is.
pub fn stored_by_part(items: &[Item], mut replies: Vec<Option<String>>) -> Vec<String> {
    let mut parts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate().filter(|(at, _)| replies.get(*at).is_some_and(Option::is_some)) {
        parts.entry(&item.part).or_default().push(at);
    }
    let mut stored = vec!["nan".to_owned(); items.len()];
    for rows in parts.into_values() {
        let of_part: Vec<Option<String>> = rows.iter().map(|at| replies.get_mut(*at).and_then(Option::take)).collect();
        for (at, reply) in rows.into_iter().zip(stored_replies(of_part.into_iter())) {
            if let Some(place) = stored.get_mut(at) {
                *place = reply;
            }
        }
    }
    stored
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_printed_as_pandas_does() {
        let column = |cells: &[&str]| -> Vec<Option<String>> {
            cells.iter().map(|cell| (!is_missing(cell)).then(|| (*cell).to_owned())).collect()
        };
        let printed = |cells: &[&str]| -> Vec<String> {
            as_pandas(column(cells)).into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect()
        };
        assert_eq!(printed(&["17", "", "044"]), ["17.0", "-", "44.0"]);
        assert_eq!(printed(&["17", "044"]), ["17", "44"]);
        assert_eq!(printed(&["17", "x", "NA"]), ["17", "x", "-"]);
        assert_eq!(printed(&["1.50", "2"]), ["1.5", "2.0"]);
        // print([1e16, 1.5e-5, 1e15])
        assert_eq!([1e16, 1.5e-5, 1e15].map(float), ["1e+16", "1.5e-05", "1000000000000000.0"]);
    }

    #[test]
    fn replies_are_typed_by_file_and_missing_ones_have_no_row() {
        let items: Vec<Item> =
            ["a", "a", "a", "b", "b", "b"].map(|part| crate::plain_text::tests::item(part, "0", "q", "x")).into();
        let replies = [Some("01"), None, Some("2"), Some("01"), Some("x"), Some("NA")];
        let stored = stored_by_part(&items, replies.map(|reply| reply.map(str::to_owned)).into());
        assert_eq!(stored, ["1", "nan", "2", "01", "x", "nan"]);
    }
}
