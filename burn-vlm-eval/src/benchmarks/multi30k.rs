//! Multi30K (Elliott et al., 2016): captions of pictures, translated. Scored as sacreBLEU does; the XCOMET of
//! TowerVision's numbers needs a model of its own and is not computed.
//!
//! Files as published, unpacked: `test_2016_flickr.{en,de,fr,cs}`, one sentence a line, with the pictures' names in
//! `image_splits/test_2016_flickr.txt` beside them or beside their folder. The recipe names the files of the target
//! languages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::plain_text::{Reader, empty_line, plain_name};
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::rules::{PromptStyle, Rules};
use crate::translation::tokenize::strip;
use crate::translation::{Bleu, Chrf, Smoothing, Ter, Tokenizer};

/// The language that is translated from.
const SOURCE: &str = "en";
/// New tokens of a translation, as in TowerVision's fork of lmms-eval.
const MAX_NEW_TOKENS: usize = 128;
const CHRF: &str = "chrf";
const BLEU: &str = "bleu";
/// Sentences by themselves: orders that are too long for them are left out.
const SENTENCE_BLEU: Bleu =
    Bleu { lower: false, tokenizer: Tokenizer::V13a, effective_order: true, smoothing: Smoothing::Exponential };
const SENTENCE_CHRF: Chrf = Chrf::DEFAULT;

/// Multi30K.
pub(super) struct Multi30k;

impl Published for Multi30k {
    fn name(&self) -> &'static str {
        "multi30k"
    }

    fn about(&self) -> &'static str {
        "Multi30K (Elliott et al., 2016): captions translated from English; BLEU, chrF and TER by sacreBLEU"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::Official]
    }

    fn read(&self, file: &FileRecipe, base: &Path, _rules: Rules) -> Result<Items, BenchmarkError> {
        let mut reader = Reader::new(file, base)?;
        let mut items = Vec::new();
        // With a wildcard the sources are among the files.
        let listed = |path: &PathBuf| !file.file.contains('*') || !path.to_string_lossy().ends_with(".en");
        for path in reader.paths()?.into_iter().filter(listed) {
            read_file(&mut reader, &path, &mut items)?;
        }
        reader.finish(items)
    }

    fn prompts(&self, _rules: Rules) -> Vec<PromptStyle> {
        vec![PromptStyle::DeepSpin]
    }

    fn question(&self, item: &Item, _style: PromptStyle) -> Asked {
        Asked { text: prompt(item), ask: Ask::Generate { max_new_tokens: MAX_NEW_TOKENS } }
    }

    fn picture_use(&self, item: &Item, _style: PromptStyle) -> Option<Asked> {
        Some(Asked { text: prompt(item), ask: Ask::Likelihood { answers: item.answers.clone() } })
    }

    fn score(&self, items: &[Item], answers: &[Answer], _rules: Rules, _style: PromptStyle) -> Scored {
        let reply = |answer: &Answer| strip(answer.as_text().unwrap_or_default()).to_owned();
        let replies: Vec<String> = answers.iter().map(reply).collect();
        let mut parts: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (item, reply) in items.iter().zip(&replies) {
            parts.entry(&item.part).or_default().push((reply, item.answer()));
        }
        let totals: Map<String, Value> =
            parts.into_iter().map(|(part, pairs)| (part.to_owned(), corpus(&pairs))).collect();
        let verdicts = items.iter().zip(answers).zip(&replies);
        let verdicts = verdicts.map(|((item, answer), reply)| Some(verdict(item, answer, reply))).collect();
        let lacking = answers.iter().filter(|answer| answer.as_text().is_none()).count();
        let note = format!("{lacking} of {} sentences have no translation; they count as empty ones", items.len());
        Scored { verdicts, totals: totals.into(), notes: Vec::from_iter((lacking > 0).then_some(note)) }
    }

    fn metrics(&self, _items: &[Item], _rules: Rules) -> Vec<MetricInfo> {
        let corpus = "The corpus's score, with its signature, is no mean of sentences: it stands in the totals.";
        vec![
            MetricInfo {
                key: CHRF,
                label: "sentence chrF2".into(),
                explanation: format!("The mean of the sentences' chrF. {corpus} {}", SENTENCE_CHRF.signature()),
                chance: None,
            },
            MetricInfo {
                key: BLEU,
                label: "sentence BLEU".into(),
                explanation: format!("The mean of the sentences' BLEU. {corpus} {}", SENTENCE_BLEU.signature()),
                chance: None,
            },
        ]
    }
}

