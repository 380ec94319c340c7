//! Multiple choice and yes/no in pairs: MMMB, MMBench, MMStar, SEED-Bench, RealWorldQA.

use std::collections::BTreeMap;
use std::path::Path;

use burn_vlm_eval::file::FileRecipe;
use burn_vlm_eval::reply::parrot_clean_up;
use burn_vlm_eval::{Answer, Item, Items, PromptStyle, Published, Rules, Scored, benchmarks};
use serde_json::{Map, Value, json};

use crate::compare::{Case, differences, lines, predictions};

pub fn cases() -> Vec<(&'static str, Vec<Case>)> {
    let kit = |scorer, benchmark, rules, files| Case {
        prompts: &[
            (PromptStyle::Vlmevalkit, "vlmeval"),
            (PromptStyle::Vlmevalkit, "parrot_vlmeval"),
            (PromptStyle::Parrot, "parrot_model"),
        ],
        style: PromptStyle::Vlmevalkit,
        totals: of_files,
        ..Case::new(scorer, benchmark, rules, files)
    };
    let both = |benchmark, files| {
        [("vlmeval", Rules::Vlmevalkit), ("parrot_vlmeval", Rules::ParrotVlmevalkit)]
            .map(|(scorer, rules)| kit(scorer, benchmark, rules, files))
    };
    let lmms = |benchmark, files| Case {
        prompts: &[(PromptStyle::LmmsEval, "lmms_eval")],
        ..Case::new("lmms_eval", benchmark, Rules::LmmsEval, files)
    };
    let by_index = |case: Case| Case { id: |item| item.index.clone(), ..case };
    let mmmb = both("mmmb", "mmmb_{ar,cn,en,pt,ru,tr}.tsv").map(|case| Case {
        prompts: &[
            (PromptStyle::Vlmevalkit, "vlmeval"),
            (PromptStyle::Vlmevalkit, "parrot_vlmeval"),
            (PromptStyle::Parrot, "parrot_model"),
            (PromptStyle::ParrotAsSet, "parrot_model_as_MMMB"),
        ],
        more: mmmb_more,
        ..case
    });
    let pairs = [("vlmeval", Rules::Vlmevalkit, rated as fn(&Value) -> Value), ("lmms_eval", Rules::LmmsEval, pointed)]
        .map(|(scorer, rules, totals)| {
            by_index(Case {
                settings: PAIRED,
                prompts: &[(PromptStyle::Vlmevalkit, "question")],
                totals,
                more: paired_more,
                ..Case::new(scorer, "mmmb_paired", rules, "mmmb_paired.tsv")
            })
        });
    let circular = both(
        "mmbench",
        "{MMBench_DEV_CN,MMBench_DEV_EN,MMBench_dev_ar,MMBench_dev_pt,MMBench_dev_ru,MMBench_dev_tr}.tsv",
    )
    .map(|case| Case { more: circular_more, ..case });
    let mmstar = both("mmstar", "MMStar.tsv").map(by_index).map(|case| Case { more: as_parquet, ..case });
    let mmstar_lmms = Case { more: as_tsv, ..by_index(lmms("mmstar", MMSTAR_PARQUET)) };
    let seed = both("seedbench", "SEEDBench_IMG.tsv").map(by_index).map(|case| Case { more: as_parquet, ..case });
    let seed_lmms = Case { more: as_tsv, ..by_index(lmms("seedbench", SEED_PARQUET)) };
    vec![
        ("mmmb", mmmb.into()),
        ("mmmb_paired", pairs.into()),
        ("mmbench_vlmeval", circular.into()),
        ("mmbench_lmms", vec![Case { more: circular_more, ..lmms("mmbench", "{en,cn}/dev-00000-of-00001.parquet") }]),
        ("mmstar", mmstar.into_iter().chain([mmstar_lmms]).collect()),
        ("seedbench", seed.into_iter().chain([seed_lmms]).collect()),
        ("realworldqa", vec![by_index(lmms("realworldqa", "test-00000-of-00001.parquet"))]),
    ]
}

const MMSTAR_PARQUET: &str = "val-00000-of-00001.parquet";
const SEED_PARQUET: &str = "test-00000-of-00001.parquet";
const PAIRED: &str = "language_column = 'category'\nlanguage_map = { zh = 'zh-Hans', pt = 'pt-BR' }";

/// `{file: {rows, table}}` in the form of the folders: `{DATASET: table, DATASET/rows_loaded: rows}`.
fn of_files(totals: &Value) -> Value {
    let mut all = Map::new();
    for (file, totals) in totals.as_object().into_iter().flatten() {
        let name = file.replace("mmmb", "MMMB");
        all.insert(format!("{name}/rows_loaded"), totals["rows"].clone());
        all.insert(name, totals["table"].clone());
    }
    all.into()
}

