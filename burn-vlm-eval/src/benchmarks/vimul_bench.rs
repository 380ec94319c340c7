//! ViMUL-Bench (Shafique et al. 2025): questions about videos, half of them on culture, in 14 languages, multiple
//! choice and open.
//!
//! No evaluator is published, so that the rules are ours alone, and so are these choices:
//!
//! | known of the data set | assumed here |
//! |---|---|
//! | configurations `vimulmcq_<language>` and `vimuloe_<language>`, language in English and lower case; Parquet | the file's name ends so, unless `language` or `language_column` says it |
//! | multiple choice is asked for "the option's letter", greedily | asked and read by the strict rules, in the question's language; options under `A`, `B`, .. or in `options` or `choices`; the answer is a letter, a place from 0, or the text. A row without options is open |
//! | open questions are judged by GPT-4o | our own prompt, 0 to 10 points; the question is asked as it stands, with 512 tokens |
//! | columns were not to be seen | `fields.question`, `fields.answer`, `fields.image` and `fields.video` name others |
//! | the number is the mean of both kinds (TowerVision, table 7) | both are given: the mean over all questions, and in the totals the mean of the two kinds |
//!
//! Videos are files or folders of frames (`video`, below `image_root`), a file's bytes (`video`), or lists of frames (`images`).

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_data::sample::Media;
use burn_vlm_data::source::{SkipReason, answer_texts, option_place};
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::clean;
use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::judge_score;
use crate::kit;
use crate::lettered::{letter, listed};
use crate::mean;
use crate::published::{Answer, Asked, Flag, Item, Items, JudgePrompt, MetricInfo, Published, Scored, Verdict};
use crate::reading::{self, FileLanguage, Reading, Unseen};
use crate::rules::{PromptStyle, Rules};
use crate::strict;
use crate::table::refuse;

/// ViMUL-Bench.
pub(super) struct VimulBench;

const STRICT: strict::Kind = strict::Kind::Choice;
/// Columns that are read where a file has them; options are in their own or in a list.
const COLUMNS: [&str; 10] =
    ["category", "question_type", "duration", "domain", "options", "choices", "A", "B", "C", "D"];
/// The keys of the scores: of all questions, of multiple choice, of open ones.
const ALL: &str = "score";
const CHOICE: &str = "choice";
const OPEN: &str = "open";
/// The judge's best.
const MOST_POINTS: f64 = 10.0;
/// Tokens of an open answer.
const OPEN_TOKENS: usize = 512;
/// A number needs few tokens.
const JUDGE_MAX_TOKENS: u32 = 64;

