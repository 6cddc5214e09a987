//! The only place that prints. Answers go to standard output, as text or JSON; everything else to
//! standard error. A reader who closes the pipe has what they wanted: that is success.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::failure::{Failure, Kind};
use crate::recipe;

/// How the user wants to be talked to.
#[derive(Debug, Clone)]
pub struct Output {
    json: bool,
    quiet: bool,
    verbose: u8,
    color: bool,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool, verbose: u8, color: bool) -> Self {
        Self { json, quiet, verbose, color: color && io::stderr().is_terminal() }
    }

    /// Prints the verb's answer: `value` as JSON if that was asked for, else the text.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn answer<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.json {
            true => self.raw(json(value)?.as_bytes()),
            false => self.raw(with_line_end(text()).as_bytes()),
        }
    }

    /// Prints bytes that are the answer themselves (a schema, a script, an artifact).
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(bytes).and_then(|()| out.flush());
        unless_closed(written).context("cannot write to standard output").map_err(Failure::from)
    }

    /// Says something that is no part of the answer, unless `--quiet`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            stderr_line(text);
        }
    }

    /// Warns, `--quiet` or not: a doubt about the answer belongs to it.
    pub fn warn(&self, text: &str) {
        stderr_line(&format!("{} {text}", self.paint("warning:", "33")));
    }

    /// Says what is being done, if `--verbose` was given at least `level` times.
    pub fn detail(&self, level: u8, text: &str) {
        if self.verbose >= level {
            stderr_line(text);
        }
    }

    /// A progress bar of `total` steps, or a spinner where the total is unknown. It shows only on a
    /// terminal, and only when the work takes longer than a moment.
    pub fn progress(&self, what: &str, total: Option<u64>) -> ProgressBar {
        let shown = !self.quiet && io::stderr().is_terminal();
        let target = match shown {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let form = match total {
            Some(_) => "{msg} {bar:30} {pos}/{len} {eta}",
            None => "{msg} {spinner} {elapsed}",
        };
        let style = ProgressStyle::with_template(form).unwrap_or_else(|_| spinner());
        let bar = ProgressBar::with_draw_target(total, target).with_style(style);
        bar.set_message(what.to_string());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// Prints a failure once, with its hints, and gives the exit code.
    pub(super) fn failure(&self, failure: &Failure) -> ExitCode {
        if self.json {
            let hints = &failure.hints;
            let chain: Vec<_> = failure.error.chain().map(ToString::to_string).collect();
            let problems = failure.error.downcast_ref().map(problems).unwrap_or_default();
            let value = serde_json::json!({
                "error": {"chain": chain, "hints": hints, "problems": problems}
            });
            stderr_line(&value.to_string());
        } else {
            let word = match failure.kind {
                Kind::Mismatch => "no:",
                Kind::Usage | Kind::Input => "error:",
                Kind::Internal => "internal error:",
            };
            stderr_line(&format!("{} {failure}", self.paint(word, "1;31")));
        }
        ExitCode::from(failure.kind.exit())
    }

    fn paint(&self, word: &str, code: &str) -> String {
        match self.color {
            true => format!("\x1b[{code}m{word}\x1b[0m"),
            false => word.to_string(),
        }
    }
}

/// What is wrong with a recipe, for programs.
fn problems(error: &recipe::Error) -> Vec<serde_json::Value> {
    let one = |problem: &recipe::Problem| {
        let recipe::Origin { source, line, column, .. } = &problem.at;
        serde_json::json!({
            "file": source.name, "line": line, "column": column,
            "what": problem.what, "hint": problem.hint,
        })
    };
    error.problems.iter().map(one).collect()
}

/// Puts `bytes` into the file `path`, which appears whole or not at all.
pub(super) fn write_file(path: &std::path::Path, bytes: &[u8]) -> Result<(), Failure> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory.unwrap_or(".".as_ref()))?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    Ok(write().with_context(|| format!("cannot write {}", path.display()))?)
}

/// Prints help or a usage error of clap and gives the exit code.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    match unless_closed(error.print()) {
        Ok(()) => ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)),
        Err(_) => ExitCode::from(2), // nobody is left to be told
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::default_spinner()
}

fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).context("the answer has no JSON form");
    text.map(with_line_end).map_err(Failure::internal)
}

fn with_line_end(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn stderr_line(text: &str) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
