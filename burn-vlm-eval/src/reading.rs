//! Rows of published files as items, under any rules: pandas' cells or those that are written, options under letters or
//! in a list, files by language or with a column for it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Format, LanguageRule, Place, Row, SkipKind, SkipReason, SourceError};

use crate::circular::base_and_turn;
use crate::error::BenchmarkError;
use crate::file::{FileRecipe, skip_notes};
use crate::language_name;
use crate::published::{Item, Items};
use crate::rules::Rules;
use crate::strict::{ANSWER_INSTRUCTION, NO_WORDS, YES_WORDS};
use crate::table::{Names, Table, draw, refuse, shown, text_of};

/// What the columns of question and answer are called once a row is read.
const QUESTION: &str = "question";
const ANSWER: &str = "answer";
/// Fields of pictures: who ignores them on purpose scores replies of another system without having the pictures.
const PICTURES: [&str; 5] = ["image", "images", "image_path", "image_paths", "url"];
/// Ends of the published files' names that are no tags of ours.
const FILE_LANGUAGES: [(&str, Language); 3] =
    [("cn", Language::ZH_HANS), ("zh", Language::ZH_HANS), ("pt", Language::PT_BR)];
/// Names of splits, which say nothing of what a shard belongs to.
const SPLITS: [&str; 7] = ["", "train", "dev", "val", "validation", "test", "testdev"];

/// What a row that does not say so is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLanguage<'a> {
    /// The end of its file's name says so (`mmmb_ru`); else it is an error.
    Named,
    /// The end of its file's name, where that is a language; else this one.
    Usually(Language),
    /// This column has its tag or its English name; none where nobody knows that.
    Column(&'a str),
}

/// What becomes of rows without a picture. Where the user says that pictures are not read, all are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// They are dropped before anything is counted, as the kit does.
    Dropped,
    /// They are no rows of this benchmark.
    Refused,
    /// They are asked without one.
    Kept,
}

/// What is drawn together where there is a limit; `group_column` says otherwise, but of circles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Together {
    /// Questions of one index, which is one question in every language.
    Index,
    /// Questions of one [`Item::group`].
    Group,
    /// The rotations of a question, in every language.
    Circle,
}

/// Whether an item counts, and what is said of those that do not.
pub type Counted<'a> = (fn(&Item) -> bool, &'a str);

/// How the rows of a benchmark are read.
pub struct Reading<'a> {
    /// Cells as pandas reads and prints them; else as they are written.
    pub pandas: bool,
    /// What becomes of rows without a picture.
    pub unseen: Unseen,
    /// What a row that does not say so is written in.
    pub language: FileLanguage<'a>,
    /// The columns of question, answer and pictures, where the user's `fields` do not say otherwise and they are not
    /// called as usual.
    pub question: &'a str,
    /// See [`Self::question`].
    pub answer: &'a str,
    /// See [`Self::question`].
    pub image: Option<&'a str>,
    /// Other columns, as published, that are read where a parquet file has them.
    pub columns: &'a [&'a str],
    /// Columns without which a file is not this benchmark's, beyond question and answer; of each list one must be
    /// there.
    pub required: &'a [&'a [&'a str]],
    /// What is drawn together.
    pub together: Together,
    /// Which items are counted, and what is said of the others behind `12 rows`; none where all are.
    pub counted: Option<Counted<'a>>,
}

impl<'a> Reading<'a> {
    /// As VLMEvalKit reads its own table if these are its rules; else as it is written, every row with a picture.
    pub fn of(rules: Rules, language: FileLanguage<'a>) -> Self {
        let pandas = rules.uses_pandas();
        Self {
            pandas,
            unseen: if pandas { Unseen::Dropped } else { Unseen::Refused },
            language,
            question: QUESTION,
            answer: ANSWER,
            image: None,
            columns: &[],
            required: &[],
            together: Together::Index,
            counted: None,
        }
    }
}

