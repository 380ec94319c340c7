//! A benchmark in another language: its items, and what was found wrong with each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use burn_vlm_data::language::Language;
use serde::{Deserialize, Serialize};

use super::check::{Flag, Problem, equal_options, likeness, look, look_at_options};
use super::source::{HINT, QUESTION, SourceBenchmark, Text};
use super::translations::{Translation, Translations};
use super::words::{AnswerWords, GivenWords};
use crate::published::Item;
use crate::strict::{ANSWER_INSTRUCTION, Kind, NO_WORDS, YES_WORDS};

/// The column with the language of an edition's rows.
pub const LANGUAGE: &str = "language";
/// The column with the language that a row's texts are in, which is the source's where it could not be translated.
pub const TEXT_LANGUAGE: &str = "text_language";
/// chrF of a back translation below which a person should look, if nothing else is said.
pub const CHRF_BELOW: f64 = 40.0;

/// What becomes of items that cannot be asked in the other language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnProblem {
    /// They stay, in the source's language, and the report names them.
    #[default]
    Source,
    /// They are left out of this language.
    Exclude,
    /// They are left out of all languages, the source's too: all have the same items.
    ExcludeEverywhere,
}

/// How a benchmark is translated.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BuildOptions {
    /// What becomes of items that cannot be asked.
    pub on_problem: OnProblem,
    /// Yes and no are asked for in English, for scorers that know no other words.
    pub english_yes_no: bool,
    /// A back translation with a lower chrF flags its item.
    pub chrf_below: f64,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { on_problem: OnProblem::default(), english_yes_no: false, chrf_below: CHRF_BELOW }
    }
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is in the other language.
    Translated,
    /// It stays in the source's.
    Source,
    /// It is left out.
    Excluded,
}

/// A text and its translation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextReport {
    /// The item.
    pub id: String,
    /// `question`, `hint`, or an option's letter.
    pub field: String,
    /// As the source has it.
    pub source: String,
    /// None where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translation: Option<String>,
    /// It stays as it is: a number, a sign, a single letter.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub as_it_is: bool,
    /// The translation, translated back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_translation: Option<String>,
    /// Its quality, where the table has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
}

/// What became of an item; of a question with rotations, of all of them together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ItemReport {
    /// The other language.
    pub language: Language,
    /// `part/index`, of the row that is not rotated.
    pub id: String,
    /// All rows.
    pub rows: Vec<String>,
    /// What became of it.
    pub state: State,
    /// Why it is not translated.
    pub problems: Vec<Problem>,
    /// What a person should look at.
    pub flags: Vec<Flag>,
    /// The texts.
    pub texts: Vec<TextReport>,
    /// What is right.
    pub answer: String,
}

/// A benchmark in another language.
#[derive(Debug, Clone)]
pub struct Edition {
    /// The language.
    pub language: Language,
    /// Rows in the source's order.
    pub items: Vec<Item>,
    /// One of each item.
    pub reports: Vec<ItemReport>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// Translates a benchmark. What cannot be scored any more is not translated; see [`OnProblem`].
pub fn edition(
    source: &SourceBenchmark,
    translations: &Translations,
    words: &AnswerWords,
    options: &BuildOptions,
) -> Edition {
    let language = words.language;
    let english = AnswerWords::english_for(language);
    let words = if options.english_yes_no && source.is_yes_no() { &english } else { words };
    let of_source = AnswerWords::of(source.language, &GivenWords::default()).ok();
    let builder = Builder { source, translations, words, of_source, language, chrf_below: options.chrf_below };
    let mut rows: BTreeMap<usize, Item> = BTreeMap::new();
    let mut reports = Vec::new();
    for group in source.groups() {
        let (made, mut of_group) = builder.group(&group);
        let is_whole = of_group.iter().all(|report| report.problems.is_empty());
        if !is_whole {
            let first = of_group.iter().find(|report| !report.problems.is_empty()).map(|report| report.id.clone());
            let state = if options.on_problem == OnProblem::Source { State::Source } else { State::Excluded };
            for report in &mut of_group {
                report.state = state;
                if report.problems.is_empty() {
                    report.problems.extend(first.clone().map(|id| Problem::Group { id }));
                }
            }
        }
        for (at, item) in made {
            match (is_whole, options.on_problem) {
                (true, _) => drop(rows.insert(at, item)),
                (false, OnProblem::Source) => {
                    rows.extend(source.items.get(at).map(|item| (at, builder.as_source(item))))
                }
                (false, _) => {}
            }
        }
        reports.extend(of_group);
    }
    let mut notes = Vec::new();
    if words.letter.is_none() && !source.is_yes_no() {
        notes.push(format!(
            "{language}: nobody gave a request for an option's letter in this language, so that it is asked for in English"
        ));
    }
    Edition { language, items: rows.into_values().collect(), reports, notes }
}

/// The source's own edition: its texts, with the columns that the others have.
pub fn source_edition(source: &SourceBenchmark) -> Edition {
    let words = AnswerWords::of(source.language, &GivenWords::default());
    let of_source = words.as_ref().ok().cloned();
    let words = words.unwrap_or_else(|_| AnswerWords::english_for(source.language));
    let (translations, language) = (&Translations::default(), source.language);
    let builder = Builder { source, translations, words: &words, of_source, language, chrf_below: 0.0 };
    let items = source.items.iter().map(|item| builder.as_source(item)).collect();
    Edition { language, items, reports: Vec::new(), notes: Vec::new() }
}

/// Takes out of every edition, and of the source's, what one of them lacks; returns the ids of the rows.
pub fn exclude_everywhere(source: &SourceBenchmark, editions: &mut [Edition]) -> BTreeSet<String> {
    let excluded = |report: &&ItemReport| report.state == State::Excluded;
    let gone: BTreeSet<String> = editions
        .iter()
        .flat_map(|edition| edition.reports.iter().filter(excluded).flat_map(|report| report.rows.iter().cloned()))
        .collect();
    let ids: BTreeSet<&str> =
        source.items.iter().map(|item| item.id.as_str()).filter(|id| gone.contains(*id)).collect();
    for edition in editions {
        edition.items.retain(|item| !ids.contains(item.id.as_str()));
        for report in edition.reports.iter_mut().filter(|report| report.rows.iter().any(|row| gone.contains(row))) {
            report.state = State::Excluded;
        }
    }
    gone
}

struct Builder<'a> {
    source: &'a SourceBenchmark,
    translations: &'a Translations,
    words: &'a AnswerWords,
    of_source: Option<AnswerWords>,
    language: Language,
    chrf_below: f64,
}

