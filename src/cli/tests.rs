//! The table of verbs holds together, and its help reads well.

use super::command;

#[test]
fn the_command_tree_is_sound() {
    command().debug_assert();
}

#[test]
fn every_verb_has_an_example() {
    for verb in command().get_subcommands() {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        let example = format!("Example:\n  guestsmith {}", verb.get_name());
        assert!(help.starts_with(&example), "`{}`: no example in {help:?}", verb.get_name());
    }
}

#[test]
fn help_of_every_verb() {
    let mut command = command().term_width(100);
    command.build();
    insta::assert_snapshot!("help", command.render_long_help());
    for verb in command.get_subcommands_mut() {
        let name = format!("help-{}", verb.get_name());
        let help = verb.clone().term_width(100).render_help();
        insta::assert_snapshot!(name, help);
    }
}
