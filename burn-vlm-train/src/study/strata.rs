//! Columns that are of some questions only, by their tags: what a study's columns tell apart within a language.
//!
//! A group of outcomes has one dimension of columns, its languages. Where the columns of a study have tags (`size = "1/4"`), each language
//! is divided by them, and a stratum stands in a language's place: `en, size 1/4`.

use std::collections::{BTreeMap, BTreeSet};

use crate::ablation::Column;
use crate::eval::Prediction;
use crate::stats::Outcome;

/// Between the language and the tags of a stratum. No tag of a language has it.
const BETWEEN: &str = ", ";

/// The tags by which a study's columns tell questions apart; none where they do not.
pub(super) struct Strata(BTreeSet<String>);

impl Strata {
    pub(super) fn of(columns: &[Column]) -> Self {
        Self(columns.iter().flat_map(|column| column.tags.keys().cloned()).collect())
    }

    /// What stands in the place of a language for questions with these tags; questions that lack them are of the language alone.
    fn name(&self, language: &str, tags: &BTreeMap<String, String>) -> String {
        let parts = self.0.iter().filter_map(|tag| Some(format!("{BETWEEN}{tag} {}", tags.get(tag)?)));
        [language.to_owned()].into_iter().chain(parts).collect()
    }

    /// The strata that a column is the mean of.
    pub(super) fn of_column(&self, column: &Column) -> Vec<String> {
        column.languages.iter().map(|language| self.name(language, &column.tags)).collect()
    }

    /// An outcome of a prediction, counted in its stratum.
    pub(super) fn place(&self, outcome: Outcome, prediction: &Prediction) -> Outcome {
        Outcome { language: self.name(&outcome.language, &prediction.tags), ..outcome }
    }

    /// The names of all strata of the columns, in the place of their languages'.
    pub(super) fn label(&self, columns: &[Column], names: &mut BTreeMap<String, String>) {
        if self.0.is_empty() {
            return;
        }
        for column in columns {
            for language in &column.languages {
                let label = names.get(language).unwrap_or(language).clone();
                names.insert(self.name(language, &column.tags), self.name(&label, &column.tags));
            }
        }
    }
}

/// The language of a stratum.
pub(super) fn language_of(stratum: &str) -> &str {
    stratum.split_once(BETWEEN).map_or(stratum, |(language, _)| language)
}

/// The languages of a column of the report, each once.
pub(super) fn languages_of(column: &crate::report::Column) -> Vec<String> {
    let mut languages: Vec<String> = Vec::new();
    for stratum in &column.languages {
        let language = language_of(stratum);
        if !languages.iter().any(|known| known == language) {
            languages.push(language.to_owned());
        }
    }
    languages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::NamedScore;
    use crate::stats::Axes;

    fn column(name: &str, languages: &[&str], size: Option<&str>) -> Column {
        Column {
            name: name.to_owned(),
            languages: languages.iter().map(|language| (*language).to_owned()).collect(),
            description: String::new(),
            tags: size.map(|size| ("size".to_owned(), size.to_owned())).into_iter().collect(),
        }
    }

    #[test]
    fn columns_without_tags_leave_languages_as_they_are() {
        let strata = Strata::of(&[column("En", &["en"], None)]);
        let mut names = BTreeMap::from([("en".to_owned(), "English".to_owned())]);
        strata.label(&[column("En", &["en"], None)], &mut names);
        assert_eq!(names.len(), 1);
        assert_eq!(strata.of_column(&column("Multi", &["de", "fr"], None)), ["de", "fr"]);
        assert_eq!((language_of("zh-Hans"), language_of("en, size 1/4")), ("zh-Hans", "en"));
    }

    #[test]
    fn each_question_is_counted_in_the_column_of_its_tag() {
        let columns = [column("1/2", &["en", "de"], Some("1/2")), column("1/8", &["en"], Some("1/8"))];
        let strata = Strata::of(&columns);
        assert_eq!(strata.of_column(&columns[0]), ["en, size 1/2", "de, size 1/2"]);
        let mut prediction = Prediction::new("1", "scenes", "apple");
        prediction.language = Some("en".to_owned());
        prediction.tags = BTreeMap::from([("size".to_owned(), "1/8".to_owned()), ("icons".to_owned(), "3".to_owned())]);
        prediction.scores = vec![NamedScore::right("scenes", true)];
        let outcome = prediction.outcomes(&Axes::new(), 0).next().unwrap();
        assert_eq!(strata.place(outcome.clone(), &prediction).language, strata.of_column(&columns[1])[0]);
        prediction.tags.clear();
        assert_eq!(strata.place(outcome, &prediction).language, "en");
        let mut names = BTreeMap::from([("en".to_owned(), "English".to_owned())]);
        strata.label(&columns, &mut names);
        assert_eq!(names["en, size 1/8"], "English, size 1/8");
        assert_eq!(names["de, size 1/2"], "de, size 1/2");
    }
}
