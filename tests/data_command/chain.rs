//! `data chain`: steps that go on where they stopped.

use std::fs;
use std::path::Path;

use crate::steps::{lines, scored};
use crate::{ok, path, run};

const CHAIN: &str = r#"
[chain]
name = "better half"
about = "what is kept & asked"
paper = "none"

[settings]
scored = ""
root = ""
threshold = 0.75
seed = 1

[preset.strict]
note = "Less is kept."
settings = { threshold = 0.9 }
run = { assign = [] }

[[step]]
name = "filter"
about = "what is good enough"
run = ["filter", "{scored}", "--threshold", "{threshold}", "--image-root", "{root}", "--out", "{out}"]
show = ["filter.html", "none.html"]

[[step]]
name = "pair"
about = "a request for each"
run = ["pair-prompts", "{filter}/kept.jsonl", "--image-root", "{root}", "--seed", "{seed}", "--out", "{out}"]

[[step]]
name = "assign"
about = "languages"
run = ["assign-languages", "{pair}/paired.jsonl", "--languages", "fr", "--image-root", "{root}", "--out", "{out}"]
"#;

#[test]
fn steps_run_once_and_go_on() {
    let (folder, file, _) = scored();
    let at = |name: &str| path(folder.path(), name);
    let chain = at("chain.toml");
    fs::write(&chain, CHAIN).unwrap();
    let (set, root) = (format!("scored={file}"), format!("root={}", at("emoji")));
    let out = at("run");
    let line = ["chain", &chain, "--out", &out, "--set", &set, "--set", &root];
    let dry = ok(&[&line[..], &["--dry-run"]].concat());
    assert!(dry.contains("data -- filter") && dry.contains("presets: strict") && !Path::new(&out).exists(), "{dry}");
    let text = ok(&line);
    assert!(text.contains("3 steps") && !text.contains("done before"), "{text}");
    assert_eq!(lines(&at("run/pair/paired.jsonl")).len(), 30);
    let page = fs::read_to_string(at("run/index.html")).unwrap();
    for part in [
        "what is kept &amp; asked",
        "href=\"filter/filter.html\"",
        "pair-prompts",
        "<th>threshold</th><td>0.75</td>",
        "30 of 30 rows",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("none.html") && !page.contains("not done yet"));
    // Nothing is done twice; what a killed step has left is done anew, and so is nothing before it.
    let before = fs::metadata(at("run/filter/kept.jsonl")).unwrap().modified().unwrap();
    fs::remove_file(at("run/assign.step.json")).unwrap();
    fs::write(at("run/assign/assigned.jsonl"), "torn").unwrap();
    let error = run(&line).1.unwrap_err();
    assert!(error.contains("this chain has not begun it"), "{error}");
    fs::write(at("run/assign.begun"), "").unwrap();
    let text = ok(&line);
    assert_eq!(text.matches("done before").count(), 2, "{text}");
    assert_eq!(lines(&at("run/assign/assigned.jsonl")).len(), 30);
    assert_eq!(fs::metadata(at("run/filter/kept.jsonl")).unwrap().modified().unwrap(), before);
    // Another setting is another chain.
    let error = run(&[&line[..], &["--set", "threshold=0.8"]].concat()).1.unwrap_err();
    assert!(error.contains("by other commands") && error.contains("filter.step.json"), "{error}");
    let strict = at("strict");
    let text = ok(&["chain", &chain, "--out", &strict, "--set", &set, "--set", &root, "--preset", "strict"]);
    assert!(text.contains("2 steps"), "{text}");
    assert!(fs::read_to_string(at("strict/index.html")).unwrap().contains("Preset strict. Less is kept."));
}

#[test]
fn chains_that_cannot_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "chain.toml");
    let out = path(folder.path(), "run");
    let both = ["--set", "scored=a.jsonl", "--set", "root=."];
    for (from, to, more, word) in [
        ("", "", &[][..], "the setting scored has to be given"),
        ("", "", &["--set", "scored=a", "--set", "rot=."], "no setting \"rot\""),
        ("", "", &["--preset", "strct"], "did you mean `strict`"),
        ("", "", &["--set", "seed"], "expected NAME=VALUE"),
        ("{filter}", "{filtr}", &both, "{filtr} is no setting"),
        ("--threshold", "--treshold", &both, "step \"filter\""),
        ("name = \"pair\"", "name = \"filter\"", &both, "the name of two things"),
        ("name = \"pair\"", "name = \"a/b\"", &both, "expected letters"),
        ("[chain]", "[chian]", &both, "chian"),
        ("{ assign = [] }", "{ asign = [] }", &both, "did you mean `assign`"),
    ] {
        fs::write(&file, CHAIN.replacen(from, to, usize::from(!from.is_empty()))).unwrap();
        let error = run(&[&["chain", &file, "--out", &out], more].concat()).1.unwrap_err();
        assert!(error.contains(word), "{from}: {error}");
        assert!(!Path::new(&out).exists());
    }
    // A step that fails is named, and those before it stay.
    fs::write(&file, CHAIN).unwrap();
    let error = run(&[&["chain", &file, "--out", &out], &both[..]].concat()).1.unwrap_err();
    assert!(error.contains("step \"filter\"") && error.contains("a.jsonl"), "{error}");
}
