//! `data agreement`: how far annotators agree, from a table of their ratings.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::PathBuf;

use burn_vlm_base::files::{create_dir_all, write_atomic, write_json_atomic};
use burn_vlm_eval::agreement::ratings::number;
use burn_vlm_eval::agreement::report::ReportOptions;
use burn_vlm_eval::agreement::{Level, RatingError, Ratings, RatingsBuilder, Report, Scale, report};
use burn_vlm_eval::columns::{Columns, ColumnsRow};
use burn_vlm_eval::resample::Resampling;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;

use crate::AnyError;
use crate::args::check_empty;
use crate::call::examples;

/// The end of `--help`.
fn help() -> String {
    let lines = [
        (
            "data",
            "agreement ratings.csv --out runs/agreement",
            "who rated what in the columns item, annotator and label",
        ),
        (
            "data",
            "agreement ratings.tsv --label fluency,verdict --level fluency=ordinal --scale fluency=1,2,3,4,5 --by language \
             --out runs/agreement",
            "two questions, one of them on a scale of five, each language by itself",
        ),
        ("data", "agreement votes.csv --wide --out runs/votes", "a line an item, a column an annotator"),
    ];
    examples(
        &lines,
        "Empty cells are missing ratings. What cannot be computed is said to be undefined, with the reason, and is no error.",
    )
}

/// Show how far annotators agree on what they rated
///
/// Percent agreement by three definitions, Cohen's, Fleiss' and Randolph's kappa, Krippendorff's alpha, Gwet's AC1, the marginals of
/// every annotator, and intervals by resampling items; as tables, and as JSON for programs.
#[derive(Debug, Args)]
#[command(max_term_width = 100, after_help = help())]
pub(super) struct AgreementArgs {
    /// The ratings: a .csv, .tsv or .jsonl file
    file: PathBuf,

    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// The column that names what was rated
    #[arg(long, value_name = "NAME", default_value = "item")]
    item: String,

    /// The column that names who rated
    #[arg(long, value_name = "NAME", default_value = "annotator", conflicts_with = "wide")]
    annotator: String,

    /// The column with the rating; several with commas between, each reported by itself
    #[arg(long, value_name = "NAMES", default_value = "label", value_delimiter = ',', conflicts_with = "wide")]
    label: Vec<String>,

    /// Every column but those of the item and of --by is an annotator, and its cells are the ratings
    #[arg(long)]
    wide: bool,

    /// What the labels mean to each other: nominal, ordinal, interval or ratio; COLUMN=LEVEL for one of several columns
    #[arg(long, value_name = "[COLUMN=]LEVEL", value_delimiter = ',')]
    level: Vec<String>,

    /// All labels that could be chosen, in their order, with commas between; COLUMN=LABELS for one of several columns
    /// [default: the labels that occur in the column]
    #[arg(long, value_name = "[COLUMN=]LABELS")]
    scale: Vec<String>,

    /// A column, such as the language: each of its values is reported by itself
    #[arg(long, value_name = "NAME")]
    by: Option<String>,

    /// Resamples of the items for the intervals; 0 for none
    #[arg(long, value_name = "N", default_value_t = 1000)]
    resamples: usize,

    /// Seed of the resamples, as numpy's generator takes it
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    /// Percent of the resamples between the ends of an interval
    #[arg(long, value_name = "P", default_value = "95", value_parser = confidences())]
    confidence: f64,
}

fn confidences() -> impl TypedValueParser<Value = f64> {
    let names = PossibleValuesParser::new(["50", "80", "90", "95", "99"]);
    names.try_map(|name| name.parse::<f64>().map(|percent| percent / 100.0))
}

/// What is written as JSON.
#[derive(Serialize)]
struct Written<'a> {
    file: String,
    columns: &'a [Reported],
}

/// A column of a group.
#[derive(Serialize)]
struct Reported {
    /// The column; none of a wide table.
    column: Option<String>,
    /// The value of `--by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    /// The scale was given, not taken from the labels that occur.
    scale_declared: bool,
    #[serde(flatten)]
    report: Report,
}

/// What a column says, beyond its name.
struct Question {
    /// None in a wide table.
    column: Option<String>,
    level: Level,
    scale: Option<Scale>,
}

/// One cell that was filled or left empty.
struct Rating<'t> {
    row: &'t ColumnsRow,
    item: &'t str,
    annotator: &'t str,
    label: Option<&'t str>,
}

