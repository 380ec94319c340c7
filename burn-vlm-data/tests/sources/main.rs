//! Sources: what each format gives, what is left out, and that streams resume exactly.

mod archives;
mod bad;
mod columns;
mod fields;
mod files;
mod formats;
mod inspect;
mod json_columns;
mod left_out;
mod mixtures;
mod streams;
mod videos;
mod written;