/// The prompt of TowerVision's fork.
fn prompt(item: &Item) -> String {
    super::translation_prompt(item.language.map_or("the target language", plain_name), &item.question)
}

fn read_file(reader: &mut Reader<'_>, path: &Path, items: &mut Vec<Item>) -> Result<(), BenchmarkError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let whole = || "its name".to_owned();
    let (stem, tag) = match name.rsplit_once('.') {
        Some((_, SOURCE)) => {
            let reason =
                "it holds the English sources; name the files of the languages that are translated into".to_owned();
            return Err(reader.damaged(path, whole(), reason));
        }
        Some((_, "gz")) => return Err(reader.damaged(path, whole(), "it is packed; unpack it first".to_owned())),
        Some(parts) => parts,
        None => {
            let reason = "expected the language as the ending, such as test_2016_flickr.de".to_owned();
            return Err(reader.damaged(path, whole(), reason));
        }
    };
    let language = reader.language(path, tag)?;
    let references = reader.lines(path)?;
    let beside = (path, references.len());
    let folder = path.parent().unwrap_or(Path::new("."));
    let source_path = folder.join(format!("{stem}.{SOURCE}"));
    let sources = reader.lines_beside(&source_path, beside)?;
    let names = match split(folder, stem) {
        Some(split) => Some(reader.lines_beside(&split, beside)?),
        None if reader.has_pictures() => {
            let reason =
                format!("found no image_splits/{stem}.txt beside it or beside its folder, which names the pictures");
            return Err(reader.damaged(path, whole(), reason));
        }
        None => None,
    };
    for (line, (source, reference)) in sources.into_iter().zip(references).enumerate() {
        let picture = names.as_ref().and_then(|names| names.get(line)).map(|name| picture_name(name));
        let empty = [(&source, source_path.as_path()), (&reference, path)];
        let empty = empty.into_iter().find(|(text, _)| strip(text).is_empty()).map(|(_, path)| empty_line(path));
        let media = match (empty, picture) {
            (Some(reason), _) => Err(reason),
            (None, Some(name)) => reader.picture(name),
            (None, None) => Ok(Vec::new()),
        };
        match media {
            Ok(media) => items.push(Item {
                id: format!("{name}/{line}"),
                part: name.clone(),
                index: line.to_string(),
                row: reader.rows,
                language: Some(language),
                media,
                group: picture.map_or_else(|| format!("{stem}/{line}"), str::to_owned),
                question: source,
                options: Vec::new(),
                answers: vec![reference],
                cells: picture.map(|name| ("image".to_owned(), name.into())).into_iter().collect(),
            }),
            Err(reason) => reader.skip(path, line, reason),
        }
        reader.rows += 1;
    }
    Ok(())
}

/// The file with the pictures' names.
fn split(folder: &Path, stem: &str) -> Option<PathBuf> {
    let name = format!("image_splits/{stem}.txt");
    [folder.join(&name), folder.join("..").join(&name)].into_iter().find(|path| path.is_file())
}

/// A picture's name; those of MSCOCO have the caption's number behind it, `COCO_val2014_000000398076.jpg#657409`.
fn picture_name(line: &str) -> &str {
    let line = line.trim();
    match line.rsplit_once('#') {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => line,
    }
}

fn verdict(item: &Item, answer: &Answer, reply: &str) -> Verdict {
    let reference = item.answer();
    let bleu = SENTENCE_BLEU.corpus([(reply, reference)]).score;
    let chrf = SENTENCE_CHRF.corpus([(reply, reference)]);
    let share = |percent: f64| (percent / 100.0).min(1.0);
    let verdict = Verdict {
        understood: Some(reply.to_owned()),
        scores: vec![(CHRF, share(chrf)), (BLEU, share(bleu))],
        ..Verdict::default()
    };
    verdict
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, answer.reply.is_some() && reply.is_empty())
        .with("sentence_bleu", bleu)
        .with("sentence_chrf", chrf)
}