impl Published for VimulBench {
    fn name(&self) -> &'static str {
        "vimul_bench"
    }

    fn about(&self) -> &'static str {
        "ViMUL-Bench (Shafique et al. 2025): videos, as frames, in 14 languages; multiple choice by rule, open questions by judge"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        let how = Reading { columns: &COLUMNS, unseen: Unseen::Kept, ..Reading::of(rules, FileLanguage::Named) };
        reading::read(file, base, &how, |_| Ok(()), finish)
    }

    fn question(&self, item: &Item, _style: PromptStyle) -> Asked {
        if item.options.is_empty() {
            return Asked { text: item.question.clone(), ask: Ask::Generate { max_new_tokens: OPEN_TOKENS } };
        }
        STRICT.question(item)
    }

    fn judge(&self, item: &Item, reply: &str, _rules: Rules) -> Option<JudgePrompt> {
        if !item.options.is_empty() {
            return None;
        }
        let text = format!(
            "A question about a video, the right answer, and a model's answer follow. Give the model's answer 0 to {MOST_POINTS} points: \
             {MOST_POINTS} if it means the same as the right answer, 0 if it is wrong or says nothing, points between if it is right in \
             part. Wording, length and language do not matter.\n\nQuestion: {}\nRight answer: {}\nModel's answer: {}\n\nReply with the \
             number of points alone.",
            item.question,
            item.answers.join(" / "),
            clean::lmms_eval(reply),
        );
        Some(JudgePrompt { system: None, text, temperature_milli: 0, max_tokens: JUDGE_MAX_TOKENS })
    }

    fn score(&self, items: &[Item], answers: &[Answer], _rules: Rules, _style: PromptStyle) -> Scored {
        let verdicts: Vec<Verdict> = items.iter().zip(answers).map(|(item, answer)| verdict(item, answer)).collect();
        let mut languages: BTreeMap<&str, Vec<(&Item, &Verdict)>> = BTreeMap::new();
        for (item, verdict) in items.iter().zip(&verdicts) {
            let tag = item.language.map_or("und", burn_vlm_data::language::Language::tag);
            languages.entry(tag).or_default().push((item, verdict));
        }
        let totals: Map<_, _> = languages.iter().map(|(tag, here)| ((*tag).to_owned(), percents(here))).collect();
        let failed = verdicts.iter().filter(|verdict| verdict.flags.contains(&Flag::JudgeFailed)).count();
        let open = items.iter().filter(|item| item.options.is_empty()).count();
        let note =
            format!("the judge gave no number from 0 to 10 for {failed} of {open} open questions: no mean has them");
        let notes = if failed > 0 { vec![note] } else { Vec::new() };
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals: Value::Object(totals), notes }
    }

    fn metrics(&self, items: &[Item], _rules: Rules) -> Vec<MetricInfo> {
        let by_letter: Vec<Item> = items.iter().filter(|item| !item.options.is_empty()).cloned().collect();
        let chance = kit::accuracy(&by_letter, Rules::BurnVlm).chance;
        let info = |key, label: &str, explanation: &str, chance| MetricInfo {
            key,
            label: label.into(),
            explanation: explanation.into(),
            chance,
        };
        let mut metrics = vec![info(
            ALL,
            "score",
            "Right letters and the judge's points as a share of 10, over all questions; those where the judge failed are left out.",
            None,
        )];
        if !by_letter.is_empty() {
            let explanation =
                "Multiple choice by burn-vlm's strict reading; what cannot be read in one way is invalid and wrong.";
            metrics.push(info(CHOICE, "accuracy, multiple choice", explanation, chance));
        }
        if by_letter.len() < items.len() {
            let explanation = "Open questions: the judge's points, 0 to 10, as a share of 10.";
            metrics.push(info(OPEN, "judge's points, open", explanation, None));
        }
        metrics
    }
}

/// Options and answer, which is a letter where there are any; else the question is open.
fn finish(item: &mut Item) -> Result<(), SkipReason> {
    if item.media.is_empty() {
        return Err(refuse(
            "no video: expected a file or a folder of frames below image_root, or a file's bytes (video), or a list of frames \
             (images)",
        ));
    }
    let texts = match listed(|name| item.cells.get(name))? {
        Some(texts) if item.options.is_empty() => texts,
        _ => item.options.drain(..).map(|(_, text)| text).collect(),
    };
    let answer = item.cells.get("answer").cloned().unwrap_or_default();
    item.answers = if texts.is_empty() {
        answer_texts("answer", &answer)?.into_iter().filter(|text| !text.trim().is_empty()).collect()
    } else {
        let place = option_place("answer", &answer, &texts)?.and_then(letter);
        let place = place.ok_or_else(|| refuse(format!("answer {answer} is none of the {} options", texts.len())))?;
        vec![place.to_string()]
    };
    if item.answers.is_empty() {
        return Err(refuse("no answer"));
    }
    item.options = (0..).map_while(letter).zip(texts).collect();
    // A list of pictures is a video's frames.
    if item.media.iter().all(|medium| matches!(medium, Media::Image(_))) {
        item.media = vec![Media::frames(item.media.drain(..).filter_map(|medium| match medium {
            Media::Image(picture) => Some(picture),
            Media::Video(_) => None,
        }))];
    }
    Ok(())
}

