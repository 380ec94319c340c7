//! `burn-vlm study --all`: every study in a folder of its own and a page over all of them; one that fails stops no other; and what a
//! study lacks is listed, with how to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn_vlm_experiments::STUDIES;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn study(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.arg("study").args(args).current_dir(root()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn said(args: &[&str]) -> String {
    let output = study(args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// The page with what a study shows in it: from its heading to the next one.
fn part<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, from) = page.split_once(&format!("<h2 id=\"{name}\">")).unwrap_or_else(|| panic!("no {name} in {page}"));
    from.split_once("<h2 ").map_or(from, |(part, _)| part)
}

#[test]
fn the_page_has_what_is_there_of_every_study() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_string_lossy().into_owned();
    let all = ["--all", "--preset", "smoke", "--device", "flex", "--quiet", "--out", &out];
    // One study is finished before, one cannot be: its folder holds another.
    let own = |name: &str| folder.path().join(name);
    let first = own("encoder").to_string_lossy().into_owned();
    said(&["encoder", "--preset", "smoke", "--device", "flex", "--quiet", "--out", &first]);
    fs::create_dir(own("parrot_scale")).unwrap();
    fs::write(own("parrot_scale").join("experiment.json"), r#"{"study": "mine", "preset": "tiny"}"#).unwrap();
    let output = study(&[&all[..], &["--merge"]].concat());
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains(&format!("1 of {} studies failed", STUDIES.len())) && error.contains("parrot_scale: "),
        "{error}"
    );

    let page = fs::read_to_string(folder.path().join("index.html")).unwrap();
    let encoder = part(&page, "encoder");
    for words in ["· finished<", "<b>Here</b>: Nothing is concluded", "Table 5", "<svg", "href=\"encoder/report.html\""]
    {
        assert!(encoder.contains(words), "no {words:?} in {encoder}");
    }
    let scale = part(&page, "parrot_scale");
    assert!(scale.contains("· failed<") && scale.contains("study `mine`") && !scale.contains("report.html"), "{scale}");
    for name in ["parrot", "parrot_languages", "parrot_encoder"] {
        let other = part(&page, name);
        assert!(other.contains("· not begun<") && other.contains("Parrot"), "{other}");
    }
    for outside in ["http:", "https:", "<script", "<link", "@import"] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(outside), "the page has `{outside}`");
    }
    let md = fs::read_to_string(folder.path().join("index.md")).unwrap();
    for words in ["| `encoder` |", "([report](encoder/report.html)) | finished |", "| failed |", "| not begun |"] {
        assert!(md.contains(words), "no {words:?} in {md}");
    }
    assert!(md.contains("**Failed**: ") && md.contains("(encoder/plots/scores.svg)"), "{md}");
    assert!(own("encoder/plots/scores.svg").is_file());

    // A part of each study: every run takes its share, and the page says how far they are. Only the folder that was in the way fails.
    let output = study(&[&all[..], &["--shard", "1/9"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let page = fs::read_to_string(folder.path().join("index.html")).unwrap();
    assert!(part(&page, "encoder").contains("· finished<"));
    assert!(part(&page, "parrot_encoder").contains("· 1 of 4 cells finished<"), "{}", part(&page, "parrot_encoder"));
    assert!(part(&page, "parrot").contains("· 1 of 9 cells finished<"), "{}", part(&page, "parrot"));
}

#[test]
fn all_studies_are_planned() {
    let plan = said(&["--all", "--preset", "tiny", "--dry-run", "--on", "a100"]);
    for study in &STUDIES {
        assert!(plan.contains(&format!("{}:\n", study.file)), "{plan}");
    }
    // A cell that another study has too is trained once.
    assert_eq!(plan.matches("`finetune` of parrot_languages: ").count(), 7, "{plan}");
    let todo = plan.matches("\nto do: about ").count();
    assert_eq!(todo, STUDIES.len());
    assert!(plan.lines().last().unwrap().starts_with("all studies: about "), "{plan}");
    // Some of them, with what they share.
    let plan = said(&["parrot_languages", "parrot_monolingual", "--preset", "tiny", "--dry-run", "--on", "a100"]);
    assert_eq!(
        (plan.matches("\nto do: about ").count(), plan.matches("`finetune` of parrot_languages: ").count()),
        (2, 7)
    );
    let refused = study(&["--all", "encoder"]);
    assert_eq!(refused.status.code(), Some(2));
    // A preset that no study has is a failure of each.
    let output = study(&["--all", "--preset", "huge", "--dry-run", "--on", "a100"]);
    let error = text(&output.stderr);
    assert!(error.contains(&format!("{0} of {0} studies failed", STUDIES.len())) && error.contains("huge"), "{error}");
}

/// A study of published parts, data and benchmarks, of which nothing is there.
fn published(folder: &Path) -> String {
    let repository = root();
    let data = |name: &str| repository.join("recipes/data").join(name);
    let text = format!(
        r#"
name = "published"
title = "Published"

[recipe]
stages = ["align", "finetune"]
[recipe.model]
encoder = "siglip1"
backbone = "backbone"
[recipe.stage.align]
objective = "vlm"
steps = 4
batch = 4
train = {{ multi_modal_projector = 1e-3 }}
mixture = {{ file = {pixmo:?} }}
[recipe.stage.finetune]
objective = "vlm"
steps = 8
batch = 4
train = {{ multi_modal_projector = 1e-3, language_model = 1e-5 }}
mixture = {{ file = {llava:?} }}

[evaluation]
languages = ["en"]
cloze = "likelihood"
seen = 4
unseen = 0

[presets.tiny]

[presets.paper]
evaluation = {{ _replace = true, batch = 8 }}
suite = {{ file = {suite:?}, data = "benchmarks", only = ["mmmb"] }}
columns = {{ En = ["en", "zh-Hans", "pt-BR", "ar", "tr", "ru"] }}

[presets.paper.patch.model]
encoder = "siglip2-so400m-patch14-384"
backbone = "Tower-Plus-2B"

[[axis]]
name = "length"
values = [{{ name = "short" }}, {{ name = "long", patch = {{ stage = {{ finetune = {{ steps = 16 }} }} }} }}]

[[column]]
name = "En"
languages = ["en"]
"#,
        pixmo = data("pixmo-cap.toml"),
        llava = data("llava-finetune.toml"),
        suite = repository.join("evaluations/parrot.toml"),
    );
    let file = folder.join("published.toml");
    fs::write(&file, text).unwrap();
    file.to_string_lossy().into_owned()
}

/// What stands in the list of what is missing, however it is asked for.
const MISSING: [&str; 8] = [
    "that the study needs are not there:",
    "hf download google/siglip2-so400m-patch14-384 --local-dir",
    "hf download Unbabel/Tower-Plus-2B --local-dir",
    ": PixMo-Cap",
    "training data; published: Hugging Face data set liuhaotian/LLaVA-Instruct-150K",
    "llava_v1_5_mix665k.json",
    "benchmarks; published: Hugging Face data set AIDC-AI/Parrot-dataset, folder mmmb",
    "mmmb_ru.tsv",
];

#[test]
fn what_is_missing_is_listed_with_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = published(folder.path());
    let plan = said(&[&file, "--preset", "paper", "--dry-run", "--on", "h100x8"]);
    for words in MISSING {
        assert!(plan.contains(words), "no {words:?} in {plan}");
    }
    // Tokens, operations and memory are those of the published shapes.
    let line = plan.lines().find(|line| line.starts_with("short ")).unwrap();
    assert!(line.contains("FLOP") && line.contains(" GB ") && line.contains("files to be had"), "{plan}");
    assert!(!line.contains('?') && plan.contains("takes `align` of short/seed0"), "{plan}");
    assert!(plan.lines().any(|line| line.starts_with("to do: about ") && line.contains("FLOP")), "{plan}");
    // The same list is the one error of a run, and nothing is begun.
    let out = folder.path().join("out");
    let output = study(&[&file, "--preset", "paper", "--device", "flex", "--out", &out.to_string_lossy()]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert_eq!(error.lines().filter(|line| line.starts_with("error:")).count(), 1, "{error}");
    for words in MISSING {
        assert!(error.contains(words), "no {words:?} in {error}");
    }
    assert!(!out.exists());
    // A part that nobody knows leaves figures open, and what is not known is said.
    let other = fs::read_to_string(&file).unwrap().replace("\"Tower-Plus-2B\"", "\"nobodys-2B\"");
    fs::write(&file, other).unwrap();
    let plan = said(&[&file, "--preset", "paper", "--dry-run", "--on", "h100"]);
    assert!(plan.contains(" ? ") && plan.contains("not known yet: ") && plan.contains("nobodys-2B"), "{plan}");
}

#[test]
fn words_that_are_asked_as_seen_are_drawn() {
    let file = root().join("experiments/ocr.toml");
    let text = fs::read_to_string(&file).unwrap();
    let own = text.replacen("\nseen = 60\n", "\nseen = 61\n", 1);
    assert_ne!(own, text);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ocr.toml");
    fs::write(&path, own).unwrap();
    let output = study(&[&path.to_string_lossy(), "--dry-run", "--on", "a100"]);
    let error = crate::text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for words in ["ocr.toml", "asks 61 words", "draws the first 60", "`seen`"] {
        assert!(error.contains(words), "no {words:?} in {error}");
    }
}
