//! Paths with braces: `{a,b}.json` and `shard-{000..127}.tar`, as LLaVA-NeXT's and WebDataset's lists write them.

/// The most files that one pattern may stand for; a slip such as `{0..999999999}` must not fill the memory.
const MAX_FILES: usize = 100_000;

/// All texts that a pattern with `{a,b}` and `{000..009}` stands for.
pub(crate) fn expand_braces(pattern: &str) -> Result<Vec<String>, String> {
    // Patterns still to be opened, with what stands before them.
    let mut open = vec![(String::new(), pattern)];
    let mut done = Vec::new();
    while let Some((before, rest)) = open.pop() {
        let Some(begin) = rest.find('{') else {
            if rest.contains('}') {
                return Err("a } without {".to_owned());
            }
            done.push(before + rest);
            if done.len() > MAX_FILES {
                return Err(format!("it stands for more than {MAX_FILES} files"));
            }
            continue;
        };
        let Some(end) = rest[begin..].find('}').map(|at| begin + at) else {
            return Err("a { without }".to_owned());
        };
        let inner = &rest[begin + 1..end];
        if inner.contains('{') {
            return Err("braces within braces are not understood; write the list out".to_owned());
        }
        let choices = match inner.split_once("..") {
            Some((first, last)) => range(first, last)?,
            None => inner.split(',').map(str::to_owned).collect(),
        };
        if choices.len().saturating_add(open.len()) > MAX_FILES {
            return Err(format!("it stands for more than {MAX_FILES} files"));
        }
        // Last first, since the stack turns them round.
        open.extend(
            choices.iter().rev().map(|choice| (format!("{before}{}{choice}", &rest[..begin]), &rest[end + 1..])),
        );
    }
    Ok(done)
}

/// Digits of a number in a range, leading zeros counted.
const MAX_DIGITS: usize = 20;

/// The numbers from `first` to `last`, with leading zeros where the first has them.
fn range(first: &str, last: &str) -> Result<Vec<String>, String> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{{{first}..{last}}} needs two whole numbers"));
    let (from, to) = (number(first)?, number(last)?);
    if first.len() > MAX_DIGITS {
        return Err(format!("a range of numbers with {} digits, at most {MAX_DIGITS} are possible", first.len()));
    }
    if to < from || to - from >= MAX_FILES as u64 {
        return Err(format!("{{{first}..{last}}} must rise by less than {MAX_FILES}"));
    }
    Ok((from..=to).map(|number| format!("{number:0width$}", width = first.len())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_and_ranges() {
        assert_eq!(expand_braces("a.json").unwrap(), ["a.json"]);
        assert_eq!(
            expand_braces("x/{a,b}-{8..10}.tar").unwrap(),
            ["x/a-8.tar", "x/a-9.tar", "x/a-10.tar", "x/b-8.tar", "x/b-9.tar", "x/b-10.tar"]
        );
        assert_eq!(expand_braces("{000..002}").unwrap(), ["000", "001", "002"]);
        for (pattern, word) in [
            ("{a", "without"),
            ("a}", "without"),
            ("{1..x}", "whole"),
            ("{3..1}", "rise"),
            ("{0..99999999999}", "rise"),
            ("{a,{b}}", "within"),
            (format!("{{{}..3}}", "0".repeat(70_000)).as_str(), "70000 digits"),
        ] {
            assert!(expand_braces(pattern).unwrap_err().contains(word), "{pattern}");
        }
        assert!(expand_braces("{0..999}{0..999}").unwrap_err().contains("more than"));
    }
}
