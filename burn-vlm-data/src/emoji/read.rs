//! From the five files to the parts of a corpus, checked row by row.

use super::CorpusError;
use super::parquet_columns::Columns;
use super::records::{Concept, ConceptId, Picture, PictureId, Split, Strings, Style, TerritoryFact, Text};
use crate::language::Language;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The files of a corpus folder.
pub(super) const FILES: [&str; 5] =
    ["images64_webp.parquet", "texts.parquet", "strings.parquet", "facts.json", "flag_ambiguous.json"];

/// The bytes of the five files, and the folder that errors name.
pub(super) struct Files {
    folder: PathBuf,
    contents: [Bytes; 5],
}

/// Texts of one language by concept.
pub(super) type Texts = Vec<Option<Text>>;

/// What the picture file says.
pub(super) struct Pictures {
    pub(super) concepts: Vec<Concept>,
    pub(super) pictures: Vec<Picture>,
}

impl Files {
    pub(super) fn embedded() -> Self {
        macro_rules! file {
            ($name:literal) => {
                Bytes::from_static(include_bytes!(concat!("../../data/emoji/", $name)))
            };
        }
        Self {
            folder: PathBuf::from("(embedded corpus)"),
            contents: [
                file!("images64_webp.parquet"),
                file!("texts.parquet"),
                file!("strings.parquet"),
                file!("facts.json"),
                file!("flag_ambiguous.json"),
            ],
        }
    }

    pub(super) fn read(folder: &Path) -> Result<Self, CorpusError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path)
                .map(Bytes::from)
                .map_err(|error| CorpusError::Unreadable { path, reason: error.to_string() })
        };
        let [images, texts, strings, facts, ambiguous] = FILES;
        let contents = [read(images)?, read(texts)?, read(strings)?, read(facts)?, read(ambiguous)?];
        Ok(Self { folder: folder.to_owned(), contents })
    }

    fn columns(&self, file: usize) -> Result<Columns, CorpusError> {
        Columns::open(&self.folder.join(FILES[file]), self.contents[file].clone())
    }

    fn json<T: serde::de::DeserializeOwned>(&self, file: usize) -> Result<T, CorpusError> {
        serde_json::from_slice(&self.contents[file])
            .map_err(|error| CorpusError::Json { path: self.folder.join(FILES[file]), reason: error.to_string() })
    }

    pub(super) fn pictures(&self) -> Result<Pictures, CorpusError> {
        let file = self.columns(0)?;
        let codes = file.strings("concept")?;
        let styles = file.strings("style")?;
        let images = file.bytes("image")?;
        let chars = file.strings("char")?;
        let groups = file.strings("group")?;
        let subgroups = file.strings("subgroup")?;
        let territories = file.optional_strings("territory")?;
        let splits = file.strings("split")?;

        let mut concepts: Vec<Concept> = Vec::new();
        let mut pictures: Vec<Picture> = Vec::with_capacity(file.rows());
        let mut ids: HashMap<String, ConceptId> = HashMap::new();
        let mut known = std::collections::HashSet::new();
        for (row, webp) in images.into_iter().enumerate() {
            let style = Style::parse(&styles[row]).ok_or_else(|| {
                file.value(
                    row,
                    "style",
                    "one of noto, fluent-flat, twemoji, flag-icons, circle-flags",
                    quote(&styles[row]),
                )
            })?;
            let split = parse_split(&splits[row])
                .ok_or_else(|| file.value(row, "split", "train, val or test", quote(&splits[row])))?;
            let next = ConceptId(concepts.len() as u32);
            let concept = *ids.entry(codes[row].clone()).or_insert(next);
            let described = Concept {
                id: concept,
                code: codes[row].clone(),
                char: chars[row].clone(),
                group: groups[row].clone(),
                subgroup: subgroups[row].clone(),
                split,
                territory: territories[row].clone(),
            };
            if concept == next {
                concepts.push(described);
            } else if concepts[concept.index()] != described {
                let expected =
                    format!("the group, split and territory of the concept's other pictures ({})", codes[row]);
                return Err(file.value(row, "concept", expected, "different ones"));
            }
            if !known.insert((concept, style)) {
                return Err(file.value(row, "style", "one picture a concept and style", quote(&styles[row])));
            }
            pictures.push(Picture { id: PictureId(row as u32), concept, style, webp });
        }
        Ok(Pictures { concepts, pictures })
    }

    /// The raw columns of the text file; concepts are looked up later, so that both files decode at the same time.
    pub(super) fn texts(&self) -> Result<RawTexts, CorpusError> {
        let file = self.columns(1)?;
        Ok(RawTexts {
            concepts: file.strings("concept")?,
            languages: file.strings("lang")?,
            names: file.strings("name")?,
            keywords: file.string_lists("keywords")?,
            inherited: file.booleans("inherited")?,
            file,
        })
    }

    pub(super) fn strings(&self) -> Result<BTreeMap<Language, Strings>, CorpusError> {
        let file = self.columns(2)?;
        let languages = file.strings("lang")?;
        let data = file.strings("data")?;
        let mut strings = BTreeMap::new();
        for (row, (tag, json)) in languages.iter().zip(&data).enumerate() {
            let language = parse_language(&file, row, tag)?;
            let value = serde_json::from_str(json)
                .map_err(|error| file.value(row, "data", "JSON of the language's strings", error.to_string()))?;
            strings.insert(language, value);
        }
        Ok(strings)
    }

    pub(super) fn facts(&self) -> Result<BTreeMap<String, TerritoryFact>, CorpusError> {
        self.json(3)
    }

    pub(super) fn ambiguous_flags(&self) -> Result<Vec<Vec<String>>, CorpusError> {
        self.json(4)
    }
}

