//! Integration tests, one file a subject, one binary.

mod inputs;
