//! burn-vlm's own rules on files: translated ones, groups that are not whole, invalid replies, rows that cannot be
//! used.

use std::path::Path;

use burn_vlm_data::language::Language;
use burn_vlm_eval::file::FileRecipe;
use burn_vlm_eval::reading::FileLanguage;
use burn_vlm_eval::strict::{self, Kind};
use burn_vlm_eval::{Answer, BenchmarkError, Flag, Items, PromptStyle, Published, Rules, benchmarks};
use serde_json::json;

use signs::Signs;

/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// A folder with one TSV of the rows, whose cells are parted by `|` and which have `PNG` for the picture.
fn folder(name: &str, rows: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let text: String = rows.iter().map(|row| row.replace('|', "\t").replace("PNG", PNG) + "\n").collect();
    std::fs::write(folder.path().join(name), text).unwrap();
    folder
}

fn recipe(file: &str, more: &str) -> FileRecipe {
    toml::from_str(&format!("name = \"test\"\nfile = {file:?}\n{more}")).unwrap()
}

fn read(folder: &Path, recipe: &FileRecipe, kind: Kind) -> Result<Items, BenchmarkError> {
    strict::read(recipe, folder, FileLanguage::Usually(Language::EN), kind)
}

fn replies(texts: &[&str]) -> Vec<Answer> {
    texts.iter().map(|text| Answer::text(*text)).collect()
}

#[test]
fn a_translated_file_is_asked_and_read_in_its_language() {
    let folder = folder(
        "translated.tsv",
        &[
            "index|question|hint|A|B|C|category|answer|image",
            "1|Welche Farbe hat das Haus?|Sieh genau hin.|rot|None|blau|Farbe|C|PNG",
            "2|Was ist das?||Hund|Katze|Maus|Ding|B|PNG",
            "3|Was ist das?||Hund|Katze|Maus|Ding|A|PNG",
            "4|Was ist das?||Hund|Katze|Maus|Ding|A|PNG",
        ],
    );
    let mmmb = benchmarks::find("mmmb").unwrap();
    assert!(mmmb.rules().contains(&Rules::BurnVlm));
    let recipe = recipe("translated.tsv", "language = \"de\"");
    let read = mmmb.read(&recipe, folder.path(), Rules::BurnVlm).unwrap();
    let style = mmmb.prompts(Rules::BurnVlm)[0];
    assert_eq!(style, PromptStyle::BurnVlm);
    assert_eq!(
        mmmb.question(&read.items[0], style).text,
        "Sieh genau hin.\nWelche Farbe hat das Haus?\nA. rot\nB. None\nC. blau\nAntworte nur mit dem Buchstaben."
    );
    let answers =
        replies(&["Die richtige Antwort ist C, nicht A.", "Es ist die Katze.", "A oder B", "Ich weiß es nicht."]);
    let scored = mmmb.score(&read.items, &answers, Rules::BurnVlm, style);
    let verdicts: Vec<_> = scored.verdicts.iter().flatten().collect();
    let understood: Vec<_> = verdicts.iter().map(|verdict| verdict.understood.as_deref()).collect();
    assert_eq!(understood, [Some("C"), Some("B"), None, None]);
    assert_eq!(verdicts[2].flags, [Flag::Invalid]);
    assert_eq!(verdicts[2].details["reading"], "ambiguous");
    let all = &scored.totals["all"];
    assert_eq!(
        (&all["rows"], &all["accuracy"], &all["invalid"], &all["readings"]),
        (&json!(4), &json!(0.5), &json!(0.5), &json!({ "answer": 2, "ambiguous": 1, "refused": 1 }))
    );
    assert_eq!(all["category"]["Farbe"]["accuracy"], json!(1.0));
    assert_eq!(scored.totals["languages"]["de"]["rows"], json!(4));
    assert_eq!(scored.notes, ["2 of 4 replies are invalid and count as wrong: 1 ambiguous, 1 refused"]);
    let metrics = mmmb.metrics(&read.items, Rules::BurnVlm);
    assert_eq!((metrics.len(), metrics[0].key), (1, "accuracy"));
}

