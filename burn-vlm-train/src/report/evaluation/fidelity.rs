//! In which language free answers are, where they are sentences.

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::language::{Language, LanguageIdentifier};

use super::overview::{entry, headings};
use super::text::{counted, language_name, thousands};
use crate::eval::{Evaluated, FidelityShares, Metric, Prediction, fidelity_shares};
use crate::report::ModelScore;
use crate::report::model_scores;
use crate::report::page::Page;
use crate::report::table::{Entry, Line, Table};
use crate::stats::{Axes, Bootstrap, Outcome};

/// From so many words on an answer is a sentence; in scripts without spaces, from so many letters on.
const WORDS: usize = 4;
const LETTERS: usize = 8;

pub(super) fn section(page: &mut Page, evaluated: &[Evaluated]) {
    let free: Vec<(&Evaluated, Vec<&Prediction>)> = evaluated
        .iter()
        .map(|one| (one, one.predictions.iter().filter(|prediction| is_sentence(prediction)).collect::<Vec<_>>()))
        .filter(|(_, sentences)| !sentences.is_empty())
        .collect();
    let Ok(corpus) = EmojiCorpus::embedded() else { return };
    let known = |prediction: &&&Prediction| language(prediction).is_some_and(|language| corpus.has_language(language));
    let mut candidates: Vec<Language> =
        free.iter().flat_map(|(_, sentences)| sentences.iter().filter(known)).filter_map(|p| language(p)).collect();
    if candidates.is_empty() {
        return;
    }
    candidates.push(Language::EN);
    let identifier = LanguageIdentifier::new(&corpus, &candidates);
    page.section("fidelity", "The language of free answers");
    page.paragraph(
        "Of the answers that are a sentence or more, the share in the language of the question, in English though the question is not, \
         and in no language that could be told. Told by script, by the word lists of the embedded corpus, then by a detector that is held \
         to the languages asked and English; what is left is in another of these languages.",
    );
    for (one, sentences) in &free {
        let mut outcomes = Vec::new();
        let mut unknown = 0;
        for prediction in sentences {
            let shares = if known(&prediction) { fidelity_shares(prediction, &identifier) } else { None };
            match shares {
                Some(shares) => outcomes.extend(contributed(prediction, shares)),
                None => unknown += 1,
            }
        }
        let metrics = FidelityShares::NAMES.map(|name| Metric {
            name: name.to_owned(),
            label: name.to_owned(),
            explanation: String::new(),
            chance: None,
        });
        if let Ok(scores) = model_scores(&metrics, &outcomes, &Bootstrap::default()) {
            page.table(&table(&one.benchmark, &scores));
        }
        let without = one.predictions.len() - sentences.len();
        let mut left_out = Vec::new();
        if without > 0 {
            left_out.push(format!("{} no sentence", counted(without, "answer is", "answers are")));
        }
        if unknown > 0 {
            let questions = counted(unknown, "question is", "questions are");
            left_out.push(format!("{questions} in a language that cannot be told here"));
        }
        if !left_out.is_empty() {
            page.paragraph(&format!("{}: {}; these are not counted.", one.benchmark, left_out.join(", ")));
        }
    }
}

fn language(prediction: &Prediction) -> Option<Language> {
    Language::parse(prediction.language.as_deref()?).ok()
}

fn contributed(prediction: &Prediction, shares: FidelityShares) -> impl Iterator<Item = Outcome> {
    FidelityShares::NAMES.into_iter().zip(shares.values()).map(|(name, score)| Outcome {
        axes: Axes::new(),
        seed: 0,
        protocol: name.to_owned(),
        subset: crate::stats::Subset::default(),
        language: prediction.language_tag().to_owned(),
        group: prediction.group.clone(),
        score,
    })
}

/// Whether a free answer is long enough to have a language.
fn is_sentence(prediction: &Prediction) -> bool {
    let Some(text) = prediction.text.as_deref().filter(|_| prediction.options.is_empty()) else { return false };
    let words = text.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic)).count();
    words >= WORDS || text.chars().filter(|c| unspaced(*c)).count() >= LETTERS
}

/// A letter of a script that puts no spaces between words: Thai to Khmer, kana, Chinese.
fn unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30ff | 0x3400..=0x9fff)
}

fn table(benchmark: &str, scores: &[ModelScore]) -> Table {
    let [fits, english, none] = FidelityShares::NAMES;
    let of = |language: &Option<String>, name: &str| {
        let found = scores.iter().find(|score| score.language == *language && score.metric == name);
        found.map_or_else(|| Entry::plain("–".into()), entry)
    };
    let row = |score: &ModelScore| Line {
        label: score.language.as_deref().map_or_else(|| "mean".to_owned(), language_name),
        series: None,
        entries: vec![
            Entry::plain(thousands(score.n)),
            of(&score.language, fits),
            of(&score.language, english),
            of(&score.language, none),
        ],
    };
    let rows = scores.iter().filter(|score| score.metric == fits).map(row).collect();
    let columns = headings(&["N", "In the question's", "In English", "In none"]);
    Table { corner: format!("{benchmark}, language"), columns, rows }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_told_from_words() {
        let of = |text: &str, options: &[&str]| {
            is_sentence(&Prediction {
                text: Some(text.into()),
                options: options.iter().map(|option| (*option).to_owned()).collect(),
                ..Prediction::new("1", "m", "g")
            })
        };
        assert!(of("The cat is red.", &[]));
        assert!(!of("The red cat", &[]));
        assert!(!of("The cat is red.", &["a", "b"]));
        assert!(of("这只猫坐在红色的垫子上", &[]));
        assert!(!of("一只猫", &[]));
        assert!(!of("1 2 3 4 5", &[]));
        assert!(of("القطة تجلس على السجادة", &[]));
    }
}