fn verdict(item: &Item, answer: &Answer) -> Verdict {
    if item.options.is_empty() {
        let points = answer.judge.as_deref().and_then(|reply| judge_score::score(reply, 0.0..=MOST_POINTS));
        let points = if answer.reply.is_none() { Some(0.0) } else { points };
        let scores = points.map(|points| points / MOST_POINTS);
        return Verdict {
            understood: answer.as_text().map(str::to_owned),
            scores: scores.iter().flat_map(|score| [(ALL, *score), (OPEN, *score)]).collect(),
            ..Verdict::default()
        }
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::JudgeFailed, points.is_none())
        .with("points", points);
    }
    let reading = answer.as_text().map(|reply| strict::letter(reply, &item.options, item.language));
    let found = reading.and_then(strict::Reading::answer).map(String::from);
    let right = found.as_deref() == Some(item.answer());
    let mut verdict = Verdict::right(ALL, found.clone(), right)
        .flagged(Flag::NoReply, answer.reply.is_none())
        .flagged(Flag::Invalid, found.is_none())
        .with("reading", reading.map_or("no_reply", |reading| reading.as_str()))
        .with("letter", found)
        .with("hit", i32::from(right));
    verdict.scores.push((CHOICE, f64::from(u8::from(right))));
    verdict
}

