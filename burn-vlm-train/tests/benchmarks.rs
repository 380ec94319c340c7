//! A user's own questions as benchmarks by TOML alone: what is asked, what replies are worth, and every mistake one clear error.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use burn_vlm_data::emoji::EmojiCorpus;
use burn_vlm_data::image::{RgbImage, encode_png};
use burn_vlm_data::source::{FileSource, Source, SourceConfig};
use burn_vlm_train::ablation::Column;
use burn_vlm_train::error::Result;
use burn_vlm_train::eval::{Ask, Benchmark, Benchmarks, Prediction, Question, Reply};
use burn_vlm_train::recipe::EvaluationRecipe;

fn png(value: u8) -> Vec<u8> {
    encode_png(&RgbImage::from_fn(24, 24, |x, y| [value, (x * 9) as u8, (y * 7) as u8].into())).unwrap()
}

fn try_open(base: &Path, tables: &str) -> Result<Benchmarks> {
    let evaluation = EvaluationRecipe::from_table(toml::from_str(tables).unwrap())?;
    Benchmarks::open(&evaluation, &EmojiCorpus::embedded().unwrap(), base)
}

fn table(settings: &str) -> String {
    format!("[[benchmark]]\nname = 'mine'\n{settings}\n")
}

fn open(base: &Path, settings: &str) -> Benchmarks {
    try_open(base, &table(settings)).unwrap_or_else(|error| panic!("{settings}: {error}"))
}

fn only(benchmarks: &Benchmarks) -> &dyn Benchmark {
    benchmarks.iter().next().unwrap()
}

/// Two pictures with two questions each, in two languages.
fn questions_tsv(folder: &Path) {
    let mut text = String::from("index\tlang\timage\tquestion\tA\tB\tC\tanswer\n");
    for (at, lang) in ["en", "german"].iter().enumerate() {
        for picture in 0..2 {
            for part in 0..2 {
                let index = 10 * picture + part;
                let image = if part == 0 { STANDARD.encode(png(picture as u8)) } else { format!("{}", 10 * picture) };
                // The reference is looked up over the whole file: both languages show the same picture.
                let third = if part == 0 { "fig" } else { "" };
                let answer = ["B", "apple"][part];
                writeln!(text, "{index}\t{lang}\t{image}\tWhich {at}{picture}{part}?\tapple\tpear\t{third}\t{answer}")
                    .unwrap();
            }
        }
    }
    std::fs::write(folder.join("questions.tsv"), text).unwrap();
}

const TSV: &str =
    "kind = 'choice'\nfile = 'questions.tsv'\nlanguage_column = 'lang'\nlanguage_map = { german = 'de' }\n";

fn score(prediction: &Prediction, metric: &str) -> f64 {
    prediction.scores.iter().find(|score| score.protocol == metric).unwrap().score
}

