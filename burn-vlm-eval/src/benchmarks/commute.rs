//! CoMMuTE (Futeral et al., 2023): an ambiguous English sentence, a picture that tells which reading is meant, and two
//! translations; right where the right one is the likelier.
//!
//! Replies are two mean log-likelihoods a token (natural logarithm), of the right translation and of the wrong one, so
//! that the perplexity is `exp(-value)` and the loss `-value`. A pair counts where the right one's perplexity is lower,
//! strictly: ties miss, under all rules. The official script reads perplexities with as many digits as its files have;
//! ours are not rounded.
//!
//! Two prompts: the textbook's, where the translation is the assistant's turn and its tokens count; and that of
//! TowerVision's fork of lmms-eval, where it is glued to the source in the user's turn, the assistant says `answer`,
//! and the whole text counts.
//!
//! Files as published: `en-de/{src.en,correct.de,incorrect.de,img.order}`. The recipe names the folders. Half of the
//! pairs have the same two translations as the other half, the other way round: a model that does not look at the
//! pictures scores 50 %.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::ask::{Ask, Reply};
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::mean;
use crate::plain_text::{Reader, empty_line, plain_name};
use crate::published::{Answer, Asked, Flag, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::rules::{PromptStyle, Rules};
use crate::table::refuse;
use crate::translation::tokenize::strip;

const ACCURACY: &str = "accuracy";
/// The column of the wrong translation.
const INCORRECT: &str = "incorrect";
/// What the assistant says in the fork's prompt.
const FORK_ANSWER: &str = "answer";
/// The score of guessing, in percent.
const CHANCE: f64 = 50.0;

/// CoMMuTE.
pub(super) struct Commute;

impl Published for Commute {
    fn name(&self) -> &'static str {
        "commute"
    }

    fn about(&self) -> &'static str {
        "CoMMuTE (Futeral et al., 2023): which of two translations is the likelier, given the picture"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::DeepSpin, Rules::Official]
    }

    fn read(&self, file: &FileRecipe, base: &Path, _rules: Rules) -> Result<Items, BenchmarkError> {
        let mut reader = Reader::new(file, base)?;
        let mut items = Vec::new();
        for path in reader.paths()? {
            // A file of the folder stands for it.
            let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
            read_folder(&mut reader, folder.unwrap_or(&path), &mut items)?;
        }
        reader.finish(items)
    }

    fn prompts(&self, rules: Rules) -> Vec<PromptStyle> {
        match rules {
            Rules::DeepSpin => vec![PromptStyle::DeepSpin, PromptStyle::Official],
            _ => vec![PromptStyle::Official, PromptStyle::DeepSpin],
        }
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        let text = prompt(item);
        let candidates = candidates(item);
        let ask = if style == PromptStyle::DeepSpin {
            let turns = candidates.iter().map(|candidate| format!("{text}{candidate}")).collect();
            Ask::Conversation { turns, answer: FORK_ANSWER.to_owned() }
        } else {
            Ask::Likelihood { answers: candidates }
        };
        Asked { text, ask }
    }

    fn picture_use(&self, item: &Item, _style: PromptStyle) -> Option<Asked> {
        Some(self.question(item, PromptStyle::Official))
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        let verdicts: Vec<Verdict> = items.iter().zip(answers).map(|(_, answer)| verdict(answer)).collect();
        let mut totals = Map::new();
        for item in items {
            if totals.contains_key(&item.part) {
                continue;
            }
            let of_part = items.iter().zip(&verdicts).filter(|(other, _)| other.part == item.part);
            let share = mean(of_part.filter_map(|(_, verdict)| verdict.score(ACCURACY)));
            let total = match rules {
                Rules::DeepSpin => json!({ "contrastive_accuracy": share }),
                _ => json!({ "printed": format!("Score on CoMMuTE : {share:.6}") }),
            };
            totals.insert(item.part.clone(), total);
        }
        let flagged = |flag: Flag| verdicts.iter().filter(|verdict| verdict.flags.contains(&flag)).count();
        let ties = verdicts.iter().filter(|verdict| verdict.details.get("tie") == Some(&Value::Bool(true))).count();
        let notes = [
            (flagged(Flag::NoReply), "have no likelihoods; they count as misses"),
            (flagged(Flag::Invalid), "have a reply that is not two likelihoods; they count as misses"),
            (ties, "have two equal likelihoods; ties are misses"),
        ];
        let note =
            |(count, what): (usize, &str)| (count > 0).then(|| format!("{count} of {} pairs {what}", items.len()));
        let notes = notes.into_iter().filter_map(note).collect();
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals: totals.into(), notes }
    }

    fn metrics(&self, _items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        vec![MetricInfo {
            key: ACCURACY,
            label: "pair accuracy".into(),
            explanation: format!(
                "The share of pairs whose right translation has the lower perplexity, strictly; the rules are {}.",
                rules.whose()
            ),
            chance: Some(CHANCE),
        }]
    }
}

fn prompt(item: &Item) -> String {
    super::translation_prompt(item.language.map_or("the target language", plain_name), &item.question)
}

/// The right translation and the wrong one.
fn candidates(item: &Item) -> Vec<String> {
    vec![item.answer().to_owned(), item.cell(INCORRECT).unwrap_or_default()]
}

