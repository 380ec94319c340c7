//! MMMB (Parrot, section 2): multiple choice in six languages, each question by itself, as the published code counts
//! it. For the yes/no pairs that the paper describes see `mmmb_paired`.

use std::path::Path;

use crate::error::BenchmarkError;
use crate::file::FileRecipe;
use crate::kit;
use crate::lettered::spread;
use crate::published::{Answer, Asked, Item, Items, MetricInfo, Published, Scored};
use crate::reading::{self, FileLanguage, Reading};
use crate::rules::{PromptStyle, Rules};
use crate::strict;

const STRICT: strict::Kind = strict::Kind::Choice;
/// Columns of parquet files that tables are taken apart by.
const MORE: [&str; 3] = ["category", "l2-category", "split"];

/// MMMB.
pub(super) struct Mmmb;

impl Published for Mmmb {
    fn name(&self) -> &'static str {
        "mmmb"
    }

    fn about(&self) -> &'static str {
        "MMMB (Parrot): multiple choice in six languages, each question by itself"
    }

    fn rules(&self) -> &'static [Rules] {
        &[Rules::ParrotVlmevalkit, Rules::Vlmevalkit, Rules::BurnVlm]
    }

    fn read(&self, file: &FileRecipe, base: &Path, rules: Rules) -> Result<Items, BenchmarkError> {
        if rules == Rules::BurnVlm {
            let how = Reading { columns: &MORE, ..STRICT.reading(FileLanguage::Named) };
            return reading::read(file, base, &how, spread, |item| STRICT.check(item));
        }
        let how = Reading { columns: &MORE, ..Reading::of(rules, FileLanguage::Named) };
        reading::read(file, base, &how, spread, kit::check_letter)
    }

    fn prompts(&self, rules: Rules) -> Vec<PromptStyle> {
        kit::styles(rules)
    }

    fn question(&self, item: &Item, style: PromptStyle) -> Asked {
        if style == PromptStyle::BurnVlm {
            return STRICT.question(item);
        }
        Asked { text: kit::choice_prompt(item, style), ask: kit::generate(style) }
    }

    fn score(&self, items: &[Item], answers: &[Answer], rules: Rules, style: PromptStyle) -> Scored {
        if rules == Rules::BurnVlm {
            return STRICT.score(items, answers);
        }
        let verdicts = kit::choice_verdicts(items, answers, rules, style);
        let totals = kit::totals_by_part(items, &verdicts);
        Scored { verdicts: verdicts.into_iter().map(Some).collect(), totals, notes: Vec::new() }
    }

    fn metrics(&self, items: &[Item], rules: Rules) -> Vec<MetricInfo> {
        if rules == Rules::BurnVlm {
            return STRICT.metrics(items);
        }
        vec![kit::accuracy(items, rules)]
    }
}
