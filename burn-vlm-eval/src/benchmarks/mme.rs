//! MME: two yes/no questions about each picture, 14 subtasks; a subtask is worth its accuracy and the share of pictures
//! with both answers right, 200 points in all.
//!
//! Unusual here: VLMEvalKit looks for the words yes and no anywhere, lmms-eval inside the first four characters (`Eyes`
//! is yes, `nothing` is no). Answers in other languages are wrong in both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_data::source::{Row, SkipReason};
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit::{self, ACCURACY};
use crate::mean;
use crate::mme_folder;
use crate::published::{Answer, Asked, Item, Items, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading, Together, part_of};
use crate::rows::{self, by_language, replies};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::{refuse, text_of};
use crate::yes_no;

/// Subtasks of perception, in the order of the release.
pub(crate) const PERCEPTION: [&str; 10] =
    ["existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR"];
/// Subtasks of cognition, which VLMEvalKit calls reasoning.
pub(crate) const COGNITION: [&str; 4] =
    ["commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning"];
/// The metric of pictures.
const ACCURACY_PLUS: &str = "accuracy_plus";
/// Questions about a picture.
const PAIR: usize = 2;
/// What lmms-eval takes out of the question, and puts after it.
const REQUEST: &str = " Please answer yes or no.";
const SHORT_REQUEST: &str = "\nAnswer the question using a single word or phrase.";
/// lmms-eval's limit.
const NEW_TOKENS: usize = 16;

const STRICT: strict::Kind = strict::Kind::Pairs;

/// MME.
pub(super) struct Mme;

impl Published for Mme {
    fn name(&self) -> &'static str {
        "mme"
    }

    fn about(&self) -> &'static str {
        "MME (Fu et al.): yes/no questions in pairs about each picture; perception of 2000 points, cognition of 800"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::ParrotVlmevalkit, Rules::Vlmevalkit, Rules::LmmsEval, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        if mme_folder::is_release(file, base) {
            return mme_folder::read(file, base);
        }
        let how = Reading {
            // The path tells apart what belongs together.
            columns: &["question_id", "image_path"],
            required: &[&["category"]],
            together: Together::Group,
            ..Reading::of(rules, FileLanguage::Usually(Language::EN))
        };
        // Parquet files name the picture only.
        let mut asked: HashMap<(String, String), usize> = HashMap::new();
        let number = |row: &mut Row| {
            if let Some(picture) = text_of(row, "question_id") {
                let count = asked.entry((part_of(&row.file), picture.clone())).or_default();
                *count += 1;
                row.id = mme_folder::index(&picture, *count);
            }
            Ok(())
        };
        reading::read(file, base, &how, number, finish)
    }

    fn prompts(&self, rules: Rules) -> Vec<PromptStyle> {
        kit::styles(rules)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        if style != PromptStyle::LmmsEval {
            return Asked { text: kit::yes_no_prompt(item, style), ask: kit::generate(style) };
        }
        let text = format!("{}{SHORT_REQUEST}", item.question.trim().replace(REQUEST, ""));
        Asked { text, ask: Ask::Generate { max_new_tokens: NEW_TOKENS } }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, _style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdict = |((item, answer), reply): ((&Item, &Answer), String)| {
            let said = yes_no::read(&reply, rules);
            let right = f64::from(u8::from(said.map(yes_no::word) == Some(item.answer())));
            let verdict = rows::verdict(answer, rules, said.map(|yes| yes_no::word(yes).to_owned()), (ACCURACY, right));
            match rules {
                Rules::LmmsEval => {
                    let parsed = said.map_or("other".to_owned(), |yes| yes_no::word(yes).to_lowercase());
                    verdict.with("parsed", parsed).with("score", right)
                }
                _ => verdict.with("extracted", said.map_or("Unknown", yes_no::word)).with("hit", right),
            }
        };
        let mut verdicts: Vec<Verdict> =
            items.iter().zip(answers).zip(replies(items, answers, rules)).map(verdict).collect();
        let mut notes = score_pairs(items, &mut verdicts, rules);
        notes.extend(missing_subtasks(items, rules));
        let totals = by_language(items, &verdicts, |rows| totals(rows, rules));
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        let whose = rules.whose();
        vec![
            MetricInfo {
                key: ACCURACY,
                label: "accuracy".into(),
                explanation: format!(
                    "Yes or no, each question by itself. Answers are told by the rules named here: {whose}."
                ),
                chance: Some(50.0),
            },
            MetricInfo {
                key: ACCURACY_PLUS,
                label: "accuracy+".into(),
                explanation:
                    "The share of pictures with both answers right. The published points are the sums of both \
                              shares times 100 over the subtasks, and no mean: see the totals."
                        .into(),
                chance: Some(25.0),
            },
        ]
    }
}

