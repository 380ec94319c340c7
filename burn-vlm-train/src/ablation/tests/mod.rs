//! Tests of the ablation runner: no models, jobs that count.

mod cells;
mod kill;
mod parts;
mod patch;
mod provenance;
mod runner;
mod sharing;
mod study;

use std::path::Path;

use super::{Cell, JobError, PatchRules, Plan, Reporter, Study};

/// A study of two axes with two values each.
const STUDY: &str = r#"
name = "encoder"
title = "Which encoder?"
seeds = 2
open_tables = ["stage.*.learning_rate"]

[recipe]
batch = 64

[recipe.encoder]
texts = ["en"]
width = 128

[[recipe.stage]]
name = "align"
steps = 100
learning_rate = { "connector.*" = 1e-3 }

[[recipe.stage]]
name = "finetune"
steps = 200
languages = ["en"]
learning_rate = { "connector.*" = 1e-3, "language_model.*" = 3e-4 }

[evaluation]
items = 200

[presets.tiny]

[presets.smoke]
seeds = 1
patch = { batch = 8, stage = { finetune = { steps = 5 } } }
evaluation = { items = 10 }
columns = { Multi = ["de"] }

[[axis]]
name = "encoder"
label = "Vision encoder"
values = [
    { name = "siglip1", label = "SigLIP1" },
    { name = "siglip2", label = "SigLIP2", patch = { encoder = { texts = ["en", "de"] } } },
]

[[axis]]
name = "data"
values = [
    { name = "en", label = "En" },
    { name = "en_multi", label = "En+Multi", patch = { stage = { finetune = { languages = ["en", "de"] } } } },
]

[[column]]
name = "En"
languages = ["en"]

[[column]]
name = "Multi"
languages = ["de", "fr"]

[[paper]]
source = "A paper"
metric = "percent"
rows = [{ scale = "2B", cell = "siglip1/en", scores = { En = 67.4 } }]
"#;

fn study(text: &str) -> Study {
    Study::parse(Path::new("encoder.toml"), text).unwrap()
}

fn study_error(text: &str) -> String {
    match Study::parse(Path::new("encoder.toml"), text) {
        Err(error) => error.to_string(),
        Ok(study) => study.check_presets(&PatchRules::new()).unwrap_err().to_string(),
    }
}

fn plan(preset: &str) -> Plan {
    study(STUDY).plan(preset, None, &PatchRules::new()).unwrap()
}

/// A job that needs no time and returns what its cell is.
fn echo(cell: &Cell, _folder: &Path, _reporter: &Reporter) -> Result<serde_json::Value, JobError> {
    Ok(serde_json::json!({ "cell": cell.name, "seed": cell.seed }))
}
