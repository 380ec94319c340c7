//! Texts that stand in other texts.

use burn_vlm_data::pipeline::overlap::{TextIndex, letters};

fn found(index: &TextIndex, text: &str) -> Vec<usize> {
    let mut numbers = Vec::new();
    index.within(&letters(text), |number| numbers.push(number));
    numbers
}

#[test]
fn case_spaces_and_encoding_do_not_matter() {
    assert_eq!(letters("Où est-ce ?\n"), letters("ou\u{300} EST ce"));
    assert_eq!(letters("ﬁ１ — “x”").into_iter().collect::<String>(), "fi1x");
    let index = TextIndex::new(
        ["Which animal is this?", "這是什麼動物？", "ab", "", "which animal is THIS one"].map(letters).to_vec(),
        5,
    );
    assert_eq!(found(&index, "<image>\nWhich  animal is this? Answer with a letter."), [0]);
    assert_eq!(found(&index, "which animal is this one"), [0, 4]);
    assert_eq!(found(&index, "問：這是什麼動物"), [1]);
    assert_eq!(found(&index, "whichanimalisthis, whichanimalisthis"), [0, 0]);
    assert!(found(&index, "ab").is_empty() && found(&index, "").is_empty());
    assert!(found(&index, "Which animal is that?").is_empty());
    assert_eq!(index.text(2), ['a', 'b']);
}

#[test]
fn windows_roll() {
    let text: String = (0..500).map(|at| char::from(b'a' + (at * at % 23) as u8)).collect();
    let parts: Vec<Vec<char>> = (0..400).map(|at| letters(&text[at..at + 60])).collect();
    let index = TextIndex::new(parts, 40);
    let numbers = found(&index, &text);
    assert!((0..400).all(|at| numbers.contains(&at)));
}
