//! How alike two texts are, by the measure of Python's `difflib` (Ratcliff and Obershelp): twice the characters of the longest common
//! stretches, found left and right of each other, over the characters of both.
//!
//! Unusual here: in a second text of 200 characters or more, a character that makes up more than a hundredth of it begins no common
//! stretch; it only lengthens others.

use std::collections::HashMap;

/// From this length on the second text's frequent characters are passed over.
const LONG: usize = 200;
/// The part of a long text that one character may make up.
const FREQUENT: usize = 100;

/// A common stretch: where it begins in both texts, and its length.
type Stretch = (usize, usize, usize);

/// The ratio of two texts, 0 to 1. The order matters.
pub fn ratio(first: &str, second: &str) -> f64 {
    let (first, second): (Vec<char>, Vec<char>) = (first.chars().collect(), second.chars().collect());
    let total = first.len() + second.len();
    if total == 0 {
        return 1.0;
    }
    let mut places: HashMap<char, Vec<usize>> = HashMap::new();
    for (place, c) in second.iter().enumerate() {
        places.entry(*c).or_default().push(place);
    }
    if second.len() >= LONG {
        let most = second.len() / FREQUENT + 1;
        places.retain(|_, places| places.len() <= most);
    }
    let mut common = 0;
    let mut open = vec![((0, first.len()), (0, second.len()))];
    while let Some((a, b)) = open.pop() {
        let (at_a, at_b, length) = longest(&first, &second, &places, (a, b));
        if length > 0 {
            common += length;
            open.push(((a.0, at_a), (b.0, at_b)));
            open.push(((at_a + length, a.1), (at_b + length, b.1)));
        }
    }
    2.0 * common as f64 / total as f64
}

/// The longest common stretch within two spans, the first of several; of length 0 where there is none.
fn longest(
    first: &[char],
    second: &[char],
    places: &HashMap<char, Vec<usize>>,
    ((from_a, to_a), (from_b, to_b)): ((usize, usize), (usize, usize)),
) -> Stretch {
    let (mut at_a, mut at_b, mut length) = (from_a, from_b, 0);
    // Lengths of the stretches that end at the character before, by their place in the second text.
    let mut ending: HashMap<usize, usize> = HashMap::new();
    for (place, c) in first.iter().enumerate().take(to_a).skip(from_a) {
        let mut next = HashMap::new();
        let of_c = places.get(c).map(Vec::as_slice).unwrap_or_default();
        for &other in of_c.iter().filter(|other| (from_b..to_b).contains(other)) {
            let before = other.checked_sub(1).and_then(|before| ending.get(&before)).copied().unwrap_or(0);
            next.insert(other, before + 1);
            if before + 1 > length {
                length = before + 1;
                (at_a, at_b) = (place + 1 - length, other + 1 - length);
            }
        }
        ending = next;
    }
    let equal = |a: usize, b: usize| first.get(a).is_some_and(|c| second.get(b) == Some(c));
    while at_a > from_a && at_b > from_b && equal(at_a - 1, at_b - 1) {
        (at_a, at_b, length) = (at_a - 1, at_b - 1, length + 1);
    }
    while at_a + length < to_a && at_b + length < to_b && equal(at_a + length, at_b + length) {
        length += 1;
    }
    (at_a, at_b, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides divide the same whole numbers.
    const SAME: f64 = 1e-12;

    #[test]
    fn equals_difflib() {
        // difflib.SequenceMatcher(None, first, second).ratio()
        let long = "the quick brown fox jumps over the lazy dog ".repeat(6);
        let vowels = format!("{}zebra{}", "aeiou".repeat(30), "uoiea".repeat(30));
        for (first, second, wanted) in [
            ("right", "(2) right", 0.7142857142857143),
            ("", "", 1.0),
            ("x", "", 0.0),
            ("以上都", "以上都不是", 0.75),
            ("private thread", "tidal wave pirate", 0.3225806451612903),
            ("tidal wave pirate", "private thread", 0.3225806451612903),
            ("lazy fox", &long, 0.0),
            (&long, "lazy fox", 0.058823529411764705),
            ("xzebray", &vowels, 0.03205128205128205),
            ("aeiouaeiou", &vowels, 0.06349206349206349),
            ("abxcd", "abcd", 0.8888888888888888),
            ("triângulo", "triangulo", 0.8888888888888888),
        ] {
            let found = ratio(first, second);
            assert!((found - wanted).abs() < SAME, "{first:?} {second:?}: {found}, expected {wanted}");
        }
    }
}
