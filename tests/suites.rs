//! The suites of `evaluations/`: what they name is there, and what they say of files fits the benchmarks' readers. The files are those of
//! the fixtures, under the names that the suites want; pictures that the fixtures lack are drawn.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::{RgbImage, encode_png};
use burn_vlm_data::language::Language;
use burn_vlm_eval::ask::{Ask, Reply};
use burn_vlm_eval::{Answer, Rules, benchmarks};
use burn_vlm_train::eval::{Benchmarks, Evaluated, PublishedBenchmark, Suite};
use burn_vlm_train::recipe::EvaluationRecipe;
use burn_vlm_train::report::{ModelScore, model_scores};
use burn_vlm_train::stats::{Axes, Bootstrap, Outcome};
use toml::{Table, Value};

/// Percent that right answers get at least. It is not 100 where people disagree (TextVQA), and where the rules do not understand a row
/// (ALM-Bench's cells, of which the fixtures have a quarter).
const RIGHT: f64 = 50.0;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All that are shipped.
fn suites() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("evaluations")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    paths.sort();
    assert!(paths.len() >= 4, "{paths:?}");
    paths
}

/// A folder with the files of all suites.
struct Made(tempfile::TempDir);

impl Made {
    fn new() -> Self {
        let made = Self(tempfile::tempdir().unwrap());
        made.parrot();
        made.parrot_general();
        made.towervision();
        made.translations();
        made.videos();
        made.multi_pixmo();
        made
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where a file goes, its folders made.
    fn place(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn copy(&self, fixture: &str, name: &str) {
        let from = root().join("tests/fixtures/eval").join(fixture);
        fs::copy(&from, self.place(name)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }

    fn draw(&self, name: &str) {
        fs::write(self.place(name), encode_png(&RgbImage::new(2, 2)).unwrap()).unwrap();
    }

    /// Draws a picture for each line of a file that is here.
    fn draw_all(&self, names: &str, folder: &str) {
        let names = fs::read_to_string(self.path().join(names)).unwrap();
        names.lines().for_each(|name| self.draw(&format!("{folder}/{name}")));
    }

    fn parrot(&self) {
        for tag in ["en", "cn", "pt", "ar", "tr", "ru"] {
            let set =
                if ["en", "cn"].contains(&tag) { format!("DEV_{tag}").to_uppercase() } else { format!("dev_{tag}") };
            self.copy(&format!("mmmb/data/mmmb_{tag}.tsv"), &format!("mmmb/mmmb_{tag}.tsv"));
            self.copy(&format!("mmbench_vlmeval/data/MMBench_{set}.tsv"), &format!("mmbench/mmbench_dev_{tag}.tsv"));
        }
    }

    fn parrot_general(&self) {
        for (folder, file) in
            [("mme", "MME"), ("mmstar", "MMStar"), ("scienceqa", "ScienceQA_TEST"), ("seedbench", "SEEDBench_IMG")]
        {
            self.copy(&format!("{folder}/data/{file}.tsv"), &format!("{file}.tsv"));
        }
        self.copy("realworldqa/data/test-00000-of-00001.parquet", "realworldqa/test-00000-of-00001.parquet");
    }

    fn towervision(&self) {
        self.copy("textvqa/data/validation-00000-of-00001.parquet", "textvqa/validation-00000-of-00001.parquet");
        self.copy("ocrbench/data/test-00000-of-00001.parquet", "OCRBench/test-00000-of-00001.parquet");
        let track = "multi_lan_ocr/test-00000-of-00001.parquet";
        self.copy(&format!("cc_ocr/data/{track}"), &format!("CC-OCR/{track}"));
        for language in
            ["Dutch", "English", "French", "German", "Italian", "Korean", "Portuguese", "Russian", "Spanish"]
        {
            let file = format!("{language}-00000-of-00001.parquet");
            self.copy(&format!("alm_bench/data/{file}"), &format!("ALM-Bench/{file}"));
        }
    }

    /// The fixtures have no Chinese translations; the German ones stand for them.
    fn translations(&self) {
        let split = "image_splits/test_2016_flickr.txt";
        self.copy(&format!("multi30k/data/{split}"), &format!("multi30k/{split}"));
        self.draw_all(&format!("multi30k/{split}"), "multi30k/flickr30k-images");
        for tag in ["en", "cs", "de", "fr"] {
            self.copy(&format!("multi30k/data/test_2016_flickr.{tag}"), &format!("multi30k/test_2016_flickr.{tag}"));
        }
        for (tag, from) in [("de", "de"), ("fr", "fr"), ("ru", "ru"), ("zh", "de")] {
            let (fixture, folder) = (format!("commute/data/en-{from}"), format!("CoMMuTE/en-{tag}"));
            for name in ["src.en", "img.order"] {
                self.copy(&format!("{fixture}/{name}"), &format!("{folder}/{name}"));
            }
            for name in ["correct", "incorrect"] {
                self.copy(&format!("{fixture}/{name}.{from}"), &format!("{folder}/{name}.{tag}"));
            }
            self.draw_all(&format!("{folder}/img.order"), "CoMMuTE/images");
        }
    }

    /// No fixture has videos: nobody has published an evaluator.
    fn videos(&self) {
        ["1", "2"].iter().for_each(|frame| self.draw(&format!("ViMUL-Bench/clip/{frame}.png")));
        let choice = r#"{"video": "clip", "question": "Was?", "options": ["rot", "blau"], "answer": "B"}"#;
        let open = r#"{"video": "clip", "question": "Was?", "answer": "Ein Fest"}"#;
        fs::write(self.place("ViMUL-Bench/vimulmcq_german.jsonl"), choice).unwrap();
        fs::write(self.place("ViMUL-Bench/vimuloe_german.jsonl"), open).unwrap();
    }

    /// The English files stand for their translations.
    fn multi_pixmo(&self) {
        for tag in ["en", "fr", "de", "it", "es"] {
            for (folder, file) in [
                ("mmbench_vlmeval", "MMBench_DEV"),
                ("scienceqa", "ScienceQA_TEST"),
                ("mme", "MME"),
                ("pope", "POPE"),
                ("ai2d", "AI2D_TEST"),
            ] {
                let from = if folder == "mmbench_vlmeval" { "MMBench_DEV_EN" } else { file };
                self.copy(&format!("{folder}/data/{from}.tsv"), &format!("multi_pixmo/{file}_{tag}.tsv"));
            }
        }
    }
}

fn text<'t>(table: &'t Table, key: &str) -> &'t str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn kinds_rules_and_languages_are_known() {
    for path in suites() {
        let suite = Suite::load(&path, None).unwrap();
        for table in &suite.benchmarks {
            let (name, kind) = (text(table, "name"), text(table, "kind"));
            let benchmark = benchmarks::find(kind).unwrap_or_else(|| panic!("{}: {name}: {kind}", path.display()));
            if let Some(rules) = table.get("rules") {
                let rules: Rules = rules.as_str().unwrap().parse().unwrap();
                assert!(benchmark.rules().contains(&rules), "{}: {name}: {kind} has no {rules}", path.display());
            }
            let from = suite.origins[name].from.as_deref().unwrap_or_default();
            assert!(!from.is_empty(), "{}: {name}: where is it published?", path.display());
        }
        for average in &suite.averages {
            for tag in &average.languages {
                assert_eq!(Language::parse(tag).unwrap().tag(), tag, "{}: {}", path.display(), average.name);
            }
        }
    }
}

/// The scores of the answers that a benchmark's questions are given.
fn scores(all: &Benchmarks, answer: impl Fn(&PublishedBenchmark, usize) -> Answer) -> Vec<ModelScore> {
    let axes = Axes::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for benchmark in all.iter() {
        let published = benchmark.published().unwrap();
        let answers: Vec<Answer> = (0..published.items().len()).map(|at| answer(published, at)).collect();
        let evaluated = Evaluated::new(benchmark, &answers).unwrap();
        outcomes.extend(evaluated.predictions.iter().flat_map(|prediction| prediction.outcomes(&axes, 0)));
    }
    model_scores(&all.metrics(), &outcomes, &Bootstrap::default()).unwrap()
}

/// The right answer, the best that a judge could give, and likelihoods of which the first, the right one's, is the highest.
fn right(benchmark: &PublishedBenchmark, at: usize) -> Answer {
    let item = &benchmark.items()[at];
    match benchmark.spec().question(item, benchmark.prompt()).ask {
        Ask::Generate { .. } => Answer { judge: Some("10".into()), ..Answer::text(item.answer()) },
        Ask::Likelihood { answers } | Ask::FirstToken { answers } => likely(answers.len()),
        Ask::Conversation { turns, .. } => likely(turns.len()),
    }
}

fn likely(answers: usize) -> Answer {
    Answer { reply: Some(Reply::Scores((1..=answers).map(|place| -(place as f64)).collect())), judge: None }
}

#[test]
fn files_fit_their_readers_and_replies_are_scored() {
    let made = Made::new();
    let corpus = EmojiCorpus::embedded().unwrap();
    for path in suites() {
        let place = path.display();
        let suite = Suite::load(&path, Some(made.path())).unwrap();
        assert_eq!(suite.missing().unwrap(), [], "{place}");
        // Every file with a checksum is among those that are read: each is told to be another one.
        let sums: usize = suite.origins.values().map(|origin| origin.md5.len() + origin.sha256.len()).sum();
        assert_eq!(suite.check_sums().unwrap().len(), sums, "{place}");

        let tables = suite.benchmarks.iter().cloned().map(Value::Table).collect();
        let recipe = Table::from_iter([("benchmark".to_owned(), Value::Array(tables))]);
        let recipe = EvaluationRecipe::from_table(recipe).unwrap();
        let all = Benchmarks::open(&recipe, &corpus, Path::new("")).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(all.iter().count(), suite.benchmarks.len(), "{place}");

        let of_right = scores(&all, right);
        let of_nothing = scores(&all, |_, _| Answer::default());
        for benchmark in all.iter() {
            let name = benchmark.name();
            // MMBench's rules leave rows without a reply out.
            let values = |scores: &[ModelScore]| -> BTreeMap<Option<String>, f64> {
                let of_first = scores.iter().filter(|score| score.metric == name);
                of_first.map(|score| (score.language.clone(), score.score)).collect()
            };
            let (best, worst) = (values(&of_right), values(&of_nothing));
            assert!(!best.is_empty(), "{place}: {name}");
            assert!(best.values().all(|score| *score >= RIGHT), "{place}: {name}: {best:?}");
            assert!(worst.values().all(|score| *score == 0.0), "{place}: {name}: {worst:?}");
        }
        for average in &suite.averages {
            let taken = average.of(&of_right).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(taken.score >= RIGHT && taken.n > 0, "{place}: {taken:?}");
        }
    }
}

/// The languages that TowerVision's tables have, each with questions.
#[test]
fn towervision_asks_in_the_languages_of_its_tables() {
    let made = Made::new();
    let suite = Suite::load(&root().join("evaluations/towervision.toml"), Some(made.path())).unwrap();
    let tables = suite.benchmarks.iter().cloned().map(Value::Table).collect();
    let recipe = Table::from_iter([("benchmark".to_owned(), Value::Array(tables))]);
    let recipe = EvaluationRecipe::from_table(recipe).unwrap();
    let all = Benchmarks::open(&recipe, &EmojiCorpus::embedded().unwrap(), Path::new("")).unwrap();
    for (name, tags) in [
        ("cc_ocr", &["de", "es", "fr", "it", "ko", "pt-BR", "ru"][..]),
        ("alm_bench", &["de", "en", "es", "fr", "it", "ko", "nl", "pt-BR", "ru"]),
        ("multi30k", &["cs", "de", "fr"]),
        ("commute", &["de", "fr", "ru", "zh-Hans"]),
    ] {
        let mut found = all.iter().find(|benchmark| benchmark.name() == name).unwrap().languages();
        found.sort();
        assert_eq!(found, tags, "{name}");
    }
}
