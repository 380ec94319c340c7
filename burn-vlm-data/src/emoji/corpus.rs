//! The corpus itself: lookups by concept, picture and language, and which pictures look the same.

use super::CorpusError;
use super::read::{Files, Texts, territory_start};
use super::records::{Concept, ConceptId, Picture, PictureId, Split, Strings, Style, TerritoryFact, Text};
use crate::language::Language;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The emoji corpus, immutable and shared.
#[derive(Debug)]
pub struct EmojiCorpus {
    concepts: Vec<Concept>,
    by_code: HashMap<String, ConceptId>,
    pictures: Vec<Picture>,
    pictures_of: Vec<Vec<PictureId>>,
    texts: BTreeMap<Language, Texts>,
    strings: BTreeMap<Language, Strings>,
    facts: BTreeMap<String, TerritoryFact>,
    ambiguous_flags: Vec<Vec<String>>,
    /// Concepts that look like this one in some style, itself not included, sorted.
    lookalikes: Vec<Vec<ConceptId>>,
    /// True for pictures that another concept has too, or whose flag stands in an ambiguous group.
    ambiguous_pictures: Vec<bool>,
}

impl EmojiCorpus {
    /// The corpus that ships inside the crate; decoded once, cheap to call again.
    ///
    /// # Errors
    /// Only if the crate was built with damaged data files.
    pub fn embedded() -> Result<Arc<Self>, CorpusError> {
        static CORPUS: OnceLock<Result<Arc<EmojiCorpus>, CorpusError>> = OnceLock::new();
        CORPUS.get_or_init(|| Self::build(&Files::embedded()).map(Arc::new)).clone()
    }

    /// Reads a corpus folder with the same five files.
    ///
    /// # Errors
    /// A missing or damaged file, a missing column, a value that does not fit: named with file, column and row.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, CorpusError> {
        Self::build(&Files::read(folder.as_ref())?)
    }

    fn build(files: &Files) -> Result<Self, CorpusError> {
        // The two large files decode on two threads.
        let (pictures, raw_texts) = std::thread::scope(|scope| {
            let texts = scope.spawn(|| files.texts());
            let pictures = files.pictures();
            let texts = texts.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (pictures, texts)
        });
        let (pictures, raw_texts) = (pictures?, raw_texts?);
        let concepts = pictures.concepts;
        let pictures = pictures.pictures;
        let strings = files.strings()?;
        let mut texts = raw_texts.assign(&concepts)?;
        compose_flag_names(&concepts, &strings, &mut texts);
        let ambiguous_flags = files.ambiguous_flags()?;

        let mut pictures_of = vec![Vec::new(); concepts.len()];
        for picture in &pictures {
            pictures_of[picture.concept.index()].push(picture.id);
        }
        let groups = lookalike_groups(&concepts, &pictures, &ambiguous_flags);
        let mut lookalikes = vec![BTreeSet::new(); concepts.len()];
        for group in groups.flags.iter().chain(&groups.pictures) {
            for concept in group {
                lookalikes[concept.index()].extend(group.iter().filter(|other| *other != concept));
            }
        }
        Ok(Self {
            by_code: concepts.iter().map(|concept| (concept.code.clone(), concept.id)).collect(),
            lookalikes: lookalikes.into_iter().map(|set| set.into_iter().collect()).collect(),
            ambiguous_pictures: groups.ambiguous_pictures,
            facts: files.facts()?,
            concepts,
            pictures,
            pictures_of,
            texts,
            strings,
            ambiguous_flags,
        })
    }

    /// All concepts, in the files' order.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// The concepts of one split, in the files' order.
    pub fn split(&self, split: Split) -> impl Iterator<Item = &Concept> {
        self.concepts.iter().filter(move |concept| concept.split == split)
    }

    /// One concept.
    ///
    /// # Panics
    /// If `id` comes from another corpus.
    pub fn concept(&self, id: ConceptId) -> &Concept {
        &self.concepts[id.index()]
    }

    /// Finds a concept by its code points, `"1f600"`.
    pub fn by_code(&self, code: &str) -> Option<&Concept> {
        self.by_code.get(code).map(|id| self.concept(*id))
    }

    /// All pictures, in the files' order.
    pub fn pictures(&self) -> &[Picture] {
        &self.pictures
    }

    /// One picture.
    ///
    /// # Panics
    /// If `id` comes from another corpus.
    pub fn picture(&self, id: PictureId) -> &Picture {
        &self.pictures[id.index()]
    }

    /// A picture's name in errors and sample ids, `"noto/1f600"`.
    pub fn picture_name(&self, id: PictureId) -> String {
        let picture = self.picture(id);
        format!("{}/{}", picture.style, self.concept(picture.concept).code)
    }

    /// A picture as samples show it.
    pub fn media(&self, id: PictureId) -> crate::sample::Picture {
        crate::sample::Picture::Encoded { name: self.picture_name(id), bytes: self.picture(id).webp.clone() }
    }

    /// The pictures of a concept.
    pub fn pictures_of(&self, concept: ConceptId) -> impl Iterator<Item = &Picture> {
        self.pictures_of[concept.index()].iter().map(|id| self.picture(*id))
    }

    /// The picture of a concept in one style.
    pub fn picture_in(&self, concept: ConceptId, style: Style) -> Option<&Picture> {
        self.pictures_of(concept).find(|picture| picture.style == style)
    }

    /// The languages with texts.
    pub fn languages(&self) -> Vec<Language> {
        self.texts.keys().copied().collect()
    }

    /// True if there are texts in `language`.
    pub fn has_language(&self, language: Language) -> bool {
        self.texts.contains_key(&language)
    }

    /// What a concept is called in a language; none where the corpus has no text.
    pub fn text(&self, concept: ConceptId, language: Language) -> Option<&Text> {
        self.texts.get(&language)?.get(concept.index())?.as_ref()
    }

    /// Words and patterns of a language.
    pub fn strings(&self, language: Language) -> Option<&Strings> {
        self.strings.get(&language)
    }

    /// Facts about a territory, by its code.
    pub fn fact(&self, territory: &str) -> Option<&TerritoryFact> {
        self.facts.get(territory)
    }

    /// Groups of territories whose flags look the same, by code, as they stand in the file.
    pub fn ambiguous_flags(&self) -> &[Vec<String>] {
        &self.ambiguous_flags
    }

    /// Concepts that look like this one: their flag stands in the same ambiguous group, or some style has the very
    /// same picture for both. They are no distractors of each other.
    pub fn lookalikes(&self, concept: ConceptId) -> &[ConceptId] {
        &self.lookalikes[concept.index()]
    }

    /// True if nobody could say from the picture alone which concept it shows: another concept has the same picture,
    /// or the flag stands in an ambiguous group. Such a picture is neither trained nor scored.
    pub fn is_ambiguous(&self, picture: PictureId) -> bool {
        self.ambiguous_pictures[picture.index()]
    }
}

