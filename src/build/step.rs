//! Runs a step in the sandbox, once for each key: what has been built is never built again.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::action::{self, Node, WORKING_DIRECTORY, Work};
use super::changes;
use super::reapi::{ActionResult, Digest, OutputFile};
use super::root::Root;
use super::scratch::Scratch;
use super::variation::Variation;
use crate::digest::Sha256;
use crate::sandbox::{Bind, End, Limits, Sandbox, Spec};
use crate::store::{Expected, Store};

/// Lines of a failed step's log that its error shows.
const SHOWN_LINES: usize = 30;

/// Where inputs are seen: read-only.
pub const INPUTS: &str = "/src";

/// One step: a script that makes outputs of inputs, in a build root.
#[derive(Debug, Clone)]
pub struct Step<'a> {
    /// Name in messages: `kernel`, `firmware amdsev`.
    pub name: String,
    /// What the tools come from.
    pub root: &'a Root,
    /// The script; it finds its inputs below [`INPUTS`] and starts in `/build`.
    pub script: &'a str,
    /// Inputs by their path below [`INPUTS`]; all are in the store.
    pub inputs: BTreeMap<String, Expected>,
    /// Variables beyond those of every build.
    pub env: BTreeMap<String, String>,
    /// Paths of the outputs below `/build`.
    pub outputs: Vec<String>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Outputs by path; all are in the store.
    pub outputs: BTreeMap<String, Expected>,
    /// Key of the step.
    pub key: Sha256,
    /// Whether the step was run now.
    pub ran: bool,
}

/// What a builder tells while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note<'a> {
    /// A step runs, because of these changes.
    Runs(&'a str, &'a [String]),
    /// A step has run.
    Ran(&'a str),
    /// A step's outputs were in the store.
    Known(&'a str),
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runs(name, changes) => write!(f, "{name} runs: {}", changes.join("; ")),
            Self::Ran(name) => write!(f, "{name} has run"),
            Self::Known(name) => write!(f, "{name} was built before"),
        }
    }
}

/// Runs steps.
pub struct Builder<'a> {
    /// Where inputs and outputs are.
    pub store: &'a Store,
    /// For whom: the recipe's name, under which the last run of a step is remembered.
    pub owner: String,
    /// Told what happens.
    pub notify: &'a (dyn Fn(&Note<'_>) + Sync),
    /// How commands are started.
    pub sandbox: Sandbox,
    /// What a step may use up.
    pub limits: Limits,
    /// How this build differs from others in what must not matter; a varied build neither takes nor
    /// leaves results.
    pub variation: Variation,
}

impl<'a> Builder<'a> {
    /// The usual builder for the recipe `owner`, with this program as the stages of its sandbox.
    pub fn new(store: &'a Store, owner: &str, notify: &'a (dyn Fn(&Note<'_>) + Sync)) -> Self {
        let (sandbox, limits) = (Sandbox::default(), Limits::default());
        Self { store, owner: owner.into(), notify, sandbox, limits, variation: Variation::none() }
    }
}

impl Builder<'_> {
    /// Puts `text` into the store, as an input.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn text(&self, text: &str) -> Result<Expected> {
        self.bytes(text.as_bytes())
    }

