//! What several tests need: a backbone as language models are published, without `<image>` in its tokenizer; and what a study wrote.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// What the token is called that takes the id of `<image>`.
const UNUSED: &str = "<unused>";

/// Copies the shipped backbone to `to`, `<image>` renamed in its tokenizer and template; with a head of its own, which is a
/// copy of the embeddings, unless `tied`.
pub fn backbone_without_image(to: &Path, tied: bool) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("parts/backbone");
    fs::create_dir_all(to).unwrap();
    for name in ["tokenizer.json", "chat_template.jinja"] {
        let text = fs::read_to_string(from.join(name)).unwrap();
        assert!(name != "tokenizer.json" || text.contains("\"<image>\""));
        fs::write(to.join(name), text.replace("<image>", UNUSED)).unwrap();
    }
    let config = fs::read_to_string(from.join("config.json")).unwrap();
    let stated = "\"tie_word_embeddings\": true";
    assert!(config.contains(stated));
    fs::write(to.join("config.json"), config.replace(stated, &format!("\"tie_word_embeddings\": {tied}"))).unwrap();
    let bytes = fs::read(from.join("model.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<(String, TensorView)> = weights.tensors();
    if !tied {
        let embeddings = weights.tensor("model.embed_tokens.weight").unwrap();
        assert_eq!(embeddings.dtype(), Dtype::F16);
        tensors.push(("lm_head.weight".to_owned(), embeddings));
    }
    safetensors::serialize_to_file(tensors, None, &to.join("model.safetensors")).unwrap();
}

/// The rows of the embeddings in a folder of weights, and of its head where it has one of its own.
pub fn token_rows(folder: &Path) -> (usize, Option<usize>) {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    let rows = |end: &str| {
        let name = weights.names().into_iter().find(|name| name.ends_with(end))?;
        Some(weights.tensor(name).unwrap().shape()[0])
    };
    (rows("embed_tokens.weight").unwrap(), rows("lm_head.weight"))
}

/// A JSON file.
pub fn read(path: impl AsRef<Path>) -> Value {
    let path = path.as_ref();
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// `summary.json` without what differs from run to run by its nature: times and the command.
pub fn summary(out: &Path) -> Value {
    let mut summary = read(out.join("summary.json"));
    summary["provenance"] = Value::Null;
    summary
}

/// How long a child may take to come to where it is to be killed: builds beside the tests make them slow.
const LONGEST: Duration = Duration::from_secs(300);

/// `test` of this test binary alone in a process of its own, with the environment `variable` set to `out`.
pub fn test_alone(test: &str, variable: &str, out: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(variable, out);
    command
}

/// Runs a command and kills it (SIGKILL on Unix: no destructor, no flush) as soon as `is_time`.
pub fn kill_when(command: &mut Command, is_time: impl Fn() -> bool) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !is_time() {
        assert!(began.elapsed() < LONGEST, "it never came to where it was to be killed");
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