/// Fills in flag names where a language has none (Danish), as CLDR composes them in the other languages.
fn compose_flag_names(
    concepts: &[Concept],
    strings: &BTreeMap<Language, Strings>,
    texts: &mut BTreeMap<Language, Texts>,
) {
    for (language, slots) in texts {
        let Some(strings) = strings.get(language) else { continue };
        let (Some(pattern), Some(flag)) = (strings.patterns.get("category-list"), strings.labels.get("flag")) else {
            continue;
        };
        for (concept, slot) in concepts.iter().zip(slots) {
            let territory = concept.territory.as_ref().and_then(|code| strings.territories.get(code));
            if let (None, Some(territory)) = (&slot, territory) {
                let name = pattern.replace("{0}", flag).replace("{1}", territory);
                let short_start = territory_start(&name);
                *slot =
                    Some(Text { name, keywords: vec![flag.clone()], inherited: false, composed: true, short_start });
            }
        }
    }
}

struct Lookalikes {
    flags: Vec<Vec<ConceptId>>,
    pictures: Vec<Vec<ConceptId>>,
    ambiguous_pictures: Vec<bool>,
}

/// Finds byte-identical pictures of different concepts, and joins them with the list of ambiguous flags.
fn lookalike_groups(concepts: &[Concept], pictures: &[Picture], ambiguous_flags: &[Vec<String>]) -> Lookalikes {
    let by_territory: HashMap<&str, ConceptId> =
        concepts.iter().filter_map(|c| c.territory.as_deref().map(|code| (code, c.id))).collect();
    let flags: Vec<Vec<ConceptId>> = ambiguous_flags
        .iter()
        .map(|group| group.iter().filter_map(|code| by_territory.get(code.as_str()).copied()).collect())
        .collect();
    let ambiguous: BTreeSet<ConceptId> = flags.iter().flatten().copied().collect();

    let mut same: HashMap<&[u8], Vec<&Picture>> = HashMap::new();
    for picture in pictures {
        same.entry(&picture.webp).or_default().push(picture);
    }
    let mut ambiguous_pictures: Vec<bool> = pictures.iter().map(|p| ambiguous.contains(&p.concept)).collect();
    let mut groups = Vec::new();
    for group in same.into_values().filter(|group| group.len() > 1) {
        group.iter().for_each(|picture| ambiguous_pictures[picture.id.index()] = true);
        groups.push(group.iter().map(|picture| picture.concept).collect());
    }
    Lookalikes { flags, pictures: groups, ambiguous_pictures }
}
