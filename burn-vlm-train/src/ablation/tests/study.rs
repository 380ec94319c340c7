//! The study file: what it says, and what is wrong with a wrong one.

use std::path::Path;

use super::{STUDY, study, study_error};
use crate::ablation::{PatchRules, Study, StudyError, parse_table};

#[test]
fn reads_the_whole_format() {
    let study = study(STUDY);
    assert_eq!(study.name, "encoder");
    assert_eq!(study.settings(), ["siglip1/en", "siglip1/en_multi", "siglip2/en", "siglip2/en_multi"]);
    assert_eq!(study.axes[0].label, "Vision encoder");
    assert_eq!(study.axes[1].label, "data", "a label that is left out is the name");
    assert_eq!(study.papers[0].rows[0].label, "siglip1/en");
    assert_eq!(study.columns[1].languages, ["de", "fr"]);
}

#[test]
fn unknown_keys_have_a_place_and_a_suggestion() {
    let error = study_error(&STUDY.replace("seeds = 2", "sedes = 2"));
    assert!(error.starts_with("encoder.toml:4:1: unknown field `sedes`"), "{error}");
    assert!(error.ends_with("did you mean `seeds`?"), "{error}");
    let error = study_error(&STUDY.replace("languages = [\"de\", \"fr\"]", "langauges = [\"de\"]"));
    assert!(error.contains("did you mean `languages`?"), "{error}");
    let error = study_error(&STUDY.replace("label = \"SigLIP1\"", "lable = \"SigLIP1\""));
    assert!(error.starts_with("encoder.toml:40:25: ") && error.contains("did you mean `label`?"), "{error}");
}

#[test]
fn patch_keys_that_the_recipe_lacks_have_a_place_and_a_suggestion() {
    let error = study_error(&STUDY.replace("finetune = { steps = 5 }", "finetune = { stpes = 5 }"));
    assert!(error.starts_with("encoder.toml:32:45: "), "{error}");
    assert!(error.contains("presets.smoke.patch"), "{error}");
    assert!(error.contains("`stage.finetune.stpes`") && error.contains("did you mean `steps`?"), "{error}");
    let error = study_error(&STUDY.replace("encoder = { texts = [\"en\", \"de\"] }", "encodr = { texts = [] }"));
    assert!(error.starts_with("encoder.toml:41:54: ") && error.contains("did you mean `encoder`?"), "{error}");
    let error = study_error(&STUDY.replace("evaluation = { items = 10 }", "evaluation = { itmes = 10 }"));
    assert!(error.contains("did you mean `items`?"), "{error}");
}

#[test]
fn references_must_exist() {
    let error = study_error(&STUDY.replace("cell = \"siglip1/en\"", "cell = \"siglip3/en\""));
    assert!(error.contains("`siglip3/en` in the paper's rows; did you mean `siglip"), "{error}");
    let error = study_error(&STUDY.replace("scores = { En", "scores = { EN"));
    assert!(error.contains("unknown column `EN`; did you mean `En`?"), "{error}");
    let error = study_error(&STUDY.replace("columns = { Multi", "columns = { Mutli"));
    assert!(error.contains("did you mean `Multi`?"), "{error}");
    let with_presets = STUDY.replace("label = \"SigLIP1\"", "presets = { smol = { batch = 2 } }");
    assert!(study_error(&with_presets).contains("unknown preset `smol`"));
    let error = study(STUDY).plan("smole", None, &PatchRules::new()).unwrap_err().to_string();
    assert!(error.contains("unknown preset `smole`; did you mean `smoke`?"), "{error}");
}

#[test]
fn names_must_be_safe_and_unique() {
    for (bad, why) in
        [("a/b", "only ASCII"), ("..", "may only stand inside"), ("seed1", "kept for"), ("NUL", "reserved")]
    {
        let error = study_error(&STUDY.replace("name = \"siglip1\"", &format!("name = \"{bad}\"")));
        assert!(error.contains(why), "{bad}: {error}");
    }
    let error = study_error(&STUDY.replace("name = \"siglip2\"", "name = \"SigLIP1\""));
    assert!(error.contains("two values are named `SigLIP1`"), "{error}");
}

#[test]
fn axes_must_not_undo_each_other_and_cells_must_differ() {
    let error = study_error(&STUDY.replace(
        "patch = { stage = { finetune = { languages = [\"en\", \"de\"] } } }",
        "patch = { encoder = { texts = [\"fr\"] } }",
    ));
    assert!(error.contains("axes `encoder` and `data` both set `encoder.texts`"), "{error}");
    let error = study_error(&STUDY.replace(", patch = { encoder = { texts = [\"en\", \"de\"] } }", ""));
    assert!(error.contains("have the same recipe"), "{error}");
}

