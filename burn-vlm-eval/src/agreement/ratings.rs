//! What annotators said of items, and the scale that they said it on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// The labels that an annotator may choose from, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    labels: Vec<String>,
    /// The labels as numbers, if all of them are.
    values: Option<Vec<f64>>,
    places: HashMap<String, usize>,
}

impl Scale {
    /// A scale of labels in a given order.
    ///
    /// # Errors
    /// A label that stands there twice.
    pub fn declared<S: Into<String>>(labels: impl IntoIterator<Item = S>) -> Result<Self, RatingError> {
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        let mut places = HashMap::new();
        for (place, label) in labels.iter().enumerate() {
            if let Some(first) = places.insert(label.clone(), place) {
                return Err(RatingError::RepeatedLabel { label: label.clone(), first: first + 1, second: place + 1 });
            }
        }
        let values: Option<Vec<f64>> = labels.iter().map(|label| number(label)).collect();
        Ok(Self { values: values.filter(|values| !values.is_empty()), labels, places })
    }

    /// The scale of the labels that occur: numbers by their size, anything else by the alphabet. Numbers that are the same are one label
    /// (`5` and `5.0`).
    pub fn seen<'a>(labels: impl IntoIterator<Item = &'a str>) -> Self {
        let mut labels: Vec<&str> = labels.into_iter().collect();
        labels.sort_unstable();
        labels.dedup();
        let numbers: Option<Vec<f64>> = labels.iter().map(|label| number(label)).collect();
        let mut places = HashMap::new();
        let Some(numbers) = numbers.filter(|numbers| !numbers.is_empty()) else {
            places.extend(labels.iter().enumerate().map(|(place, label)| ((*label).to_owned(), place)));
            return Self { labels: labels.into_iter().map(str::to_owned).collect(), values: None, places };
        };
        let mut pairs: Vec<(f64, &str)> = numbers.into_iter().zip(labels).collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut values, mut names): (Vec<f64>, Vec<String>) = Default::default();
        for (value, label) in pairs {
            if values.last() != Some(&value) {
                values.push(value);
                names.push(label.to_owned());
            }
            places.insert(label.to_owned(), values.len() - 1);
        }
        Self { labels: names, values: Some(values), places }
    }

    /// The labels.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// The labels as numbers, if all are.
    pub fn values(&self) -> Option<&[f64]> {
        self.values.as_deref()
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The place of a label.
    pub fn place(&self, label: &str) -> Option<usize> {
        self.places.get(label).copied()
    }
}

/// A label as a number. What spreadsheets write for no number is none.
pub fn number(label: &str) -> Option<f64> {
    let value: f64 = label.trim().parse().ok()?;
    // -0 is 0.
    value.is_finite().then_some(value + 0.0)
}

/// Ratings that are no table of ratings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RatingError {
    /// A label that a scale has twice.
    #[error("label {label:?} stands twice on the scale, as number {first} and {second}; name each label once")]
    RepeatedLabel {
        /// The label.
        label: String,
        /// Its first place, from 1.
        first: usize,
        /// Its second place.
        second: usize,
    },
    /// A label that the scale lacks.
    #[error("label {label:?} is not on the scale ({}); correct the row, or declare the label", scale.join(", "))]
    UnknownLabel {
        /// The label.
        label: String,
        /// The labels of the scale.
        scale: Vec<String>,
    },
    /// A second rating of an item by an annotator.
    #[error("annotator {annotator:?} rated item {item:?} already: {first:?}; keep one of the two ratings")]
    Repeated {
        /// The item.
        item: String,
        /// The annotator.
        annotator: String,
        /// The first rating.
        first: String,
    },
}

/// What annotators said of items; a rating may be missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratings {
    scale: Arc<Scale>,
    annotators: Arc<[String]>,
    /// Empty in a resample.
    items: Arc<[String]>,
    /// Row by row: the place on the scale.
    cells: Vec<Option<u32>>,
}