    /// Puts `bytes` into the store, as an input.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn bytes(&self, bytes: &[u8]) -> Result<Expected> {
        let size = u64::try_from(bytes.len()).context("the size of an input")?;
        Ok(Expected { sha256: self.store.put(bytes)?, size })
    }

    /// Runs `step`, or takes what it gave before.
    ///
    /// # Errors
    /// An input is not in the store, the sandbox cannot be set up, or the script fails: the error
    /// then shows the last lines of its log and names the file with all of it.
    pub fn run(&self, step: &Step<'_>) -> Result<Built> {
        let context = || format!("step {}", step.name);
        let mut inputs = step.inputs.clone();
        inputs.insert("build.sh".into(), self.text(step.script)?);
        let work = work(step);
        let (key, _) = key(step, &work, &inputs);
        if self.variation.is_none() {
            if let Some(outputs) = self.known(&key).with_context(context)? {
                (self.notify)(&Note::Known(&step.name));
                return Ok(Built { outputs, key, ran: false });
            }
            let changes = changes::since_last(self.store, &self.owner, step, &inputs)?;
            (self.notify)(&Note::Runs(&step.name, &changes));
        }
        let outputs = self.run_now(step, &work, &inputs, &key).with_context(context)?;
        (self.notify)(&Note::Ran(&step.name));
        Ok(Built { outputs, key, ran: true })
    }

    /// Outputs of an earlier run, if all of them are still there.
    fn known(&self, key: &Sha256) -> Result<Option<BTreeMap<String, Expected>>> {
        let Some(bytes) = self.store.result(key)? else { return Ok(None) };
        let result = ActionResult::decode(&bytes[..]).context("a result in the store")?;
        let outputs: BTreeMap<_, _> =
            result.output_files.iter().map(output).collect::<Result<_>>()?;
        Ok(outputs.values().all(|output| self.store.holds(output)).then_some(outputs))
    }

    fn run_now(
        &self,
        step: &Step<'_>,
        work: &Work,
        inputs: &BTreeMap<String, Expected>,
        key: &Sha256,
    ) -> Result<BTreeMap<String, Expected>> {
        let scratch = Scratch::new(self.store.root(), &self.variation)?;
        scratch.fill(self.store, inputs, &self.variation)?;
        let log = self.log_file(&step.name, key)?;
        let mut spec = spec(step, work, &scratch);
        spec.limits = self.limits;
        self.variation.apply(&mut spec);
        let end = self.sandbox.run(&spec, &log)?;
        ensure!(end == End::Exited(0), failure(end, &log, &self.limits));
        let outputs = self.collect(&scratch, &step.outputs)?;
        if self.variation.is_none() {
            self.keep(key, &outputs, &log)?;
        }
        Ok(outputs)
    }

    /// Where the log of a step stands: the newest run of each key is kept.
    fn log_file(&self, name: &str, key: &Sha256) -> Result<PathBuf> {
        let dir = self.store.root().join("logs");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir.join(format!("{}-{}.log", name.replace(' ', "-"), &key.to_string()[..12])))
    }

    fn collect(&self, scratch: &Scratch, paths: &[String]) -> Result<BTreeMap<String, Expected>> {
        let work = rustix::fs::open(scratch.work(), OFlags::PATH, Mode::empty())
            .context("opening the working directory")?;
        let mut outputs = BTreeMap::new();
        for path in paths {
            // The script may have planted a link: nothing outside is ever taken for an output.
            let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat2(&work, path.as_str(), flags, Mode::empty(), within)
                .with_context(|| format!("the script has not made its output {path}"))?;
            let mut file = File::from(file);
            let regular = file.metadata().is_ok_and(|found| found.is_file());
            ensure!(regular, "the output {path} is not a regular file");
            outputs.insert(path.clone(), self.store.put_stream(&mut file)?);
        }
        Ok(outputs)
    }

    fn keep(&self, key: &Sha256, outputs: &BTreeMap<String, Expected>, log: &Path) -> Result<()> {
        let log = self.store.put_file(log)?;
        let result = ActionResult {
            output_files: outputs
                .iter()
                .map(|(path, output)| OutputFile {
                    path: path.clone(),
                    digest: Some(Digest::new(&output.sha256, output.size)),
                    is_executable: false,
                })
                .collect(),
            exit_code: 0,
            stderr_digest: Some(Digest::new(&log.sha256, log.size)),
        };
        self.store.put_result(key, &result.encode_to_vec())
    }
}

fn work(step: &Step<'_>) -> Work {
    Work {
        arguments: vec!["/bin/sh".into(), "-eu".into(), format!("{INPUTS}/build.sh")],
        environment: Spec::new(PathBuf::new(), Vec::new())
            .env
            .into_iter()
            .chain(step.env.clone())
            .collect(),
        outputs: step.outputs.clone(),
    }
}

fn key(
    step: &Step<'_>,
    work: &Work,
    inputs: &BTreeMap<String, Expected>,
) -> (Sha256, action::Messages) {
    let mut nodes = step.root.nodes().clone();
    nodes.insert(WORKING_DIRECTORY.into(), Node::Directory);
    nodes.extend(inputs.iter().map(|(path, input)| {
        let digest = Digest::new(&input.sha256, input.size);
        (format!("{}/{path}", &INPUTS[1..]), Node::File { digest, executable: false })
    }));
    let (root, messages) = action::merkle(&nodes);
    action::key(work, root, messages)
}

fn output(file: &OutputFile) -> Result<(String, Expected)> {
    let digest = file.digest.as_ref().context("a result in the store has no digest")?;
    let sha256 = digest.hash.parse().context("a result in the store")?;
    let size = u64::try_from(digest.size_bytes).context("a result in the store")?;
    Ok((file.path.clone(), Expected { sha256, size }))
}

fn spec(step: &Step<'_>, work: &Work, scratch: &Scratch) -> Spec {
    let bind = |from: PathBuf, at: &str, writable| Bind { from, at: at.into(), writable };
    Spec {
        env: work.environment.clone(),
        binds: vec![
            bind(scratch.inputs(), INPUTS, false),
            bind(scratch.work(), &format!("/{WORKING_DIRECTORY}"), true),
        ],
        ..Spec::new(step.root.dir().into(), work.arguments.clone())
    }
}

/// Why a step failed: how it ended, and the end of what it said.
fn failure(end: End, log: &Path, limits: &Limits) -> String {
    let how = match end {
        End::Exited(code) => format!("its script ended with code {code}"),
        End::Signalled(signal) => format!("its script was ended by signal {signal}"),
        End::OutOfTime => format!("it took longer than {} s", limits.time.as_secs()),
        End::OutOfMemory => format!("it took more than {} MiB of memory", limits.memory >> 20),
        End::OutOfDisk => format!("it wrote more than {} MiB", limits.disk >> 20),
    };
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
    format!("{how}; its last lines were\n{last}\n(all of them: {})", log.display())
}
