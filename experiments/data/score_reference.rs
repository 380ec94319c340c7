//! `data score --metric`: how near translations are to references, as the same column that COMETKiwi's score is.
//!
//! Unusual here:
//! - scores stand between 0 and 1, as those of models do, so that thresholds read alike; they do not mean the same;
//! - nothing is kept of a run that was killed: a million rows take seconds.

use std::io::{self, BufWriter, Write};
use std::time::Instant;

use burn_vlm_base::files::{write_atomic_with, write_json_atomic};
use burn_vlm_base::progress::Reporter;
use burn_vlm_data::language::Language;
use burn_vlm_data::pipeline::filter::language_of;
use burn_vlm_data::pipeline::said;
use burn_vlm_data::source::Row;
use serde_json::{Value, json};

use super::opened::paced;
use super::references::{Tokenizers, Which, alone};
use super::score::{ScoreArgs, WINDOW, beside};
use super::score_counts::Counts;
use crate::AnyError;

/// What a metric's scores are divided by.
const WHOLE: f64 = 100.0;
/// Digits of a stored score, times ten: few enough to be the same number however often it is written and read.
const STORED: f64 = 1e6;

/// A score and its signature, or why there is none, with what is there.
type Outcome = Result<(f64, String), (&'static str, String)>;

/// Runs the command.
pub(super) fn run(args: &ScoreArgs, which: Which, out: &mut dyn Write, reporter: &Reporter) -> Result<(), AnyError> {
    let summary = beside(&args.out, ".summary.json");
    args.check(&summary)?;
    let source = args.open()?;
    args.check_columns(&source)?;
    let mut about =
        json!({ "source": args.path, "scorer": { "metric": which.key(), "burn_vlm": env!("CARGO_PKG_VERSION") } });
    about["columns"] =
        json!({ "translation": args.translation, "reference": args.reference, "language": args.language_field });
    // First without counts: the file of a run that ends in between is known for its own.
    write_json_atomic(&summary, &about)?;
    let mut counts = Counts::default();
    let mut tokenizers = args.tokenizers.read()?;
    let (total, began) = (args.rows(&source), Instant::now());
    let bar = reporter.bar("scoring", total);
    let mut failed: Option<AnyError> = None;
    write_atomic_with(&args.out, |file| {
        let mut file = BufWriter::new(file);
        for begin in (0..total).step_by(WINDOW as usize) {
            let records: Vec<u64> = (begin..total.min(begin + WINDOW)).collect();
            for row in source.texts(&records) {
                counts.rows += 1;
                let row = match row {
                    Ok(row) => row,
                    Err(skip) => {
                        counts.unreadable(&skip);
                        continue;
                    }
                };
                let outcome = match args.compare(which, &row, &mut tokenizers) {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        failed = Some(error);
                        return Err(io::Error::other("a metric"));
                    }
                };
                match &outcome {
                    Ok((score, _)) => counts.add_score(*score as f32),
                    Err((reason, _)) => counts.add_rejected(reason),
                }
                serde_json::to_writer(&mut file, &args.record(which, row, outcome))?;
                file.write_all(b"\n")?;
            }
            paced(&bar, begin + records.len() as u64, total, began);
        }
        file.flush()
    })
    .map_err(|error| failed.take().unwrap_or_else(|| error.into()))?;
    drop(bar);
    if let Some(language) = tokenizers.unused().filter(|_| which == Which::Bleu) {
        reporter.warn(&format!("--tokenizer {}=...: no row is in this language", language.tag()));
    }
    counts.tell(&args.out, out)?;
    about["counts"] = json!(counts);
    write_json_atomic(&summary, &about)?;
    Ok(())
}

impl ScoreArgs {
    /// A row's score.
    fn compare(&self, which: Which, row: &Row, tokenizers: &mut Tokenizers<'_>) -> Result<Outcome, AnyError> {
        let tag = language_of(row, &self.language_field);
        let reference = self.reference.as_ref().and_then(|name| row.fields.get(name)).unwrap_or(&Value::Null);
        let by_language = reference.is_object();
        let references = texts(if by_language { &reference[&tag] } else { reference });
        let language = match Language::parse(&tag) {
            Ok(language) => language,
            // chrF needs none.
            Err(_) if matches!(which, Which::Chrf | Which::ChrfPlusPlus) && !by_language => Language::EN,
            Err(error) => return Ok(Err(("unknown_language", error.to_string()))),
        };
        let translation = row.fields.get(&self.translation).and_then(said).unwrap_or_default();
        if translation.trim().is_empty() {
            return Ok(Err(("empty_translation", String::new())));
        }
        if references.is_empty() {
            return Ok(Err((
                "no_reference",
                format!("{} has none in {tag}", self.reference.as_deref().unwrap_or_default()),
            )));
        }
        let (value, signature) = alone(which, language, tokenizers, translation, &references)?;
        let share = value / WHOLE;
        let quality = if which == Which::Ter { 1.0 - share } else { share };
        Ok(Ok(((quality * STORED).round() / STORED, signature)))
    }

    /// A row with its score.
    fn record(&self, which: Which, row: Row, outcome: Outcome) -> Value {
        let mut record = row.fields;
        record.entry("id").or_insert(Value::String(row.id));
        let (score, about) = match outcome {
            Ok((score, signature)) => {
                (json!(score), json!({ "outcome": "scored", "metric": which.key(), "signature": signature }))
            }
            Err((reason, detail)) => (
                Value::Null,
                json!({ "outcome": "rejected", "reason": reason, "detail": detail, "metric": which.key() }),
            ),
        };
        record.insert(self.column.clone(), score);
        record.insert(format!("{}_record", self.column), about);
        Value::Object(record)
    }
}

/// The texts of a reference: one, or a list of some. Blank ones are none.
fn texts(value: &Value) -> Vec<&str> {
    let some = match value {
        Value::Array(list) if list.iter().all(Value::is_string) => list.iter().filter_map(Value::as_str).collect(),
        value => said(value).into_iter().collect::<Vec<&str>>(),
    };
    some.into_iter().filter(|text| !text.trim().is_empty()).collect()
}