/// The columns of the text file.
pub(super) struct RawTexts {
    file: Columns,
    concepts: Vec<String>,
    languages: Vec<String>,
    names: Vec<String>,
    keywords: Vec<Vec<String>>,
    inherited: Vec<bool>,
}

impl RawTexts {
    /// Sorts the texts by language and concept.
    pub(super) fn assign(self, concepts: &[Concept]) -> Result<BTreeMap<Language, Texts>, CorpusError> {
        let ids: HashMap<&str, ConceptId> = concepts.iter().map(|c| (c.code.as_str(), c.id)).collect();
        let mut texts: BTreeMap<Language, Texts> = BTreeMap::new();
        let rows = self.names.into_iter().zip(self.keywords).zip(self.inherited).enumerate();
        for (row, ((name, keywords), inherited)) in rows {
            let language = parse_language(&self.file, row, &self.languages[row])?;
            let code = &self.concepts[row];
            let id = ids
                .get(code.as_str())
                .ok_or_else(|| self.file.value(row, "concept", format!("a concept of {}", FILES[0]), quote(code)))?;
            if name.trim().is_empty() {
                return Err(self.file.value(row, "name", "a name", "an empty string"));
            }
            let is_flag = concepts[id.index()].is_territory_flag();
            let short_start = if is_flag { territory_start(&name) } else { 0 };
            let text = Text { name, keywords, inherited, composed: false, short_start };
            let slot = &mut texts.entry(language).or_insert_with(|| vec![None; concepts.len()])[id.index()];
            if slot.replace(text).is_some() {
                let expected = "one text a concept and language";
                return Err(self.file.value(
                    row,
                    "concept",
                    expected,
                    format!("a second one for {code} in {language}"),
                ));
            }
        }
        Ok(texts)
    }
}

/// Byte position after the colon (plain or full width) and the space that follow the word for "flag".
pub(super) fn territory_start(name: &str) -> usize {
    let Some((position, colon)) = name.char_indices().find(|(_, c)| matches!(c, ':' | '：')) else {
        return 0;
    };
    let after = position + colon.len_utf8();
    let rest = &name[after..];
    let start = after + (rest.len() - rest.trim_start().len());
    if start < name.len() { start } else { 0 }
}

fn parse_split(name: &str) -> Option<Split> {
    match name {
        "train" => Some(Split::Train),
        "val" => Some(Split::Validation),
        "test" => Some(Split::Test),
        _ => None,
    }
}

fn parse_language(file: &Columns, row: usize, tag: &str) -> Result<Language, CorpusError> {
    Language::parse(tag).map_err(|error| {
        file.value(row, "lang", format!("a tag such as {}", error.nearest.as_deref().unwrap_or("de")), quote(tag))
    })
}

fn quote(value: &str) -> String {
    format!("{value:?}")
}
