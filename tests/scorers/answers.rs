//! Yes or no, short answers, and read text: MME, POPE, TextVQA, VQAv2, GQA, OCRBench, CC-OCR. Every published format
//! under every rule set that its columns allow.

use burn_vlm_eval::{Item, PromptStyle, Rules};
use serde_json::{Map, Value, json};

use crate::compare::Case;

/// Prompts of VLMEvalKit's data class and its copy's, and of lmms-eval.
const SHORT: &[(PromptStyle, &str)] = &[(PromptStyle::Vlmevalkit, "vlmeval"), (PromptStyle::LmmsEval, "lmms_eval")];
const SHORT_WITH_COPY: &[(PromptStyle, &str)] = &[
    (PromptStyle::Vlmevalkit, "vlmeval"),
    (PromptStyle::Vlmevalkit, "parrot_vlmeval"),
    (PromptStyle::LmmsEval, "lmms_eval"),
];
/// Those and that of Parrot's model class.
const YES_NO: &[(PromptStyle, &str)] = &[
    (PromptStyle::Vlmevalkit, "vlmeval"),
    (PromptStyle::Vlmevalkit, "parrot_vlmeval"),
    (PromptStyle::Parrot, "parrot_model"),
    (PromptStyle::ParrotAsSet, "parrot_model"),
    (PromptStyle::LmmsEval, "lmms_eval"),
];
const READ: &[(PromptStyle, &str)] = &[
    (PromptStyle::Vlmevalkit, "vlmeval"),
    (PromptStyle::LmmsEval, "lmms_eval"),
    (PromptStyle::DeepSpin, "deep_spin"),
    (PromptStyle::Official, "official"),
];
/// The folders have no pictures of these.
const WITHOUT_PICTURES: &str = "fields = { ignore = [\"image\", \"url\"] }";

const KIT: (&str, Rules) = ("vlmeval", Rules::Vlmevalkit);
const COPY: (&str, Rules) = ("parrot_vlmeval", Rules::ParrotVlmevalkit);
const LMMS: (&str, Rules) = ("lmms_eval", Rules::LmmsEval);
const LLAVA: (&str, Rules) = ("llava_script", Rules::Llava);
const FORK: (&str, Rules) = ("deep_spin", Rules::DeepSpin);
const OFFICIAL: (&str, Rules) = ("official", Rules::Official);

type Prompts = &'static [(PromptStyle, &'static str)];

