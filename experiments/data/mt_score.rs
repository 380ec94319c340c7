//! `data mt-score`: translations in a table against their references: BLEU, chrF and TER as sacreBLEU has them, language by language.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;

use burn_vlm_base::files::{create_dir_all, write_atomic, write_json_atomic};
use burn_vlm_base::jsonl::write_jsonl_atomic;
use burn_vlm_data::language::Language;
use burn_vlm_eval::agreement::report::table as markdown;
use burn_vlm_eval::columns::{Columns, ColumnsRow};
use burn_vlm_eval::mean;
use burn_vlm_eval::resample::Resampling;
use burn_vlm_eval::translation::{Bleu, Chrf, Metric, Smoothing, Spread, Tokenizer};
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::references::{TokenizerArgs, Which, ter};
use crate::AnyError;
use crate::args::check_empty;
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "mt-score pairs.tsv --language de --out runs/scores",
            "the columns hypothesis and reference, all of them German",
        ),
        (
            "data",
            "mt-score pairs.jsonl --language-field lang --reference ref,ref2 --tokenizer ja=char --out runs/scores",
            "several languages and two references; Japanese by characters",
        ),
    ];
    let more = "Words are told as sacreBLEU tells them for a language: zh by its own rules, ja and ko by MeCab (--mecab-ja, --mecab-ko), others by \
        13a. For th, lo, km and my, which have no spaces either, sacreBLEU's 13a takes a sentence for one word; here these are cut into \
        characters. TER cuts zh and ja into characters too. The signature says it all.";
    examples(&lines, more)
}

/// Score translations against references: BLEU, chrF, chrF++ and TER with sacreBLEU's numbers and signatures
///
/// A table for all languages with 95 % intervals, every sentence's scores, and the same as JSON.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct MtScoreArgs {
    /// The translations: a .csv, .tsv or .jsonl file
    file: PathBuf,

    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The column with the translation that is scored
    #[arg(long, value_name = "NAME", default_value = "hypothesis")]
    hypothesis: String,

    /// The column with the reference; several with commas between
    #[arg(long, value_name = "NAMES", default_value = "reference", value_delimiter = ',')]
    reference: Vec<String>,

    /// The language of all rows: de, zh-Hans, ...
    #[arg(long, value_name = "TAG", conflicts_with = "language_field", required_unless_present = "language_field")]
    language: Option<Language>,

    /// The column that has each row's language
    #[arg(long, value_name = "NAME")]
    language_field: Option<String>,

    /// What is computed, with commas between
    #[arg(long, value_enum, value_name = "METRICS", value_delimiter = ',', default_values = ["bleu", "chrf", "chrf++", "ter"])]
    metrics: Vec<Which>,

    #[command(flatten)]
    tokenizers: TokenizerArgs,

    /// Make texts lower case first; TER always does
    #[arg(long)]
    lower: bool,

    /// What BLEU counts for an order without a match
    #[arg(long, value_name = "METHOD", default_value = "exp", value_parser = PossibleValuesParser::new(Smoothing::NAMES))]
    smoothing: String,

    /// Resamples of the sentences for the intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,

    /// Seed of the resamples; sacreBLEU's
    #[arg(long, value_name = "S", default_value_t = Resampling::default().seed)]
    seed: u64,
}

/// A row.
struct Segment<'t> {
    line: usize,
    hypothesis: &'t str,
    references: Vec<&'t str>,
}

/// A metric over the segments of a language.
#[derive(Debug, Clone, Serialize)]
struct Scored {
    score: f64,
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean: Option<f64>,
    /// Half the width of the 95 % interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    half_width: Option<f64>,
    #[serde(skip)]
    sentences: Vec<f64>,
}

/// A language.
#[derive(Serialize)]
struct OfLanguage {
    language: &'static str,
    segments: usize,
    empty_hypotheses: usize,
    metrics: BTreeMap<&'static str, Scored>,
}

/// What is written as JSON.
#[derive(Serialize)]
struct Written<'a> {
    file: String,
    languages: &'a [OfLanguage],
    /// The mean over the languages, each counting the same.
    mean_of_languages: BTreeMap<&'static str, f64>,
}

/// A line of `segments.jsonl`.
#[derive(Serialize)]
struct Line {
    line: usize,
    language: &'static str,
    #[serde(flatten)]
    scores: BTreeMap<&'static str, f64>,
}

