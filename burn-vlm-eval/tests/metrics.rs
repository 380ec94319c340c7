//! Agreement statistics and translation metrics against what published packages returned, number by number. One line is printed for
//! each table and each language.
//!
//! Folders: those of `tests/fixtures/metrics`, of `../shared/fixtures` beside the project where that is there, and of the parents named
//! in `BURN_VLM_METRIC_FIXTURES` (separated as in `PATH`). A folder with `expected.json` of `tables` holds `TABLE.csv` (item, annotators;
//! an empty cell is a missing rating), one of `langs` holds `segments.json` with hypotheses and two references a language.
//!
//! `ja-mecab` and `ko-mecab` are checked where `BURN_VLM_MECAB_JA` and `BURN_VLM_MECAB_KO` name their dictionaries' folders; a line says
//! where they are not.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn_vlm_eval::agreement::{
    Coefficient, Interval, Level, Ratings, RatingsBuilder, Scale, Undefined, Weights, alpha, coefficient, cohen,
    fleiss, light, percent, randolph,
};
use burn_vlm_eval::columns::Columns;
use burn_vlm_eval::resample::Resampling;
use burn_vlm_eval::translation::{Bleu, Chrf, Dictionary, Mecab, Metric, Smoothing, Ter, Tokenizer};
use serde_json::Value;

/// Both sides compute in double precision, in another order.
const DOUBLE: f64 = 1e-9;
/// Square roots of differences that vanish: the square of this is rounding.
const ROOT: f64 = 1e-7;
/// irrCAC rounds to five digits.
const FIVE_DIGITS: f64 = 5.01e-6;
/// sacreBLEU resamples in single precision.
const SINGLE: f64 = 1e-5;
/// Differences of a line that are printed.
const SHOWN: usize = 12;

/// What was compared on one line.
#[derive(Default)]
struct Check {
    numbers: usize,
    undefined: usize,
    left_out: Vec<String>,
    wrong: Vec<String>,
}

impl Check {
    fn number(&mut self, place: &str, ours: f64, wanted: &Value, tolerance: f64) {
        self.numbers += 1;
        let close = wanted.as_f64().is_some_and(|wanted| (ours - wanted).abs() <= tolerance * wanted.abs().max(1.0));
        if !close {
            self.wrong.push(format!("{place}: {ours}, expected {wanted}"));
        }
    }

    /// A number, or a reason where the package has NaN or an error.
    fn outcome(&mut self, place: &str, ours: Result<f64, Undefined>, wanted: &Value, tolerance: f64) {
        match (ours, is_undefined(wanted)) {
            (Ok(ours), false) => self.number(place, ours, wanted, tolerance),
            (Err(_), true) => self.undefined += 1,
            (ours, _) => self.wrong.push(format!("{place}: {ours:?}, expected {wanted}")),
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, ours: T, wanted: T) {
        self.numbers += 1;
        if ours != wanted {
            self.wrong.push(format!("{place}: {ours:?}, expected {wanted:?}"));
        }
    }

    fn unknown(&mut self, place: &str) {
        self.wrong.push(format!("{place}: nothing of ours stands for it"));
    }

    fn line(&self, name: &str) -> String {
        let left_out = match self.left_out.as_slice() {
            [] => String::new(),
            left_out => format!("; NOT CHECKED: {}", left_out.join(", ")),
        };
        if self.wrong.is_empty() {
            return format!(
                "{name}: equal: {} numbers, {} undefined on both sides{left_out}",
                self.numbers, self.undefined
            );
        }
        let mut shown = self.wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  ");
        if self.wrong.len() > SHOWN {
            shown.push_str(&format!("\n  and {} more", self.wrong.len() - SHOWN));
        }
        format!("{name}: FAILED ({} of {}){left_out}:\n  {shown}", self.wrong.len(), self.numbers + self.undefined)
    }
}

fn is_undefined(wanted: &Value) -> bool {
    wanted.is_null() || wanted.as_str().is_some_and(|text| text == "nan" || text.starts_with("error"))
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn main() -> ExitCode {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = package.join("tests/fixtures/metrics");
    let shared = package.join("../../shared/fixtures");
    let more = std::env::var_os("BURN_VLM_METRIC_FIXTURES").unwrap_or_default();
    let mut folders = Vec::new();
    let mut failed = 0;
    for parent in [own].into_iter().chain(std::env::split_paths(&more).filter(|path| !path.as_os_str().is_empty())) {
        match std::fs::read_dir(&parent) {
            Ok(entries) => {
                folders.extend(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()))
            }
            Err(error) => {
                println!("{}: {error}", parent.display());
                failed += 1;
            }
        }
    }
    folders.extend(["agreement", "mt_metrics"].map(|name| shared.join(name)).into_iter().filter(|path| path.is_dir()));
    folders.sort();
    let filter: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut checked = 0;
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("expected.json")).unwrap_or_default();
        let expected: Value = serde_json::from_str(&text).unwrap_or_default();
        let lines = match (&expected["tables"], &expected["langs"]) {
            (Value::Object(_), _) => agreement(&folder, &expected),
            (_, Value::Object(_)) => translation(&folder, &expected),
            _ => {
                println!("{}: FAILED: no expected.json with `tables` or `langs`", folder.display());
                failed += 1;
                continue;
            }
        };
        let parent = folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        for (name, check) in lines {
            if !filter.is_empty() && !filter.iter().any(|wanted| name.contains(wanted.as_str())) {
                continue;
            }
            println!("{}", check.line(&format!("{parent}/{name}")));
            checked += 1;
            failed += usize::from(!check.wrong.is_empty());
        }
    }
    println!("{checked} checked, {failed} failed");
    if failed > 0 || (checked == 0 && filter.is_empty()) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