/// Adds ratings one by one.
#[derive(Debug, Clone)]
pub struct RatingsBuilder {
    scale: Scale,
    annotators: Vec<String>,
    items: Vec<String>,
    annotator_numbers: HashMap<String, usize>,
    item_numbers: HashMap<String, usize>,
    cells: HashMap<(usize, usize), u32>,
}

impl RatingsBuilder {
    /// No rating yet.
    pub fn new(scale: Scale) -> Self {
        Self {
            scale,
            annotators: Vec::new(),
            items: Vec::new(),
            annotator_numbers: HashMap::new(),
            item_numbers: HashMap::new(),
            cells: HashMap::new(),
        }
    }

    /// Adds an annotator and an item, with a rating or without one.
    ///
    /// # Errors
    /// A label that is not on the scale; a second rating.
    pub fn add(&mut self, item: &str, annotator: &str, label: Option<&str>) -> Result<(), RatingError> {
        let item_number = numbered(&mut self.items, &mut self.item_numbers, item);
        let annotator_number = numbered(&mut self.annotators, &mut self.annotator_numbers, annotator);
        let Some(label) = label else { return Ok(()) };
        let place = self.scale.place(label).ok_or_else(|| RatingError::UnknownLabel {
            label: label.to_owned(),
            scale: self.scale.labels().to_vec(),
        })?;
        match self.cells.entry((item_number, annotator_number)) {
            Entry::Vacant(cell) => {
                cell.insert(place as u32);
                Ok(())
            }
            Entry::Occupied(first) => Err(RatingError::Repeated {
                item: item.to_owned(),
                annotator: annotator.to_owned(),
                first: self.scale.labels().get(*first.get() as usize).cloned().unwrap_or_default(),
            }),
        }
    }

    /// The table.
    pub fn finish(self) -> Ratings {
        let width = self.annotators.len();
        let mut cells = vec![None; width * self.items.len()];
        for ((item, annotator), place) in self.cells {
            if let Some(cell) = cells.get_mut(item * width + annotator) {
                *cell = Some(place);
            }
        }
        Ratings { scale: self.scale.into(), annotators: self.annotators.into(), items: self.items.into(), cells }
    }
}

fn numbered(names: &mut Vec<String>, numbers: &mut HashMap<String, usize>, name: &str) -> usize {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    names.push(name.to_owned());
    numbers.insert(name.to_owned(), names.len() - 1);
    names.len() - 1
}

impl Ratings {
    /// The scale.
    pub fn scale(&self) -> &Scale {
        &self.scale
    }

    /// The annotators, in the order of their first rating.
    pub fn annotators(&self) -> &[String] {
        &self.annotators
    }

