//! Guests through the crates that others measure with, beside guestsmith.
//!
//! A crate of its own, so that what it needs (273 packages with `sev` and `igvm`'s `corim` feature)
//! stays out of guestsmith's own tree and lock file. `ci/differential peers` and `ci/bench` run it.

mod bench;
mod firmware;
mod igvm;

use std::process::ExitCode;

const USAGE: &str = "usage: guestsmith-peers firmware COUNT SEED FIRMWARE...
       guestsmith-peers igvm COUNT SEED
       guestsmith-peers bench FIRMWARE";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let equal = match words.as_slice() {
        ["firmware", count, seed, images @ ..] if !images.is_empty() => {
            firmware::compare(number(count), number(seed), images)
        }
        ["igvm", count, seed] => igvm::compare(number(count), number(seed)),
        ["bench", image] => bench::run(image),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    ExitCode::from(u8::from(!equal))
}