// Agreement

fn agreement(folder: &Path, expected: &Value) -> Vec<(String, Check)> {
    let mut lines = Vec::new();
    for (name, wanted) in object(&expected["tables"]) {
        let ratings = read_ratings(folder, name, wanted);
        lines.push((format!("agreement {name}"), table(&ratings, wanted)));
        if let Some(bootstrap) = expected["bootstrap"].get(name) {
            lines.push((format!("agreement {name}, resampled"), resampled(folder, name, &ratings, bootstrap)));
        }
    }
    lines
}

/// A wide table: the first column names the item, the others are annotators.
fn read_ratings(folder: &Path, name: &str, wanted: &Value) -> Ratings {
    let table = Columns::read(&folder.join(format!("{name}.csv"))).unwrap();
    let cells = |row: usize, column: usize| table.rows[row].cell(column).filter(|cell| !cell.is_empty());
    let all = || (0..table.rows.len()).flat_map(|row| (1..table.names.len()).map(move |column| (row, column)));
    let scale = match wanted["categories"].as_array() {
        Some(labels) => Scale::declared(labels.iter().map(label)).unwrap(),
        None => Scale::seen(all().filter_map(|(row, column)| cells(row, column))),
    };
    let mut builder = RatingsBuilder::new(scale);
    for (row, column) in all() {
        builder.add(cells(row, 0).unwrap(), &table.names[column], cells(row, column)).unwrap();
    }
    builder.finish()
}

fn label(label: &Value) -> String {
    label.as_str().map_or_else(|| label.to_string(), str::to_owned)
}

