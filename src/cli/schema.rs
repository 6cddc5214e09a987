//! `guestsmith schema`.

use super::{Answer, Outcome, Session};

/// Print the JSON Schema of recipes, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  guestsmith schema > recipe.schema.json")]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn run(self, session: &Session) -> Outcome {
        session.output.raw(crate::recipe::schema().as_bytes())?;
        Ok(Answer::Yes)
    }
}