    /// The items, in the order of their first rating; a resample has no names for them.
    pub fn items(&self) -> &[String] {
        &self.items
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.cells.len() / self.annotators.len().max(1)
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The ratings of each item, one cell an annotator.
    pub fn rows(&self) -> impl Iterator<Item = &[Option<u32>]> {
        // No row has no cell: an item comes with an annotator.
        self.cells.chunks(self.annotators.len().max(1))
    }

    /// Ratings that are there.
    pub fn count(&self) -> usize {
        self.cells.iter().flatten().count()
    }

    /// How often each label was chosen, by all annotators together and by each.
    pub fn marginals(&self) -> (Vec<u64>, Vec<Vec<u64>>) {
        let mut of_each = vec![vec![0; self.scale.len()]; self.annotators.len()];
        for row in self.rows() {
            for (counts, place) in of_each.iter_mut().zip(row) {
                if let Some(count) = place.and_then(|place| counts.get_mut(place as usize)) {
                    *count += 1;
                }
            }
        }
        let all = (0..self.scale.len()).map(|place| of_each.iter().filter_map(|counts| counts.get(place)).sum());
        (all.collect(), of_each)
    }

    /// How often each label was chosen for each item: `[item][label]`, with the number of its ratings.
    pub(super) fn table(&self) -> Vec<(Vec<f64>, f64)> {
        let labels = self.scale.len();
        let of_row = |row: &[Option<u32>]| {
            let mut counts = vec![0.0; labels];
            for place in row.iter().flatten() {
                if let Some(count) = counts.get_mut(*place as usize) {
                    *count += 1.0;
                }
            }
            let sum = counts.iter().sum();
            (counts, sum)
        };
        self.rows().map(of_row).collect()
    }

    /// The items at some places, which may repeat: a resample.
    pub fn select(&self, items: &[usize]) -> Self {
        let width = self.annotators.len();
        let mut cells = Vec::with_capacity(items.len() * width);
        for item in items {
            cells.extend_from_slice(self.cells.get(item * width..(item + 1) * width).unwrap_or_default());
        }
        Self { scale: self.scale.clone(), annotators: self.annotators.clone(), items: Arc::default(), cells }
    }

    /// The same ratings on another scale, by their labels.
    ///
    /// # Errors
    /// A label in use that the other scale lacks.
    pub fn on_scale(&self, scale: Scale) -> Result<Self, RatingError> {
        let mut cells = Vec::with_capacity(self.cells.len());
        for cell in &self.cells {
            let label = cell.and_then(|place| self.scale.labels().get(place as usize));
            cells.push(match label {
                None => None,
                Some(label) => {
                    Some(scale.place(label).ok_or_else(|| RatingError::UnknownLabel {
                        label: label.clone(),
                        scale: scale.labels().to_vec(),
                    })? as u32)
                }
            });
        }
        Ok(Self { scale: scale.into(), annotators: self.annotators.clone(), items: self.items.clone(), cells })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A table of annotators in columns, `.` for a missing rating, on the scale of what is seen.
    pub(in super::super) fn table(rows: &[&str]) -> Ratings {
        let labels = rows.iter().flat_map(|row| row.split_whitespace()).filter(|label| *label != ".");
        on(Scale::seen(labels), rows)
    }

    /// The same on a declared scale.
    pub(in super::super) fn on(scale: Scale, rows: &[&str]) -> Ratings {
        let mut builder = RatingsBuilder::new(scale);
        for (item, row) in rows.iter().enumerate() {
            for (annotator, label) in row.split_whitespace().enumerate() {
                let label = Some(label).filter(|label| *label != ".");
                builder.add(&format!("i{item}"), &format!("a{annotator}"), label).unwrap();
            }
        }
        builder.finish()
    }

    #[test]
    fn scales_are_in_order() {
        let seen = Scale::seen(["10", "9", "1e1", "-1", "9.0"]);
        assert_eq!((seen.labels(), seen.len()), (&["-1", "9", "10"].map(str::to_owned)[..], 3));
        assert_eq!((seen.place("1e1"), seen.place("9.0"), seen.place("8")), (Some(2), Some(1), None));
        assert_eq!(Scale::seen(["b", "a", "10"]).labels(), ["10", "a", "b"]);
        assert!(Scale::seen(["nan", "inf"]).values().is_none());
        let declared = Scale::declared(["low", "high"]).unwrap();
        assert_eq!((declared.place("high"), declared.values()), (Some(1), None));
        assert!(Scale::declared(["a", "b", "a"]).unwrap_err().to_string().contains("number 1 and 3"));
        assert!(Scale::seen([]).is_empty());
    }

    #[test]
    fn ratings_are_told_apart() {
        let mut builder = RatingsBuilder::new(Scale::declared(["yes", "no"]).unwrap());
        builder.add("i", "a", Some("yes")).unwrap();
        builder.add("j", "b", None).unwrap();
        let error = builder.add("i", "a", Some("no")).unwrap_err().to_string();
        assert!(error.contains("\"a\" rated item \"i\" already: \"yes\""), "{error}");
        let error = builder.add("i", "b", Some("maybe")).unwrap_err().to_string();
        assert!(error.contains("\"maybe\" is not on the scale (yes, no)"), "{error}");
        let ratings = builder.finish();
        assert_eq!((ratings.len(), ratings.count()), (2, 1));
        assert_eq!(ratings.marginals().1.len(), 2);
        let twice = ratings.select(&[0, 0, 1]);
        assert_eq!((twice.len(), twice.count()), (3, 2));
        assert!(ratings.on_scale(Scale::declared(["no"]).unwrap()).is_err());
    }
}