/// Runs the command.
pub(super) fn run(args: &MtScoreArgs, out: &mut dyn Write) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    let table = Columns::read(&args.file)?;
    let languages = args.segments(&table)?;
    let metrics: BTreeSet<Which> = args.metrics.iter().copied().collect();
    let mut tokenizers = args.tokenizers.read()?;
    let is_asked = metrics.contains(&Which::Bleu);
    let mut scored = Vec::new();
    let mut lines = Vec::new();
    for (language, segments) in &languages {
        let tokenizer = if is_asked { tokenizers.of(*language)? } else { Tokenizer::V13a };
        let all = metrics.iter().map(|which| (which.key(), args.score(*which, &tokenizer, *language, segments)));
        let all: BTreeMap<&str, Scored> = all.collect();
        lines.extend(segments.iter().enumerate().map(|(at, segment)| {
            let sentence = |(key, scored): (&&'static str, &Scored)| Some((*key, *scored.sentences.get(at)?));
            Line { line: segment.line, language: language.tag(), scores: all.iter().filter_map(sentence).collect() }
        }));
        let empty = segments.iter().filter(|segment| segment.hypothesis.trim().is_empty()).count();
        scored.push(OfLanguage {
            language: language.tag(),
            segments: segments.len(),
            empty_hypotheses: empty,
            metrics: all,
        });
    }
    if let Some(language) = tokenizers.unused().filter(|_| is_asked) {
        return Err(format!("--tokenizer {}=...: the file has no row in this language", language.tag()).into());
    }
    let of_all = |which: &Which| {
        let scores = scored.iter().filter_map(|language| Some(language.metrics.get(which.key())?.score));
        (which.key(), mean(scores))
    };
    let mean_of_languages: BTreeMap<&str, f64> = metrics.iter().map(of_all).collect();
    let text = text(&args.file.display().to_string(), &metrics, &scored, &mean_of_languages)?;
    create_dir_all(&args.out)?;
    // In the order of the file.
    lines.sort_by_key(|line| line.line);
    write_jsonl_atomic(&args.out.join("segments.jsonl"), &lines)?;
    let file = args.file.display().to_string();
    write_json_atomic(&args.out.join("scores.json"), &Written { file, languages: &scored, mean_of_languages })?;
    write_atomic(&args.out.join("scores.md"), text.as_bytes())?;
    writeln!(out, "{text}")?;
    writeln!(out, "written: {} (also scores.json, segments.jsonl)", args.out.join("scores.md").display())?;
    Ok(())
}

impl MtScoreArgs {
    /// The rows by language.
    fn segments<'t>(&self, table: &'t Columns) -> Result<BTreeMap<Language, Vec<Segment<'t>>>, AnyError> {
        let hypothesis = table.column(&self.hypothesis)?;
        let references: Vec<usize> = self.reference.iter().map(|name| table.column(name)).collect::<Result<_, _>>()?;
        let field = self.language_field.as_deref().map(|name| table.column(name)).transpose()?;
        let mut languages: BTreeMap<Language, Vec<Segment>> = BTreeMap::new();
        for row in &table.rows {
            let language = match (self.language, field) {
                (Some(language), _) => language,
                (None, Some(field)) => language_of(table, row, field)?,
                (None, None) => return Err("expected --language or --language-field".into()),
            };
            // An empty translation is one, and scores nothing; a missing one is a slip.
            let text = row.cell(hypothesis).ok_or_else(|| {
                table.wrong(row, format!("no {:?}; expected a translation, or an empty text", self.hypothesis))
            })?;
            let given = |at: &usize| row.cell(*at).filter(|text| !text.trim().is_empty());
            let references: Vec<&str> = references.iter().filter_map(given).collect();
            if references.is_empty() {
                let names = self.reference.join(", ");
                return Err(table.wrong(row, format!("no reference; expected a text in {names}")).into());
            }
            let segment = Segment { line: row.line, hypothesis: text, references };
            languages.entry(language).or_default().push(segment);
        }
        Ok(languages)
    }

    fn score(&self, which: Which, tokenizer: &Tokenizer, language: Language, segments: &[Segment]) -> Scored {
        let lower = self.lower;
        match which {
            Which::Bleu => {
                let smoothing = Smoothing::named(&self.smoothing).unwrap_or_default();
                let bleu = Bleu { lower, tokenizer: tokenizer.clone(), effective_order: false, smoothing };
                let alone = Bleu { effective_order: true, ..bleu.clone() };
                self.scored(&bleu, &alone, segments)
            }
            Which::Chrf => {
                let chrf = Chrf { lower, ..Chrf::DEFAULT };
                self.scored(&chrf, &chrf, segments)
            }
            Which::ChrfPlusPlus => {
                let chrf = Chrf { lower, ..Chrf::PLUS_PLUS };
                self.scored(&chrf, &chrf, segments)
            }
            Which::Ter => {
                let ter = ter(language);
                self.scored(&ter, &ter, segments)
            }
        }
    }

    /// The score of all segments, of each by itself with the settings of `alone`, and over resamples.
    fn scored<M: Metric>(&self, metric: &M, alone: &M, segments: &[Segment]) -> Scored {
        let counts: Vec<M::Counts> =
            segments.iter().map(|segment| metric.counts(segment.hypothesis, &segment.references)).collect();
        let resampling = (self.resamples > 0).then_some(Resampling { resamples: self.resamples, seed: self.seed });
        let spread: Option<Spread> = resampling.map(|resampling| metric.resampled(&counts, resampling));
        let mut numbers = segments.iter().map(|segment| segment.references.len());
        let first = numbers.next();
        let references = first.filter(|first| numbers.all(|number| number == *first));
        Scored {
            score: metric.of_all(&counts),
            signature: metric.signed(references, resampling),
            mean: spread.map(|spread| spread.mean),
            half_width: spread.map(|spread| spread.half_width),
            sentences: counts.iter().map(|counts| alone.value(counts)).collect(),
        }
    }
}