#[test]
fn a_tsv_of_choices_is_asked_in_three_ways() {
    let folder = tempfile::tempdir().unwrap();
    questions_tsv(folder.path());
    let likelihood = open(folder.path(), TSV);
    let benchmark = only(&likelihood);
    assert_eq!(benchmark.languages(), ["de", "en"]);
    let question = &benchmark.questions()[0];
    assert_eq!((question.id.as_str(), question.turns[0].text.as_str()), ("mine/0/en", "<image>\nWhich 000?"));
    assert_eq!(question.ask, Ask::Likelihood { answers: ["apple", "pear", "fig"].map(str::to_owned).to_vec() });
    // Half have three options, half have two.
    let chance = benchmark.metrics()[0].chance.unwrap();
    assert!((chance - (100.0 / 3.0 + 50.0) / 2.0).abs() < 1e-9, "{chance}");
    let replies: Vec<Reply> = benchmark
        .questions()
        .iter()
        .map(|question| match &question.ask {
            Ask::Likelihood { answers } => Reply::Scores((0..answers.len()).map(|at| at as f64).collect()),
            other => panic!("{other:?}"),
        })
        .collect();
    let predictions = benchmark.predictions(&replies).unwrap();
    // The last option is chosen: fig where pear is right, pear where apple is.
    assert!(predictions.iter().all(|prediction| score(prediction, "mine") == 0.0));
    assert_eq!(predictions[0].understood.as_deref(), Some("C"));
    // What is resampled is the picture, in both languages the same.
    let groups: std::collections::BTreeSet<&str> = predictions.iter().map(|p| p.group.as_str()).collect();
    assert_eq!(groups.len(), 2);
    assert!(benchmark.predictions(&replies[1..]).unwrap_err().to_string().contains("expected 8 replies, found 7"));
    let texts = vec![Reply::Text("B".into()); 8];
    assert!(benchmark.predictions(&texts).unwrap_err().to_string().contains("found a text"));

    let letters = open(folder.path(), &format!("{TSV}protocol = 'letters'"));
    let german = &only(&letters).questions()[5];
    assert_eq!(german.turns[0].text, "<image>\nWhich 101?\nA. apple\nB. pear\nAntworte nur mit dem Buchstaben.");
    assert_eq!(german.ask, Ask::FirstToken { answers: vec!["A".into(), "B".into()] });

    let generate = open(folder.path(), &format!("{TSV}protocol = 'generate'\ninstruction = 'Letter:'"));
    let benchmark = only(&generate);
    assert!(benchmark.questions()[0].turns[0].text.ends_with("C. fig\nLetter:"));
    let replies =
        ["B", "It is an apple.", "(C)", "apple or pear", "B.", "A", "", "no"].map(|text| Reply::Text(text.into()));
    let predictions = benchmark.predictions(&replies).unwrap();
    let understood: Vec<Option<&str>> = predictions.iter().map(|p| p.understood.as_deref()).collect();
    assert_eq!(understood, [Some("B"), Some("A"), Some("C"), None, Some("B"), Some("A"), None, None]);
    let scores: Vec<f64> = predictions.iter().map(|p| score(p, "mine")).collect();
    assert_eq!(scores, [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn jsonl_and_parquet_are_benchmarks_too() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("images")).unwrap();
    std::fs::write(folder.path().join("images/a.png"), png(1)).unwrap();
    let lines = [
        r#"{"id": 1, "image": "a.png", "frage": "Was?", "options": ["Apfel", "Birne"], "answer": 1, "pair": "x"}"#,
        r#"{"id": 2, "frage": "Wer?", "options": ["er", "sie"], "answer": "sie", "pair": "x"}"#,
    ];
    std::fs::write(folder.path().join("q.jsonl"), lines.join("\n")).unwrap();
    let settings = "kind = 'choice'\nfile = 'q.jsonl'\nimage_root = 'images'\nlanguage = 'de'\n\
                    fields = { question = 'frage' }\ngroup_column = 'pair'";
    let opened = open(folder.path(), settings);
    let benchmark = only(&opened);
    assert_eq!(benchmark.questions()[0].media.len(), 1);
    assert_eq!(benchmark.questions()[1].turns[0].text, "Wer?");
    let replies = vec![Reply::Scores(vec![0.0, 1.0]); 2];
    let predictions = benchmark.predictions(&replies).unwrap();
    assert!(predictions.iter().all(|p| score(p, "mine") == 1.0 && p.group == "x"));

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/eval");
    let opened = open(&fixtures, "kind = 'choice'\nfile = 'ai2d/data/*.parquet'\nlanguage = 'en'\nlimit = 20");
    let benchmark = only(&opened);
    assert_eq!(benchmark.questions().len(), 20);
    assert!(benchmark.questions().iter().all(|question| question.media.len() == 1));
}

/// As written `None` is an option; as VLMEvalKit reads it, it is none, and a column of numbers with a hole has floats.
#[test]
fn cells_are_as_written_or_as_pandas_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "index\tquestion\tA\tB\tC\tD\tanswer\tgroup\n1\tHow many?\t17\t18\tnull\tNone\tA\tx\n\
                2\tWhich?\t3\tNA\t\tnan\tA\tx\n3\tWho?\t5\t6\t7\t8\tB\tx\n";
    std::fs::write(folder.path().join("kit.tsv"), rows).unwrap();
    let options = |settings: &str| -> Vec<Vec<String>> {
        let base = "kind = 'choice'\nfile = 'kit.tsv'\nlanguage = 'en'\nmax_skipped = 1\nprotocol = 'letters'\n";
        let opened = open(folder.path(), &format!("{base}{settings}"));
        let benchmark = only(&opened);
        let reply = |question: &Question| match &question.ask {
            Ask::FirstToken { answers } => Reply::Scores(vec![0.0; answers.len()]),
            other => panic!("{other:?}"),
        };
        let replies: Vec<Reply> = benchmark.questions().iter().map(reply).collect();
        benchmark.predictions(&replies).unwrap().into_iter().map(|prediction| prediction.options).collect()
    };
    // The second row has an option D without a C.
    assert_eq!(options(""), [vec!["17", "18", "null", "None"], vec!["5", "6", "7", "8"]]);
    assert_eq!(options("cells = 'as_written'"), options(""));
    // Only the second row has one option alone; where a column has a hole, its numbers are floats.
    let kit = options("cells = 'vlmevalkit'");
    assert_eq!(kit, [vec!["17", "18.0"], vec!["5", "6.0", "7.0", "8.0"]]);
    let error = try_open(folder.path(), &table("kind = 'choice'\nfile = 'kit.tsv'\nlanguage = 'en'\ncells = 'kit'"));
    let error = error.err().unwrap().to_string();
    assert!(error.contains("cells") || error.contains("vlmevalkit"), "{error}");
}