#[test]
fn yes_and_no_are_asked_and_read_in_the_files_language() {
    let folder = folder(
        "pope.tsv",
        &[
            "index|question|category|answer|image",
            "1|Gibt es eine Katze?|random|ja|PNG",
            "2|Gibt es einen Hund?|random|nein|PNG",
            "3|Gibt es ein Haus?|popular|Yes|PNG",
            "4|Gibt es einen Baum?|popular|No|PNG",
        ],
    );
    let recipe = recipe("pope.tsv", "language = \"de\"");
    let read = read(folder.path(), &recipe, Kind::Binary).unwrap();
    let asked = Kind::Binary.question(&read.items[0]);
    assert_eq!(asked.text, "Gibt es eine Katze?\nAntworte nur mit ja oder nein.");
    // A reply is missing.
    let answers = replies(&["Ja, da ist eine.", "Ja.", "vielleicht"]);
    let scored = Kind::Binary.score(&read.items, &answers);
    let all = &scored.totals["all"];
    assert_eq!((&all["rows"], &all["replies"], &all["accuracy"]), (&json!(4), &json!(3), &json!(0.25)));
    assert_eq!(all["readings"], json!({ "answer": 2, "unread": 1, "no_reply": 1 }));
    assert_eq!((&all["yes_said"], &all["yes_right"]), (&json!(1.0), &json!(0.5)));
    // One of two replies of yes is right, one of two questions with yes is found.
    assert_eq!((&all["precision"], &all["recall"], &all["f1"]), (&json!(0.5), &json!(0.5), &json!(0.5)));
    assert_eq!(
        scored.notes,
        [
            "1 of 3 replies are invalid and count as wrong: 1 unread",
            "1 of 4 questions have no reply and count as wrong"
        ]
    );
    let missing = scored.verdicts[3].as_ref().unwrap();
    assert_eq!((missing.flags.as_slice(), missing.score("accuracy")), ([Flag::NoReply].as_slice(), Some(0.0)));
}

#[test]
fn groups_that_are_not_whole_are_wrong_and_named() {
    let folder = folder(
        "mmbench.tsv",
        &[
            "index|question|A|B|C|answer|image",
            "7|Which?|one|two||A|PNG",
            "1000007|Which?|two|one||B|PNG",
            "8|Which?|one|two||A|PNG",
            "1000009|Which?|two|one||B|PNG",
            "10|Which?|one|two||A|PNG",
            "1000010|Which?|two|one||B|PNG",
        ],
    );
    let read = read(folder.path(), &recipe("mmbench.tsv", ""), Kind::Circular).unwrap();
    let scored = Kind::Circular.score(&read.items, &replies(&["A", "B", "A", "B", "A", "A"]));
    let circular: Vec<_> = scored.verdicts.iter().map(|verdict| verdict.as_ref().unwrap().score("circular")).collect();
    assert_eq!(circular, [Some(1.0), None, Some(0.0), Some(0.0), Some(0.0), None]);
    let all = &scored.totals["all"];
    assert_eq!((&all["groups"], &all["torn_groups"], &all["circular"]), (&json!(4), &json!(2), &json!(0.25)));
    assert_eq!(scored.notes, ["2 of 4 groups of 6 questions lack a rotation and count as wrong: mmbench/8, mmbench/9"]);
    let metrics = Kind::Circular.metrics(&read.items);
    assert_eq!(
        metrics.iter().map(|metric| (metric.key, metric.chance)).collect::<Vec<_>>(),
        [("circular", Some(25.0)), ("accuracy", Some(50.0))]
    );
}

#[test]
fn pairs_are_right_in_both() {
    let rows: Vec<String> = (0..5)
        .map(|at| format!("{at}|Is it? Please answer yes or no.|{}|p{}|PNG", ["Yes", "No"][at % 2], at / 2))
        .collect();
    let rows: Vec<&str> =
        ["index|question|answer|picture|image"].into_iter().chain(rows.iter().map(String::as_str)).collect();
    let folder = folder("mme.tsv", &rows);
    let read = read(folder.path(), &recipe("mme.tsv", "group_column = \"picture\""), Kind::Pairs).unwrap();
    assert_eq!(Kind::Pairs.question(&read.items[0]).text, "Is it?\nAnswer with yes or no only.");
    let scored = Kind::Pairs.score(&read.items, &replies(&["Yes", "No", "Yes", "Yes", "Yes"]));
    let all = &scored.totals["all"];
    assert_eq!((&all["accuracy"], &all["groups"], &all["pairs"]), (&json!(0.8), &json!(3), &json!(1.0 / 3.0)));
    assert_eq!(scored.notes, ["1 of 3 groups of 5 questions are no pairs and count as wrong: mme/p2"]);
}

