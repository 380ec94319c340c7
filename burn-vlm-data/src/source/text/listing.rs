//! Lists written into one string, as JSON or as Python prints them.

/// Words without quotes that stand for nothing.
const NOTHING: [&str; 4] = ["None", "null", "nan", "NaN"];

/// The items of a list of strings or numbers: `["a", "b"]`, `['a', "it's"]`, `[1, 2]`; nothing (`null`, `None`) may stand at its end
/// and is no item. `None` where the text is no such list.
pub(in super::super) fn listing(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    let mut items = serde_json::from_str::<Vec<Option<String>>>(text).ok().or_else(|| printed(inside.trim()))?;
    while let Some(None) = items.last() {
        items.pop();
    }
    items.into_iter().collect()
}

/// The items between the brackets of a list as Python prints it, or of words without quotes.
fn printed(mut rest: &str) -> Option<Vec<Option<String>>> {
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (item, after) = match rest.chars().next()? {
            quote @ ('"' | '\'') => {
                let (item, after) = quoted(&rest[1..], quote)?;
                (Some(item), after)
            }
            _ => {
                let end = rest.find(',').unwrap_or(rest.len());
                let word = rest[..end].trim();
                if word.contains(['[', '{']) {
                    return None;
                }
                (Some(word).filter(|word| !NOTHING.contains(word)).map(str::to_owned), &rest[end..])
            }
        };
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

/// The text up to the closing quote, and what follows it. Escapes are Python's: before a letter that means nothing, the backslash
/// stays.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut item = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => match characters.next()?.1 {
                'n' => item.push('\n'),
                't' => item.push('\t'),
                'r' => item.push('\r'),
                'a' => item.push('\x07'),
                'b' => item.push('\x08'),
                'f' => item.push('\x0c'),
                'v' => item.push('\x0b'),
                '\n' => {}
                same @ ('\\' | '\'' | '"') => item.push(same),
                code @ ('x' | 'u' | 'U') => {
                    let digits = match code {
                        'x' => 2,
                        'u' => 4,
                        _ => 8,
                    };
                    let number: String = (0..digits).map_while(|_| characters.next().map(|(_, digit)| digit)).collect();
                    item.push(char::from_u32(u32::from_str_radix(&number, 16).ok()?)?);
                }
                other => item.extend(['\\', other]),
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
            // Halves of a character outside the basic plane are JSON's, its number is Python's.
            (r#"["\ud83d\ude00", "a\/b"]"#, &["😀", "a/b"]),
            (r"['\U0001f600', 'it\'s']", &["😀", "it's"]),
            (r"['\d+ \\ C:\pictures', '\x41']", &[r"\d+ \ C:\pictures", "A"]),
            (r"['a\/b']", &[r"a\/b"]),
            ("[1.50, 2.00]", &["1.50", "2.00"]),
            ("['a', None, None]", &["a"]),
            ("['None', 'nan']", &["None", "nan"]),
        ] {
            assert_eq!(
                listing(text).as_deref(),
                Some(expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
        for text in ["a", "['a", "['a' 'b']", "[['a']]", r#"[{"a": 1}]"#, "['a\\u12'", "['\\ud83d']", "[None, 'a']", ""]
        {
            assert_eq!(listing(text), None, "{text}");
        }
    }
}
