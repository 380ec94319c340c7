//! Pages of made-up answers, some of them hostile.

use std::collections::BTreeMap;

use burn_vlm_eval::{Flag, PromptStyle, Rules};
use serde_json::{Value, json};

use super::*;
use crate::eval::{Metric, NamedScore, OtherRules, OtherVerdict, PublishedInfo, compare};
use crate::report::ExamplePicture;
use crate::stats::Bootstrap;

const EVIL: &str = "</div></td></table><script>alert('1')</script>\"&\u{202e}";
const LANGUAGES: [&str; 3] = ["en", "ar", "zh-Hans"];
const CATEGORIES: [&str; 3] = ["Color", "Counting", "Position"];
/// Few replicates: these tests are about pages, and not about the ends of intervals.
const QUICK: Bootstrap = Bootstrap { seed: 0, replicates: 200 };

fn metric(name: &str, label: &str, chance: Option<f64>) -> Metric {
    Metric { name: name.into(), label: label.into(), explanation: format!("What {label} means."), chance }
}

/// A choice of four: right by a pattern, prefers A, every eleventh reply is not understood.
fn choice(number: usize, skill: usize) -> Prediction {
    let answer = number * 7 % 4;
    let (given, flags) = match (number * 3 + skill) % 10 {
        _ if number % 11 == 3 => (None, vec!["invalid".to_owned()]),
        luck if luck < 4 + skill => (super::text::letter(answer), Vec::new()),
        _ => (Some('A'), Vec::new()),
    };
    let right = given == super::text::letter(answer);
    let question = match number % 3 {
        1 => "ما لون الكرة؟",
        2 => "球是什么颜色？",
        _ => "What colour is the ball in the picture?",
    };
    Prediction {
        language: Some(LANGUAGES[number % 3].into()),
        picture: format!("{}.png", number / 3),
        question: format!("{question} {number}"),
        options: ["red", "أخضر", "blue", "黄色"].map(str::to_owned).to_vec(),
        answer: Some(answer),
        tags: BTreeMap::from([
            ("category".to_owned(), CATEGORIES[number / 3 % 3].to_owned()),
            ("part".to_owned(), format!("mmmb_{}", number % 3)),
        ]),
        text: Some(
            given.map_or_else(|| "I would say the ball is **red**, or B.".to_owned(), |letter| format!("{letter}.")),
        ),
        understood: given.map(String::from),
        flags,
        scores: vec![
            NamedScore::right("mmmb", right),
            NamedScore::right("mmmb_strict", right && number.is_multiple_of(2)),
        ],
        ..Prediction::new(format!("mmmb/{number}"), "mmmb", format!("picture {}", number / 3))
    }
}

fn free(number: usize) -> Prediction {
    let (language, question, text) = match number % 3 {
        0 => ("en", "Describe the picture.", "A small brown dog sits on a red carpet."),
        1 => ("ar", "صف الصورة.", "كلب بني صغير يجلس على سجادة حمراء."),
        _ => ("ar", "صف الصورة.", "A small brown dog sits on a red carpet."),
    };
    Prediction {
        language: Some(language.into()),
        question: question.into(),
        references: vec!["A dog on a carpet.".into()],
        text: Some(text.into()),
        understood: Some(text.into()),
        scores: vec![NamedScore::new("described", 0.1 * (number % 11) as f64)],
        ..Prediction::new(format!("described/{number}"), "described", number.to_string())
    }
}

fn published() -> Evaluated {
    let predictions: Vec<Prediction> = (0..180).map(|number| choice(number, 2)).collect();
    let verdict = |prediction: &Prediction| {
        let number: usize = prediction.id.trim_start_matches("mmmb/").parse().ok()?;
        let right = prediction.scores[0].score == 1.0 || prediction.flags.len() == 1;
        (number != 17).then(|| OtherVerdict {
            understood: prediction.understood.clone().or(Some("B".into())),
            scores: vec![("strict", 0.0), ("hit", f64::from(u8::from(right)))],
            flags: if number == 3 { vec![Flag::RandomInReference] } else { Vec::new() },
        })
    };
    Evaluated {
        rows: Vec::new(),
        benchmark: "mmmb".into(),
        published: Some(PublishedInfo {
            kind: "mmmb",
            about: "MMMB: multiple choice",
            rules: Rules::ParrotVlmevalkit,
            prompt: PromptStyle::Parrot,
        }),
        questions: 190,
        metrics: vec![metric("mmmb", "mmmb, accuracy", Some(25.0)), metric("mmmb_strict", "mmmb, strict", None)],
        others: vec![OtherRules {
            rules: Rules::Vlmevalkit,
            totals: json!({"Overall": 0.5}),
            metrics: vec![metric("mmmb", "mmmb, accuracy", Some(25.0)), metric("mmmb_strict", "mmmb, strict", None)],
            verdicts: predictions.iter().map(verdict).collect(),
            notes: vec!["drops one".into()],
        }],
        predictions,
        totals: json!({"mmmb_en": {"Overall": 0.61, "Color": [1, 2]}, "split": "test"}),
        notes: vec!["mmmb: 10 rows of no language".into(), "mmmb: 10 rows of no language".into()],
    }
}