/// Runs the command.
pub(super) fn run(args: &AgreementArgs, out: &mut dyn Write) -> Result<(), AnyError> {
    check_empty(&args.out)?;
    let questions = args.questions()?;
    let table = Columns::read(&args.file)?;
    let item = table.column(&args.item)?;
    let by = args.by.as_deref().map(|name| table.column(name)).transpose()?;
    let mut groups: Vec<Option<&str>> = Vec::new();
    let mut of_group: HashMap<Option<&str>, Vec<&ColumnsRow>> = HashMap::new();
    for row in &table.rows {
        let group = by.map(|column| filled(&table, row, column)).transpose()?;
        let rows = of_group.entry(group).or_insert_with(|| {
            groups.push(group);
            Vec::new()
        });
        rows.push(row);
    }
    let mut reported = Vec::new();
    let mut text = format!("# Agreement of {}\n", args.file.display());
    let all: Vec<&ColumnsRow> = table.rows.iter().collect();
    for question in &questions {
        let scale = scale(&table, &args.ratings(&table, &all, item, by, question)?, question)?;
        for group in &groups {
            let rows = of_group.get(group).map(Vec::as_slice).unwrap_or_default();
            let ratings = args.ratings(&table, rows, item, by, question)?;
            let place = [question.column.as_deref(), *group].into_iter().flatten().collect::<Vec<_>>().join(", ");
            let ratings = build(&table, &ratings, &scale, &place)?;
            let resampling = Resampling { resamples: args.resamples, seed: args.seed };
            let options = ReportOptions { level: question.level, resampling, confidence: args.confidence };
            let report = report(&ratings, options);
            if !place.is_empty() {
                text.push_str(&format!("\n## {place}\n"));
            }
            text.push_str(&format!("\n{report}"));
            let scale_declared = question.scale.is_some();
            if !scale_declared && !question.level.is_numeric() {
                text.push_str(
                    "\nThe scale is that of the labels that occur; a label that could be chosen and never was changes weighted kappas, AC1 \
                     and Randolph's kappa: declare it with `--scale`.\n",
                );
            }
            let group = group.map(str::to_owned);
            reported.push(Reported { column: question.column.clone(), group, scale_declared, report });
        }
    }
    create_dir_all(&args.out)?;
    let file = args.file.display().to_string();
    write_json_atomic(&args.out.join("agreement.json"), &Written { file, columns: &reported })?;
    write_atomic(&args.out.join("agreement.md"), text.as_bytes())?;
    writeln!(out, "{text}")?;
    writeln!(out, "written: {} (also agreement.json)", args.out.join("agreement.md").display())?;
    Ok(())
}

impl AgreementArgs {
    /// The columns that are reported, with their levels and scales.
    fn questions(&self) -> Result<Vec<Question>, AnyError> {
        let names: Vec<Option<&str>> =
            if self.wide { vec![None] } else { self.label.iter().map(|name| Some(name.as_str())).collect() };
        let mut seen = BTreeSet::new();
        if let Some(name) = names.iter().flatten().find(|name| !seen.insert(**name)) {
            return Err(format!("--label names the column {name:?} twice").into());
        }
        let mut questions = Vec::new();
        for name in &names {
            let mut level = Level::default();
            for given in &self.level {
                if let Some(value) = of_column(given, *name) {
                    let known = Level::ALL.into_iter().find(|level| level.as_str() == value);
                    level = known.ok_or_else(|| {
                        format!("--level {given}: no level {value:?}; expected nominal, ordinal, interval or ratio")
                    })?;
                }
            }
            let mut scale = None;
            for given in &self.scale {
                if let Some(labels) = of_column(given, *name) {
                    let labels: Vec<&str> = labels.split(',').map(str::trim).collect();
                    if labels.iter().any(|label| label.is_empty()) {
                        return Err(
                            format!("--scale {given}: an empty label; expected labels with commas between").into()
                        );
                    }
                    let declared = Scale::declared(labels).map_err(|error| format!("--scale {given}: {error}"))?;
                    if level.is_numeric() && declared.values().is_none() {
                        let level = level.as_str();
                        return Err(format!("--scale {given}: the {level} level needs labels that are numbers").into());
                    }
                    scale = Some(declared);
                }
            }
            questions.push(Question { column: name.map(str::to_owned), level, scale });
        }
        // A slip in a column's name must not leave it at the default.
        for (option, given) in
            self.level.iter().map(|given| ("--level", given)).chain(self.scale.iter().map(|given| ("--scale", given)))
        {
            if let Some((column, _)) = given.split_once('=')
                && !names.contains(&Some(column))
            {
                let names: Vec<&str> = names.iter().flatten().copied().collect();
                return Err(format!(
                    "{option} {given}: {column:?} is none of the columns of --label ({})",
                    names.join(", ")
                )
                .into());
            }
        }
        Ok(questions)
    }

