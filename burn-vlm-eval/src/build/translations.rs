//! Tables of translations: which text of which item, in which language.
//!
//! | column | what |
//! |---|---|
//! | `translation` | the text in the other language |
//! | `lang` | its language; also `language` |
//! | `id`, `field` | the item (`part/index`, or its index alone) and the text of it: `question`, `hint`, `A`, ...; absent where `source` says enough |
//! | `source` | what was translated; compared with the item's text, so that a table of another edition is not taken for this one's |
//! | `back_translation` | the translation, translated back: compared with the source |
//! | `score` | a number of the translation's quality, kept for people |

use std::collections::HashMap;
use std::path::Path;

use burn_vlm_base::shorten::shorten;
use burn_vlm_data::language::Language;

use crate::columns::{Columns, ColumnsError, ColumnsRow};
use crate::language_name;

/// Names of the column with the language.
const LANGUAGES: [&str; 3] = ["lang", "language", "target_lang"];
const IDS: [&str; 2] = ["id", "item"];

/// A translation.
#[derive(Debug, Clone, PartialEq)]
pub struct Translation {
    /// What was translated, where the table says so.
    pub source: Option<String>,
    /// The text.
    pub text: String,
    /// Translated back.
    pub back: Option<String>,
    /// Its quality by some measure.
    pub score: Option<f64>,
    /// The line that it begins on.
    pub line: usize,
}

/// All translations of some tables.
#[derive(Debug, Clone, Default)]
pub struct Translations {
    /// By language, item and field.
    by_item: HashMap<(Language, String, String), Translation>,
    /// By language and source text; none where two rows disagree.
    by_text: HashMap<(Language, String), Option<Translation>>,
    /// Languages with the number of their translations, in the order of the tables.
    pub languages: Vec<(Language, usize)>,
    /// Rows without a translation.
    pub empty: usize,
}

impl Translations {
    /// Adds a table: TSV, CSV or JSONL. `language` is that of rows that do not say theirs.
    ///
    /// # Errors
    /// A column that is missing, a language that is not known, a row that is of no text, two translations of one text of an item.
    pub fn read(&mut self, file: &Path, language: Option<Language>) -> Result<(), ColumnsError> {
        let table = Columns::read(file)?;
        let text = table.column("translation")?;
        let place = |names: &[&str]| names.iter().find_map(|name| table.column(name).ok());
        let (tag, id, field) = (place(&LANGUAGES), place(&IDS), place(&["field"]));
        let (source, back, score) = (place(&["source"]), place(&["back_translation"]), place(&["score"]));
        if tag.is_none() && language.is_none() {
            table.column(LANGUAGES[0])?;
        }
        if source.is_none() {
            // Then the item has to be named.
            table.column(IDS[0])?;
            table.column("field")?;
        }
        for row in &table.rows {
            let cell = |at: Option<usize>| at.and_then(|at| row.cell(at)).filter(|cell| !cell.is_empty());
            let language = match cell(tag) {
                None => language.ok_or_else(|| table.wrong(row, "no language in this row"))?,
                Some(tag) => parse(tag).ok_or_else(|| table.wrong(row, unknown(tag)))?,
            };
            let Some(text) = row.cell(text).filter(|text| !text.trim().is_empty()) else {
                self.empty += 1;
                continue;
            };
            let score = match cell(score).map(|score| (score, score.trim().parse::<f64>())) {
                None => None,
                Some((_, Ok(score))) if score.is_finite() => Some(score),
                Some((score, _)) => {
                    return Err(table.wrong(row, format!("score {}, expected a number", shorten(score))));
                }
            };
            let (source, back) = (cell(source).map(str::to_owned), cell(back).map(str::to_owned));
            let entry = Translation { source, text: text.to_owned(), back, score, line: row.line };
            self.add(&table, row, language, (cell(id), cell(field)), entry)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        table: &Columns,
        row: &ColumnsRow,
        language: Language,
        (id, field): (Option<&str>, Option<&str>),
        entry: Translation,
    ) -> Result<(), ColumnsError> {
        match (id, field, &entry.source) {
            (Some(id), Some(field), _) => {
                let key = (language, id.to_owned(), field.to_owned());
                if let Some(known) = self.by_item.get(&key).filter(|known| known.text != entry.text) {
                    let message = format!(
                        "another translation of {field:?} of {id:?} into {language} stands on line {}; keep one of them",
                        known.line
                    );
                    return Err(table.wrong(row, message));
                }
                self.by_item.insert(key, entry);
            }
            (_, _, Some(source)) => {
                let key = (language, source.clone());
                let known = self.by_text.entry(key).or_insert_with(|| Some(entry.clone()));
                // One text in two meanings cannot be told apart without its item.
                if known.as_ref().is_some_and(|known| known.text != entry.text) {
                    *known = None;
                }
            }
            _ => return Err(table.wrong(row, "neither `id` and `field` nor `source` say which text this is of")),
        }
        match self.languages.iter_mut().find(|(known, _)| *known == language) {
            Some((_, count)) => *count += 1,
            None => self.languages.push((language, 1)),
        }
        Ok(())
    }

    /// Adds one translation of a text of an item.
    pub fn insert(&mut self, language: Language, id: &str, field: &str, entry: Translation) {
        self.by_item.insert((language, id.to_owned(), field.to_owned()), entry);
    }

    /// The translation of a text of an item, which is called by one of some ids.
    pub fn of_item(&self, language: Language, ids: &[&str], field: &str) -> Option<&Translation> {
        ids.iter().find_map(|id| self.by_item.get(&(language, (*id).to_owned(), field.to_owned())))
    }

    /// The translation of a text, whichever item has it; none where rows disagree.
    pub fn of_text(&self, language: Language, source: &str) -> Option<&Translation> {
        self.by_text.get(&(language, source.to_owned()))?.as_ref()
    }
}

fn parse(tag: &str) -> Option<Language> {
    Language::parse(tag.trim()).ok().or_else(|| language_name::language(tag))
}

fn unknown(tag: &str) -> String {
    match Language::parse(tag) {
        Err(error) => error.to_string(),
        Ok(_) => format!("unknown language {}", shorten(tag)),
    }
}