/// A number is a place from 0 for a benchmark as for training, even where another option reads so; of a text the option goes first.
#[test]
fn the_right_option_is_the_one_that_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    for (answer, right) in [("1", 1), ("\"1\"", 0), ("\"C\"", 2), ("\"0.0\"", 0), ("[2]", 2)] {
        for options in [r#""choices": ["1", "2", "3"]"#, r#""A": "1", "B": "2", "C": "3""#] {
            let line = format!(r#"{{"question": "Which?", {options}, "answer": {answer}}}"#);
            let path = folder.path().join("q.jsonl");
            std::fs::write(&path, line).unwrap();
            let opened = open(folder.path(), "kind = 'choice'\nfile = 'q.jsonl'\nlanguage = 'en'");
            let predictions = only(&opened).predictions(&[Reply::Scores(vec![0.0, 1.0, 2.0])]).unwrap();
            assert_eq!(predictions[0].answer, Some(right), "{options}, {answer}");
            let source = FileSource::open(SourceConfig::new("q", path.display().to_string())).unwrap();
            let trained = source.get(0).unwrap().answer().to_owned();
            let meant = [["A", "1"], ["B", "2"], ["C", "3"]][right];
            assert!(meant.contains(&trained.as_str()), "{options}, {answer}: {trained}");
        }
    }
    std::fs::write(folder.path().join("q.jsonl"), r#"{"question": "?", "choices": ["3", "4"], "answer": 3}"#).unwrap();
    let error = try_open(folder.path(), &table("kind = 'choice'\nfile = 'q.jsonl'\nlanguage = 'en'"));
    assert!(error.err().unwrap().to_string().contains("answer is 3, expected a place among 2 options"));
}

#[test]
fn short_answers_are_compared_and_come_near() {
    let folder = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"id": "a", "question": "Colour?", "answer": ["dark blue", "navy"]}"#,
        r#"{"id": "b", "question": "How many?", "answer": 3}"#,
    ];
    std::fs::write(folder.path().join("q.jsonl"), lines.join("\n")).unwrap();
    let settings = "kind = 'short_answer'\nfile = 'q.jsonl'\nlanguage = 'en'\ninstruction = 'In a word.'";
    let opened = open(folder.path(), settings);
    let benchmark = only(&opened);
    assert_eq!(benchmark.questions()[0].turns[0].text, "Colour?\nIn a word.");
    let replies = [Reply::Text("  NAVY ".into()), Reply::Text("three".into())];
    let predictions = benchmark.predictions(&replies).unwrap();
    assert_eq!(score(&predictions[0], "mine"), 1.0);
    assert_eq!((score(&predictions[1], "mine"), score(&predictions[1], "mine_chrf")), (0.0, 0.0));
    assert_eq!(predictions[1].references, ["3"]);
}