/// A text's translation, or none where it stays as it is.
type Found<'t> = Result<Option<&'t Translation>, Problem>;

impl Builder<'_> {
    /// Translates what belongs together: the rows by their numbers, and a report of each item.
    fn group(&self, group: &[usize]) -> (Vec<(usize, Item)>, Vec<ItemReport>) {
        let is_circle = self.source.kind == Kind::Circular;
        let mut known: HashMap<(bool, String), Found<'_>> = HashMap::new();
        let (mut made, mut reports): (Vec<_>, Vec<ItemReport>) = (Vec::new(), Vec::new());
        for at in self.source.base_first(group) {
            let Some(item) = self.source.items.get(at) else { continue };
            let mut report = ItemReport {
                language: self.language,
                id: item.id.clone(),
                rows: vec![item.id.clone()],
                state: State::Translated,
                problems: Vec::new(),
                flags: Vec::new(),
                texts: Vec::new(),
                answer: item.answer().to_owned(),
            };
            let mut texts: BTreeMap<String, String> = BTreeMap::new();
            for (text, needed) in self.source.texts(item) {
                let key = (text.field.len() == 1, text.text.clone());
                // The options of a rotation are the same ones.
                let (found, is_new) = match known.get(&key).filter(|_| is_circle) {
                    Some(found) => (found.clone(), false),
                    None => (self.find(item, &text, needed), true),
                };
                if is_new {
                    known.insert(key, found.clone());
                    self.report(&mut report, item, &text, &found);
                }
                let translated = found.ok().flatten().map_or(text.text, |found| found.text.clone());
                texts.insert(text.field, translated);
            }
            let translated = self.translated(item, &texts);
            if report.problems.is_empty() {
                report.problems.extend(equal_options(&translated.options).into_iter().filter(|problem| {
                    // Where the source has two that are the same, that is its own affair.
                    !equal_options(&item.options).contains(problem)
                }));
                report.flags.extend(look_at_options(&item.options, &translated.options, item.answer()));
            }
            if self.source.is_yes_no() && self.words.yes_no.is_none() {
                report.problems.push(Problem::NoAnswerWords);
            }
            made.push((at, translated));
            match reports.first_mut().filter(|_| is_circle) {
                None => reports.push(report),
                Some(first) => {
                    let mut more = |problem| {
                        if !first.problems.contains(&problem) {
                            first.problems.push(problem);
                        }
                    };
                    // The rotations of a question have the problem of the first row with other letters.
                    report
                        .problems
                        .into_iter()
                        .filter(|problem| !matches!(problem, Problem::EqualOptions { .. }))
                        .for_each(&mut more);
                    first.rows.extend(report.rows);
                    first.texts.extend(report.texts);
                }
            }
        }
        (made, reports)
    }

    fn find(&self, item: &Item, text: &Text, needed: bool) -> Found<'_> {
        let ids = [item.id.as_str(), item.index.as_str()];
        let by_item = self.translations.of_item(self.language, &ids, &text.field);
        let found = by_item.or_else(|| self.translations.of_text(self.language, &text.text));
        match found {
            None if needed => Err(Problem::NoTranslation { field: text.field.clone() }),
            None => Ok(None),
            Some(found) => {
                let is_of_this =
                    found.source.as_ref().is_none_or(|source| same(source, &text.text) || same(source, &item.question));
                if is_of_this {
                    return Ok(Some(found));
                }
                Err(Problem::OtherSource { field: text.field.clone(), line: found.line })
            }
        }
    }

    fn report(&self, report: &mut ItemReport, item: &Item, text: &Text, found: &Found<'_>) {
        let (field, source) = (text.field.clone(), text.text.clone());
        let mut of_text = TextReport {
            id: item.id.clone(),
            field: field.clone(),
            source,
            translation: None,
            as_it_is: false,
            back_translation: None,
            score: None,
        };
        match found {
            Err(problem) => report.problems.push(problem.clone()),
            Ok(None) => of_text.as_it_is = true,
            Ok(Some(found)) => {
                let chrf = found.back.as_ref().map(|back| likeness(back, &text.text));
                if let Some(chrf) = chrf.filter(|chrf| *chrf < self.chrf_below) {
                    report.flags.push(Flag::BackTranslation { field: field.clone(), chrf });
                }
                report.flags.extend(look(&field, &text.text, &found.text));
                of_text.translation = Some(found.text.clone());
                of_text.back_translation = found.back.clone();
                of_text.score = found.score;
            }
        }
        report.texts.push(of_text);
    }

    /// The item with other texts. What is right, the letters and everything else stay.
    fn translated(&self, item: &Item, texts: &BTreeMap<String, String>) -> Item {
        let mut made = item.clone();
        if let Some(question) = texts.get(QUESTION) {
            let (_, request) = self.source.question(item);
            let request = self.words.yes_no.as_ref().filter(|_| !request.is_empty());
            made.question = request.map_or_else(|| question.clone(), |request| format!("{question} {request}"));
        }
        if let Some(hint) = texts.get(HINT) {
            made.cells.insert(HINT.to_owned(), hint.clone().into());
        }
        for (letter, option) in &mut made.options {
            if let Some(text) = texts.get(letter.encode_utf8(&mut [0; 4]) as &str) {
                option.clone_from(text);
            }
        }
        self.with_columns(made, self.language, Some(self.words))
    }

    /// The item in the source's language, in this edition.
    fn as_source(&self, item: &Item) -> Item {
        self.with_columns(item.clone(), self.source.language, self.of_source.as_ref())
    }

    fn with_columns(&self, mut item: Item, of_texts: Language, words: Option<&AnswerWords>) -> Item {
        item.language = Some(self.language);
        let mut set = |name: &str, value: Option<String>| match value.filter(|value| !value.is_empty()) {
            Some(value) => drop(item.cells.insert(name.to_owned(), value.into())),
            None => drop(item.cells.remove(name)),
        };
        set(LANGUAGE, Some(self.language.tag().to_owned()));
        set(TEXT_LANGUAGE, Some(of_texts.tag().to_owned()));
        let yes_no = self.source.is_yes_no();
        let request = words.and_then(|words| if yes_no { words.yes_no.clone() } else { words.letter.clone() });
        set(ANSWER_INSTRUCTION, request);
        let lists = words.filter(|_| yes_no);
        set(YES_WORDS, lists.map(|words| words.cell(true)));
        set(NO_WORDS, lists.map(|words| words.cell(false)));
        item
    }
}

/// Texts that differ by the white space around them alone are the same.
fn same(a: &str, b: &str) -> bool {
    a.trim() == b.trim()
}

impl Edition {
    /// How many items are in each state: translated, in the source's language, left out.
    pub fn counts(&self) -> [usize; 3] {
        [State::Translated, State::Source, State::Excluded]
            .map(|state| self.reports.iter().filter(|report| report.state == state).count())
    }

    /// How many items have each problem, by its name.
    pub fn problems(&self) -> BTreeMap<&'static str, usize> {
        let names = |report: &ItemReport| report.problems.iter().map(Problem::name).collect();
        self.count(names)
    }

    /// How many items have each flag, by its name.
    pub fn flags(&self) -> BTreeMap<&'static str, usize> {
        let names = |report: &ItemReport| report.flags.iter().map(Flag::name).collect();
        self.count(names)
    }

    fn count(&self, names: impl Fn(&ItemReport) -> BTreeSet<&'static str>) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        self.reports.iter().flat_map(names).for_each(|name| *counts.entry(name).or_default() += 1);
        counts
    }
}
