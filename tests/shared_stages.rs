//! Stages that several cells of a study begin with are trained once. What comes out is what training every cell in full gives, bit for
//! bit: of one run, of several, and after kills.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{read, summary};
use serde_json::Value;

/// Two by two: the first axis varies the first stage, the second one the second stage.
const AXES: &str = "[[axis]]\nname = 'align'\nvalues = [{ name = 'en' }, \
    { name = 'de', patch = { stage = { align = { data = { languages = ['de'] } } } } }]\n\
    [[axis]]\nname = 'data'\nvalues = [{ name = 'en' }, \
    { name = 'multi', patch = { stage = { finetune = { data = { languages = ['en', 'de'] } } } } }]\n";
/// Three cells that all begin alike.
const ALIKE: &str = "[[axis]]\nname = 'rate'\nvalues = [{ name = 'low' }, \
    { name = 'middle', patch = { stage = { finetune = { train = { multi_modal_projector = 2e-3 } } } } }, \
    { name = 'high', patch = { stage = { finetune = { train = { multi_modal_projector = 4e-3 } } } } }]\n";

/// `stops` says when the first stage ends before its last step, if it does.
fn study(folder: &Path, axes: &str, stops: &str) -> PathBuf {
    let stage = |name: &str, more: &str| {
        format!(
            "[recipe.stage.{name}]\nobjective = 'vlm'\nsteps = 16\nbatch = 8\nlog_every = 2\ncheckpoint_every = 2\n\
             train = {{ multi_modal_projector = 3e-3 }}\ndata = {{ languages = ['en'], tasks = {{ caption = 1.0 }}, views = 0 }}\n{more}"
        )
    };
    let align = format!("eval_every = 2\nvalidation = {{ samples = 16, keep_best = true{stops} }}\n");
    let align = stage("align", &align);
    let text = format!(
        "name = 'shared'\ntitle = 'Shared'\n[recipe]\nstages = ['align', 'finetune']\n[recipe.model]\nencoder = 'siglip1'\n\
         backbone = 'backbone'\n{align}{}{axes}[[column]]\nname = 'En'\nlanguages = ['en']\n\
         [evaluation]\nlanguages = ['en']\ncloze = 'likelihood'\nseen = 8\nunseen = 0\nanalysis = 4\n",
        stage("finetune", "")
    );
    let file = folder.join("shared.toml");
    fs::write(&file, text).unwrap();
    file
}

fn command(file: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_burn-vlm"));
    command.arg("study").arg(file).arg("--out").arg(out).args(["--device", "flex"]).args(more);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// What it prints, if it ends well.
fn run(file: &Path, out: &Path, more: &[&str]) -> String {
    let output = command(file, out, more).output().unwrap();
    assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A log without its times.
fn log(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let entry = line.as_object_mut().unwrap();
        ["seconds", "tokens_per_second", "images_per_second"].iter().for_each(|key| drop(entry.remove(*key)));
        line
    };
    text.lines().map(line).collect()
}

/// The same scores, answers, models and logs in both folders of a cell.
fn assert_same_cell(a: &Path, b: &Path) {
    for name in ["predictions.jsonl", "analysis.json", "model/model.safetensors", "loss.svg"] {
        assert!(fs::read(a.join(name)).unwrap() == fs::read(b.join(name)).unwrap(), "{}: {name}", a.display());
    }
    for stage in ["stages/1-align", "stages/2-finetune"] {
        let [a, b] = [a.join(stage), b.join(stage)];
        assert_eq!(log(&a.join("log.jsonl")), log(&b.join("log.jsonl")));
        assert_eq!(read(a.join("data.json")), read(b.join("data.json")));
        let validation = |folder: &Path| fs::read_to_string(folder.join("validation.jsonl")).unwrap_or_default();
        assert_eq!(validation(&a), validation(&b));
    }
    let result = |folder: &Path| {
        let mut result = read(folder.join("done.json"))["result"].clone();
        result["origin"] = Value::Null;
        // How long the asking took.
        result["asked"]["seconds"] = Value::Null;
        result
    };
    assert_eq!(result(a), result(b));
}

/// What `taken.json` of the first stage of a cell says, if the stage was taken.
fn taken(out: &Path, cell: &str) -> Option<Value> {
    let stages = out.join("cells").join(cell).join("seed0/stages");
    assert!(!stages.join("2-finetune/taken.json").exists(), "the last stage is no other cell's");
    let file = stages.join("1-align/taken.json");
    file.exists().then(|| read(file))
}

#[test]
fn cells_that_begin_alike_give_what_each_gives_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = study(folder.path(), AXES, ", early_stop = 1");
    let (shared, full) = (folder.path().join("shared"), folder.path().join("full"));
    let plan = run(&file, &shared, &["--dry-run"]);
    assert!(plan.contains("takes `align` of de/en/seed0"), "{plan}");
    assert!(plan.contains("6 stages are trained and 2 taken"), "{plan}");
    assert!(!run(&file, &full, &["--dry-run", "--no-share"]).contains("taken"));

    let told = run(&file, &shared, &["--jobs", "2"]);
    assert_eq!(told.matches("of training saved").count(), 2, "{told}");
    let told = run(&file, &full, &["--jobs", "2", "--no-share"]);
    assert!(!told.contains("of training saved"), "{told}");
    assert_eq!(summary(&shared), summary(&full));
    let at = |out: &Path, cell: &str| out.join("cells").join(cell).join("seed0");
    for cell in ["en/en", "en/multi", "de/en", "de/multi"] {
        assert_same_cell(&at(&shared, cell), &at(&full, cell));
        assert_eq!(taken(&full, cell), None);
    }
    // One by itself, with nobody to share with.
    let took = if taken(&shared, "en/en").is_some() { "en/en" } else { "en/multi" };
    let alone = folder.path().join("alone");
    run(&file, &alone, &["--only", took, "--quiet", "--no-share"]);
    assert_same_cell(&at(&shared, took), &at(&alone, took));
    let of = |align: &str| ["en", "multi"].map(|data| taken(&shared, &format!("{align}/{data}")));
    for align in ["en", "de"] {
        let from: Vec<Value> = of(align).into_iter().flatten().collect();
        assert_eq!(from.len(), 1, "one trains, one takes");
        assert!(from[0]["run"].as_str().unwrap().starts_with(align), "{from:?}");
        assert!(from[0]["seconds"].as_f64().unwrap() > 0.0);
    }
    let said = read(shared.join("summary.json"))["provenance"]["shared_stages"].as_str().unwrap().to_owned();
    assert!(said.contains("of training saved") && said.contains("took `align` of"), "{said}");
    assert!(fs::read_to_string(shared.join("report.html")).unwrap().contains("took `align` of"));
    assert_eq!(read(full.join("summary.json"))["provenance"].get("shared_stages"), None);
    // Nobody needs them any more.
    assert!(!shared.join("shared/stages").exists() && !full.join("shared/stages").exists());

    // A cell that is made again has nobody to take from, and is the same.
    let before = summary(&shared);
    fs::remove_dir_all(shared.join("cells/en")).unwrap();
    run(&file, &shared, &["--quiet", "--only", "en/multi"]);
    assert!(shared.join("shared/stages").exists(), "another cell is to come");
    run(&file, &shared, &["--quiet"]);
    assert!(taken(&shared, "en/en").is_some_and(|from| from["run"] == "en/multi/seed0"));
    assert_eq!(summary(&shared), before);
    assert!(!shared.join("shared/stages").exists());
}

