//! What stands as code on the repository's pages, read by what it is for: commands by the programs' parsers, TOML as recipes, studies,
//! mixtures and questions, Rust as an excerpt of what is compiled. A page cannot go on showing what no longer works.
//!
//! What a block is stands on the line above it, which readers do not see:
//!
//! | line | block |
//! |---|---|
//! | `<!-- run -->` | `.ci/run` types it as it stands |
//! | `<!-- excerpt of FILE -->` | Rust: parts of a compiled file in their order, parted by lines that are comments |
//! | `<!-- recipe -->`, `study`, `mixture`, `questions`, `prompts`, `manifest` | the whole of one |
//! | `<!-- part of a recipe -->`, `.. a recipe: stage.align.data`, `.. a study`, `.. a suite` | a part, at its root or at that table |
//! | `<!-- tables of a recipe -->` | tables that take the place of a recipe's |
//!
//! A kind may be followed by the name of a file, as in `<!-- questions: runs/own/questions.toml -->`: `.ci/run` writes it where it is below
//! `runs/`.

mod book;
mod code;
mod commands;
mod pages;
mod tables;
