//! The command `guestsmith`.

fn main() {}
