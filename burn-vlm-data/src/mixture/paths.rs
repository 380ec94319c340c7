//! Paths with braces: `{a,b}.json` and `shard-{000..127}.tar`, as LLaVA-NeXT's and WebDataset's lists write them.

/// The most files that one path may stand for.
const MAX_FILES: usize = 100_000;

/// The paths that a path stands for, in the order of the braces; the path itself where it has none.
pub(super) fn expand_braces(path: &str) -> Result<Vec<String>, String> {
    let Some(open) = path.find('{') else {
        return if path.contains('}') {
            Err(format!("path {path:?} has a }} without {{"))
        } else {
            Ok(vec![path.to_owned()])
        };
    };
    let (start, rest) = (&path[..open], &path[open + 1..]);
    let close = rest.find('}').ok_or_else(|| format!("path {path:?} has a {{ without }}"))?;
    let ends = expand_braces(&rest[close + 1..])?;
    let choices = choices(&rest[..close]).map_err(|problem| format!("path {path:?}: {problem}"))?;
    if choices.len().saturating_mul(ends.len()) > MAX_FILES {
        return Err(format!("path {path:?} stands for more than {MAX_FILES} files"));
    }
    let path = |choice: &String, end: &String| format!("{start}{choice}{end}");
    Ok(choices.iter().flat_map(|choice| ends.iter().map(move |end| path(choice, end))).collect())
}

fn choices(inner: &str) -> Result<Vec<String>, String> {
    let Some((first, last)) = inner.split_once("..") else {
        return Ok(inner.split(',').map(str::to_owned).collect());
    };
    let number = |text: &str| -> Option<usize> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    match (number(first), number(last)) {
        (Some(from), Some(to)) if from <= to && to - from < MAX_FILES => {
            Ok((from..=to).map(|number| format!("{number:0width$}", width = first.len())).collect())
        }
        _ => Err(format!("expected two rising numbers at most {MAX_FILES} apart in {{{inner}}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces() {
        assert_eq!(expand_braces("a/b.json").unwrap(), ["a/b.json"]);
        assert_eq!(expand_braces("{a,b}.json").unwrap(), ["a.json", "b.json"]);
        assert_eq!(expand_braces("s-{08..10}.tar").unwrap(), ["s-08.tar", "s-09.tar", "s-10.tar"]);
        assert_eq!(expand_braces("{x,y}/{1..2}").unwrap(), ["x/1", "x/2", "y/1", "y/2"]);
        for path in ["{a", "a}", "{2..1}", "{a..b}", "{0..9999999}", "{1..999}{1..999}", "{..}"] {
            assert!(expand_braces(path).unwrap_err().contains("path"), "{path}");
        }
    }
}
