//! The nearest valid name for one that was mistyped: every error of this module that rejects a name uses it.

/// Up to this many valid names are listed whole in a message; more would hide the one that is meant.
const LIST_AT_MOST: usize = 12;

/// Names less similar than this (Jaro-Winkler, 0 to 1) are not what was meant. 0.7 still pairs `stpes` with
/// `steps`, and no longer `seed` with `batch_size`.
const SIMILAR_ENOUGH: f64 = 0.7;

/// The valid name nearest to `name`, if one is near enough to be meant.
pub fn nearest<'a, I>(name: &str, valid: I) -> Option<&'a str>
where
    I: IntoIterator<Item = &'a str>,
{
    let lower = name.to_lowercase();
    valid
        .into_iter()
        .map(|candidate| {
            let similarity = strsim::jaro_winkler(&lower, &candidate.to_lowercase());
            (similarity, candidate)
        })
        .filter(|(similarity, _)| *similarity >= SIMILAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, candidate)| candidate)
}

/// The end of an error message about an unknown name: `; did you mean ...?` with the nearest name, and the valid
/// names when they are few.
pub fn hint<'a, I>(name: &str, valid: I) -> String
where
    I: IntoIterator<Item = &'a str>,
{
    let valid: Vec<&str> = valid.into_iter().collect();
    let mut text = String::new();
    if let Some(nearest) = nearest(name, valid.iter().copied()) {
        text.push_str(&format!("; did you mean `{nearest}`?"));
    }
    if valid.is_empty() {
        text.push_str("; none is allowed here");
    } else if valid.len() <= LIST_AT_MOST {
        text.push_str(&format!(" (valid: {})", valid.join(", ")));
    } else if text.is_empty() {
        let some = valid[..LIST_AT_MOST].join(", ");
        text.push_str(&format!(" (valid: {some}, and {} more)", valid.len() - LIST_AT_MOST));
    }
    text
}