/// What an item of a table is: its subtask is known, and its picture is what is asked about twice.
fn finish(item: &mut Item) -> Result<(), SkipReason> {
    yes_no::check(item)?;
    let category = item.cell("category").ok_or_else(|| refuse("no category"))?;
    if !PERCEPTION.contains(&category.as_str()) && !COGNITION.contains(&category.as_str()) {
        return Err(refuse(format!("the category {category:?} is no subtask of MME (existence, count, ..)")));
    }
    let picture = item.cell("image_path").or_else(|| item.cell("question_id"));
    let picture = picture.unwrap_or_else(|| std::mem::take(&mut item.group));
    // Subtasks may call their pictures the same, or show the same.
    let folder = format!("{category}/");
    item.group = if picture.starts_with(&folder) { picture } else { folder + &picture };
    Ok(())
}

/// Adds the score of each picture to its first question. Pictures without two questions are noted.
fn score_pairs(items: &[Item], verdicts: &mut [Verdict], rules: Rules) -> Vec<String> {
    let mut pictures: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        let language = item.language.map_or("", Language::tag);
        pictures.entry((&item.part, language, item.cell("category"), &item.group)).or_default().push(at);
    }
    let mut odd = 0;
    for questions in pictures.values() {
        odd += usize::from(questions.len() != PAIR);
        let [first, second, ..] = questions.as_slice() else { continue };
        if rules == Rules::LmmsEval && questions.len() != PAIR {
            continue;
        }
        let right = |at: &usize| verdicts.get(*at).and_then(|verdict| verdict.score(ACCURACY)).unwrap_or_default();
        let both = right(first) * right(second);
        if let Some(verdict) = verdicts.get_mut(*first) {
            verdict.scores.push((ACCURACY_PLUS, both));
        }
    }
    if odd == 0 {
        return Vec::new();
    }
    let of = match rules {
        Rules::LmmsEval => "are left out of the totals",
        _ => "count by their first two questions, and not at all in accuracy+ where there is one",
    };
    vec![format!("{odd} pictures have not two questions, where the reference stops or skips questions: they {of}")]
}

/// Subtasks without a question, which the totals lack.
fn missing_subtasks(items: &[Item], rules: Rules) -> Option<String> {
    let there: BTreeSet<String> = items.iter().filter_map(|item| item.cell("category")).collect();
    let missing: Vec<&str> = PERCEPTION.into_iter().chain(COGNITION).filter(|name| !there.contains(*name)).collect();
    let then = match rules {
        Rules::LmmsEval => "the sums are over those that are there, as in lmms-eval",
        _ => "there is no sum, VLMEvalKit stops there",
    };
    (!missing.is_empty()).then(|| format!("no question of {}: {then}", missing.join(", ")))
}