fn read_folder(reader: &mut Reader<'_>, folder: &Path, items: &mut Vec<Item>) -> Result<(), BenchmarkError> {
    let part = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let Some(tag) = part.strip_prefix("en-") else {
        let reason = "expected a folder such as en-de, with src.en, correct.de, incorrect.de and img.order".to_owned();
        return Err(reader.damaged(folder, "its name".to_owned(), reason));
    };
    let language = reader.language(folder, tag)?;
    let source_path = folder.join("src.en");
    let sources = reader.lines(&source_path)?;
    let beside = (source_path.as_path(), sources.len());
    let paths = [format!("correct.{tag}"), format!("incorrect.{tag}")].map(|name| folder.join(name));
    let [correct_path, incorrect_path] = &paths;
    let correct = reader.lines_beside(correct_path, beside)?;
    let incorrect = reader.lines_beside(incorrect_path, beside)?;
    let order = folder.join("img.order");
    let names = match order.is_file() || reader.has_pictures() {
        true => reader.lines_beside(&order, beside)?,
        false => vec![String::new(); sources.len()],
    };
    for (line, (((source, right), wrong), picture)) in
        sources.into_iter().zip(correct).zip(incorrect).zip(names).enumerate()
    {
        let picture = picture.trim();
        let texts = [(&source, &source_path), (&right, correct_path), (&wrong, incorrect_path)];
        let media = match texts.into_iter().find(|(text, _)| strip(text).is_empty()) {
            Some((_, path)) => Err(empty_line(path)),
            None if right == wrong => Err(refuse("the right and the wrong translation are the same")),
            None => reader.picture(picture),
        };
        let mut cells: Vec<(String, Value)> = vec![(INCORRECT.to_owned(), wrong.into())];
        if !picture.is_empty() {
            cells.push(("image".to_owned(), picture.into()));
        }
        match media {
            Ok(media) => items.push(Item {
                id: format!("{part}/{line}"),
                part: part.clone(),
                index: line.to_string(),
                row: reader.rows,
                language: Some(language),
                media,
                // Both readings of a sentence.
                group: source.clone(),
                question: source,
                options: Vec::new(),
                answers: vec![right],
                cells: cells.into_iter().collect(),
            }),
            Err(reason) => reader.skip(&source_path, line, reason),
        }
        reader.rows += 1;
    }
    Ok(())
}

fn verdict(answer: &Answer) -> Verdict {
    let scores = match &answer.reply {
        Some(Reply::Scores(scores)) => match scores.as_slice() {
            [right, wrong] if !right.is_nan() && !wrong.is_nan() => Some((*right, *wrong)),
            _ => None,
        },
        _ => None,
    };
    let hit = scores.is_some_and(|(right, wrong)| right > wrong);
    let understood = scores.map(|_| if hit { "correct" } else { INCORRECT }.to_owned());
    let verdict = Verdict::right(ACCURACY, understood, hit)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, answer.reply.is_some() && scores.is_none())
        .with("hit", i32::from(hit));
    match scores {
        Some((right, wrong)) => verdict
            .with("perplexity_correct", (-right).exp())
            .with("perplexity_incorrect", (-wrong).exp())
            .with("tie", right == wrong),
        None => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(scores: &[f64]) -> Answer {
        Answer { reply: Some(Reply::Scores(scores.to_vec())), judge: None }
    }

    #[test]
    fn strictly_likelier_and_nothing_else() {
        let items: Vec<Item> =
            (0..6).map(|index| crate::plain_text::tests::item("en-de", &index.to_string(), "x", "y")).collect();
        let answers = [
            scores(&[-1.0, -2.0]),
            scores(&[-2.0, -1.0]),
            scores(&[-1.0, -1.0]),
            scores(&[f64::NAN, -1.0]),
            scores(&[-1.0]),
            Answer::default(),
        ];
        for (rules, total) in [
            (Rules::Official, json!({ "printed": "Score on CoMMuTE : 0.166667" })),
            (Rules::DeepSpin, json!({ "contrastive_accuracy": 1.0 / 6.0 })),
        ] {
            let scored = Commute.score(&items, &answers, rules, PromptStyle::Official);
            assert_eq!(scored.totals["en-de"], total);
            assert_eq!(scored.notes.len(), 3);
            assert!(scored.notes[1].starts_with("2 of 6"), "{:?}", scored.notes);
            let hits: Vec<_> = scored.verdicts.iter().flatten().filter_map(|verdict| verdict.score(ACCURACY)).collect();
            assert_eq!(hits, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        }
        let perplexity = &verdict(&scores(&[-2.0_f64.ln(), -1.0])).details["perplexity_correct"];
        assert!((perplexity.as_f64().unwrap() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn folders_that_are_others_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (tag, wrong) in [("de", "Schläger\n"), ("fr", "a\nb\n"), ("zh", "蝙蝠\n")] {
            write(&format!("en-{tag}/src.en"), "The bat.\n");
            write(&format!("en-{tag}/correct.{tag}"), "蝙蝠\n");
            write(&format!("en-{tag}/incorrect.{tag}"), wrong);
        }
        write("other/src.en", "x\n");
        let read = |settings: &str| {
            let recipe: FileRecipe = toml::from_str(&format!("name = \"commute\"\n{settings}")).unwrap();
            Commute.read(&recipe, root.path(), Rules::Official)
        };
        for (settings, words) in [
            ("file = \"en-fr\"", "incorrect.fr, line 2: it has 2 lines, expected 1"),
            ("file = \"en-zh/src.en\"", "are the same"),
            ("file = \"other\"", "expected a folder such as en-de"),
            ("file = \"en-ru\"", "src.en"),
            ("file = \"en-de\"\nimage_root = \".\"", "img.order"),
        ] {
            let error = read(settings).unwrap_err().to_string();
            assert!(error.contains(words), "{settings}: {error}");
        }
        let items = read("file = \"en-de/src.en\"").unwrap();
        let asked = Commute.question(&items.items[0], PromptStyle::Official);
        assert_eq!(asked.ask, Ask::Likelihood { answers: vec!["蝙蝠".into(), "Schläger".into()] });
        assert_eq!(Commute.picture_use(&items.items[0], PromptStyle::DeepSpin), Some(asked));
    }
}
