//! Circular questions: the same one again and again with its options rotated, right only if every row is.
//!
//! Unusual here: the scorers look at the rows that have a reply, so that a rotation that was never answered does not
//! hurt, and a group without its unrotated row is not counted at all. Whether groups are whole is checked here.

use std::collections::HashMap;

use crate::published::{Answer, Item};

/// Rotation `n` of a question has its index plus `n` times this.
const TURN: u64 = 1_000_000;

/// The rows of one question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Circle {
    /// Each with its rotation, 0 for none, and its place among the items; in the items' order.
    pub rows: Vec<(u64, usize)>,
}

impl Circle {
    /// The unrotated row, on which the group counts.
    pub fn unrotated(&self) -> Option<usize> {
        self.rows.iter().find(|(turn, _)| *turn == 0).map(|(_, at)| *at)
    }

    /// Whether there are as many rotations as options.
    fn is_whole(&self, items: &[Item]) -> bool {
        let options = self.rows.iter().filter_map(|(_, at)| Some(items.get(*at)?.options.len() as u64)).max();
        (0..options.unwrap_or(0)).all(|turn| self.rows.iter().any(|(known, _)| *known == turn))
    }
}

/// What an item's group is called within its part, and its rotation. An index that is no number is a group of its own.
pub fn base_and_turn(item: &Item) -> (String, u64) {
    match item.index.parse::<u64>() {
        Ok(index) => ((index % TURN).to_string(), index / TURN),
        Err(_) => (item.index.clone(), 0),
    }
}

/// The groups of the items that count, in the order of their first rows.
pub fn circles(items: &[Item], counts: impl Fn(usize) -> bool) -> Vec<Circle> {
    let mut circles: Vec<Circle> = Vec::new();
    let mut places: HashMap<(&str, String), usize> = HashMap::new();
    for (at, item) in items.iter().enumerate().filter(|(at, _)| counts(*at)) {
        let (base, turn) = base_and_turn(item);
        let place = *places.entry((&item.part, base)).or_insert(circles.len());
        if place == circles.len() {
            circles.push(Circle::default());
        }
        circles[place].rows.push((turn, at));
    }
    circles
}

/// What a reader must know of a file whose groups are not whole; `None` if all are.
pub fn note_of_file(name: &str, items: &[Item]) -> Option<String> {
    let all = circles(items, |_| true);
    let (headless, rest): (Vec<_>, Vec<_>) = all.iter().partition(|circle| circle.unrotated().is_none());
    let torn: Vec<_> = rest.into_iter().filter(|circle| !circle.is_whole(items)).collect();
    let first = headless.first().or(torn.first())?.rows.first().and_then(|(_, at)| items.get(*at))?;
    Some(format!(
        "{name}: {} of {} circular groups are not whole: {} lack a rotation and count on the rows that are there, {} \
         lack their unrotated row and do not count (the first: {})",
        headless.len() + torn.len(),
        all.len(),
        torn.len(),
        headless.len(),
        first.id
    ))
}

/// What replies that are missing do to the groups; `None` if none is missing.
pub fn note_of_replies(items: &[Item], answers: &[Answer]) -> Option<String> {
    let has_reply = |at: usize| answers.get(at).is_some_and(|answer| answer.reply.is_some());
    let missing = (0..items.len()).filter(|at| !has_reply(*at)).count();
    let gone = |circle: &&Circle| circle.unrotated().is_some_and(|at| !has_reply(at));
    let torn = |circle: &&Circle| !gone(circle) && circle.rows.iter().any(|(_, at)| !has_reply(*at));
    let all = circles(items, |_| true);
    (missing > 0).then(|| {
        format!(
            "{missing} rows have no reply and are left out, as the rules do: {} circular groups count without all of \
             their rotations, {} do not count, since their unrotated row is one of those",
            all.iter().filter(torn).count(),
            all.iter().filter(gone).count()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(index: &str, options: usize) -> Item {
        Item {
            id: format!("f/{index}"),
            part: "f".into(),
            index: index.into(),
            row: 0,
            language: None,
            media: Vec::new(),
            group: String::new(),
            question: String::new(),
            options: ('A'..='Z').take(options).map(|letter| (letter, String::new())).collect(),
            answers: Vec::new(),
            cells: Default::default(),
        }
    }

    #[test]
    fn groups_are_whole_with_a_rotation_for_each_option() {
        let whole: Vec<Item> = ["7", "1000007", "2000007", "8", "1000008"]
            .map(|index| item(index, 2 + usize::from(index.ends_with('7'))))
            .into();
        assert_eq!(note_of_file("x", &whole), None);
        let groups = circles(&whole, |_| true);
        assert_eq!(groups.iter().map(Circle::unrotated).collect::<Vec<_>>(), [Some(0), Some(3)]);
        let torn = ["7", "2000007", "1000008", "9", "1000009"].map(|index| item(index, 2));
        let note = note_of_file("x", &torn).unwrap();
        assert_eq!(
            note,
            "x: 2 of 3 circular groups are not whole: 1 lack a rotation and count on the rows that are there, 1 lack \
             their unrotated row and do not count (the first: f/1000008)"
        );
    }

    #[test]
    fn missing_replies_are_told() {
        let items = ["7", "1000007", "8", "1000008", "9"].map(|index| item(index, 2));
        let mut answers = vec![Answer::text("A"); 5];
        assert_eq!(note_of_replies(&items, &answers), None);
        answers[1].reply = None;
        answers[2].reply = None;
        let note = note_of_replies(&items, &answers).unwrap();
        assert!(
            note.starts_with("2 rows have no reply") && note.contains(": 1 circular groups count without"),
            "{note}"
        );
        assert!(note.contains("1 do not count"), "{note}");
    }
}
