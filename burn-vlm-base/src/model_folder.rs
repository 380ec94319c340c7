//! What a folder is that somebody names as a model and that is none: an adapter, a projector, a hub cache, ...
//!
//! Everything here is for error messages: names of files are looked at, contents only where a message needs a word of them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::files;

/// Weights that can be read.
const WEIGHTS: [&str; 2] = ["model.safetensors", "model.safetensors.index.json"];
/// Tokenizers in other formats than `tokenizer.json`, and what they are.
const OTHER_TOKENIZERS: [(&str, &str); 8] = [
    ("tokenizer.model", "a SentencePiece model"),
    ("spiece.model", "a SentencePiece model"),
    ("sentencepiece.bpe.model", "a SentencePiece model"),
    ("tekken.json", "Mistral's own format"),
    ("qwen.tiktoken", "a tiktoken vocabulary"),
    ("tiktoken.model", "a tiktoken vocabulary"),
    ("vocab.json", "the older files of a byte-level BPE"),
    ("vocab.txt", "the older file of a WordPiece tokenizer"),
];

/// What a folder (or a file) is, and what to do, where it is one of those that people name in place of a model: a LoRA adapter, a
/// projector alone, GGUF, pickled weights, a hub cache, a pipeline, an unfinished checkpoint of a training program. `None` where
/// nothing is recognised, and of a folder with weights that can be read.
pub fn describe(folder: &Path) -> Option<String> {
    if folder.is_file() {
        return describe_file(folder);
    }
    if let Some(help) = hub_cache(folder) {
        return Some(help);
    }
    let has = |name: &str| folder.join(name).is_file();
    if WEIGHTS.iter().any(|name| has(name)) {
        return None;
    }
    if has("adapter_config.json") || has("adapter_model.safetensors") || has("adapter_model.bin") {
        return Some(adapter(folder));
    }
    if let Some(name) = ["mm_projector.bin", "mm_projector.safetensors"].into_iter().find(|name| has(name)) {
        return Some(format!(
            "this is the projector of a LLaVA alone ({name}), without vision tower and language model: load it into the whole \
             model with LLaVA's own code, and name the folder that is saved then"
        ));
    }
    let names = names_in(folder);
    let ends = |ending: &str| names.iter().find(|name| name.to_lowercase().ends_with(ending));
    if let Some(name) = ends(".gguf") {
        return Some(gguf(name));
    }
    if has("model_index.json") {
        return Some("this is a pipeline of diffusers (model_index.json), no vision-language model".to_owned());
    }
    if let Some(name) = names.iter().find(|name| name.starts_with("consolidated.")) {
        return Some(format!(
            "these are weights in their author's own layout ({name}): take the checkpoint in Hugging Face's, whose folder has \
             config.json and model.safetensors"
        ));
    }
    if has("zero_to_fp32.py") || names.iter().any(|name| name.starts_with("global_step")) {
        return Some(
            "this is a checkpoint of DeepSpeed, whose weights are in pieces: join them with the `zero_to_fp32.py` in it, and save \
             the model with `save_pretrained`"
                .to_owned(),
        );
    }
    None
}

/// The same for a file.
fn describe_file(file: &Path) -> Option<String> {
    let name = file.file_name()?.to_string_lossy().to_lowercase();
    if name.ends_with(".gguf") {
        return Some(gguf(&name));
    }
    let known = [".safetensors", ".bin", ".json", ".pth", ".pt"].iter().any(|ending| name.ends_with(ending));
    known.then(|| "this is a file: name its folder, which has config.json, the weights and the tokenizer".to_owned())
}

fn gguf(name: &str) -> String {
    format!(
        "{name} is GGUF, llama.cpp's format: a decoder's file is named itself where a model answers, and made a folder of by \
         `burn-vlm export {name} FOLDER` elsewhere"
    )
}

fn adapter(folder: &Path) -> String {
    let json = fs::read_to_string(folder.join("adapter_config.json")).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    let base = json["base_model_name_or_path"].as_str().map_or("its base model".to_owned(), |name| format!("`{name}`"));
    let kind = json["peft_type"].as_str().map_or("LoRA".to_owned(), |kind| match kind {
        "LORA" => "LoRA".to_owned(),
        other => other.chars().take(40).collect(),
    });
    let help = match kind.as_str() {
        "LoRA" => format!(
            "name {base} as the model and this folder with --adapter, or merge them \
             (`burn-vlm merge --model DIR --adapter FOLDER --out OUT`) and name that folder"
        ),
        _ => format!(
            "merge it into {base} \
             (peft: `PeftModel.from_pretrained(base, FOLDER).merge_and_unload().save_pretrained(OUT)`) and name that folder"
        ),
    };
    format!("this is a {kind} adapter (adapter_config.json), which has no model in it: {help}")
}

