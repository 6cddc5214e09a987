//! `guestsmith check`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Answer, Outcome, Session, recipe};

/// Check a recipe, without network and without building anything
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith check --resolved recipes/quickstart.yaml")]
pub(super) struct Check {
    /// The recipe
    recipe: PathBuf,
    /// Print the recipe with all that it extends, and where each value comes from
    #[arg(long)]
    resolved: bool,
}

#[derive(Serialize)]
struct Checked<'a> {
    name: &'a str,
    digest: String,
    recipe: &'a crate::recipe::Recipe,
}

impl Check {
    pub(super) fn run(self, session: &Session) -> Outcome {
        let resolved = recipe::load(&self.recipe)?;
        let recipe = &resolved.recipe;
        let digest = format!("sha256:{}", recipe.digest());
        let answer = Checked { name: &recipe.name, digest: digest.clone(), recipe };
        session.output.answer(&answer, || match self.resolved {
            true => resolved.explained(),
            false => format!("{}: `{}` is sound, {digest}", self.recipe.display(), recipe.name),
        })?;
        Ok(Answer::Yes)
    }
}
