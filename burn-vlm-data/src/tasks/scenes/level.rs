//! What is asked of a scene and how hard it is: the question, the size of the icons, where the wrong answers come from.

use serde::{Deserialize, Serialize};

/// Pixels of a scene's side. Every [`IconSize`] divides it.
pub const CANVAS: u32 = 192;

/// The side of a scene's icons as a share of the scene's own: what must be seen to answer. Serialised as the share, `"1/2"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IconSize {
    /// A half: 96 of 192 pixels.
    #[serde(rename = "1/2")]
    Half,
    /// A third: 64 pixels.
    #[serde(rename = "1/3")]
    Third,
    /// A quarter: 48 pixels.
    #[serde(rename = "1/4")]
    Quarter,
    /// A sixth: 32 pixels.
    #[serde(rename = "1/6")]
    Sixth,
    /// An eighth: 24 pixels.
    #[serde(rename = "1/8")]
    Eighth,
}

impl IconSize {
    /// All sizes, the largest first.
    pub const ALL: [IconSize; 5] = [Self::Half, Self::Third, Self::Quarter, Self::Sixth, Self::Eighth];

    /// How many icons stand side by side.
    pub fn across(self) -> u32 {
        match self {
            Self::Half => 2,
            Self::Third => 3,
            Self::Quarter => 4,
            Self::Sixth => 6,
            Self::Eighth => 8,
        }
    }

    /// Pixels of an icon's side.
    pub fn side(self) -> u32 {
        CANVAS / self.across()
    }

    /// `"1/2"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Half => "1/2",
            Self::Third => "1/3",
            Self::Quarter => "1/4",
            Self::Sixth => "1/6",
            Self::Eighth => "1/8",
        }
    }
}

/// What is asked of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SceneQuestion {
    /// One icon somewhere: what is it?
    Alone,
    /// Two or three icons in quarters of the canvas: what stands in this one?
    Place,
    /// Three icons in a row: what stands to the left, or to the right, of the middle one?
    Beside,
    /// Some icons are the same, one is not: which?
    OddOneOut,
    /// Two pictures: what has the second one more than the first?
    Added,
    /// Two pictures: what has the second one less than the first?
    Removed,
    /// Some icons, not all of them the same: how many of this?
    Count,
}

impl SceneQuestion {
    /// All questions.
    pub const ALL: [SceneQuestion; 7] =
        [Self::Alone, Self::Place, Self::Beside, Self::OddOneOut, Self::Added, Self::Removed, Self::Count];

    /// The name in ids, `"odd_one_out"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Place => "place",
            Self::Beside => "beside",
            Self::OddOneOut => "odd_one_out",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Count => "count",
        }
    }

    /// The sizes that there is room for: three in a row, or many, take a third at most.
    pub fn sizes(self) -> &'static [IconSize] {
        match self {
            Self::Alone | Self::Place | Self::Added | Self::Removed => &IconSize::ALL,
            Self::Beside | Self::OddOneOut | Self::Count => &IconSize::ALL[1..],
        }
    }

    /// Where wrong answers may come from.
    pub fn options(self) -> &'static [SceneOptions] {
        match self {
            Self::Alone => &[SceneOptions::Elsewhere],
            Self::Count => &[SceneOptions::Numbers],
            _ => &[SceneOptions::Elsewhere, SceneOptions::Present],
        }
    }
}

/// Where the wrong answers to a question about a scene come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SceneOptions {
    /// They are not in the picture: it is enough to see what is there.
    Elsewhere,
    /// The other icons of the picture come first: one must see where each stands.
    Present,
    /// Numbers.
    Numbers,
}

impl SceneOptions {
    /// `"elsewhere"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Elsewhere => "elsewhere",
            Self::Present => "present",
            Self::Numbers => "numbers",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_divide_the_canvas_and_are_written_as_shares() {
        for size in IconSize::ALL {
            assert_eq!(size.side() * size.across(), CANVAS);
            assert_eq!(serde_json::to_value(size).unwrap(), size.as_str());
            assert_eq!(size.as_str(), format!("1/{}", size.across()));
        }
    }

    #[test]
    fn names_are_as_they_are_serialised() {
        for question in SceneQuestion::ALL {
            assert_eq!(serde_json::to_value(question).unwrap(), question.as_str());
            for options in question.options() {
                assert_eq!(serde_json::to_value(options).unwrap(), options.as_str());
            }
        }
    }
}