fn described() -> Evaluated {
    Evaluated {
        rows: Vec::new(),
        benchmark: "described".into(),
        published: None,
        questions: 33,
        metrics: vec![metric("described", "described, chrF", None)],
        predictions: (0..33).map(free).collect(),
        totals: Value::Null,
        others: Vec::new(),
        notes: Vec::new(),
    }
}

fn picture(prediction: &Prediction) -> Option<ExamplePicture> {
    (!prediction.picture.is_empty()).then(|| ExamplePicture {
        media_type: "image/png".into(),
        bytes: vec![0, 1, 2],
        description: prediction.picture.clone(),
    })
}

fn html_of(evaluated: &[Evaluated]) -> String {
    let scores = evaluation_scores(evaluated, &QUICK).unwrap();
    let average = NamedAverage {
        name: "Table 1".into(),
        explanation: "As the paper quotes it.".into(),
        of: vec!["mmmb (en)".into()],
        n: 60,
        score: 61.5,
        low: 50.0,
        high: 70.25,
    };
    evaluation_html(&EvaluationReport {
        title: "MMMB and more",
        model: "runs/<model>",
        command: "burn-vlm evaluate suite.toml",
        commit: "abc",
        device: "cpu",
        finished: "today",
        evaluated,
        scores: &scores,
        averages: &[average],
        notes: &[],
        seed: 1,
        pictures: &picture,
    })
}

/// Every element that is opened is closed by its own end, in order; nothing of the kind that could load or run is there.
fn well_formed(page: &str) {
    const VOID: [&str; 5] = ["meta", "img", "br", "!doctype", "link"];
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let (inner, _) = tag.split_once('>').unwrap_or_else(|| panic!("an open tag: {tag}"));
        let name = inner.split([' ', '\n', '/']).find(|part| !part.is_empty()).unwrap_or_default();
        if inner.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{}", &tag[..tag.len().min(120)]);
        } else if !inner.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
    for outside in ["http:", "https:", "<script", "<link", "<iframe", "@import", "url(h", " onerror", "javascript:"] {
        assert!(!without_namespace.contains(outside), "the page has `{outside}`");
    }
}

#[test]
fn scores_have_their_parts_languages_and_rules() {
    let evaluated = [published(), described()];
    let scores = evaluation_scores(&evaluated, &QUICK).unwrap();
    let mean = |list: &[f64]| 100.0 * list.iter().sum::<f64>() / list.len() as f64;
    let of = |keep: &dyn Fn(&Prediction) -> bool| -> Vec<f64> {
        evaluated[0].predictions.iter().filter(|p| keep(p)).map(|p| p.scores[0].score).collect()
    };
    let find = |keep: &dyn Fn(&EvaluationScore) -> bool| {
        let found: Vec<&EvaluationScore> =
            scores.iter().filter(|s| s.first && s.benchmark == "mmmb" && keep(s)).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].score.clone()
    };
    // Rounded to six digits.
    let same = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
    let arabic = find(&|s| s.own && s.score.language.as_deref() == Some("ar"));
    same(arabic.score, mean(&of(&|p| p.language.as_deref() == Some("ar"))));
    assert_eq!((arabic.n, arabic.chance), (60, Some(25.0)));
    let color = find(&|s| s.tag == Some(("category".into(), "Color".into())));
    // As many items in every language, so that the mean of the languages is that of the items.
    same(color.score, mean(&of(&|p| p.tags["category"] == "Color")));
    let all = find(&|s| s.in_all());
    same(all.score, mean(&of(&|_| true)));
    assert!(all.low < all.score && all.score < all.high);
    // The parts are the languages once more.
    assert!(scores.iter().all(|score| score.tag.as_ref().is_none_or(|(name, _)| name == "category")));
    let theirs = find(&|s| !s.own && s.score.language.is_none());
    assert_eq!(theirs.n, 179, "the item that they drop is not counted");
    assert!(theirs.score > all.score, "theirs give credit for what was not understood");
    let by_key = scores.iter().filter(|score| !score.own).all(|score| score.first);
    assert!(by_key, "other rules are scored by their first metric, whatever comes first in a verdict");
    assert!(evaluation_scores(&[], &QUICK).unwrap().is_empty());
}