/// The folder's tag of a language.
fn folder_tag(tag: &str) -> &str {
    match tag {
        "zh-Hans" => "zh",
        "pt-BR" => "pt",
        other => other,
    }
}

/// The folder's rows were given an `l2-category` of their own, `x`, which is in no file: all of them.
fn rated(totals: &Value) -> Value {
    let mut rows: Vec<Value> = totals.as_array().into_iter().flatten().cloned().collect();
    for row in &mut rows {
        row["split"] = folder_tag(row["split"].as_str().unwrap()).into();
    }
    let mut x = rows[0].clone();
    x["split"] = "x".into();
    rows.push(x);
    rows.into()
}

fn pointed(totals: &Value) -> Value {
    let points = totals.as_object().into_iter().flatten();
    points.map(|(tag, points)| (folder_tag(tag).to_owned(), points.clone())).collect::<Map<_, _>>().into()
}

/// What a benchmark makes of other files of the folder, or with other settings.
fn read(folder: &Path, benchmark: &str, files: &str, settings: &str, rules: Rules) -> Result<Items, String> {
    let settings = format!("name = {benchmark:?}\nfile = {files:?}\n{settings}");
    let file: FileRecipe = toml::from_str(&settings).unwrap();
    find(benchmark).read(&file, &folder.join("data"), rules).map_err(|error| error.to_string())
}

fn find(benchmark: &str) -> &'static dyn Published {
    benchmarks::find(benchmark).unwrap()
}

/// The verdicts on the folder's replies.
fn verdicts(
    folder: &Path,
    benchmark: &str,
    items: &[Item],
    rules: Rules,
    style: PromptStyle,
) -> BTreeMap<String, Value> {
    let replies = predictions(folder);
    let reply = |item: &Item| replies.get(&item.id).or_else(|| replies.get(&item.index)).cloned().unwrap_or_default();
    let answers: Vec<Answer> = items.iter().map(reply).collect();
    let scored = find(benchmark).score(items, &answers, rules, style);
    let ids = items.iter().map(|item| item.id.clone());
    ids.zip(scored.verdicts).filter_map(|(id, verdict)| Some((id, verdict?.details.into()))).collect()
}

/// Parrot's clean-up is that of its model class, and is applied after the English request and nowhere else.
fn mmmb_more(folder: &Path, items: &Items, _: &Scored) -> Vec<String> {
    let mut wrong = Vec::new();
    for line in lines(&folder.join("parrot_postprocess.jsonl")) {
        let raw = line["raw"].as_str().unwrap();
        differences(&format!("clean-up of {raw:?}"), &parrot_clean_up(raw).into(), &line["english_suffix"], &mut wrong);
    }
    let letters = verdicts(folder, "mmmb", &items.items, Rules::ParrotVlmevalkit, PromptStyle::Parrot);
    // `I think circle fits, because A man ..` is cleaned to the letter I; `the answer is a` stays as it is in the
    // Portuguese file.
    for id in ["mmmb_en/14", "mmmb_pt/5"] {
        differences(id, &letters[id]["letter"], &Value::Null, &mut wrong);
    }
    let as_set = verdicts(folder, "mmmb", &items.items, Rules::ParrotVlmevalkit, PromptStyle::ParrotAsSet);
    if letters == as_set {
        wrong.push("the set's English requests change no verdict".to_owned());
    }
    // Files with the same indices are drawn the same; English has more of them, Russian lacks one.
    match read(folder, "mmmb", "mmmb_{ar,cn,en,pt,ru,tr}.tsv", "limit = 5\nseed = 3", Rules::ParrotVlmevalkit) {
        Err(error) => wrong.push(error),
        Ok(drawn) => {
            let of = |part: &str| -> Vec<String> {
                drawn.items.iter().filter(|item| item.part == part).map(|item| item.index.clone()).collect()
            };
            for part in ["mmmb_cn", "mmmb_pt", "mmmb_tr"] {
                if of(part).len() != 5 || of(part) != of("mmmb_ar") {
                    wrong.push(format!("draw of {part}: {:?}, of mmmb_ar: {:?}", of(part), of("mmmb_ar")));
                }
            }
        }
    }
    wrong
}