fn language_of(table: &Columns, row: &ColumnsRow, field: usize) -> Result<Language, AnyError> {
    let tag = row.cell(field).map(str::trim).unwrap_or_default();
    Language::parse(tag).map_err(|error| table.wrong(row, error.to_string()).into())
}

/// Tables in Markdown, which read as they are.
fn text(
    file: &str,
    metrics: &BTreeSet<Which>,
    languages: &[OfLanguage],
    means: &BTreeMap<&str, f64>,
) -> Result<String, AnyError> {
    let mut text = format!("# Scores of {file}\n\n");
    let cell = |scored: Option<&Scored>| match scored {
        Some(Scored { score, half_width: Some(half), .. }) => format!("{score:.2} ± {half:.2}"),
        Some(Scored { score, .. }) => format!("{score:.2}"),
        None => "-".to_owned(),
    };
    let mut header = vec!["language".to_owned(), "segments".to_owned(), "empty".to_owned()];
    header.extend(metrics.iter().map(|which| which.label().to_owned()));
    let mut rows = vec![header];
    for language in languages {
        let mut row = vec![language.language.to_owned()];
        row.extend([language.segments, language.empty_hypotheses].map(|count| count.to_string()));
        row.extend(metrics.iter().map(|which| cell(language.metrics.get(which.key()))));
        rows.push(row);
    }
    if languages.len() > 1 {
        let sum = |count: fn(&OfLanguage) -> usize| languages.iter().map(count).sum::<usize>().to_string();
        let mut row = vec!["mean of languages".to_owned(), sum(|of| of.segments), sum(|of| of.empty_hypotheses)];
        row.extend(metrics.iter().map(|which| format!("{:.2}", means.get(which.key()).copied().unwrap_or_default())));
        rows.push(row);
    }
    markdown(&mut text, &rows)?;
    let mut signatures: BTreeMap<(Which, &str), Vec<&str>> = BTreeMap::new();
    for language in languages {
        for which in metrics {
            if let Some(scored) = language.metrics.get(which.key()) {
                signatures.entry((*which, &scored.signature)).or_default().push(language.language);
            }
        }
    }
    text.push('\n');
    for ((which, signature), languages) in signatures {
        text.push_str(&format!("- {} {signature} ({})\n", which.label(), languages.join(", ")));
    }
    let is_apart = metrics.contains(&Which::Bleu) && languages.len() > 1;
    if is_apart {
        text.push_str(
            "\nBLEU of languages with other tokenizers cannot be compared, and chrF of other scripts hardly; lower TER is better.\n",
        );
    }
    Ok(text)
}
