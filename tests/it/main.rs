//! Integration tests, one file a subject, one binary.

mod cli;
mod command;
mod docs;
mod inputs;
mod inspect;
mod keys;
mod lock;
mod mirror;
mod recipe;
mod sandbox;
mod server;
mod sev;
mod signature;
mod steps;
mod store;