/// Answers as objects (VQAv2), options written into a string (MMMU), placeholders with numbers: as sources read them.
#[test]
fn questions_as_other_benchmarks_write_them() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    std::fs::create_dir(&images).unwrap();
    (1..3).for_each(|seed| std::fs::write(images.join(format!("{seed}.png")), png(seed)).unwrap());
    let write = |line: &str| std::fs::write(folder.path().join("q.jsonl"), line).unwrap();
    write(r#"{"question": "Colour?", "answers": [{"answer": "red", "answer_id": 1}, {"answer": "crimson"}]}"#);
    let opened = open(folder.path(), "kind = 'short_answer'\nfile = 'q.jsonl'\nlanguage = 'th'");
    let predictions = only(&opened).predictions(&[Reply::Text("crimson".into())]).unwrap();
    assert_eq!((score(&predictions[0], "mine"), predictions[0].references.len()), (1.0, 2));
    assert_eq!(predictions[0].language.as_deref(), Some("th"));
    write(
        r#"{"image_1": "1.png", "image_2": "2.png", "question": "Is <image 2> like <image_1>?", "options": "['yes', 'no']",
            "answer": "B"}"#
            .replace('\n', " ")
            .as_str(),
    );
    let settings = "kind = 'choice'\nfile = 'q.jsonl'\nlanguage = 'en'\nimage_root = 'images'";
    let opened = open(folder.path(), settings);
    let question = &only(&opened).questions()[0];
    assert_eq!(question.turns[0].text, "Is <image> like <image>?");
    let names: Vec<String> = burn_vlm_data::sample::pictures(&question.media).map(|picture| picture.name()).collect();
    assert!(names[0].ends_with("2.png") && names[1].ends_with("1.png"), "{names:?}");
    assert_eq!(question.ask, Ask::Likelihood { answers: vec!["yes".into(), "no".into()] });
}

#[test]
fn draws_are_seeded_and_keys_follow_the_content() {
    let folder = tempfile::tempdir().unwrap();
    questions_tsv(folder.path());
    let ids = |more: &str| -> Vec<String> {
        let opened = open(folder.path(), &format!("{TSV}{more}"));
        only(&opened).questions().iter().map(|question| question.id.clone()).collect()
    };
    let drawn = ids("limit = 3\nseed = 5");
    assert_eq!(drawn.len(), 6);
    let of = |language: &str| -> Vec<&str> { drawn.iter().filter_map(|id| id.strip_suffix(language)).collect() };
    assert_eq!(of("/en"), of("/de"));
    assert_eq!(drawn, ids("limit = 3\nseed = 5"));

    let key = || open(folder.path(), TSV).keys().unwrap()["mine"].clone();
    let before = key();
    assert_eq!(before, key());
    // Another answer, another picture: another key.
    let path = folder.path().join("questions.tsv");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\tB\n", "\tA\n", 1)).unwrap();
    let answer = key();
    assert_ne!(before, answer);
    std::fs::write(&path, text.replacen(&STANDARD.encode(png(0)), &STANDARD.encode(png(9)), 1)).unwrap();
    assert!(![before, answer].contains(&key()));
}

