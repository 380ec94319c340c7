//! Merging: what replaces, what merges, what is an error.

use toml::Table;

use crate::ablation::{PatchRules, merge};

fn table(text: &str) -> Table {
    toml::from_str(text).unwrap()
}

const BASE: &str = r#"
a = 1
list = [1, 2]
connector = { kind = "mlp", hidden = 64 }
[[stage]]
name = "align"
steps = 1
lr = { "proj.*" = 1.0 }
[[stage]]
name = "tune"
steps = 2
lr = { "lm.*" = 1.0 }
[[pair]]
x = 1
"#;

fn merged(patch: &str, rules: &PatchRules) -> Result<Table, String> {
    let mut base = table(BASE);
    merge(&mut base, &table(patch), rules).map_err(|error| error.to_string())?;
    Ok(base)
}

#[test]
fn tables_merge_and_the_rest_replaces() {
    let result = merged("a = 2.5\nlist = [3]\nconnector = { hidden = 128 }", &PatchRules::new()).unwrap();
    assert_eq!(result["a"].as_float(), Some(2.5));
    assert_eq!(result["list"].as_array().unwrap().len(), 1);
    assert_eq!(result["connector"]["hidden"].as_integer(), Some(128));
    assert_eq!(result["connector"]["kind"].as_str(), Some("mlp"));
}

#[test]
fn named_elements_are_addressed_by_name() {
    let result = merged("stage.tune.steps = 9", &PatchRules::new()).unwrap();
    assert_eq!(result["stage"][0]["steps"].as_integer(), Some(1));
    assert_eq!(result["stage"][1]["steps"].as_integer(), Some(9));
    let error = merged("stage.tun.steps = 9", &PatchRules::new()).unwrap_err();
    assert!(error.contains("`stage.tun`") && error.contains("did you mean `tune`?"), "{error}");
    let error = merged("pair.x = 9", &PatchRules::new()).unwrap_err();
    assert!(error.contains("no `name`"), "{error}");
}

#[test]
fn a_table_can_be_replaced_whole() {
    let result = merged("connector = { _replace = true, kind = \"parrot\", experts = 6 }", &PatchRules::new()).unwrap();
    assert_eq!(result["connector"], toml::Value::Table(table("kind = \"parrot\"\nexperts = 6")));
    let result = merged("stage.align.lr = { _replace = true }", &PatchRules::new()).unwrap();
    assert_eq!(result["stage"][0]["lr"], toml::Value::Table(Table::new()));
    assert!(merged("connector = { _replace = false }", &PatchRules::new()).is_err());
    assert!(merged("_replace = true", &PatchRules::new()).is_err());
}

#[test]
fn a_table_can_be_removed() {
    let result =
        merged("connector = { _remove = true }\nstage.tune.lr = { _remove = true }", &PatchRules::new()).unwrap();
    assert!(!result.contains_key("connector") && result["stage"][1].get("lr").is_none());
    assert!(result["stage"][0].get("lr").is_some());
    for (patch, says) in [
        ("connector = { _remove = false }", "`connector._remove` can only be true"),
        ("connector = { _remove = true, kind = 'mlp' }", "nothing may stand beside it"),
        ("conector = { _remove = true }", "no table `conector` to remove"),
        ("a = { _remove = true }", "no table `a` to remove"),
        ("stage.tune = { _remove = true }", "an element of an array"),
        ("_remove = true", "cannot remove the whole recipe"),
    ] {
        let error = merged(patch, &PatchRules::new().open("conector")).unwrap_err();
        assert!(error.contains(says), "{patch}: {error}");
    }
}

#[test]
fn open_tables_and_optional_keys_may_be_added() {
    let patch = "stage.align.lr.\"vision.*\" = 0.1";
    let error = merged(patch, &PatchRules::new()).unwrap_err();
    assert!(error.contains("`stage.align.lr.\"vision.*\"`"), "{error}");
    let result = merged(patch, &PatchRules::new().open("stage.*.lr")).unwrap();
    assert_eq!(result["stage"][0]["lr"]["vision.*"].as_float(), Some(0.1));
    assert!(merged("seed = 1", &PatchRules::new().optional("seed")).is_ok());
    assert!(merged("seed.x = 1", &PatchRules::new().optional("sed")).is_err());
}

#[test]
fn a_key_at_the_wrong_place_is_found() {
    let error = merged("connector.steps = 3", &PatchRules::new()).unwrap_err();
    assert!(error.ends_with("did you mean `stage.align.steps`?"), "{error}");
}

#[test]
fn tables_and_values_do_not_replace_each_other() {
    let error = merged("connector = 3", &PatchRules::new()).unwrap_err();
    assert!(error.contains("is a table in the base recipe, the patch makes it an integer"), "{error}");
    let error = merged("a = { b = 1 }", &PatchRules::new()).unwrap_err();
    assert!(error.contains("is an integer in the base recipe, the patch makes it a table"), "{error}");
}