/// The points of each subtask and of both groups.
fn totals(rows: &[(&Item, &Verdict)], rules: Rules) -> Value {
    let lmms = rules == Rules::LmmsEval;
    let mut subtasks: BTreeMap<String, Vec<(&Item, &Verdict)>> = BTreeMap::new();
    for (item, verdict) in rows {
        subtasks.entry(item.cell("category").unwrap_or_default()).or_default().push((item, verdict));
    }
    let points = |rows: &Vec<(&Item, &Verdict)>| {
        let pairs: Vec<_> = rows.iter().filter(|(_, verdict)| verdict.score(ACCURACY_PLUS).is_some()).collect();
        // lmms-eval takes the mean over pictures, of which those without two questions are left out.
        let counts =
            |item: &Item| !lmms || pairs.iter().any(|(pair, _)| pair.group == item.group && pair.part == item.part);
        let single = rows.iter().filter(|(item, _)| counts(item)).filter_map(|(_, verdict)| verdict.score(ACCURACY));
        let both = pairs.iter().filter_map(|(_, verdict)| verdict.score(ACCURACY_PLUS));
        100.0 * (mean(single) + mean(both))
    };
    let points: BTreeMap<&str, f64> = subtasks.iter().map(|(name, rows)| (name.as_str(), points(rows))).collect();
    // VLMEvalKit stops where a subtask is missing; lmms-eval adds up what is there.
    let sum = |names: &[&str]| {
        let found = names.iter().filter_map(|name| points.get(name));
        (lmms || found.clone().count() == names.len()).then(|| found.sum::<f64>())
    };
    let (perception, cognition) = (sum(&PERCEPTION), sum(&COGNITION));
    if lmms {
        return json!({ "mme_perception_score": perception, "mme_cognition_score": cognition, "category": points });
    }
    let mut row =
        Map::from_iter([("perception".to_owned(), json!(perception)), ("reasoning".to_owned(), json!(cognition))]);
    row.extend(points.into_iter().map(|(name, points)| (name.to_owned(), points.into())));
    json!([row])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{PIXEL, read_text, wrong};

    const HEADER: &str = "index\timage\timage_path\tquestion\tanswer\tcategory\n";

    fn table(rows: &[(&str, &str, &str)]) -> String {
        let rows = rows.iter().enumerate().map(|(at, (picture, answer, category))| {
            format!("{at}\t{PIXEL}\t{picture}\tIs it? Please answer yes or no.\t{answer}\t{category}\n")
        });
        HEADER.to_owned() + &rows.collect::<String>()
    }

    #[test]
    fn pictures_of_the_same_bytes_are_told_apart_by_their_path() {
        let text =
            table(&[("a.png", "Yes", "OCR"), ("a.png", "No", "OCR"), ("b.png", "Yes", "OCR"), ("b.png", "No", "OCR")]);
        for rules in Mme.rules().iter().filter(|rules| **rules != Rules::BurnVlm) {
            let items = read_text(&Mme, *rules, "MME.tsv", &text, "").unwrap().items;
            let answers = ["yes", "no", "yes", "yes"].map(Answer::text);
            let scored = Mme.score(&items, &answers, *rules, PromptStyle::of(*rules));
            let plus: Vec<Option<f64>> =
                scored.verdicts.iter().map(|verdict| verdict.as_ref().unwrap().score(ACCURACY_PLUS)).collect();
            assert_eq!(plus, [Some(1.0), None, Some(0.0), None], "{rules}");
            assert!(
                scored.notes.len() == 1 && scored.notes[0].contains("no question of existence"),
                "{:?}",
                scored.notes
            );
            let (points, group) = match rules {
                Rules::LmmsEval => (&scored.totals["category"]["OCR"], &scored.totals["mme_perception_score"]),
                _ => (&scored.totals[0]["OCR"], &scored.totals[0]["perception"]),
            };
            assert_eq!(points, &json!(125.0), "{rules}");
            // The kit needs all subtasks for a sum.
            let sum = if *rules == Rules::LmmsEval { json!(125.0) } else { Value::Null };
            assert_eq!(group, &sum, "{rules}");
        }
    }

    #[test]
    fn pictures_without_two_questions_are_noted() {
        let text = table(&[("a.png", "Yes", "OCR"), ("b.png", "Yes", "OCR"), ("b.png", "No", "OCR")]);
        for (rules, points) in [(Rules::LmmsEval, 200.0), (Rules::Vlmevalkit, 100.0 * (2.0 / 3.0) + 100.0)] {
            let items = read_text(&Mme, rules, "MME.tsv", &text, "").unwrap().items;
            let answers = ["no", "yes", "no"].map(Answer::text);
            let scored = Mme.score(&items, &answers, rules, PromptStyle::of(rules));
            assert!(scored.notes[0].contains("1 pictures"), "{:?}", scored.notes);
            let total = if rules == Rules::LmmsEval { &scored.totals["category"] } else { &scored.totals[0] };
            assert_eq!(total["OCR"], json!(points));
        }
    }

    #[test]
    fn languages_have_totals_of_their_own_and_pairs_are_drawn_whole() {
        let text =
            table(&[("a.png", "Yes", "OCR"), ("a.png", "No", "OCR"), ("b.png", "Yes", "OCR"), ("b.png", "No", "OCR")]);
        let folder = tempfile::tempdir().unwrap();
        for name in ["MME_de.tsv", "MME_fr.tsv"] {
            std::fs::write(folder.path().join(name), &text).unwrap();
        }
        let file = toml::from_str("name = \"mme\"\nfile = \"MME_{de,fr}.tsv\"\nlimit = 2").unwrap();
        let items = Mme.read(&file, folder.path(), Rules::LmmsEval).unwrap().items;
        assert_eq!(items.len(), 4);
        assert!(items.chunks(2).all(|pair| pair[0].group == pair[1].group));
        let answers: Vec<Answer> = items.iter().map(|item| Answer::text(item.answer())).collect();
        let totals = Mme.score(&items, &answers, Rules::LmmsEval, PromptStyle::LmmsEval).totals;
        assert_eq!(totals["de"]["category"]["OCR"], json!(200.0));
        assert_eq!(totals["fr"]["category"]["OCR"], json!(200.0));
    }

    #[test]
    fn other_files_are_refused() {
        for (rows, words) in [
            (table(&[("a.png", "Maybe", "OCR")]), ["line 2", "expected Yes or No"]),
            (table(&[("a.png", "Yes", "sport")]), ["line 2", "subtask of MME"]),
            (table(&[("a.png", "Yes", "OCR")]) + &format!("0\t{PIXEL}\tb\tq\tNo\tOCR\n"), ["line 3", "index"]),
            (format!("index\timage\tquestion\tanswer\n1\t{PIXEL}\tq\tYes\n"), ["MME.tsv", "\"category\""]),
        ] {
            for rules in Mme.rules() {
                let error = wrong(&Mme, *rules, "MME.tsv", &rows);
                assert!(words.iter().all(|word| error.contains(word)), "{rules}: {error}");
            }
        }
        let unseen = format!("{HEADER}0\t\t\tq\tYes\tOCR\n");
        assert!(wrong(&Mme, Rules::LmmsEval, "MME.tsv", &unseen).contains("no picture"));
        assert!(wrong(&Mme, Rules::Vlmevalkit, "MME.tsv", &unseen).contains("none of its 1 rows has a picture"));
    }
}