    /// The ratings of a column in some rows.
    fn ratings<'t>(
        &self,
        table: &'t Columns,
        rows: &[&'t ColumnsRow],
        item: usize,
        by: Option<usize>,
        question: &Question,
    ) -> Result<Vec<Rating<'t>>, AnyError> {
        let mut ratings = Vec::new();
        match &question.column {
            Some(label) => {
                let (annotator, label) = (table.column(&self.annotator)?, table.column(label)?);
                for row in rows {
                    let (item, annotator) = (filled(table, row, item)?, filled(table, row, annotator)?);
                    ratings.push(Rating { row, item, annotator, label: given(row, label) });
                }
            }
            None => {
                let annotators: Vec<(usize, &String)> =
                    table.names.iter().enumerate().filter(|(at, _)| *at != item && Some(*at) != by).collect();
                for row in rows {
                    let item = filled(table, row, item)?;
                    let cells = annotators.iter().map(|(at, annotator)| (annotator.as_str(), given(row, *at)));
                    ratings.extend(cells.map(|(annotator, label)| Rating { row, item, annotator, label }));
                }
            }
        }
        Ok(ratings)
    }
}

/// `LEVEL`, or `COLUMN=LEVEL` for that column; `None` where it is for another one.
fn of_column<'a>(given: &'a str, column: Option<&str>) -> Option<&'a str> {
    match given.split_once('=') {
        None => Some(given),
        Some((name, value)) => (Some(name) == column).then_some(value),
    }
}

/// A cell without the white space around it; none where nothing is in it.
fn given(row: &ColumnsRow, column: usize) -> Option<&str> {
    row.cell(column).map(str::trim).filter(|cell| !cell.is_empty())
}

/// The same where something must be.
fn filled<'t>(table: &Columns, row: &'t ColumnsRow, column: usize) -> Result<&'t str, AnyError> {
    given(row, column).ok_or_else(|| {
        let name = table.names.get(column).map(String::as_str).unwrap_or_default();
        table.wrong(row, format!("nothing in the column {name:?}; expected a name")).into()
    })
}

/// The scale of a column: the declared one, or the labels that occur in any group.
fn scale(table: &Columns, ratings: &[Rating], question: &Question) -> Result<Scale, AnyError> {
    let level = question.level;
    for Rating { row, label, .. } in ratings.iter().filter(|_| level.is_numeric()) {
        let message = match label.map(|label| (label, number(label))) {
            Some((label, None)) => format!("{label:?} is no number, which the {} level needs", level.as_str()),
            Some((label, Some(value))) if level == Level::Ratio && value < 0.0 => {
                format!("{label:?} is below 0, which the ratio level has not; `--level interval` takes it")
            }
            _ => continue,
        };
        return Err(table.wrong(row, message).into());
    }
    if let Some(scale) = &question.scale {
        return Ok(scale.clone());
    }
    let scale = Scale::seen(ratings.iter().filter_map(|rating| rating.label));
    if level == Level::Ordinal && scale.values().is_none() && !scale.is_empty() {
        let (file, labels) = (table.file.display(), scale.labels().join(","));
        let message = format!(
            "{file}: the labels are no numbers, so that their order is unknown; say it with `--scale {labels}` in the right order, or take \
             `--level nominal`"
        );
        return Err(message.into());
    }
    Ok(scale)
}

/// The table of ratings.
fn build(table: &Columns, ratings: &[Rating], scale: &Scale, place: &str) -> Result<Ratings, AnyError> {
    let of = if place.is_empty() { String::new() } else { format!(" of {place}") };
    let given: Vec<&Rating> = ratings.iter().filter(|rating| rating.label.is_some()).collect();
    let annotators: BTreeSet<&str> = given.iter().map(|rating| rating.annotator).collect();
    let (file, count) = (table.file.display(), given.len());
    match annotators.iter().collect::<Vec<_>>().as_slice() {
        [] => return Err(format!("{file}: no rating{of}; expected labels in its cells").into()),
        [one] => {
            let message = format!(
                "{file}: all {count} ratings{of} are by the annotator {one:?}; expected ratings of the same items by two annotators or more"
            );
            return Err(message.into());
        }
        _ => {}
    }
    let mut builder = RatingsBuilder::new(scale.clone());
    let mut first: HashMap<(&str, &str), usize> = HashMap::new();
    for Rating { row, item, annotator, label } in ratings {
        match builder.add(item, annotator, *label) {
            Ok(()) => {}
            Err(error @ RatingError::Repeated { .. }) => {
                let line = first.get(&(*item, *annotator)).copied().unwrap_or_default();
                return Err(table.wrong(row, format!("{error} (the first stands on line {line})")).into());
            }
            Err(error) => return Err(table.wrong(row, error.to_string()).into()),
        }
        if label.is_some() {
            first.entry((*item, *annotator)).or_insert(row.line);
        }
    }
    Ok(builder.finish())
}
