//! Packages of Debian archives: signed releases, their indices, and what depends on what.

pub mod archive;
pub mod control;
pub mod date;
pub mod keyring;
pub mod packages;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod signature;
pub mod sources;
pub mod universe;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        /// What an archive or whoever stands between sends is hostile: it gives a value or an error.
        #[test]
        fn no_text_makes_a_parser_panic(text in "(?s)[ -~\n\t\u{e9}:|(),#]{0,300}") {
            let stanzas = super::control::stanzas(&text).count();
            prop_assert!(stanzas <= text.len());
            let _ = super::relation::groups(&text);
            let _ = super::release::Release::parse(&text);
            let _ = super::universe::Universe::read(
                "amd64",
                &[super::universe::Text { text: &text, release: 0, only: None }],
            );
            let _ = (super::date::Time::of_release(&text), super::date::Time::of_lock(&text));
        }
    }
}