#[test]
fn each_mistake_is_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    questions_tsv(base);
    let write = |name: &str, text: &str| std::fs::write(base.join(name), text).unwrap();
    write("unanswered.tsv", "index\tquestion\tA\tB\n1\tWhat?\tx\ty\n");
    write("wrong.tsv", "index\tquestion\tA\tB\tanswer\n1\tWhat?\tx\ty\tA\n2\tWhat?\tx\ty\tE\n");
    write("same.tsv", "index\tquestion\tA\tB\tanswer\n1\tWhat?\tx\tx\tA\n");
    write("lost.tsv", "index\timage_path\tquestion\tA\tB\tanswer\n1\tno.png\tWhat?\tx\ty\tA\n");
    write("double.tsv", "index\tquestion\tA\tB\tanswer\n7\tWhat?\tx\ty\tA\n8\tWho?\tx\ty\tA\n7\tWhere?\tx\ty\tB\n");
    write("one.tsv", "index\tquestion\tA\tB\tanswer\n7\tWhat?\tx\ty\tA\n");
    write("triple.tsv", "index\tquestion\tA\tB\tanswer\n7\tWho?\tx\ty\tA\n");
    write(
        "double.jsonl",
        &["What?", "Who?"].map(|q| format!("{{\"id\":\"a\",\"question\":\"{q}\",\"answer\":\"x\"}}\n")).concat(),
    );
    let picture = STANDARD.encode(png(1));
    let row = |question: &str| format!("7\t{picture}\t{question}\tx\ty\tA\n");
    write("double_en.tsv", &format!("index\timage\tquestion\tA\tB\tanswer\n{}{}", row("What?"), row("Who?")));
    write("empty.tsv", "index\tquestion\tA\tB\tanswer\n");
    write("shown.jsonl", r#"{"question": "<image> What?", "options": ["x", "y"], "answer": "x"}"#);
    std::fs::create_dir(base.join("images")).unwrap();
    // Known before anything is trained, though the model sees pictures after that: pages that were saved as pictures.
    let shown = |image: &str| format!("index\timage\tquestion\tA\tB\tanswer\n1\t{image}\tWhat?\tx\ty\tA\n");
    write("saved.tsv", &shown(&STANDARD.encode("<html>not found</html>".repeat(20))));
    std::fs::write(base.join("images/page.png"), "<html>not found</html>").unwrap();
    write("page.tsv", &shown("page.png").replace("image", "image_path"));
    let choice = |file: &str| format!("kind = 'choice'\nlanguage = 'en'\nfile = '{file}'");
    let cases: Vec<(String, Vec<&str>)> = vec![
        ("kind = 'chioce'\nfile = 'x.tsv'".into(), vec!["unknown kind \"chioce\"", "did you mean `choice`?"]),
        ("file = 'x.tsv'".into(), vec!["`kind` is missing", "short_answer"]),
        (format!("{TSV}protocl = 'letters'"), vec!["unknown key `protocl`", "did you mean `protocol`?"]),
        (
            format!("{TSV}protocol = 'letter'"),
            vec!["mine", "`protocol = \"letter\"`", "unknown variant `letter`", "did you mean `letters`?"],
        ),
        (format!("{TSV}limit = 'all'"), vec!["\"mine\": `limit = \"all\"`", "invalid type", "expected"]),
        (format!("{TSV}limit = -1"), vec!["`limit = -1`"]),
        (
            format!("{TSV}language_map = 'de'").replacen("language_map = { german = 'de' }\n", "", 1),
            vec!["`language_map = "],
        ),
        (format!("{TSV}fields = {{ qestion = 'q' }}"), vec!["`fields = ", "qestion", "did you mean `question`?"]),
        ("kind = 'choice'\nlanguage = 'en'".into(), vec!["mine", "missing field `file`"]),
        (
            "kind = 'mmmb'\nfile = 'q_en.tsv'\nrules = 'vlmeval'".into(),
            vec!["`rules = \"vlmeval\"`", "did you mean `vlmevalkit`?"],
        ),
        ("kind = 'cloze'\nlanguages = ['en', 3]".into(), vec!["`languages = "]),
        (format!("{TSV}language = 'de'"), vec!["exclude each other"]),
        ("kind = 'choice'\nfile = 'questions.tsv'".into(), vec!["language = \"de\""]),
        (
            TSV.replace("german", "germn"),
            vec!["4 of 8 rows", "questions.tsv, line 6", "unknown_language", "\"german\""],
        ),
        (choice("none.tsv"), vec!["cannot read", "none.tsv"]),
        (choice("unanswered.tsv"), vec!["unanswered.tsv: no column \"answer\" (there are A, B, index, question)"]),
        (choice("wrong.tsv"), vec!["1 of 2 rows", "wrong.tsv, line 3 (id \"2\")", "answer \"E\" is neither"]),
        (choice("same.tsv"), vec!["two options read \"x\""]),
        (
            choice("double.tsv"),
            vec!["1 of 3 rows", "double.tsv, line 4 (id \"7\")", "its index \"7\" is that of", "double.tsv, line 2"],
        ),
        (choice("{one,triple}.tsv"), vec!["its index \"7\" is that of", "one.tsv, line 2"]),
        ("kind = 'short_answer'\nlanguage = 'en'\nfile = 'double.jsonl'".into(), vec!["its index \"a\" is that of"]),
        ("kind = 'mmmb'\nfile = 'double_en.tsv'".into(), vec!["its index \"7\" is that of"]),
        (choice("empty.tsv"), vec!["no question"]),
        (choice("lost.tsv"), vec!["lost.tsv, line 2", "missing_image", "set image_root"]),
        (format!("{}\nimage_root = 'images'", choice("lost.tsv")), vec!["line 2", "missing_image", "no.png"]),
        (format!("{}\nimage_root = 'pictures'", choice("lost.tsv")), vec!["image_root", "pictures"]),
        (choice("saved.tsv"), vec!["1 of 1 rows", "saved.tsv, line 2", "unreadable_image", "not a JPEG, PNG"]),
        (
            format!("{}\nimage_root = 'images'", choice("page.tsv")),
            vec!["page.tsv, line 2", "page.png: not a JPEG, PNG"],
        ),
        (choice("shown.jsonl"), vec!["1 placeholders for 0 pictures"]),
        (format!("{TSV}group_column = 'pair'"), vec!["no column \"pair\""]),
        (format!("{TSV}max_new_tokens = 0"), vec!["`max_new_tokens` must be at least 1"]),
        ("kind = 'mmmb'\nfile = 'questions.tsv'".into(), vec!["does not end with a language"]),
        ("kind = 'mmmb'\nfile = 'q_en.tsv'\nreader = 'lmms_eval'".into(), vec!["unknown key `reader`"]),
        ("kind = 'mmmb'\nfile = 'q_en.tsv'\nrules = 'deep-spin'".into(), vec!["mmmb has those of parrot-vlmevalkit"]),
        ("kind = 'mmmb'\nfile = 'q_en.tsv'\nprompt = 'lmms_eval'".into(), vec!["does not go with these rules"]),
        ("kind = 'cloze'\nlanguages = ['en', 'en']".into(), vec!["mine", "en"]),
    ];
    for (settings, words) in cases {
        let error =
            try_open(base, &table(&settings)).err().unwrap_or_else(|| panic!("{settings} is taken")).to_string();
        for word in words {
            assert!(error.contains(word), "{settings}\n-> {error}\nlacks {word}");
        }
    }
    // Rows may be left out where that is said, and are told.
    let opened = open(base, &format!("{}\nmax_skipped = 1", choice("wrong.tsv")));
    assert_eq!(only(&opened).questions().len(), 1);
    assert!(only(&opened).notes()[0].contains("wrong.tsv, line 3"), "{:?}", only(&opened).notes());

    let twice = format!("{}{}", table(TSV), table(TSV));
    let error = try_open(base, &twice).err().unwrap().to_string();
    assert!(error.contains("\"mine\"") && error.contains("another benchmark of this name"), "{error}");
}

