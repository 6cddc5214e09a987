//! Commands for people: one file per verb, one row in `verbs!` below.
//!
//! Nothing outside this module prints, reads the environment or knows clap. A verb is a
//! `clap::Args` struct with `run(self, &Session) -> Outcome`; its help ends with an example that
//! works as pasted. A new verb is a file, its `mod` line and its row; then
//! `INSTA_UPDATE=always cargo test --lib cli` writes the snapshot of its help, to be read.

mod assemble;
mod boot;
mod build;
mod check;
mod completions;
mod contents;
mod diff;
mod emit;
mod environment;
mod explain;
pub mod failure;
mod host_keys;
mod id_block;
mod inspect;
mod kata;
mod lock;
mod measure;
mod measured;
mod new;
pub mod output;
mod publish;
mod recipe;
mod report;
mod reproduce;
mod schema;
mod sigstruct;
mod snp;
mod surroundings;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use environment::Environment;
use failure::Failure;
use output::Output;

use crate::sandbox::host::Host;

/// What a verb found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Done, or yes: exit code 0.
    Yes,
    /// No, a difference was found, and the verb has said which: exit code 1.
    No,
}

/// Result of a verb.
pub type Outcome = Result<Answer, Failure>;

/// Makes the enum of verbs and its dispatch from one row per verb.
macro_rules! verbs {
    ($($verb:ident in $module:ident,)+) => {
        #[derive(Debug, clap::Subcommand)]
        enum Verb {
            $($verb($module::$verb),)+
        }

        impl Verb {
            fn run(self, session: &Session) -> Outcome {
                match self {
                    $(Self::$verb(verb) => verb.run(session),)+
                }
            }
        }
    };
}

// Every verb, in the order of the help: that of the work.
verbs! {
    New in new,
    Check in check,
    Lock in lock,
    Build in build,
    Assemble in assemble,
    Boot in boot,
    Measure in measure,
    IdBlock in id_block,
    Sigstruct in sigstruct,
    Inspect in inspect,
    Reproduce in reproduce,
    Diff in diff,
    Explain in explain,
    Publish in publish,
    Report in report,
    Verify in verify,
    Schema in schema,
    Completions in completions,
}

/// Builds confidential-guest stacks reproducibly, computes the launch digests that each TEE will
/// report, and publishes them as reference values.
///
/// Exit codes: 0 yes, 1 no (a difference was found), 2 could not tell (usage, input, environment).
#[derive(Debug, clap::Parser)]
#[command(name = "guestsmith", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(propagate_version = true, subcommand_required = true, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print the answer as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Say only the answer and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more about what is done; twice for every step
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Never use the network: what the store lacks is an error
    #[arg(long, global = true)]
    pub offline: bool,
    /// Archive mirror to fetch from; may be repeated, tried in order [also: GUESTSMITH_MIRROR]
    #[arg(long, global = true, value_name = "URL")]
    pub mirror: Vec<String>,
    /// Directory of the store [also: GUESTSMITH_STORE; default: guestsmith in the user's cache]
    #[arg(long, global = true, value_name = "DIR")]
    pub store: Option<PathBuf>,
}

/// What a verb may know of the world around it.
pub struct Session {
    /// Where answers, notes and progress go.
    pub output: Output,
    global: Global,
    environment: Environment,
}

impl Session {
    /// True when the network may not be used.
    pub fn offline(&self) -> bool {
        self.global.offline
    }

    /// Mirrors that the user named: the command line's, else the environment's; perhaps none.
    pub fn mirrors(&self) -> &[String] {
        match self.global.mirror.is_empty() {
            true => &self.environment.mirrors,
            false => &self.global.mirror,
        }
    }

    /// Where host tools are found.
    pub fn host(&self) -> &Host {
        &self.environment.host
    }

    /// Directory of the store; it need not exist yet.
    ///
    /// # Errors
    /// Neither the command line nor the environment tells.
    pub fn store(&self) -> Result<PathBuf, Failure> {
        let known = self.global.store.clone().or_else(|| self.environment.store.clone());
        known.ok_or_else(|| {
            let what = "no directory for the store: HOME and XDG_CACHE_HOME are unset";
            Failure::input(anyhow::anyhow!(what)).hint("name one with --store DIR")
        })
    }
}

/// The whole program: arguments in, exit code out.
pub fn main() -> ExitCode {
    let environment = Environment::read();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => return output::usage(&usage),
    };
    let global = arguments.global;
    let output = Output::new(global.json, global.quiet, global.verbose, environment.color);
    let session = Session { output, global, environment };
    match arguments.verb.run(&session) {
        Ok(Answer::Yes) => ExitCode::SUCCESS,
        Ok(Answer::No) => ExitCode::from(1),
        Err(failure) => session.output.failure(&failure),
    }
}

/// The command tree, for completions and tests.
fn command() -> clap::Command {
    Arguments::command()
}

#[cfg(test)]
mod tests;