/// Waits until `there` is true, while `child` runs.
fn wait_for(what: &str, child: &mut Child, mut there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !there() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before {what}");
        assert!(began.elapsed() < Duration::from_secs(300), "{what} did not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A run that trains the stage is killed while a cell of the same run and one of another run wait for it.
#[cfg(unix)]
#[test]
fn killed_while_others_wait_equals_uninterrupted() {
    let folder = tempfile::tempdir().unwrap();
    let file = study(folder.path(), ALIKE, "");
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    run(&file, &whole, &["--quiet"]);
    let start = |shard: &str, said: &Path| {
        let mut command = command(&file, &killed, &["--jobs", "2", "--shard", shard]);
        command.stdout(fs::File::create(said).unwrap()).stderr(Stdio::null()).spawn().unwrap()
    };
    let waits = |said: &Path| fs::read_to_string(said).is_ok_and(|text| text.contains("waiting for it"));
    let [said, other_said] = ["first.txt", "second.txt"].map(|name| folder.path().join(name));
    // Its two cells begin alike: one trains, the other waits.
    let mut first = start("1/2", &said);
    let align = |cell: &str| killed.join("cells").join(cell).join("seed0/stages/1-align");
    let has_begun = |cell: &str| {
        let entries = fs::read_dir(align(cell)).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("step-"))
    };
    wait_for("a checkpoint", &mut first, || has_begun("low") || has_begun("high"));
    let signal = |child: &Child, signal: &str| {
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(status.success());
    };
    // Stopped, it still has the stage's lock.
    signal(&first, "-STOP");
    let maker = if has_begun("low") { "low" } else { "high" };
    assert!(!align(maker).join("step-00000016").exists(), "the stage was finished before it could be stopped");
    let mut second = start("2/2", &other_said);
    wait_for("the other run", &mut second, || waits(&other_said));
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(second.wait().unwrap().success(), "the other run trains the stage instead");
    assert!(killed.join("cells/middle/seed0/done.json").exists() && !killed.join("summary.json").exists());

    run(&file, &killed, &["--quiet", "--jobs", "2"]);
    assert_eq!(summary(&killed), summary(&whole));
    for cell in ["low", "middle", "high"] {
        let at = |out: &Path| out.join("cells").join(cell).join("seed0");
        assert_same_cell(&at(&killed), &at(&whole));
        let from = taken(&killed, cell).map(|from| from["run"].clone());
        assert_eq!(from, (cell != "middle").then(|| "middle/seed0".into()), "{cell}");
    }
    assert!(!killed.join("shared/stages").exists());
}