/// Reads a table. Columns get lower-case names, but for the options' letters; question and answer are called so.
/// `shape` brings a row into the form of the kit's table (see [`crate::lettered::spread`]) before cells are typed;
/// `finish` looks at each item, whose answer is the text of that column, and may give it other answers, another part,
/// index, group or language.
///
/// # Errors
/// A file that cannot be read, a column that is missing, rows that cannot be used, two rows of one index in a part.
pub fn read(
    file: &FileRecipe,
    base: &Path,
    how: &Reading<'_>,
    mut shape: impl FnMut(&mut Row) -> Result<(), SkipReason>,
    mut finish: impl FnMut(&mut Item) -> Result<(), SkipReason>,
) -> Result<Items, BenchmarkError> {
    let mut table = open(file, base, how)?;
    let question = file.fields.question.as_deref().unwrap_or(how.question);
    let answer = file.fields.answer.as_deref().unwrap_or(how.answer);
    for row in table.rows_mut() {
        row.fields = std::mem::take(&mut row.fields).into_iter().map(|(name, cell)| (column(name), cell)).collect();
        for (given, name) in [(question, QUESTION), (answer, ANSWER), ("answers", ANSWER)] {
            let given = column(given.to_owned());
            if !row.fields.contains_key(name)
                && let Some(cell) = row.fields.remove(&given)
            {
                row.fields.insert(name.to_owned(), cell);
            }
        }
    }
    table.amend(&mut shape);
    for names in how.required.iter().copied().chain([&[question, QUESTION][..], &[answer, ANSWER]]) {
        table.require(names)?;
    }
    if how.pandas {
        table.read_as_pandas();
    }
    let key = table.key.clone();
    let firsts = table.firsts(part_of);
    let unseen = reads_no_pictures(file);
    let (mut dropped, mut uncounted) = (0, 0);
    let mut names = Names::default();
    let mut ids = Vec::new();
    let read = table.items(|number, mut row| {
        match how.unseen {
            Unseen::Dropped if row.media.is_empty() && !unseen => {
                ids.push(format!("{}/{}", part_of(&row.file), row.id));
                dropped += 1;
                return Ok(None);
            }
            Unseen::Refused if row.media.is_empty() && !unseen => {
                return Err(SkipReason::new(SkipKind::MissingImage, "no picture"));
            }
            _ => {}
        }
        let (path, place) = (row.file.clone(), row.place.to_string());
        if is_made_up(&row) {
            row.id = counted(number, &firsts, &part_of(&row.file));
        }
        let mut item = item(file, number, row, how.language)?;
        finish(&mut item)?;
        item.id = format!("{}/{}", item.part, item.index);
        ids.push(item.id.clone());
        if how.counted.is_some_and(|(counts, _)| !counts(&item)) {
            uncounted += 1;
            return Ok(None);
        }
        names.note(&item.part, &item.index, (&path, place))?;
        Ok(Some(item))
    });
    let others = how.counted.map_or("", |(_, what)| what);
    let (items, skipped) = read.map_err(|error| match error {
        BenchmarkError::Empty { name, why: None } if dropped > 0 => {
            BenchmarkError::Empty { name, why: Some(format!("none of its {dropped} rows has a picture")) }
        }
        BenchmarkError::Empty { name, why: None } if uncounted > 0 => {
            BenchmarkError::Empty { name, why: Some(format!("all of its rows {others}")) }
        }
        other => other,
    })?;
    let mut notes = skip_notes(&file.name, &skipped);
    if dropped > 0 {
        notes.push(format!("{}: {dropped} rows without a picture are not counted, as in VLMEvalKit", file.name));
    }
    if uncounted > 0 {
        notes.push(format!("{}: {uncounted} rows {others}", file.name));
    }
    notes.extend(unseen_note(file));
    Ok(Items { items: drawn(file, items, how.together)?, key, notes, skipped, ..Items::default() }.of_rows(ids))
}

