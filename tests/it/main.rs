//! Integration tests, one file a subject, one binary.

mod cli;
mod command;
mod inputs;
mod inspect;
mod recipe;
mod sandbox;