/// The folder that the hub keeps for a repository, or its `snapshots`, or the cache that holds those folders.
fn hub_cache(folder: &Path) -> Option<String> {
    let cache = |folder: &Path| folder.join("snapshots").is_dir().then(|| folder.to_path_buf());
    let named_snapshots = folder.file_name().is_some_and(|name| name == "snapshots");
    let repository = cache(folder).or_else(|| named_snapshots.then(|| folder.parent()).flatten().and_then(cache));
    if let Some(repository) = repository.filter(|_| !folder.join("config.json").is_file()) {
        let found = snapshot(&repository);
        let help = found.map_or("no snapshot in it is whole".to_owned(), |path| format!("name {}", path.display()));
        return Some(format!(
            "this is a folder of the hub's cache, the model is below `snapshots` in a folder with the revision's name: {help}"
        ));
    }
    let names = names_in(folder);
    let models: Vec<&str> = names.iter().filter(|name| name.starts_with("models--")).map(String::as_str).collect();
    (!models.is_empty() && !folder.join("config.json").is_file()).then(|| {
        let some = models.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        format!("this is the hub's cache: name MODEL/snapshots/REVISION in it, where MODEL is one of {some}")
    })
}

/// The revision of a repository's cache that `main` names, else the first that has a config.
fn snapshot(repository: &Path) -> Option<PathBuf> {
    let snapshots = repository.join("snapshots");
    let whole = |path: PathBuf| path.join("config.json").is_file().then_some(path);
    let main = fs::read_to_string(repository.join("refs/main")).ok();
    let main = main.and_then(|revision| whole(snapshots.join(revision.trim())));
    main.or_else(|| names_in(&snapshots).into_iter().find_map(|name| whole(snapshots.join(name))))
}

/// Names in a folder, in order; none where it cannot be listed.
fn names_in(folder: &Path) -> Vec<String> {
    files::list_dir(folder).unwrap_or_default()
}

/// What to say of a folder without `tokenizer.json`: which tokenizer it has instead, and the command that converts it.
pub fn without_tokenizer(folder: &Path) -> String {
    let other = OTHER_TOKENIZERS.iter().find(|(name, _)| folder.join(name).is_file());
    let Some((name, what)) = other else {
        return describe(folder).unwrap_or_else(|| {
            "there is no such file: copy it from the folder of the model that the weights come from".to_owned()
        });
    };
    let shown = folder.display();
    format!(
        "there is no tokenizer.json, but {name} ({what}); make it once where transformers is installed (with `sentencepiece`, \
         `tiktoken` and `protobuf`): python -c \"from transformers import AutoTokenizer; \
         AutoTokenizer.from_pretrained('{shown}', use_fast=True).save_pretrained('{shown}')\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn said(files: &[(&str, &str)]) -> Option<String> {
        describe(with(files).path())
    }

    #[test]
    fn what_is_no_model_is_named() {
        let peft = r#"{"peft_type": "LORA", "base_model_name_or_path": "llava-hf/llava-1.5-7b-hf"}"#;
        type Files<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Files<'_>, &[&str]); 9] = [
            (&[("adapter_config.json", peft)], &["LoRA adapter", "llava-hf/llava-1.5-7b-hf", "merge"]),
            // LLaVA's own adapters have a config.json beside them.
            (&[("config.json", "{}"), ("adapter_model.bin", "")], &["adapter", "its base model"]),
            (&[("config.json", "{}"), ("mm_projector.bin", "")], &["projector", "mm_projector.bin"]),
            (&[("q4.gguf", "")], &["GGUF", "q4.gguf"]),
            (&[("model_index.json", "{}")], &["diffusers"]),
            (&[("consolidated.00.pth", "")], &["consolidated.00.pth"]),
            (&[("zero_to_fp32.py", "")], &["DeepSpeed"]),
            (&[("snapshots/abc/config.json", "{}"), ("refs/main", "abc\n")], &["cache", "snapshots/abc"]),
            (&[("models--a--b/refs/main", "abc")], &["models--a--b", "snapshots"]),
        ];
        for (files, words) in cases {
            let said = said(files).unwrap_or_else(|| panic!("{files:?}"));
            for word in words {
                assert!(said.contains(word), "{files:?}: {said}");
            }
        }
        assert_eq!(said(&[("config.json", "{}"), ("model.safetensors", ""), ("adapter_config.json", peft)]), None);
        assert_eq!(said(&[("config.json", "{}")]), None);
    }

    #[test]
    fn files_and_snapshots_folders_too() {
        let folder = with(&[("a.GGUF", ""), ("model.safetensors", ""), ("r/snapshots/x/config.json", "{}")]);
        let file = |name: &str| describe(&folder.path().join(name)).unwrap();
        assert!(file("a.GGUF").contains("llama.cpp") && file("model.safetensors").contains("name its folder"));
        assert!(file("r/snapshots").contains("snapshots/x"));
        assert_eq!(describe(&folder.path().join("nowhere")), None);
    }

    #[test]
    fn tokenizers_in_other_formats_have_a_command() {
        for name in ["tokenizer.model", "spiece.model", "tekken.json", "vocab.json"] {
            let folder = with(&[(name, "")]);
            let said = without_tokenizer(folder.path());
            assert!(said.contains(name) && said.contains("save_pretrained"), "{said}");
        }
        assert!(without_tokenizer(with(&[]).path()).contains("no such file"));
        assert!(without_tokenizer(with(&[("adapter_config.json", "{}")]).path()).contains("adapter"));
    }
}