#[test]
fn short_answers_are_compared_with_all_that_are_accepted() {
    let folder =
        folder("vqa.tsv", &["index|question|answer|image", "1|Was steht da?|Straße|PNG", "2|Wie viele?|22|PNG"]);
    let read = read(folder.path(), &recipe("vqa.tsv", "language = \"de\""), Kind::Short).unwrap();
    assert!(Kind::Short.question(&read.items[0]).text.ends_with("\nAntworte mit einem einzigen Wort oder Ausdruck."));
    let scored = Kind::Short.score(&read.items, &replies(&["Die STRASSE.", "<think>22"]));
    let verdicts: Vec<_> = scored.verdicts.iter().flatten().collect();
    assert_eq!((verdicts[0].understood.as_deref(), verdicts[0].score("accuracy")), (Some("strasse"), Some(1.0)));
    assert_eq!((&verdicts[1].details["reading"], verdicts[1].score("accuracy")), (&json!("empty"), Some(0.0)));
}

#[test]
fn rows_that_cannot_be_used_are_refused_with_their_place() {
    let choice = "index|question|A|B|answer|image";
    let binary = "index|question|answer|image";
    for (kind, rows, expected) in [
        (Kind::Choice, [choice, "1|Which?|one|two|C|PNG"], "none of the options' letters \"AB\""),
        (Kind::Choice, [choice, "1|Which?|one||A|PNG"], "fewer than two options"),
        (Kind::Choice, [choice, "1|Which?|one|two|A|"], "no picture"),
        (Kind::Binary, [binary, "1|Is it?|perhaps|PNG"], "\"perhaps\" is neither yes nor no"),
        (Kind::Short, [binary, "1|What?|\u{200b}|PNG"], "no answer that a reply could be"),
    ] {
        let folder = folder("rows.tsv", &rows);
        let error = read(folder.path(), &recipe("rows.tsv", ""), kind).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("rows.tsv"), "{error}");
    }
    let folder = folder("rows.tsv", &[choice, "1|Which?|one|two|A|PNG", "1|Which?|one|two|B|PNG"]);
    let error = read(folder.path(), &recipe("rows.tsv", ""), Kind::Choice).unwrap_err().to_string();
    assert!(error.contains("\"1\""), "{error}");
}

/// The benchmark of docs/evaluation.md.
mod signs {
    use std::path::Path;

    use burn_vlm_eval::file::FileRecipe;
    use burn_vlm_eval::reading::FileLanguage;
    use burn_vlm_eval::strict::{self, Kind};
    use burn_vlm_eval::{
        Answer, Asked, BenchmarkError, Item, Items, MetricInfo, PromptStyle, Published, Rules, Scored,
    };

    /// Multiple choice about street signs: `signs_en.tsv`, `signs_de.tsv`, ..
    pub struct Signs;

    impl Published for Signs {
        fn name(&self) -> &'static str {
            "signs"
        }

        fn about(&self) -> &'static str {
            "Signs (you, next year): multiple choice about street signs"
        }

        fn rules(&self) -> &'static [Rules] {
            &[Rules::BurnVlm]
        }

        fn read(&self, file: &FileRecipe, base: &Path, _: Rules) -> Result<Items, BenchmarkError> {
            strict::read(file, base, FileLanguage::Named, Kind::Choice)
        }

        fn question(&self, item: &Item, _: PromptStyle) -> Asked {
            Kind::Choice.question(item)
        }

        fn score(&self, items: &[Item], answers: &[Answer], _: Rules, _: PromptStyle) -> Scored {
            Kind::Choice.score(items, answers)
        }

        fn metrics(&self, items: &[Item], _: Rules) -> Vec<MetricInfo> {
            Kind::Choice.metrics(items)
        }
    }
}

#[test]
fn a_benchmark_of_ones_own_is_a_trait() {
    let rows = ["index|question|A|B|answer|image", "1|Was ist das?|Stopp|Vorfahrt|A|PNG", "2|Und das?|30|50|B|PNG"];
    let folder = folder("signs_de.tsv", &rows);
    let read = Signs.read(&recipe("signs_de.tsv", ""), folder.path(), Rules::BurnVlm).unwrap();
    assert!(read.items.iter().all(|item| item.language == Some(Language::parse("de").unwrap())));
    let asked = Signs.question(&read.items[0], PromptStyle::BurnVlm).text;
    assert_eq!(asked, "Was ist das?\nA. Stopp\nB. Vorfahrt\nAntworte nur mit dem Buchstaben.");
    let scored = Signs.score(&read.items, &replies(&["A", "Das ist A."]), Rules::BurnVlm, PromptStyle::BurnVlm);
    let right: Vec<f64> = scored.verdicts.iter().flatten().map(|verdict| verdict.scores[0].1).collect();
    assert_eq!(right, [1.0, 0.0]);
    assert_eq!(Signs.metrics(&read.items, Rules::BurnVlm)[0].key, "accuracy");
    assert!(benchmarks::find(Signs.name()).is_none() && Signs.about().contains("signs"));
    assert_eq!(Signs.rules(), [Rules::BurnVlm]);
}