/// The same recipe, asked otherwise.
#[test]
fn a_value_may_change_how_a_cell_is_asked() {
    let axis =
        "[[axis]]\nname = 'asked'\nvalues = [{ name = 'short', evaluation = { items = 3 } }, { name = 'usual' }]\n";
    let text =
        STUDY.replacen("[[axis]]", &format!("{axis}\n[[axis]]"), 1).replace("siglip1/en\"", "usual/siglip1/en\"");
    let plan = study(&text).plan("tiny", None, &PatchRules::new()).unwrap();
    let of = |name: &str| plan.cells.iter().find(|cell| cell.setting == format!("{name}/siglip1/en")).unwrap();
    assert_eq!(of("short").recipe, of("usual").recipe);
    let usual = study(STUDY).evaluation["items"].as_integer();
    assert_eq!(of("short").evaluation["items"].as_integer(), Some(3));
    assert_eq!(of("usual").evaluation["items"].as_integer(), usual);
    let twice = format!("{axis}{}", axis.replace("asked", "again"));
    let again = text.replacen(axis, &twice, 1).replace("usual/siglip1/en\"", "usual/usual/siglip1/en\"");
    let error = study_error(&again);
    assert!(error.contains("axes `asked` and `again` both set `evaluation.items`"), "{error}");
    let error = study_error(&text.replace("items = 3", "itmes = 3"));
    assert!(error.contains("did you mean `items`?"), "{error}");
}

#[test]
fn a_recipe_may_stand_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let start = STUDY.find("[recipe]").unwrap();
    let end = STUDY.find("[evaluation]").unwrap();
    let recipe = STUDY[start..end].replace("[recipe]\n", "").replace("recipe.", "");
    let text = format!("{}recipe = \"r/tiny.toml\"\n{}", &STUDY[..start], &STUDY[end..]);
    let file = folder.path().join("encoder.toml");
    std::fs::write(&file, text).unwrap();
    let missing = Study::load(&file).unwrap_err();
    assert!(matches!(missing, StudyError::File(_)), "{missing}");
    assert!(missing.to_string().contains("tiny.toml"), "{missing}");
    std::fs::create_dir(folder.path().join("r")).unwrap();
    std::fs::write(folder.path().join("r/tiny.toml"), recipe).unwrap();
    assert_eq!(Study::load(&file).unwrap().recipe, study(STUDY).recipe);
}

/// For published benchmarks: nothing of the study's own evaluation, and another suite.
#[test]
fn a_preset_may_ask_something_else_altogether() {
    let paper = "[presets.paper]\nevaluation = { _replace = true, batch = 4 }\nsuite = { file = 'theirs.toml' }\n";
    let text = format!("suite = {{ file = 'ours.toml' }}\n{STUDY}\n{paper}");
    let evaluation = |preset: &str| {
        let plan = study(&text).plan(preset, None, &PatchRules::new()).unwrap();
        toml::to_string(&plan.cells[0].evaluation).unwrap()
    };
    assert_eq!(evaluation("tiny"), "items = 200\n\n[suite]\nfile = \"ours.toml\"\n");
    assert_eq!(evaluation("paper"), "batch = 4\n\n[suite]\nfile = \"theirs.toml\"\n");
}

#[test]
fn presets_change_recipe_evaluation_columns_and_seeds() {
    let smoke = super::plan("smoke");
    assert_eq!((smoke.seeds, smoke.cells.len()), (1, 4));
    assert_eq!(smoke.cells[0].recipe["batch"].as_integer(), Some(8));
    assert_eq!(smoke.cells[0].evaluation["items"].as_integer(), Some(10));
    assert_eq!(smoke.languages(), ["de", "en"]);
    let tiny = super::plan("tiny");
    assert_eq!((tiny.seeds, tiny.cells.len()), (2, 8));
    assert_eq!(tiny.languages(), ["de", "en", "fr"]);
    assert_eq!(study(STUDY).plan("tiny", Some(3), &PatchRules::new()).unwrap().cells.len(), 12);
}

#[test]
fn a_study_needs_no_preset() {
    let (head, rest) = STUDY.split_once("[presets.tiny]").unwrap();
    let rest = &rest[rest.find("[[axis]]").unwrap()..];
    let text = format!("{head}{rest}");
    let study = study(&text);
    study.check_presets(&PatchRules::new()).unwrap();
    let plan = study.plan(study.usual_preset(), None, &PatchRules::new()).unwrap();
    assert_eq!((plan.preset.as_str(), plan.seeds, plan.cells.len()), ("default", 2, 8));
    let error = study.plan("tiny", None, &PatchRules::new()).unwrap_err().to_string();
    assert!(error.contains("no [presets.*]; leave --preset away"), "{error}");
    // Mistakes of the axes are found all the same.
    let error = study_error(&text.replace("encoder = { texts = [\"en\", \"de\"] }", "encodr = { texts = [] }"));
    assert!(error.contains("did you mean `encoder`?"), "{error}");

    let one = STUDY.replace("[presets.tiny]\n", "");
    assert_eq!(super::study(&one).usual_preset(), "smoke");
    assert_eq!(super::study(STUDY).usual_preset(), "tiny");
}

