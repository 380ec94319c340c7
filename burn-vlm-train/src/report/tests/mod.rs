//! Tests of summaries, charts and pages on made-up studies.

pub(crate) mod fake;

mod drawings;
mod index;
mod numbers;
mod pages;
