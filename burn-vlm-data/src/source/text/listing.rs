//! Lists written into one string, as JSON or as Python prints them.

/// The items of a list of strings or numbers: `["a", "b"]`, `['a', "it's"]`, `[1, 2]`. `None` where the text is no such list.
pub(in super::super) fn listing(text: &str) -> Option<Vec<String>> {
    let mut rest = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (item, after) = match rest.chars().next()? {
            quote @ ('"' | '\'') => quoted(&rest[1..], quote)?,
            _ => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        if item.contains(['[', '{']) && !rest.starts_with(['"', '\'']) {
            return None;
        }
        items.push(item);
        let after = after.trim_start();
        match after.strip_prefix(',') {
            Some(next) => rest = next.trim_start(),
            None if after.is_empty() => rest = after,
            None => return None,
        }
    }
    Some(items)
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut item = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next()?.1 {
                'n' => item.push('\n'),
                't' => item.push('\t'),
                'r' => item.push('\r'),
                code @ ('u' | 'x') => {
                    let digits = if code == 'u' { 4 } else { 2 };
                    let number: String = (0..digits).map_while(|_| characters.next().map(|(_, digit)| digit)).collect();
                    item.push(char::from_u32(u32::from_str_radix(&number, 16).ok()?)?);
                }
                other => item.push(other),
            },
            _ if character == quote => return Some((item, &text[at + character.len_utf8()..])),
            _ => item.push(character),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_python_and_json() {
        for (text, expected) in [
            ("['a', 'b, c']", &["a", "b, c"][..]),
            (r#"["it's", "a \"b\""]"#, &["it's", "a \"b\""]),
            (r#"["it's", 'x\n\u00e9']"#, &["it's", "x\né"]),
            (" [1, 2.5] ", &["1", "2.5"]),
            ("[]", &[]),
            ("['a',]", &["a"]),
            ("[a.png, b.png]", &["a.png", "b.png"]),
        ] {
            assert_eq!(
                listing(text).as_deref(),
                Some(expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
        for text in ["a", "['a", "['a' 'b']", "[['a']]", r#"[{"a": 1}]"#, "['a\\u12'", ""] {
            assert_eq!(listing(text), None, "{text}");
        }
    }
}