#[test]
fn a_value_may_have_a_patch_for_one_preset() {
    let text = STUDY.replace("label = \"SigLIP1\"", "presets = { smoke = { encoder = { width = 32 } } }");
    let study = study(&text);
    let width =
        |preset| study.plan(preset, None, &PatchRules::new()).unwrap().cells[0].recipe["encoder"]["width"].clone();
    assert_eq!(width("smoke").as_integer(), Some(32));
    assert_eq!(width("tiny").as_integer(), Some(128));
}

#[test]
fn two_axes_may_choose_one_thing_together() {
    let text = STUDY
        .replace("batch = 64", "batch = 64\npart = \"{encoder}-{data}-{other}\"\nlist = [{ of = \"{data}\" }]")
        .replace(", patch = { encoder = { texts = [\"en\", \"de\"] } }", "")
        .replace(", patch = { stage = { finetune = { languages = [\"en\", \"de\"] } } }", "");
    let plan = study(&text).plan("tiny", None, &PatchRules::new()).unwrap();
    let parts: Vec<&str> = plan.cells[..4].iter().filter_map(|cell| cell.recipe["part"].as_str()).collect();
    // What no axis is called is left as it is.
    assert_eq!(
        parts,
        ["siglip1-en-{other}", "siglip1-en_multi-{other}", "siglip2-en-{other}", "siglip2-en_multi-{other}"]
    );
    assert_eq!(plan.cells[1].recipe["list"][0]["of"].as_str(), Some("en_multi"));
}

#[test]
fn a_preset_may_be_a_study_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (file, other) = (folder.path().join("encoder.toml"), folder.path().join("paper.toml"));
    let preset = "[presets.paper]\ndescription = \"published\"\nstudy = \"paper.toml\"\n\n[presets.tiny]";
    std::fs::write(&file, STUDY.replace("[presets.tiny]", preset)).unwrap();
    // Copied without the other file, the study is what it was.
    let alone = Study::load(&file).unwrap();
    alone.check_presets(&PatchRules::new()).unwrap();
    assert_eq!(alone.plan("tiny", None, &PatchRules::new()).unwrap().cells.len(), 8);
    let error = alone.plan("paper", None, &PatchRules::new()).unwrap_err().to_string();
    assert!(error.contains("encoder.toml:") && error.contains("paper.toml"), "{error}");
    let text = STUDY.replace("title = \"Which encoder?\"", "title = \"Published\"").replace("seeds = 2", "seeds = 1");
    std::fs::write(&other, text).unwrap();
    let plan = Study::load(&file).unwrap().plan("paper", None, &PatchRules::new()).unwrap();
    assert_eq!((plan.preset.as_str(), plan.study.title.as_str(), plan.cells.len()), ("paper", "Published", 4));
    // Neither patches beside it nor a chain of such presets.
    std::fs::write(&file, STUDY.replace("[presets.tiny]", &preset.replace("study", "seeds = 2\nstudy"))).unwrap();
    let error = Study::load(&file).unwrap_err().to_string();
    assert!(error.contains("nothing else but a `description`"), "{error}");
    std::fs::write(
        &file,
        STUDY.replace("[presets.tiny]", &preset.replace("study", "suite = { file = \"s.toml\" }\nstudy")),
    )
    .unwrap();
    let error = Study::load(&file).unwrap_err().to_string();
    assert!(error.contains("nothing else but a `description`"), "{error}");
    std::fs::write(&file, STUDY.replace("[presets.tiny]", &preset.replace("paper.toml", "encoder.toml"))).unwrap();
    let error = Study::load(&file).unwrap_err().to_string();
    assert!(error.contains("cannot have such presets itself"), "{error}");
}

#[test]
fn merged_tables_are_read_strictly_too() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(rename = "steps")]
        _steps: u32,
    }
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "train")]
        _train: Inner,
    }
    let table = toml::from_str("[train]\nstep = 1").unwrap();
    let error = parse_table::<Outer>("recipe of cell a/seed0", &table).unwrap_err().to_string();
    assert!(error.starts_with("recipe of cell a/seed0: in `train`: unknown field `step`"), "{error}");
    assert!(error.ends_with("did you mean `steps`?"), "{error}");
}

#[test]
fn the_shipped_studies_are_valid() {
    let Ok(entries) = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments")) else {
        return; // The crate stands alone, without the repository's studies.
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Study::load(&path).unwrap().check_presets(&PatchRules::new()).unwrap();
        }
    }
}

/// A question is in one column or in none.
#[test]
fn columns_have_the_same_tags() {
    let tagged =
        |tags: &str| STUDY.replace("languages = [\"de\", \"fr\"]", &format!("languages = [\"de\", \"fr\"]\n{tags}"));
    let error = study_error(&tagged("tags = { size = \"1/4\" }"));
    assert!(error.contains("column `Multi` has the tags [size], the first column []"), "{error}");
    assert!(study(STUDY).columns.iter().all(|column| column.tags.is_empty()));
}
