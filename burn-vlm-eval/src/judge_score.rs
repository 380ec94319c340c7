//! A judge's numbers: one, read strictly (a judge that says anything else has failed), or two, as the scripts of
//! LLaVA-Bench read them.

use std::sync::LazyLock;

use regex::Regex;

use crate::rules::Rules;
use crate::translation::tokenize::{is_space, strip};

/// The number of a judge's reply, if it lies within the bounds and the reply is nothing but it: digits with at most one
/// point among them. `8/10`, `**8**`, `Score: 8`, `-1`, `1e1`, `nan` and numbers beyond the bounds are failures.
pub fn score(reply: &str, bounds: std::ops::RangeInclusive<f64>) -> Option<f64> {
    let text = reply.trim();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<f64>().ok().filter(|_| digits(whole) && digits(part))?;
    bounds.contains(&number).then_some(number)
}

/// The two scores of a judge's reply, as LLaVA-Bench's three scripts read them: the first line, commas as spaces,
/// exactly one space between two numbers. lmms-eval strips the reply and that line first.
pub fn pair(reply: &str, rules: Rules) -> Option<[f64; 2]> {
    let reply = if rules == Rules::LmmsEval { strip(reply) } else { reply };
    let line = reply.split('\n').next()?;
    let line = if rules == Rules::LmmsEval { strip(line) } else { line };
    let line = line.replace(',', " ");
    let mut parts = line.split(' ');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(first), Some(second), None) => Some([python_float(first)?, python_float(second)?]),
        _ => None,
    }
}

/// A number as Python's `float` reads it: white space around it, digits of any script, single underscores between
/// digits.
fn python_float(text: &str) -> Option<f64> {
    let text: String = text.trim_matches(is_space).chars().map(ascii_digit).collect();
    let chars: Vec<char> = text.chars().collect();
    let is_digit = |at: Option<usize>| at.and_then(|at| chars.get(at)).is_some_and(char::is_ascii_digit);
    let between = |at: usize| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1));
    if chars.iter().enumerate().any(|(at, c)| *c == '_' && !between(at)) {
        return None;
    }
    text.replace('_', "").parse().ok()
}

/// A decimal digit of any script as that of ASCII. Their digits stand together, 0 to 9.
fn ascii_digit(c: char) -> char {
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\p{Nd}").ok());
    let is_digit = |c: char| DIGIT.as_ref().is_some_and(|digit| digit.is_match(c.encode_utf8(&mut [0; 4])));
    if c.is_ascii() || !is_digit(c) {
        return c;
    }
    let before =
        (1..=u32::from(c)).take_while(|back| char::from_u32(u32::from(c) - back).is_some_and(is_digit)).count();
    u32::try_from(before % 10).ok().and_then(|digit| char::from_digit(digit, 10)).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_alone() {
        for (reply, number) in [("10", 10.0), (" 8.5\n", 8.5), ("0", 0.0), ("007", 7.0)] {
            assert_eq!(score(reply, 0.0..=10.0), Some(number), "{reply}");
        }
    }

    #[test]
    fn all_else_is_a_failure() {
        let failures = [
            "", "8/10", "**8**", "Score: 8", "-1", "11", "10.01", "1e1", "nan", "inf", "+8", "8.", ".5", "8,5",
            "1.2.3", "８", "8 9", "eight",
        ];
        for reply in failures {
            assert_eq!(score(reply, 0.0..=10.0), None, "{reply}");
        }
    }
}