/// All scores of a corpus, with what sacreBLEU prints and signs.
fn corpus(pairs: &[(&str, &str)]) -> Value {
    let mut all = Map::new();
    for (name, settings) in [
        ("bleu", Bleu::DEFAULT),
        ("bleu_lc", Bleu { lower: true, ..Bleu::DEFAULT }),
        ("bleu_intl", Bleu { tokenizer: Tokenizer::International, ..Bleu::DEFAULT }),
        ("bleu_char", Bleu { tokenizer: Tokenizer::Characters, ..Bleu::DEFAULT }),
    ] {
        let score = settings.corpus(pairs.iter().copied());
        let mut entry = entry(score.score, score.text(), settings.signature());
        // The others follow from the settings.
        if let ("bleu", Value::Object(details)) = (name, score.details()) {
            entry.extend(details);
        }
        all.insert(name.to_owned(), entry.into());
    }
    for (name, settings) in
        [("chrf", Chrf::DEFAULT), ("chrf++", Chrf::PLUS_PLUS), ("chrf_lc", Chrf { lower: true, ..Chrf::DEFAULT })]
    {
        let score = settings.corpus(pairs.iter().copied());
        all.insert(name.to_owned(), entry(score, settings.text(score), settings.signature()).into());
    }
    let ter = Ter::default();
    let score = ter.corpus(pairs.iter().copied());
    all.insert("ter".to_owned(), entry(score, ter.text_of(score), ter.signature()).into());
    all.into()
}

fn entry(score: f64, text: String, signature: String) -> Map<String, Value> {
    let names = ["score", "text", "signature"].map(str::to_owned);
    names.into_iter().zip([json!(score), text.into(), signature.into()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(settings: &str) -> FileRecipe {
        toml::from_str(&format!("name = \"multi30k\"\n{settings}")).unwrap()
    }

    #[test]
    fn files_that_are_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (name, text) in [
            ("t.en", "A cat.\nA dog.\n"),
            ("t.de", "Eine Katze.\nEin Hund.\n"),
            ("t.fr", "Un chat.\n"),
            ("t.cs", "a\n\n"),
            ("u.de", "x\n"),
        ] {
            write(name, text);
        }
        let read = |settings: &str| Multi30k.read(&recipe(settings), folder.path(), Rules::Official);
        for (settings, words) in [
            ("file = \"t.fr\"", "t.en, line 2: it has 2 lines, expected 1"),
            ("file = \"t.en\"", "English sources"),
            ("file = \"t.cs\"", "the line is empty in"),
            ("file = \"u.de\"", "u.en"),
            ("file = \"t.de\"\nimage_root = \".\"", "image_splits/t.txt"),
            ("file = \"t.xx1\"", "no tag of a language"),
            ("file = \"t.de.gz\"", "unpack"),
            ("file = \"x*\"", "x*"),
        ] {
            let error = read(settings).unwrap_err().to_string();
            assert!(error.contains(words), "{settings}: {error}");
        }
        let items = read("file = \"t.de\"").unwrap();
        assert!(items.notes[0].contains("without pictures"), "{:?}", items.notes);
        let items = read("file = \"t.cs\"\nmax_skipped = 1").unwrap();
        assert!(items.items.len() == 1 && items.notes[0].contains("line 2"), "{:?}", items.notes);
        // Pictures by name, one of them missing.
        write("image_splits/t.txt", "a.png\nb.png#12\n");
        let png = "\u{89}";
        write("a.png", png);
        let error = read("file = \"t.de\"\nimage_root = \".\"").unwrap_err().to_string();
        assert!(error.contains("2 of 2 rows") && error.contains("b.png") && !error.contains("#12"), "{error}");
        // Limits take the same pictures in every language.
        write("t.fr", "Un chat.\nUn chien.\n");
        let items = read("file = \"t.{de,fr}\"\nlimit = 1").unwrap().items;
        assert!(items.len() == 2 && items[0].group == items[1].group, "{items:?}");
        let items = read("file = \"t.{de,fr}\"\nlanguages = [\"fr\"]").unwrap().items;
        assert!(items.len() == 2 && items.iter().all(|item| item.part == "t.fr"), "{items:?}");
        let error = read("file = \"t.{de,fr}\"\nlanguages = [\"cs\"]").unwrap_err().to_string();
        assert!(error.contains("none of its rows is in one of `languages`"), "{error}");
    }

    #[test]
    fn replies_that_are_missing_count_and_are_told() {
        let items = [("0", "Ein Hund."), ("1", "Eine Katze.")];
        let items = items.map(|(index, reference)| crate::plain_text::tests::item("t.de", index, "x", reference));
        let answers = [Answer::text(" Ein Hund.\n"), Answer::default()];
        let scored = Multi30k.score(&items, &answers, Rules::Official, PromptStyle::DeepSpin);
        assert!(scored.notes[0].starts_with("1 of 2"));
        let verdicts: Vec<&Verdict> = scored.verdicts.iter().flatten().collect();
        assert_eq!(verdicts[1].flags, [Flag::NoReply]);
        assert_eq!(verdicts[0].score(CHRF), Some(1.0));
        assert_eq!(scored.totals["t.de"]["bleu"]["sys_len"], 3);
        assert_eq!(scored.totals["t.de"]["bleu"]["ref_len"], 6);
    }
}