#[test]
fn a_score_of_another_scale_is_refused() {
    let mut one = described();
    one.predictions[3].scores[0].score = 70.0;
    assert!(matches!(evaluation_scores(&[one], &QUICK), Err(crate::report::ReportError::Stats(_))));
}

#[test]
fn the_page_has_its_sections_and_needs_nothing_else() {
    let page = html_of(&[published(), described()]);
    well_formed(&page);
    for id in [
        "scores",
        "languages",
        "categories",
        "rules",
        "answers",
        "letters",
        "fidelity",
        "examples",
        "notes",
        "provenance",
    ] {
        assert!(page.contains(&format!("<h2 id=\"{id}\">")), "no section {id}");
        assert!(page.contains(&format!("href=\"#{id}\"")), "no link to {id}");
    }
    for text in [
        "Evaluation of <code>runs/&lt;model&gt;</code>",
        "2 benchmarks, 223 questions.",
        "parrot-vlmevalkit",
        "of 190 questions",
        "mmmb_en / Color / 2",
        "data:image/png;base64,AAEC",
        "lang=\"ar\" dir=\"auto\"",
        "understood: nothing",
        "<li class=\"flag\">invalid</li>",
        "random in reference",
        "mmmb, by the rules vlmevalkit: drops one",
        "In no benchmark: no reply, read as missing, random in reference, judge failed.",
        "17 of 180 replies understood in another way",
        "Mean of: mmmb (en).",
    ] {
        assert!(page.contains(text), "no `{text}`");
    }
    assert_eq!(page.matches("10 rows of no language").count(), 1);
    assert_eq!(page, html_of(&[published(), described()]), "the same input gave another page");
}

#[test]
fn what_is_not_there_has_no_section() {
    let mut bare = published();
    bare.others.clear();
    bare.notes.clear();
    bare.totals = Value::Null;
    for prediction in &mut bare.predictions {
        prediction.tags.clear();
        prediction.language = None;
        prediction.options.clear();
        prediction.answer = None;
    }
    let page = html_of(&[bare]);
    well_formed(&page);
    for id in ["languages", "categories", "rules", "letters", "fidelity", "notes"] {
        assert!(!page.contains(&format!("<h2 id=\"{id}\">")), "a section {id} about nothing");
    }
    let mut nothing = described();
    nothing.predictions.clear();
    let page = html_of(&[nothing]);
    well_formed(&page);
    assert!(page.contains("of 33 questions"), "that nothing is scored must be seen");
    well_formed(&html_of(&[]));
}

#[test]
fn items_beyond_the_table_are_counted() {
    let mut one = published();
    let mut more = (0..180).map(|number| choice(number, 0)).collect::<Vec<_>>();
    more.iter_mut().for_each(|item| item.id.push('b'));
    one.predictions.extend(more);
    let wrong = || OtherVerdict { understood: None, scores: vec![("hit", 0.0)], flags: Vec::new() };
    one.others[0].verdicts = one.predictions.iter().map(|_| Some(wrong())).collect();
    let differ = one.differing(&one.others[0]).count();
    assert!(differ > 100);
    let page = html_of(&[one]);
    assert!(page.contains(&format!("{} more items not shown", differ - 50)));
    assert_eq!(page.matches("<td data-label=\"Reply\">").count(), 50);
}

/// Everything that can be hostile is.
fn hostile() -> Evaluated {
    let mut one = published();
    let evil = EVIL.to_owned();
    (one.benchmark, one.notes, one.totals) = (evil.clone(), vec![evil.clone()], json!({ EVIL: EVIL }));
    one.others[0].notes = vec![evil.clone()];
    one.others[0].totals = json!({ EVIL: EVIL });
    for metric in one.metrics.iter_mut().chain(&mut one.others[0].metrics) {
        (metric.label, metric.explanation) = (evil.clone(), evil.clone());
    }
    for (number, prediction) in one.predictions.iter_mut().enumerate() {
        prediction.benchmark = evil.clone();
        prediction.question = evil.clone();
        prediction.text = Some(evil.clone());
        prediction.picture = evil.clone();
        prediction.id = format!("{EVIL}{number}");
        prediction.options[1] = evil.clone();
        prediction.tags.insert(EVIL.into(), format!("{EVIL}{}", number % 2));
        prediction.language = Some(if number % 3 == 0 { "en".into() } else { evil.clone() });
        if number % 5 == 0 {
            (prediction.understood, prediction.flags) = (Some(evil.clone()), vec![evil.clone()]);
        }
    }
    one
}

#[test]
fn the_page_escapes_everything() {
    let mut free = described();
    for prediction in &mut free.predictions {
        prediction.references = vec![EVIL.into()];
        prediction.text = Some(format!("What a fine sentence this is {EVIL}"));
        prediction.understood = None;
    }
    let page = html_of(&[hostile(), free]);
    well_formed(&page);
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"));
}