/// Pictures count once, draws keep pairs whole, and Parrot's reader stands beside the kit's.
fn paired_more(folder: &Path, items: &Items, scored: &Scored) -> Vec<String> {
    let mut wrong = Vec::new();
    let counted = scored.verdicts.iter().flatten().filter(|verdict| verdict.score("paired").is_some()).count();
    differences("pictures", &counted.into(), &json!(48), &mut wrong);
    let chances: Vec<_> =
        find("mmmb_paired").metrics(&items.items, Rules::LmmsEval).iter().map(|metric| metric.chance).collect();
    differences("chance", &json!(chances), &json!([25.0, 50.0]), &mut wrong);
    match read(folder, "mmmb_paired", "mmmb_paired.tsv", &format!("{PAIRED}\nlimit = 6"), Rules::ParrotVlmevalkit) {
        Err(error) => wrong.push(error),
        Ok(drawn) => {
            differences("drawn", &drawn.items.len().into(), &json!(6 * 6), &mut wrong);
            differences("notes of the draw", &json!(drawn.notes), &json!([]), &mut wrong);
        }
    }
    let read_by = |rules| {
        verdicts(folder, "mmmb_paired", &items.items, rules, PromptStyle::Vlmevalkit).into_values().collect::<Value>()
    };
    differences("parrot's reader", &read_by(Rules::ParrotVlmevalkit), &read_by(Rules::Vlmevalkit), &mut wrong);
    wrong
}

/// Each kit's rules on the other's file: the same rows, all groups told apart, notes on those that are not whole.
fn circular_more(folder: &Path, items: &Items, scored: &Scored) -> Vec<String> {
    let mut wrong = Vec::new();
    if !scored.notes.iter().any(|note| note.contains("rows have no reply")) {
        wrong.push(format!("no note on missing replies: {:?}", scored.notes));
    }
    let files = match items.items.first().map(|item| item.part.as_str()) {
        Some("en") => "{en,cn}/dev-00000-of-00001.parquet",
        _ => "{MMBench_DEV_CN,MMBench_DEV_EN}.tsv",
    };
    let ids = |items: &[Item]| items.iter().map(|item| item.id.clone()).collect::<Vec<_>>();
    for rules in [Rules::Vlmevalkit, Rules::LmmsEval] {
        match read(folder, "mmbench", files, "", rules) {
            Err(error) => wrong.push(format!("{rules}: {error}")),
            Ok(other) => {
                let same: Vec<Item> =
                    items.items.iter().filter(|item| ids(&other.items).contains(&item.id)).cloned().collect();
                differences(&format!("rows by {rules}"), &json!(ids(&other.items)), &json!(ids(&same)), &mut wrong);
                let letters = verdicts(folder, "mmbench", &other.items, rules, PromptStyle::of(rules));
                let hits = letters.values().filter(|details| details["group_hit"].is_number()).count();
                let heads = letters.keys().filter(|id| id.rsplit_once('/').unwrap().1.len() < 7).count();
                differences(&format!("groups by {rules}"), &hits.into(), &heads.into(), &mut wrong);
            }
        }
    }
    wrong
}

/// The parquet file under the kit's rules: the prompts and verdicts are those of the TSV, but for rows about videos.
fn as_parquet(folder: &Path, items: &Items, _: &Scored) -> Vec<String> {
    let (benchmark, file) =
        if folder.ends_with("mmstar") { ("mmstar", MMSTAR_PARQUET) } else { ("seedbench", SEED_PARQUET) };
    let rules = [Rules::Vlmevalkit, Rules::ParrotVlmevalkit];
    rules.into_iter().flat_map(|rules| same(folder, benchmark, file, rules, items)).collect()
}

/// The TSV under lmms-eval's rules: the prompts and verdicts are those of the parquet file, but for rows about videos.
fn as_tsv(folder: &Path, items: &Items, _: &Scored) -> Vec<String> {
    let (benchmark, file) =
        if folder.ends_with("mmstar") { ("mmstar", "MMStar.tsv") } else { ("seedbench", "SEEDBench_IMG.tsv") };
    same(folder, benchmark, file, Rules::LmmsEval, items)
}

/// Compares another file under some rules with the items of this case under the same, by their index.
fn same(folder: &Path, benchmark: &str, file: &str, rules: Rules, items: &Items) -> Vec<String> {
    let other = match read(folder, benchmark, file, "", rules) {
        Ok(other) => other,
        Err(error) => return vec![format!("{file} by {rules}: {error}")],
    };
    let of_index = |items: &[Item]| -> BTreeMap<String, Value> {
        let style = PromptStyle::of(rules);
        let details = verdicts(folder, benchmark, items, rules, PromptStyle::Vlmevalkit);
        let about_picture = items.iter().filter(|item| item.cell("data_type").is_none_or(|kind| kind == "image"));
        let row = |item: &Item| {
            let prompt = find(benchmark).question(item, style).text;
            (item.index.clone(), json!({ "prompt": prompt, "verdict": details[&item.id] }))
        };
        about_picture.map(row).collect()
    };
    let mut wrong = Vec::new();
    let (other, ours) = (of_index(&other.items), of_index(&items.items));
    differences(&format!("{file} by {rules}"), &json!(other), &json!(ours), &mut wrong);
    wrong
}
