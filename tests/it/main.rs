//! Integration tests, one file a subject, one binary.

mod boots;
mod build;
mod cli;
mod command;
mod docs;
mod explain;
mod inputs;
mod inspect;
mod kata;
mod kbs_server;
mod keys;
mod lock;
mod mirror;
mod policy;
mod publish;
mod recipe;
mod registry;
mod rvps;
mod sandbox;
mod server;
mod service;
mod sev;
mod signature;
mod steps;
mod store;