fn table(ratings: &Ratings, wanted: &Value) -> Check {
    let mut check = Check::default();
    for (key, wanted) in object(wanted) {
        match key.as_str() {
            "level" | "categories" => {}
            "items" => check.same(key, Some(ratings.len() as u64), wanted.as_u64()),
            "annotators" => check.same(key, Some(ratings.annotators().len() as u64), wanted.as_u64()),
            "percent" => {
                let ours = percent(ratings);
                for (key, wanted) in object(wanted) {
                    let ours = ours.map(|ours| match key.as_str() {
                        "items_with_2_or_more" => ours.items as f64,
                        "mean_over_items_of_pair_agreement" => ours.mean_over_items,
                        "pooled_over_pairs" => ours.pooled_over_pairs,
                        "all_raters_identical" => ours.all_identical,
                        _ => f64::NAN,
                    });
                    check.outcome(&format!("percent.{key}"), ours, wanted, DOUBLE);
                }
            }
            "cohen" => object(wanted).for_each(|(pair, wanted)| kappas(ratings, pair, wanted, &mut check)),
            "cohen_mean_of_pairs_finite_only" => {
                check.outcome(key, light(ratings, Weights::Identity).map(|(mean, _)| mean), wanted, DOUBLE);
            }
            "complete_items" => {
                let complete = ratings.rows().filter(|row| row.iter().all(Option::is_some)).count();
                check.same(key, Some(complete as u64), wanted.as_u64());
            }
            "fleiss_statsmodels_complete_items" => {
                check.outcome(key, fleiss(ratings).map(|ours| ours.value), wanted, DOUBLE);
            }
            "randolph_statsmodels_complete_items" => {
                check.outcome(key, randolph(ratings).map(|ours| ours.value), wanted, DOUBLE);
            }
            "krippendorff_package" | "simpledorff" => {
                for (level, wanted) in object(wanted) {
                    let place = format!("{key}.{level}");
                    match level_of(level.trim_end_matches("_full_domain")) {
                        Some(level) => check.outcome(&place, alpha(ratings, level), wanted, DOUBLE),
                        None => check.unknown(&place),
                    }
                }
            }
            "irrCAC" => object(wanted).for_each(|(name, wanted)| chance(ratings, name, wanted, &mut check)),
            _ => check.unknown(key),
        }
    }
    check
}

fn level_of(name: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.as_str() == name)
}

/// Cohen's kappas of a pair, `a1-a2`.
fn kappas(ratings: &Ratings, pair: &str, wanted: &Value, check: &mut Check) {
    let annotator = |name: &str| ratings.annotators().iter().position(|known| known == name).unwrap();
    let (first, second) = pair.split_once('-').unwrap();
    let (first, second) = (annotator(first), annotator(second));
    // scikit-learn without `labels` knows the labels of the two only.
    let label = |place: u32| ratings.scale().labels()[place as usize].as_str();
    let both: Vec<(&str, &str)> =
        ratings.rows().filter_map(|row| Some((label(row[first]?), label(row[second]?)))).collect();
    let mut seen = RatingsBuilder::new(Scale::seen(both.iter().flat_map(|(one, other)| [*one, *other])));
    for (number, (one, other)) in both.iter().enumerate() {
        seen.add(&number.to_string(), "one", Some(one)).unwrap();
        seen.add(&number.to_string(), "other", Some(other)).unwrap();
    }
    let seen = seen.finish();
    let full = |weights| cohen(ratings, first, second, weights).map(|kappa| kappa.value);
    let closed = |weights| cohen(&seen, 0, 1, weights).map(|kappa| kappa.value);
    for (key, wanted) in object(wanted) {
        let place = format!("cohen.{pair}.{key}");
        match key.as_str() {
            "n" => check.same(&place, Some(both.len() as u64), wanted.as_u64()),
            "unweighted" => check.outcome(&place, full(Weights::Identity), wanted, DOUBLE),
            "linear_full_scale" => check.outcome(&place, full(Weights::Linear), wanted, DOUBLE),
            "quadratic_full_scale" => check.outcome(&place, full(Weights::Quadratic), wanted, DOUBLE),
            "linear_labels_seen" => check.outcome(&place, closed(Weights::Linear), wanted, DOUBLE),
            "quadratic_labels_seen" => check.outcome(&place, closed(Weights::Quadratic), wanted, DOUBLE),
            "statsmodels_full_scale" if wanted.is_object() => {
                let kappa = cohen(ratings, first, second, Weights::Identity);
                for (key, wanted) in object(wanted) {
                    let place = format!("{place}.{key}");
                    let errors = kappa.map(|kappa| kappa.errors.unwrap());
                    match key.as_str() {
                        "kappa" => check.outcome(&place, full(Weights::Identity), wanted, DOUBLE),
                        "std_kappa" => check.outcome(&place, errors.map(|errors| errors.standard), wanted, ROOT),
                        "std_kappa0" => {
                            check.outcome(&place, errors.map(|errors| errors.standard_of_zero), wanted, ROOT)
                        }
                        "kappa_low" => check.outcome(&place, errors.map(|errors| errors.low), wanted, ROOT),
                        "kappa_upp" => check.outcome(&place, errors.map(|errors| errors.high), wanted, ROOT),
                        "linear_full_scale" => check.outcome(&place, full(Weights::Linear), wanted, DOUBLE),
                        "quadratic_full_scale" => check.outcome(&place, full(Weights::Quadratic), wanted, DOUBLE),
                        _ => check.unknown(&place),
                    }
                }
            }
            "statsmodels_full_scale" => check.outcome(&place, full(Weights::Identity), wanted, DOUBLE),
            _ => check.unknown(&place),
        }
    }
}

