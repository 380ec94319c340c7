//! What holds for every input, on inputs that proptest makes up and makes small where one fails.

mod arrangement;
mod conversations;
mod packed;
