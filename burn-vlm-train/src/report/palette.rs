//! Colours of charts and report, for light and dark grounds.
//!
//! The series colours are Okabe and Ito's, told apart with every common colour blindness; yellow and black, which vanish on
//! a white or a black ground, are replaced. Identity never rests on colour alone: bars are labelled in their row, lines
//! repeat the colours dashed after the eighth.

use std::fmt::Write;

/// What a shape is drawn for. It sets the colour through an attribute (light, for files that stand alone) and a class, so
/// that the report's style sheet can replace it on a dark ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// The page.
    Ground,
    /// Text.
    Text,
    /// Secondary text.
    Muted,
    /// Grid lines.
    Grid,
    /// Axes, whiskers and reference lines.
    Line,
    /// A series, by index.
    Series(usize),
}

const LIGHT: [&str; 8] = ["#0072b2", "#e08a00", "#009e73", "#c2619b", "#4aa8e0", "#d55e00", "#8a6d3b", "#7a7f87"];
const DARK: [&str; 8] = ["#4aa3e0", "#f0a830", "#2fc49a", "#e08dc0", "#8ccbf2", "#f0844a", "#c2a56f", "#a4a9b2"];

impl Ink {
    /// The class of shapes with this ink.
    pub fn class(self) -> String {
        match self {
            Self::Ground => "ground".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Muted => "muted".to_owned(),
            Self::Grid => "grid".to_owned(),
            Self::Line => "line".to_owned(),
            Self::Series(index) => format!("s{}", index % LIGHT.len()),
        }
    }

    /// The colour on a light ground.
    pub fn light(self) -> &'static str {
        match self {
            Self::Ground => "#ffffff",
            Self::Text => "#1c2128",
            Self::Muted => "#59636e",
            Self::Grid => "#e4e8ec",
            Self::Line => "#3d4650",
            Self::Series(index) => LIGHT[index % LIGHT.len()],
        }
    }

    /// The colour on a dark ground.
    pub fn dark(self) -> &'static str {
        match self {
            Self::Ground => "#14181d",
            Self::Text => "#e8ebee",
            Self::Muted => "#9aa5b1",
            Self::Grid => "#2b323a",
            Self::Line => "#c3cad2",
            Self::Series(index) => DARK[index % DARK.len()],
        }
    }

    /// The dash pattern of a line of this series: whole for the first eight, dashed for the next.
    pub fn dashes(self) -> Option<&'static str> {
        match self {
            Self::Series(index) if index >= LIGHT.len() => Some("6 3"),
            _ => None,
        }
    }
}

/// Style rules that colour every class, as variables for the page: `--text`, `--s0`.
pub(super) fn css(dark: bool) -> String {
    let series = (0..LIGHT.len()).map(Ink::Series);
    let inks = [Ink::Ground, Ink::Text, Ink::Muted, Ink::Grid, Ink::Line].into_iter().chain(series);
    let mut css = String::new();
    for ink in inks {
        let colour = if dark { ink.dark() } else { ink.light() };
        let _ = write!(css, "--{}:{colour};", ink.class());
    }
    css
}

/// Style rules that let shapes in an inline drawing take their colour from the variables of [`css`].
pub(super) fn class_rules() -> String {
    let series = (0..LIGHT.len()).map(Ink::Series);
    let inks = [Ink::Ground, Ink::Text, Ink::Muted, Ink::Grid, Ink::Line].into_iter().chain(series);
    let mut css = String::new();
    for class in inks.map(Ink::class) {
        let _ = write!(css, "svg .f-{class}{{fill:var(--{class})}}svg .k-{class}{{stroke:var(--{class})}}");
    }
    css
}
