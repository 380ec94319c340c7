//! Rows as VLMEvalKit (pandas) reads them, and the prompts that it and Parrot make of them.
//!
//! Unusual here: an option that is `None`, `NA` or `null` is missing, and a column of whole numbers with a hole is printed as
//! `17.0`. Published numbers contain both.

use std::collections::{BTreeMap, BTreeSet};

use burn_vlm_data::sample::Media;
use burn_vlm_data::source::Row;
use serde::{Deserialize, Serialize};

use crate::eval::table::text_of;

/// What pandas takes for a missing value.
const MISSING: [&str; 18] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan",
];
const ALSO_MISSING: &str = "null";

/// Who writes the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptStyle {
    /// VLMEvalKit's data class: `Question: ..`, `Options: ..`, English around it.
    Vlmevalkit,
    /// Parrot's model class, run file by file: the request for a letter is in the file's language.
    Parrot,
    /// Parrot's model class, run on the set of files at once: the request is in English, but for Chinese text.
    ParrotAsSet,
}

/// One row.
#[derive(Debug, Clone)]
pub(super) struct KitRow {
    /// Stem of its file.
    pub(super) file: String,
    pub(super) index: String,
    pub(super) media: Vec<Media>,
    /// Cells by column; missing ones are absent.
    cells: BTreeMap<String, String>,
}

impl KitRow {
    pub(super) fn cell(&self, column: &str) -> Option<&str> {
        self.cells.get(column).map(String::as_str)
    }

    pub(super) fn options(&self) -> Vec<(char, String)> {
        let option = |letter: char| Some((letter, self.cell(letter.encode_utf8(&mut [0; 4]))?.to_owned()));
        ('A'..='Z').filter_map(option).collect()
    }

    /// The columns by which the kit's totals are taken.
    pub(super) fn tags(&self) -> BTreeMap<String, String> {
        let named = |name: &str| Some((name.to_owned(), self.cell(name)?.to_owned()));
        ["split", "category", "l2-category"].into_iter().filter_map(named).collect()
    }
}

/// The rows of some files, each file's columns typed by themselves.
pub(super) fn rows<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<KitRow> {
    let mut files: Vec<Vec<&Row>> = Vec::new();
    for row in rows {
        match files.last_mut().filter(|file| file[0].file == row.file) {
            Some(file) => file.push(row),
            None => files.push(vec![row]),
        }
    }
    files.into_iter().flat_map(|file| typed(&file)).collect()
}

fn typed(rows: &[&Row]) -> Vec<KitRow> {
    let columns: BTreeSet<&String> = rows.iter().flat_map(|row| row.fields.keys()).collect();
    let mut cells: Vec<BTreeMap<String, String>> = vec![BTreeMap::new(); rows.len()];
    for name in columns {
        // The kit lower-cases the names of columns but for the options'.
        let is_option = name.len() == 1 && name.starts_with(|c: char| c.is_ascii_uppercase());
        let known = if is_option { name.clone() } else { name.to_lowercase() };
        let column: Vec<Option<String>> = rows.iter().map(|row| text_of(row, name)).collect();
        for (cells, cell) in cells.iter_mut().zip(pandas_column(column)) {
            cells.extend(cell.map(|cell| (known.clone(), cell)));
        }
    }
    let row = |(row, cells): (&&Row, BTreeMap<String, String>)| KitRow {
        file: row.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
        index: row.id.clone(),
        media: row.media.clone(),
        cells,
    };
    rows.iter().zip(cells).map(row).collect()
}

/// Whether pandas reads the cell as missing.
pub(super) fn is_missing(cell: &str) -> bool {
    MISSING.contains(&cell) || cell == ALSO_MISSING
}

/// A column's cells as pandas reads them, and prints them then.
pub(in crate::eval) fn pandas_column(column: Vec<Option<String>>) -> Vec<Option<String>> {
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
fn float(value: f64) -> String {
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

/// Ends of Parrot's prompts by the end of the file's name; English for all others.
const REQUESTS: [(&str, &str); 5] = [
    ("_zh", CHINESE),
    ("_pt", "Responda diretamente com a letra da opção das escolhas dadas."),
    ("_ar", "أجب مباشرةً بحرف الخيار من الاختيارات المعطاة."),
    ("_ru", "Ответьте буквой варианта из предложенных вариантов напрямую."),
    ("_tr", "Verilen seçeneklerden doğrudan seçeneğin harfi ile cevap verin."),
];
const CHINESE: &str = "请直接用给定选项中的选项字母回答。";
/// The English request; only after it Parrot cleans replies up.
pub(super) const ENGLISH: &str = "Answer with the option's letter from the given choices directly.";

/// A multiple-choice question as the model sees it.
pub(super) fn choice_prompt(row: &KitRow, style: PromptStyle) -> String {
    let question = row.cell("question").unwrap_or("nan");
    let options = row.options();
    let lines: Vec<String> = options.iter().map(|(letter, text)| format!("{letter}. {text}\n")).collect();
    let lines = lines.concat();
    if style == PromptStyle::Vlmevalkit {
        let hint = row.cell("hint").map(|hint| format!("Hint: {hint}\n")).unwrap_or_default();
        if options.is_empty() {
            return format!("{hint}Question: {question}\n");
        }
        return format!(
            "{hint}Question: {question}\nOptions:\n{lines}Please select the correct answer from the options above. \n"
        );
    }
    let hint = row.cell("hint").map(|hint| format!("{hint}\n")).unwrap_or_default();
    let text = format!("{hint}{question}\n{lines}");
    let chinese = is_chinese(&text);
    let request = match options.is_empty() {
        true if chinese => "请用单个词或短语回答问题。",
        true => "Answer the question using a single word or phrase.",
        false if chinese => CHINESE,
        false => {
            let of_file = |(end, _): &&(&str, &str)| style == PromptStyle::Parrot && row.file.ends_with(end);
            REQUESTS.iter().find(of_file).map_or(ENGLISH, |(_, request)| request)
        }
    };
    format!("{text}{request}")
}

/// A yes/no question as the model sees it.
pub(super) fn yes_no_prompt(row: &KitRow, style: PromptStyle) -> String {
    let question = row.cell("question").unwrap_or("nan");
    if style == PromptStyle::Vlmevalkit {
        return question.to_owned();
    }
    let ends = [" Please answer yes or no.", " Yes or No", " Answer in one sentence."];
    let question = ends.iter().find_map(|end| question.strip_suffix(end)).unwrap_or(question);
    let request = if is_chinese(question) {
        "请直接回答Yes或No。请用单个词或短语回答问题。"
    } else {
        "Please strictly answer Yes or No. Answer the question using a single word or phrase."
    };
    format!("{question}\n{request}")
}

fn is_chinese(text: &str) -> bool {
    text.contains(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
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
}