/// Reads the table with those of the columns that it has.
fn open(file: &FileRecipe, base: &Path, how: &Reading<'_>) -> Result<Table, BenchmarkError> {
    let mut source = file.source();
    // Languages may be told by name, and by the file's.
    source.language = file.language.map(LanguageRule::Fixed);
    let fields = &mut source.fields;
    // The usual names need not be told, so that a file without the column is told apart from one that calls it
    // otherwise.
    for (given, published, usual) in
        [(&mut fields.question, how.question, QUESTION), (&mut fields.answer, how.answer, ANSWER)]
    {
        if given.is_none() && published != usual {
            *given = Some(published.to_owned());
        }
    }
    fields.image = fields.image.take().or_else(|| how.image.map(str::to_owned));
    // What translated benchmarks bring along, of which the strict rules know.
    let brought: &[&str] = if how.pandas { &[] } else { &[ANSWER_INSTRUCTION, YES_WORDS, NO_WORDS] };
    let optional = how.columns.iter().chain(how.required.iter().copied().flatten()).chain(brought);
    let optional: Vec<String> = optional.map(|name| (*name).to_owned()).collect();
    fields.more.extend(optional.iter().cloned().chain(file.language_column.clone()));
    loop {
        match Table::read(source.clone(), base, file.max_skipped) {
            // Parquet files want every column that is named; what is not there is not asked for again.
            Err(BenchmarkError::Source(SourceError::Column { column, .. }))
                if optional.contains(&column) && source.fields.more.contains(&column) =>
            {
                source.fields.more.retain(|name| *name != column);
            }
            other => return other,
        }
    }
}

/// Whether the recipe names parquet files, or a folder of them.
pub fn is_parquet(file: &FileRecipe, base: &Path) -> bool {
    let ends_so = |path: &Path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"));
    let holds_some = |folder: &Path| {
        std::fs::read_dir(folder).is_ok_and(|entries| entries.flatten().any(|entry| ends_so(&entry.path())))
    };
    match file.format {
        Some(format) => format == Format::Parquet,
        None => ends_so(Path::new(&file.file)) || holds_some(&base.join(&file.file)),
    }
}

/// The user said that pictures are not read.
pub fn reads_no_pictures(file: &FileRecipe) -> bool {
    PICTURES.iter().any(|name| file.fields.ignore.iter().any(|ignored| ignored == name))
}

/// What a reader must know where pictures are not read.
pub fn unseen_note(file: &FileRecipe) -> Option<String> {
    let note =
        || format!("{}: pictures are not read (`fields.ignore`): for replies that another system made", file.name);
    reads_no_pictures(file).then(note)
}

/// The name of a column as the kit compares it: in lower case, but for the options' letters.
fn column(name: String) -> String {
    let is_option = name.len() == 1 && name.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_option { name } else { name.to_lowercase() }
}

/// The file names no row; the name is that of the file with the place in it.
fn is_made_up(row: &Row) -> bool {
    let stem = row.file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match &row.place {
        Place::Row(place) | Place::Element(place) | Place::Line(place) => row.id == format!("{stem}:{place}"),
        Place::Key(_) => false,
    }
}

/// The index of a row that has none: its number within its part, so that the same row of every language is called the
/// same.
fn counted(number: u64, firsts: &HashMap<String, u64>, part: &str) -> String {
    number.saturating_sub(firsts.get(part).copied().unwrap_or_default()).to_string()
}