/// Every scorer with every file.
fn all(
    benchmark: &'static str,
    scorers: &[(&'static str, Rules)],
    files: &[&'static str],
    (prompts, id): (Prompts, fn(&Item) -> String),
) -> Vec<Case> {
    let case = |(scorer, rules): &(&'static str, Rules)| {
        let one = |files: &&'static str| Case { prompts, id, ..Case::new(scorer, benchmark, *rules, files) };
        files.iter().map(one).collect::<Vec<_>>()
    };
    scorers.iter().flat_map(case).collect()
}

fn row(item: &Item) -> String {
    item.row.to_string()
}

fn index(item: &Item) -> String {
    item.index.clone()
}

pub fn cases() -> Vec<(&'static str, Vec<Case>)> {
    let yes_no = (YES_NO, row as fn(&Item) -> String);
    let mme = all(
        "mme",
        &[KIT, COPY, LMMS],
        &["MME.tsv", "test-00000-of-00001.parquet", "MME_Benchmark_release_version"],
        yes_no,
    );
    let text = ["TextVQA_VAL.tsv", "validation-00000-of-00001.parquet"];
    let gqa = ["GQA_TestDev_Balanced.tsv", "testdev_balanced_instructions/testdev-00000-of-00001.parquet"];
    vec![
        ("mme", mme),
        ("pope", pope()),
        ("textvqa", all("textvqa", &[KIT, COPY, LMMS, LLAVA], &text, (SHORT_WITH_COPY, index))),
        ("vqav2", all("vqav2", &[LMMS], &text[1..], (&SHORT[1..], index))),
        ("gqa", all("gqa", &[KIT, LMMS], &gqa, (SHORT, index))),
        (
            "ocrbench",
            all(
                "ocrbench",
                &[KIT, COPY, LMMS],
                &["OCRBench.tsv", "test-00000-of-00001.parquet"],
                (SHORT_WITH_COPY, row),
            ),
        ),
        ("cc_ocr", cc_ocr()),
    ]
}

/// The parquet file gives a row one category where the table gives it three, so that totals by category are another
/// matter there; the release has such a row three times, in its three files.
fn pope() -> Vec<Case> {
    const RELEASE: &str = "coco/coco_pope_{random,popular,adversarial}.json";
    let mut cases = all("pope", &[KIT, COPY, LMMS, LLAVA], &["POPE.tsv"], (YES_NO, row));
    cases.extend(all("pope", &[LMMS], &["test-00000-of-00001.parquet"], (YES_NO, row)));
    // Questions are numbered from 1 over the rows of the table.
    let number = |item: &Item| item.index.parse::<u64>().map_or_else(|_| item.index.clone(), |at| (at - 1).to_string());
    let release = all("pope", &[KIT, COPY, LLAVA], &[RELEASE], (YES_NO, number));
    cases.extend(release.into_iter().map(|case| Case { settings: WITHOUT_PICTURES, ..case }));
    cases
}

fn cc_ocr() -> Vec<Case> {
    let files = ["tsv/*.tsv", "multi_lan_ocr/test-00000-of-00001.parquet", "official"];
    // The parquet file counts over all languages; the pictures' names hold the number within one.
    let id = |item: &Item| {
        let name = item.cell("image_name").unwrap_or_default();
        let number: String = name.chars().filter(char::is_ascii_digit).collect();
        format!("{}/{}", item.part, number.parse::<u64>().unwrap())
    };
    let cases = all("cc_ocr", &[FORK, LMMS, KIT, OFFICIAL], &files, (READ, id));
    let with_settings = |case: Case| {
        let settings = if case.files == "official" { WITHOUT_PICTURES } else { "" };
        match case.rules {
            Rules::Official => Case { settings, totals: printed, wanted: tables, ..case },
            _ => Case { settings, ..case },
        }
    };
    cases.into_iter().map(with_settings).collect()
}

/// Metrics of the tables that the benchmark's own code prints.
const PRINTED: [&str; 2] = ["macro_f1_score", "mirco_f1_score"];

/// Our totals with the tables that would be printed: percent with two digits.
fn printed(totals: &Value) -> Value {
    let percent = |value: &Value| -> Value {
        let share = value.as_f64().unwrap_or(f64::NAN);
        format!("{:.2}", 100.0 * share).parse::<f64>().map_or(Value::Null, Value::from)
    };
    let table = |metric: &str| {
        let subsets = totals["subsets"].as_object().into_iter().flatten();
        let mut table: Map<String, Value> = subsets.map(|(name, row)| (name.clone(), percent(&row[metric]))).collect();
        table.insert("summary".to_owned(), percent(&totals["summary"][metric]));
        (metric.to_owned(), Value::Object(table))
    };
    json!({ "subsets": totals["subsets"], "tables": PRINTED.map(table).into_iter().collect::<Map<_, _>>() })
}

/// The reference's scores with its tables read back; when they were printed stands in them too.
fn tables(scores: &Value) -> Value {
    let cells = |line: &Value| -> Vec<String> {
        let line = line.as_str().unwrap_or_default().trim_matches('|');
        line.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let lines: Vec<Vec<String>> = scores["summary_table"].as_array().into_iter().flatten().map(cells).collect();
    // A header, a rule, and the model's line; a blank line between tables.
    let table = |lines: &[Vec<String>]| -> Option<(String, Value)> {
        let (header, numbers) = (lines.first()?, lines.get(2)?);
        let metric = PRINTED.iter().find(|metric| header[0].contains(*metric))?;
        let numbers = header.iter().zip(numbers).skip(1);
        let row = numbers.map(|(name, cell)| (name.clone(), cell.parse::<f64>().map_or(Value::Null, Value::from)));
        Some(((*metric).to_owned(), row.collect::<Map<_, _>>().into()))
    };
    let found = lines.split(|cells| cells.iter().all(String::is_empty)).filter_map(table);
    json!({ "subsets": scores["subsets"], "tables": found.collect::<Map<_, _>>() })
}
