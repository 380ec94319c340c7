//! The nearest valid name for one that was mistyped: every error that rejects a name uses it.

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
    let near = |candidate: &&str| similarity(name, candidate) >= SIMILAR_ENOUGH;
    closest(name, valid).filter(near)
}

/// The valid name nearest to `name`, however far away it is; of equals the first in the alphabet. `None` without names.
pub fn closest<'a, I>(name: &str, valid: I) -> Option<&'a str>
where
    I: IntoIterator<Item = &'a str>,
{
    valid
        .into_iter()
        .map(|candidate| (similarity(name, candidate), candidate))
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1 (Jaro-Winkler), whatever the case.
pub fn similarity(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(&a.to_lowercase(), &b.to_lowercase())
}

/// `; did you mean ...?` with the nearest name, if one is near enough.
pub fn did_you_mean<'a, I>(name: &str, valid: I) -> String
where
    I: IntoIterator<Item = &'a str>,
{
    nearest(name, valid).map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default()
}

/// The end of an error message about an unknown name: `; did you mean ...?` with the nearest name, and the valid
/// names when they are few.
pub fn hint<'a, I>(name: &str, valid: I) -> String
where
    I: IntoIterator<Item = &'a str>,
{
    let valid: Vec<&str> = valid.into_iter().collect();
    let mut text = did_you_mean(name, valid.iter().copied());
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