#[test]
fn csv_has_a_line_for_each_score() {
    let evaluated = [published(), described()];
    let scores = evaluation_scores(&evaluated, &QUICK).unwrap();
    let bytes = scores_csv(&scores).unwrap();
    let mut reader = ::csv::Reader::from_reader(&bytes[..]);
    let head = "benchmark,rules,metric,language,category,n,score,low,high,chance";
    assert_eq!(reader.headers().unwrap().iter().collect::<Vec<_>>().join(","), head);
    let lines: Vec<Vec<String>> =
        reader.records().map(|line| line.unwrap().iter().map(str::to_owned).collect()).collect();
    assert_eq!(lines.len(), scores.len());
    let start = |line: &[String]| line[..6].join(",");
    assert_eq!(start(&lines[0]), "mmmb,parrot-vlmevalkit,mmmb,,,180");
    assert_eq!(start(&lines[1]), "mmmb,parrot-vlmevalkit,mmmb,ar,,60");
    assert!(lines.iter().any(|line| start(line) == "mmmb,parrot-vlmevalkit,mmmb,,category=Color,60"));
    assert!(lines.iter().any(|line| start(line) == "mmmb,vlmevalkit,mmmb,,,179"));
    assert_eq!(start(&lines[lines.len() - 3]), "described,,described,,,33");
    assert_eq!(lines[0][6].parse::<f64>().unwrap(), scores[0].score.score);
}

fn compare_page(a: &[Prediction], b: &[Prediction], metrics: &[Metric]) -> (String, String) {
    let comparison = compare(a, b, metrics, &QUICK).unwrap();
    let html = compare_html(&CompareReport {
        title: "A and B",
        names: ["runs/<a>", EVIL],
        command: "burn-vlm evaluate --compare",
        commit: "",
        device: "",
        finished: "",
        comparison: &comparison,
        metrics,
        pictures: &picture,
    });
    (html, comparison_markdown(&comparison))
}

#[test]
fn a_comparison_names_what_differs_and_what_is_missing() {
    let mut a: Vec<Prediction> = (0..180).map(|number| choice(number, 0)).collect();
    let mut b: Vec<Prediction> = (0..180).map(|number| choice(number, 4)).collect();
    a.extend((0..33).map(free));
    b.extend((0..33).map(|number| {
        let item = free(number);
        Prediction { scores: vec![NamedScore::new("described", 0.05 * (number % 11) as f64)], ..item }
    }));
    a.remove(5);
    b.retain(|item| item.id != "mmmb/7");
    let metrics: Vec<Metric> = [published().metrics, described().metrics].concat();
    let (page, markdown) = compare_page(&a, &b, &metrics);
    well_formed(&page);
    for id in ["differences", "languages", "changed", "unpaired", "metrics", "provenance"] {
        assert!(page.contains(&format!("<h2 id=\"{id}\">")), "no section {id}");
    }
    for text in [
        "1 item only in A",
        "1 item only in B",
        "mmmb, mmmb/7 (mmmb, mmmb_strict)",
        "better in B",
        "more items not shown",
    ] {
        assert!(page.contains(text), "no `{text}`");
    }
    let lines: Vec<&str> = markdown.lines().collect();
    assert!(lines[0].starts_with("| Metric "), "{markdown}");
    let table = lines.iter().take_while(|line| line.starts_with('|')).count();
    assert_eq!(table, 2 + 4 + 4 + 3, "{markdown}");
    assert!(lines[..table].iter().all(|line| line.chars().count() == lines[0].chars().count()), "{markdown}");
    assert!(markdown.contains("1 item that only A has, not compared: mmmb/7"), "{markdown}");
    assert!(markdown.contains("| described, chrF |") && markdown.contains(" higher |"), "{markdown}");
}

#[test]
fn a_comparison_escapes_everything_and_says_when_nothing_changed() {
    let hostile = hostile();
    let mut other = hostile.predictions.clone();
    other.iter_mut().for_each(|item| item.scores.iter_mut().for_each(|score| score.score = 1.0 - score.score));
    let (page, markdown) = compare_page(&hostile.predictions, &other, &hostile.metrics);
    well_formed(&page);
    assert!(page.contains("&lt;script&gt;"));
    assert_eq!(markdown.lines().take_while(|line| line.starts_with('|')).count(), 2 + 2 * 3, "{markdown}");
    let same = described();
    let (page, _) = compare_page(&same.predictions, &same.predictions, &same.metrics);
    assert!(
        page.contains("None: every item has the same score") && page.contains("None: both sides have the same items")
    );
}