#[test]
fn columns_must_be_able_to_show_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    questions_tsv(folder.path());
    let column = |name: &str, languages: &[&str]| Column {
        name: name.into(),
        languages: languages.iter().map(|tag| (*tag).to_owned()).collect(),
        description: String::new(),
        tags: BTreeMap::new(),
    };
    let own = open(folder.path(), TSV);
    let error = own.check_columns(&[]).unwrap_err().to_string();
    assert!(error.contains("no [[column]]") && error.contains("languages = [\"de\", \"en\"]"), "{error}");
    own.check_columns(&[column("Both", &["en", "de"])]).unwrap();
    let error = own.check_columns(&[column("En", &["en"]), column("Fr", &["fr", "en"])]).unwrap_err().to_string();
    assert!(error.contains("column \"Fr\" needs fr") && error.contains("first benchmark \"mine\""), "{error}");

    let cloze = "[[benchmark]]\nname = 'cloze'\nkind = 'cloze'\nlanguages = ['en', 'fr']\nseen = 2\nunseen = 2\n";
    let both = try_open(folder.path(), &format!("{cloze}{}", table(TSV))).unwrap();
    both.check_columns(&[column("En", &["en"]), column("Multi", &["en", "fr"])]).unwrap();
    let error = both.check_columns(&[column("Multi", &["en", "fr"])]).unwrap_err().to_string();
    for word in ["\"mine\" has questions in de, en", "`Multi` needs fr", "add a column"] {
        assert!(error.contains(word), "{error}");
    }
}