/// The item of a row. Whether an answer is wanted, and what it must be, is the benchmark's affair.
fn item(file: &FileRecipe, number: u64, row: Row, language: FileLanguage<'_>) -> Result<Item, SkipReason> {
    let part = part_of(&row.file);
    let known = language_of(file, &row, &part, language)?;
    let question = text_of(&row, QUESTION).ok_or_else(|| refuse("no question"))?;
    let given = file.group_column.as_ref().and_then(|name| text_of(&row, &column(name.clone())));
    let group = given.or_else(|| shown(&row.media)).unwrap_or_else(|| row.id.clone());
    let options =
        ('A'..='Z').filter_map(|letter| Some((letter, text_of(&row, letter.encode_utf8(&mut [0; 4]))?))).collect();
    Ok(Item {
        id: format!("{part}/{}", row.id),
        part,
        index: row.id.clone(),
        row: number,
        language: known,
        group,
        question,
        options,
        answers: text_of(&row, ANSWER).into_iter().collect(),
        cells: row.fields.into_iter().collect(),
        media: row.media,
    })
}

/// What the rows of a file belong to: the stem of its name. A shard (`dev-00000-of-00002.parquet`) belongs to what it
/// is a shard of; where that is a split's name, to its folder, unless this is `data`.
pub fn part_of(file: &Path) -> String {
    let name = |path: Option<&OsStr>| path.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name(file.file_stem());
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let split = stem.rsplit_once("-of-").and_then(|(shard, count)| {
        let (split, number) = shard.rsplit_once('-')?;
        (is_number(number) && is_number(count)).then_some(split)
    });
    match (split, name(file.parent().and_then(Path::file_name)).as_str()) {
        (Some(split), "" | "data") => split.to_owned(),
        (Some(split), folder) if SPLITS.contains(&split) => folder.to_owned(),
        (Some(split), _) => split.to_owned(),
        (None, _) => stem,
    }
}

/// The language of a row: the file's, that of the column, or that of the file's name.
fn language_of(
    file: &FileRecipe,
    row: &Row,
    part: &str,
    language: FileLanguage<'_>,
) -> Result<Option<Language>, SkipReason> {
    let by_name = |name: &str| file.tag(name).or_else(|| language_name::language(name));
    let cell = |name: &str| text_of(row, &column(name.to_owned())).unwrap_or_default();
    match (row.language, &file.language_column, language) {
        (Some(language), ..) => Ok(Some(language)),
        (None, Some(column), _) => {
            let tag = cell(column);
            let unknown = || SkipReason::new(SkipKind::UnknownLanguage, format!("{column}: {tag:?}"));
            by_name(&tag).ok_or_else(unknown).map(Some)
        }
        (None, None, FileLanguage::Column(column)) => Ok(by_name(&cell(column))),
        (None, None, _) => of_name(file, part, language).map(Some),
    }
}

/// The language that a tag in the name of a file or a folder means.
pub fn of_tag(file: &FileRecipe, tag: &str) -> Option<Language> {
    let published = || FILE_LANGUAGES.iter().find(|(end, _)| *end == tag).map(|(_, known)| *known);
    file.tag(tag).or_else(published)
}

/// The language of a file by the end of its name.
pub(crate) fn of_name(file: &FileRecipe, part: &str, language: FileLanguage<'_>) -> Result<Language, SkipReason> {
    let tag = part.rsplit_once('_').map_or(part, |(_, tag)| tag).to_lowercase();
    if let FileLanguage::Usually(usual) = language {
        // `IMG` and `val` have the form of a language's code; where a file need not say its language, they mean none.
        let may_be = tag.len() == 2 || file.language_map.contains_key(&tag);
        return Ok(of_tag(file, &tag).filter(|_| may_be).unwrap_or(usual));
    }
    of_tag(file, &tag).or_else(|| language_name::language(&tag)).ok_or_else(|| {
        let detail = format!(
            "the file's name {part:?} does not end with a language (mmmb_en); set `language`, `language_column` or \
             `language_map`"
        );
        SkipReason::new(SkipKind::UnknownLanguage, detail)
    })
}