/// Percentages of a language: of both kinds, and of each.
fn percents(verdicts: &[(&Item, &Verdict)]) -> Value {
    let scores =
        |key: &'static str| -> Vec<f64> { verdicts.iter().filter_map(|(_, verdict)| verdict.score(key)).collect() };
    let percent = |scores: &[f64]| 100.0 * mean(scores.iter().copied());
    let (all, choice, open) = (scores(ALL), scores(CHOICE), scores(OPEN));
    let kinds: Vec<f64> =
        [&choice, &open].into_iter().filter(|scores| !scores.is_empty()).map(|scores| percent(scores)).collect();
    let of_open = verdicts.iter().filter(|(item, _)| item.options.is_empty()).count();
    json!({
        "all_questions": percent(&all),
        "mean_of_kinds": mean(kinds.into_iter()),
        "multiple_choice": percent(&choice),
        "n_multiple_choice": choice.len(),
        "open_ended": percent(&open),
        "n_open_ended": of_open,
        "judge_failed": of_open - open.len(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use burn_vlm_data::sample::Media;

    use super::*;

    const PICTURE: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC";
    const CHOICES: &str = "vimulmcq_german.jsonl";

    fn items(name: &str, rows: &[Value]) -> Result<Items, BenchmarkError> {
        let folder = tempfile::tempdir().unwrap();
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs::write(folder.path().join(name), lines.join("\n")).unwrap();
        let file: FileRecipe = toml::from_str(&format!("name = \"v\"\nfile = {name:?}")).unwrap();
        VimulBench.read(&file, folder.path(), Rules::BurnVlm)
    }

    /// Frames of the only video.
    fn frames(media: &[Media]) -> usize {
        match media {
            [Media::Video(video)] => video.frames().len(),
            other => panic!("{other:?}"),
        }
    }

    fn row(more: Value) -> Value {
        let mut row = json!({ "images": [PICTURE, PICTURE], "question": "Was?", "options": ["rot", "dunkelrot", "1"], "answer": "B" });
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    }

    #[test]
    fn both_kinds_are_read() {
        let read = items(CHOICES, &[row(json!({})), row(json!({ "options": null, "answer": "Ein Fest" }))]).unwrap();
        let item = &read.items[0];
        assert_eq!((item.id.as_str(), item.answer(), frames(&item.media)), ("vimulmcq_german/0", "B", 2));
        assert_eq!(item.language.map(|language| language.tag()), Some("de"));
        let asked = VimulBench.question(item, PromptStyle::BurnVlm);
        assert_eq!(asked.text, "Was?\nA. rot\nB. dunkelrot\nC. 1\nAntworte nur mit dem Buchstaben.");
        assert_eq!(VimulBench.judge(item, "B", Rules::BurnVlm), None);
        let open = &read.items[1];
        assert_eq!(VimulBench.question(open, PromptStyle::BurnVlm).text, "Was?");
        let judge = VimulBench.judge(open, "<think>hm</think>Tanz", Rules::BurnVlm).unwrap().text;
        assert!(judge.contains("Right answer: Ein Fest\nModel's answer: Tanz\n\nReply with"), "{judge}");
    }

    #[test]
    fn a_folder_of_frames_is_a_video() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("clip")).unwrap();
        let png = burn_vlm_data::image::encode_png(&burn_vlm_data::image::RgbImage::new(2, 2)).unwrap();
        for frame in 1..=3 {
            fs::write(folder.path().join(format!("clip/{frame}.png")), &png).unwrap();
        }
        let row = json!({ "video": "clip", "question": "What?", "answer": "x" });
        fs::write(folder.path().join("a.jsonl"), row.to_string()).unwrap();
        let file: FileRecipe =
            toml::from_str("name = \"v\"\nfile = \"a.jsonl\"\nlanguage = \"en\"\nimage_root = \".\"").unwrap();
        let media = VimulBench.read(&file, folder.path(), Rules::BurnVlm).unwrap().items.remove(0).media;
        assert_eq!(frames(&media), 3);
        // A file is left as it is; which of its frames are shown the evaluation says.
        fs::write(folder.path().join("clip.mp4"), "not looked at").unwrap();
        let row = json!({ "video": "clip.mp4", "question": "What?", "answer": "x" });
        fs::write(folder.path().join("a.jsonl"), row.to_string()).unwrap();
        let media = VimulBench.read(&file, folder.path(), Rules::BurnVlm).unwrap().items.remove(0).media;
        assert_eq!(burn_vlm_data::sample::clips(&media).count(), 1);
    }

    #[test]
    fn answers_of_every_form() {
        for (answer, letter) in [(json!("C"), "C"), (json!(0), "A"), (json!("dunkelrot"), "B"), (json!("1"), "C")] {
            let read = items(CHOICES, &[row(json!({ "answer": answer }))]).unwrap();
            assert_eq!(read.items[0].answer(), letter, "{answer}");
        }
        let lettered = json!({ "options": null, "A": "x", "B": "y", "answer": "B" });
        assert_eq!(items(CHOICES, &[row(lettered)]).unwrap().items[0].answer(), "B");
    }

    #[test]
    fn what_is_no_question_is_an_error() {
        for (name, more, word) in [
            (
                CHOICES,
                json!({ "answer": "blau" }),
                "line 1 (id \"vimulmcq_german:1\"): malformed: answer \"blau\" is none of the 3 options",
            ),
            (CHOICES, json!({ "answer": 3 }), "3 options"),
            (CHOICES, json!({ "images": null }), "no video"),
            (CHOICES, json!({ "options": null, "answer": " " }), "no answer"),
            ("questions.jsonl", json!({}), "\"questions\" does not end with a language"),
        ] {
            let error = items(name, &[row(more)]).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn totals_of_both_kinds() {
        let open = json!({ "options": null, "answer": "Ein Fest" });
        let rows = [row(json!({})), row(json!({})), row(open.clone()), row(open.clone()), row(open)];
        let items = items(CHOICES, &rows).unwrap().items;
        let judged = |judge: &str| Answer { judge: Some(judge.to_owned()), ..Answer::text("x") };
        let answers = [Answer::text("B"), Answer::default(), judged("5"), judged("five"), Answer::default()];
        let scored = VimulBench.score(&items, &answers, Rules::BurnVlm, PromptStyle::BurnVlm);
        let wanted = json!({
            "all_questions": 37.5, "mean_of_kinds": 37.5, "multiple_choice": 50.0, "n_multiple_choice": 2,
            "open_ended": 25.0, "n_open_ended": 3, "judge_failed": 1,
        });
        assert_eq!(scored.totals["de"], wanted);
        assert!(scored.notes[0].contains("1 of 3 open questions"), "{:?}", scored.notes);
        let keys: Vec<&str> = VimulBench.metrics(&items, Rules::BurnVlm).iter().map(|metric| metric.key).collect();
        assert_eq!(keys, [ALL, CHOICE, OPEN]);
    }
}