/// A file of short answers, of these records, with a picture `red.png` and something that is called a video.
fn short_answers(folder: &Path, records: serde_json::Value) -> String {
    std::fs::write(folder.join("red.png"), png(200)).unwrap();
    std::fs::write(folder.join("a.mp4"), "frames are chosen later").unwrap();
    std::fs::write(folder.join("short.json"), records.to_string()).unwrap();
    "kind = 'short_answer'\nfile = 'short.json'\nlanguage = 'en'\nimage_root = '.'\n".to_owned()
}

/// Pictures and videos of a row stand where its placeholders are; `<image>` may stand for a video, as in LLaVA's files.
#[test]
fn rows_show_pictures_and_videos() {
    let folder = tempfile::tempdir().unwrap();
    let record = |id: u32, question: &str| serde_json::json!({"id": id, "question": question, "image": "red.png", "video": "a.mp4", "answer": "yes"});
    let mut alone = record(3, "<image>\nWhat?");
    alone.as_object_mut().unwrap().remove("image");
    let records = [record(0, "<video> after <image>?"), record(1, "Both?"), record(2, "<image>, <image>?"), alone];
    let benchmarks = open(folder.path(), &short_answers(folder.path(), records.into()));
    let benchmark = only(&benchmarks);
    let video = |question: &Question| -> Vec<bool> {
        question.media.iter().map(|medium| matches!(medium, burn_vlm_data::sample::Media::Video(_))).collect()
    };
    let asked: Vec<(&str, Vec<bool>)> =
        benchmark.questions().iter().map(|question| (question.turns[0].text.as_str(), video(question))).collect();
    assert_eq!(
        asked,
        [
            ("<video> after <image>?", vec![true, false]),
            ("<image>\n<video>\nBoth?", vec![false, true]),
            ("<image>, <video>?", vec![false, true]),
            ("<video>\nWhat?", vec![true]),
        ]
    );
    let replies = vec![Reply::Text("yes".into()); 4];
    let shown: Vec<String> =
        benchmark.predictions(&replies).unwrap().into_iter().map(|prediction| prediction.question).collect();
    assert_eq!(shown, ["after ?", "Both?", ", ?", "What?"]);

    let mut lost = record(0, "What?");
    lost["video"] = "none.mp4".into();
    let mut pictures = record(0, "<video>?");
    pictures.as_object_mut().unwrap().remove("video");
    for (record, words) in [
        (lost, ["element 0", "missing_video: \"none.mp4\""]),
        (pictures, ["element 0", "1 pictures and 0 videos"]),
        (record(0, "<video>?"), ["element 0", "1 placeholders for 2 pictures and videos"]),
    ] {
        let settings = short_answers(folder.path(), vec![record].into());
        let error = try_open(folder.path(), &table(&settings)).err().unwrap().to_string();
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
    }
}

/// What stands in a file and is not read is said once, and not of what somebody has decided not to read.
#[test]
fn unknown_columns_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let record = |id: u32| {
        serde_json::json!({"id": id, "question": "What?", "hint": "", "image": "red.png", "answer": "yes", "vidoe": "a.mp4",
                           "split": "test", "empty": null})
    };
    let settings = short_answers(folder.path(), vec![record(0), record(1)].into());
    let notes = only(&open(folder.path(), &settings)).notes();
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    for word in ["\"split\" (2 rows), \"vidoe\" (2 rows);", "question", "answers", "video", "ignore"] {
        assert!(note.contains(word), "{word}: {note}");
    }
    assert!(!note.contains("empty") && !note.contains("hint\" ("), "{note}");
    let ignoring = format!("{settings}fields = {{ ignore = ['split', 'vidoe'] }}\n");
    assert_eq!(only(&open(folder.path(), &ignoring)).notes(), [""; 0]);
    // Options are a choice's own columns, in a table too.
    questions_tsv(folder.path());
    assert_eq!(only(&open(folder.path(), TSV)).notes(), [""; 0]);
}