/// The items that are asked: those of the wanted languages, and where there is a limit, in every language the same.
///
/// # Errors
/// None is in a wanted language.
pub fn drawn(file: &FileRecipe, items: Vec<Item>, together: Together) -> Result<Vec<Item>, BenchmarkError> {
    let wanted: Vec<Item> = items.into_iter().filter(|item| file.asks_in(item.language)).collect();
    if wanted.is_empty() {
        let why = Some("none of its rows is in one of `languages`".to_owned());
        return Err(BenchmarkError::Empty { name: file.name.clone(), why });
    }
    Ok(draw(wanted, file.limit, file.seed, |item: &Item| {
        let key = match together {
            Together::Circle => base_and_turn(item).0,
            Together::Index if file.group_column.is_none() => item.index.clone(),
            Together::Index | Together::Group => item.group.clone(),
        };
        (item.language.map_or("", Language::tag).to_owned(), key)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_tsv;

    #[test]
    fn shards_belong_to_their_folder() {
        for (file, part) in [
            ("mmmb/mmmb_en.tsv", "mmmb_en"),
            ("MMBench/en/dev-00000-of-00002.parquet", "en"),
            ("MMStar/data/val-00000-of-00001.parquet", "val"),
            ("val-00000-of-00001.parquet", "val"),
            ("M3Exam/english-00001-of-00002.parquet", "english"),
            ("a/x-of-y.tsv", "x-of-y"),
            ("a/x-1-of-.tsv", "x-1-of-"),
            ("a/-1-of-2.tsv", "a"),
        ] {
            assert_eq!(part_of(Path::new(file)), part, "{file}");
        }
    }

    #[test]
    fn names_of_sets_are_no_languages() {
        let file: FileRecipe = toml::from_str("name = 'x'\nfile = 'x.tsv'\nlanguage_map = { img = 'de' }").unwrap();
        let plain = FileRecipe { language_map: Default::default(), ..file.clone() };
        let usual = FileLanguage::Usually(Language::EN);
        let of = |file: &FileRecipe, part: &str| of_name(file, part, usual).unwrap().tag();
        let parts = ["SEEDBench_IMG", "val", "MMBench_DEV_CN", "MMBench_dev_pt", "MMBench_V11", "MMStar_de"];
        assert_eq!(parts.map(|part| of(&plain, part)), ["en", "en", "zh-Hans", "pt-BR", "en", "de"]);
        assert_eq!(of(&file, "SEEDBench_IMG"), "de");
        assert!(of_name(&plain, "MMBench_V11", FileLanguage::Named).is_err());
    }

    #[test]
    fn rows_without_an_index_are_counted_in_their_part() {
        let rows = ["image|question|A|B|answer", "@|q|1|2|A", "@|r|1|2|A", "@|s|1|2|A"];
        let folder = tempfile::tempdir().unwrap();
        for name in ["a_de-0-of-2", "a_de-1-of-2", "a_en-0-of-1"] {
            sample_tsv::write(folder.path(), name, &rows);
        }
        let file: FileRecipe = toml::from_str("name = 'x'\nfile = 'a_{de-0,de-1}-of-2.tsv'").unwrap();
        let how = Reading::of(Rules::BurnVlm, FileLanguage::Named);
        let ids = |file: &FileRecipe| -> Vec<String> {
            let read = read(file, folder.path(), &how, |_| Ok(()), |_| Ok(())).unwrap();
            read.items.into_iter().map(|item| item.id).collect()
        };
        assert_eq!(ids(&file), ["a_de/0", "a_de/1", "a_de/2", "a_de/3", "a_de/4", "a_de/5"]);
        let both = FileRecipe { file: "a_{de-0-of-2,en-0-of-1}.tsv".into(), limit: 2, ..file };
        let drawn = ids(&both);
        let of = |part: &str| -> Vec<&str> { drawn.iter().filter_map(|id| id.strip_prefix(part)).collect() };
        assert_eq!(of("a_de/").len(), 2);
        assert_eq!(of("a_de/"), of("a_en/"));
    }
}
