//! Which frames of a clip are shown.

/// Frames of a whole clip.
pub(super) const TICKS: u32 = 32;
/// The frame that stands for the whole clip where one is shown: the middle one.
pub(super) const MIDDLE: u32 = TICKS / 2;
/// Numbers of frames that can be shown.
pub(super) const FRAMES: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// The frames that are shown where there are so many: evenly spaced from the first to the last, rounded to the nearest; one is
/// [`MIDDLE`]. For the numbers of [`FRAMES`] no two are the same, and from the end they are the same as from the beginning.
pub(super) fn shown(frames: usize) -> Vec<u32> {
    let last = TICKS - 1;
    match u32::try_from(frames).unwrap_or(TICKS).min(TICKS) {
        0 | 1 => vec![MIDDLE],
        // (2 last i + (n - 1)) / (2 (n - 1)) is last i / (n - 1), rounded.
        frames => (0..frames).map(|frame| (2 * last * frame + frames - 1) / (2 * (frames - 1))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_even_and_the_same_from_both_ends() {
        assert_eq!(shown(1), [16]);
        assert_eq!(shown(2), [0, 31]);
        assert_eq!(shown(4), [0, 10, 21, 31]);
        assert_eq!(shown(8), [0, 4, 9, 13, 18, 22, 27, 31]);
        assert_eq!(shown(32), (0..32).collect::<Vec<_>>());
        for frames in &FRAMES[1..] {
            let ticks = shown(*frames);
            assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]) && ticks.len() == *frames, "{ticks:?}");
            let back: Vec<u32> = ticks.iter().rev().map(|tick| TICKS - 1 - tick).collect();
            assert_eq!(ticks, back);
        }
    }
}