/// One of irrCAC's coefficients, `gwet_linear`.
fn chance(ratings: &Ratings, name: &str, wanted: &Value, check: &mut Check) {
    let (which, weights) = name.rsplit_once('_').unwrap();
    let which = match which {
        "gwet" => Coefficient::Gwet,
        "fleiss" => Coefficient::Fleiss,
        "conger" => Coefficient::Conger,
        "bp" => Coefficient::BrennanPrediger,
        "krippendorff" => Coefficient::Krippendorff,
        _ => return check.unknown(name),
    };
    let weights = match weights {
        "identity" => Weights::Identity,
        "linear" => Weights::Linear,
        "quadratic" => Weights::Quadratic,
        "ordinal" => Weights::Ordinal,
        _ => return check.unknown(name),
    };
    let ours = coefficient(ratings, which, weights);
    if !wanted.is_object() {
        return check.outcome(name, ours.map(|ours| ours.value), wanted, FIVE_DIGITS);
    }
    // Where chance is certain irrCAC's alpha is 1 and the krippendorff package's is an error: ours is undefined.
    if wanted["pe"] == 1.0 {
        check.undefined += 1;
        return check.same(name, ours.map(|ours| ours.value), Err(Undefined::NoVariation));
    }
    for (key, wanted) in object(wanted) {
        let place = format!("{name}.{key}");
        match key.as_str() {
            "coeff" => check.outcome(&place, ours.map(|ours| ours.value), wanted, FIVE_DIGITS),
            "pe" => check.outcome(&place, ours.map(|ours| ours.chance), wanted, FIVE_DIGITS),
            // What is observed is there even where chance is unknown.
            "pa" => ours.iter().for_each(|ours| check.number(&place, ours.observed, wanted, FIVE_DIGITS)),
            "se" => check.outcome(&place, ours.map(|ours| ours.error.unwrap().standard), wanted, FIVE_DIGITS),
            "ci" => ours.iter().for_each(|ours| {
                let error = ours.error.unwrap();
                check.number(&place, error.low, &wanted[0], FIVE_DIGITS);
                check.number(&place, error.high, &wanted[1], FIVE_DIGITS);
            }),
            _ => check.unknown(&place),
        }
    }
}

/// Alpha on resamples of the items, whose numbers stand in a file.
fn resampled(folder: &Path, name: &str, ratings: &Ratings, wanted: &Value) -> Check {
    let mut check = Check::default();
    let level = level_of(wanted["statistic"].as_str().unwrap().rsplit(' ').next().unwrap()).unwrap();
    let text = std::fs::read_to_string(folder.join(format!("bootstrap_{name}.idx.csv"))).unwrap();
    let drawn =
        text.lines().map(|line| line.split(',').map(|item| item.trim().parse().unwrap()).collect::<Vec<usize>>());
    let values: Vec<_> = drawn.map(|items| alpha(&ratings.select(&items), level)).collect();
    let expected = wanted["values"].as_array().unwrap();
    check.same("resamples", values.len(), expected.len());
    for (at, (ours, wanted)) in values.iter().zip(expected).enumerate() {
        check.outcome(&format!("values[{at}]"), *ours, wanted, DOUBLE);
    }
    let interval = Interval::of(values.iter().map(|value| value.ok()), 0.95);
    check.same("undefined", Some(interval.undefined as u64), wanted["undefined"].as_u64());
    let ends = &wanted["percentile_95_linear"];
    check.number("low", interval.low.unwrap(), &ends[0], DOUBLE);
    check.number("high", interval.high.unwrap(), &ends[1], DOUBLE);
    check.number("mean", interval.mean.unwrap(), &wanted["mean"], DOUBLE);
    check.number("deviation", interval.deviation.unwrap(), &wanted["std_ddof1"], DOUBLE);
    check
}

