//! What stands in training and in a benchmark, which translations are kept, what they answer.

mod hashes;
mod languages;
mod near;
mod overlap;
mod requests;
mod rules;
mod said;
mod texts;