// Translation

/// The texts of a language.
struct Segments {
    hypotheses: Vec<String>,
    first: Vec<String>,
    second: Vec<String>,
}

fn translation(folder: &Path, expected: &Value) -> Vec<(String, Check)> {
    let text = std::fs::read_to_string(folder.join("segments.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let dictionaries =
        [("BURN_VLM_MECAB_JA", Dictionary::Ipadic), ("BURN_VLM_MECAB_KO", Dictionary::KoDic)].map(|(name, which)| {
            std::env::var_os(name).map(|folder| Arc::new(Mecab::open(&PathBuf::from(folder), which).unwrap()))
        });
    let lines = object(&expected["langs"]).map(|(language, wanted)| {
        let texts = |name: &str| {
            let texts = all[language][name].as_array().unwrap();
            texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let segments = Segments { hypotheses: texts("hyp"), first: texts("ref"), second: texts("ref2") };
        let mut check = Check::default();
        for (name, wanted) in object(wanted) {
            configuration(&segments, name, wanted, &dictionaries, &mut check);
        }
        (format!("mt_metrics {language}"), check)
    });
    lines.collect()
}

/// One configuration: `bleu_13a_lc`, `chrfpp`, `ter_asian`.
fn configuration(
    segments: &Segments,
    name: &str,
    wanted: &Value,
    [japanese, korean]: &[Option<Arc<Mecab>>; 2],
    check: &mut Check,
) {
    if let Some(settings) = name.strip_prefix("bleu_") {
        let (tokenizer, option) = settings.split_once('_').unwrap_or((settings, ""));
        let mecab = match tokenizer {
            "ja-mecab" => Some((japanese, "BURN_VLM_MECAB_JA")),
            "ko-mecab" => Some((korean, "BURN_VLM_MECAB_KO")),
            _ => None,
        };
        let tokenizer = match mecab {
            Some((Some(mecab), _)) => Tokenizer::Mecab(mecab.clone()),
            Some((None, variable)) => {
                return check.left_out.push(format!("{name} ({variable} names no dictionary)"));
            }
            None => match Tokenizer::named(tokenizer) {
                Some(tokenizer) => tokenizer,
                None => return check.unknown(name),
            },
        };
        let plain = Bleu { tokenizer, ..Bleu::DEFAULT };
        let bleu = match option {
            "" => plain,
            "lc" => Bleu { lower: true, ..plain },
            "floor" => Bleu { smoothing: Smoothing::named("floor").unwrap(), ..plain },
            "addk" => Bleu { smoothing: Smoothing::named("add-k").unwrap(), ..plain },
            "nosmooth" => Bleu { smoothing: Smoothing::None, ..plain },
            _ => return check.unknown(name),
        };
        let alone = Bleu { effective_order: true, ..bleu.clone() };
        let details =
            bleu.corpus(segments.hypotheses.iter().zip(&segments.first).map(|(a, b)| (a.as_str(), b.as_str())));
        let details = details.details();
        for (key, wanted) in object(wanted) {
            if let Some(number) = key.strip_prefix("tokenized_ref_") {
                // The tokenizer's own output: sacreBLEU lowers the case before it.
                let reference = &segments.first[number.parse::<usize>().unwrap()];
                let words: Vec<&str> = wanted.as_str().unwrap().split_whitespace().collect();
                check.same(
                    &format!("{name}.{key}"),
                    bleu.tokenizer.words(reference),
                    words.iter().map(|w| (*w).to_owned()).collect(),
                );
                continue;
            }
            let ours = &details[key];
            let pairs = match (ours, wanted) {
                (Value::Array(ours), Value::Array(wanted)) if ours.len() == wanted.len() => {
                    ours.iter().zip(wanted).collect()
                }
                (ours, wanted) if ours.is_number() => vec![(ours, wanted)],
                _ => continue,
            };
            for (ours, wanted) in pairs {
                check.number(&format!("{name}.{key}"), ours.as_f64().unwrap(), wanted, DOUBLE);
            }
        }
        let known = ["precisions", "counts", "totals", "bp", "sys_len", "ref_len"];
        compare(&bleu, &alone, segments, (name, wanted), &known, check);
    } else if let Some(option) = name.strip_prefix("chrf") {
        let chrf = match option {
            "" => Chrf::DEFAULT,
            "pp" => Chrf::PLUS_PLUS,
            "_ws" => Chrf { whitespace: true, ..Chrf::DEFAULT },
            "_beta3" => Chrf { beta: 3, ..Chrf::DEFAULT },
            "_eps" => Chrf { every_order: true, ..Chrf::DEFAULT },
            "_lc" => Chrf { lower: true, ..Chrf::DEFAULT },
            _ => return check.unknown(name),
        };
        compare(&chrf, &chrf, segments, (name, wanted), &[], check);
    } else if let Some(option) = name.strip_prefix("ter") {
        let plain = Ter::default();
        let ter = match option {
            "" => plain,
            "_cased" => Ter { cased: true, ..plain },
            "_norm" => Ter { normalized: true, ..plain },
            "_nopunct" => Ter { no_punctuation: true, ..plain },
            "_asian" => Ter::ASIAN,
            "_asian_nopunct" => Ter { no_punctuation: true, ..Ter::ASIAN },
            _ => return check.unknown(name),
        };
        let counts: Vec<_> =
            segments.hypotheses.iter().zip(&segments.first).map(|(a, b)| ter.counts(a, &[b])).collect();
        let sum = ter.sum(counts.iter());
        check.number(&format!("{name}.num_edits"), sum.edits as f64, &wanted["num_edits"], DOUBLE);
        check.number(&format!("{name}.ref_length"), sum.words, &wanted["ref_length"], DOUBLE);
        compare(&ter, &ter, segments, (name, wanted), &["num_edits", "ref_length"], check);
    } else {
        check.unknown(name);
    }
}

/// What all metrics have: signatures, scores of the corpus with one and two references, of sentences, and over resamples.
fn compare<M: Metric>(
    metric: &M,
    alone: &M,
    segments: &Segments,
    (name, wanted): (&str, &Value),
    known: &[&str],
    check: &mut Check,
) {
    let Segments { hypotheses, first, second } = segments;
    let counts: Vec<_> = hypotheses.iter().zip(first).map(|(ours, theirs)| metric.counts(ours, &[theirs])).collect();
    for (key, wanted) in object(wanted) {
        let place = format!("{name}.{key}");
        match key.as_str() {
            "signature" => check.same(&place, metric.signed(Some(1), None).as_str(), wanted.as_str().unwrap()),
            "corpus" => check.number(&place, metric.of_all(&counts), wanted, DOUBLE),
            "corpus_2refs" => {
                let both = hypotheses.iter().zip(first.iter().zip(second));
                let counts: Vec<_> = both.map(|(ours, (a, b))| metric.counts(ours, &[a, b])).collect();
                check.number(&place, metric.of_all(&counts), wanted, DOUBLE);
            }
            "sentence" => {
                let wanted = wanted.as_array().unwrap();
                check.same(&format!("{place} count"), counts.len(), wanted.len());
                let pairs = hypotheses.iter().zip(first);
                for (at, ((ours, theirs), wanted)) in pairs.zip(wanted).enumerate() {
                    let score = alone.of_all(&[alone.counts(ours, &[theirs])]);
                    check.number(&format!("{place}[{at}]"), score, wanted, DOUBLE);
                }
            }
            "bootstrap_1000_seed_12345" => {
                let resampling = Resampling::default();
                let spread = metric.resampled(&counts, resampling);
                check.number(&format!("{place}.mean"), spread.mean, &wanted["mean"], SINGLE);
                check.number(&format!("{place}.ci"), spread.half_width, &wanted["ci"], SINGLE);
                let signature = wanted["signature"].as_str().unwrap();
                check.same(&place, metric.signed(Some(1), Some(resampling)).as_str(), signature);
            }
            other if known.contains(&other) || other.starts_with("tokenized_ref_") => {}
            _ => check.unknown(&place),
        }
    }
}
