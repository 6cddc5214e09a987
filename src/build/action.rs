//! A step as an `Action` of the Remote Execution API: its Merkle tree, its command, its key.

use std::collections::BTreeMap;

use prost::Message as _;

use super::reapi::{
    Action, Command, Digest, Directory, DirectoryNode, EnvironmentVariable, FileNode, SymlinkNode,
};
use crate::digest::Sha256;

/// What stands at a path of an input root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A file, by its contents.
    File {
        /// SHA-256 and size of the contents.
        digest: Digest,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A symbolic link and its target.
    Symlink(String),
    /// A directory; needs to be stated only where it is empty.
    Directory,
    /// A whole tree of which only the digest is known.
    Tree(Digest),
}

/// Messages by their digest: what an executor elsewhere would have to be given.
pub type Messages = BTreeMap<String, Vec<u8>>;

/// Merkle tree of `nodes`, whose keys are paths without a leading slash: the digest of its root
/// directory, and every directory's message.
pub fn merkle(nodes: &BTreeMap<String, Node>) -> (Digest, Messages) {
    let mut messages = Messages::new();
    let root = Level::of(nodes).encode(&mut messages);
    (root, messages)
}

/// One directory while the tree is being made; maps keep the names sorted, as the API asks.
#[derive(Default)]
struct Level<'a> {
    leaves: BTreeMap<&'a str, &'a Node>,
    below: BTreeMap<&'a str, Level<'a>>,
}

impl<'a> Level<'a> {
    fn of(nodes: &'a BTreeMap<String, Node>) -> Self {
        let mut root = Self::default();
        for (path, node) in nodes {
            let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parents = parents.split('/').filter(|part| !part.is_empty());
            let level = parents.fold(&mut root, |level, part| level.below.entry(part).or_default());
            match node {
                Node::Directory => drop(level.below.entry(name).or_default()),
                _ => drop(level.leaves.insert(name, node)),
            }
        }
        root
    }

    fn encode(&self, messages: &mut Messages) -> Digest {
        let mut directory = Directory::default();
        for (name, node) in &self.leaves {
            add(&mut directory, (*name).into(), node);
        }
        for (name, level) in &self.below {
            let (name, digest) = ((*name).into(), Some(level.encode(messages)));
            directory.directories.push(DirectoryNode { name, digest });
        }
        directory.directories.sort_by(|a, b| a.name.cmp(&b.name));
        keep(&directory, messages)
    }
}

fn add(directory: &mut Directory, name: String, node: &Node) {
    match node {
        Node::File { digest, executable } => {
            let (digest, is_executable) = (Some(digest.clone()), *executable);
            directory.files.push(FileNode { name, digest, is_executable });
        }
        Node::Symlink(target) => {
            directory.symlinks.push(SymlinkNode { name, target: target.clone() });
        }
        Node::Tree(digest) => {
            directory.directories.push(DirectoryNode { name, digest: Some(digest.clone()) });
        }
        Node::Directory => {}
    }
}

fn keep(message: &impl prost::Message, messages: &mut Messages) -> Digest {
    let bytes = message.encode_to_vec();
    let digest = Digest::of(&bytes);
    messages.insert(digest.hash.clone(), bytes);
    digest
}

/// What is run, apart from the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Outputs, relative to the working directory.
    pub outputs: Vec<String>,
}

/// Working directory of every step, relative to the input root.
pub const WORKING_DIRECTORY: &str = "build";

/// Key of running `work` on the tree `root`, and the messages that the key stands for.
pub fn key(work: &Work, root: Digest, mut messages: Messages) -> (Sha256, Messages) {
    let variable = |(name, value): (&String, &String)| EnvironmentVariable {
        name: name.clone(),
        value: value.clone(),
    };
    let mut output_paths = work.outputs.clone();
    output_paths.sort_unstable();
    output_paths.dedup();
    let command = Command {
        arguments: work.arguments.clone(),
        environment_variables: work.environment.iter().map(variable).collect(),
        working_directory: WORKING_DIRECTORY.into(),
        output_paths,
    };
    let command_digest = Some(keep(&command, &mut messages));
    let action = Action { command_digest, input_root_digest: Some(root) };
    keep(&action, &mut messages);
    (Sha256::of(&action.encode_to_vec()), messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contents: &[u8], executable: bool) -> Node {
        Node::File { digest: Digest::of(contents), executable }
    }

    fn example() -> BTreeMap<String, Node> {
        let nodes = [
            ("build", Node::Directory),
            ("src/build.sh", file(b"echo hello > out\n", true)),
            ("src/data/a", file(b"a", false)),
            ("src/data-b", file(b"b", false)),
            ("bin", Node::Symlink("usr/bin".into())),
            ("usr/bin/sh", file(b"#!", true)),
        ];
        nodes.into_iter().map(|(path, node)| (path.to_string(), node)).collect()
    }

    /// The same messages, made and encoded by Python's protobuf 6 from the API's own .proto.
    #[test]
    fn keys_are_those_of_the_api() {
        let (root, messages) = merkle(&example());
        assert_eq!(root.hash, "c73572578a47dd46d6d1258d73b341f09a98a089f71c38fb3a2788047e0a532c");
        let work = Work {
            arguments: ["/bin/sh", "/src/build.sh"].map(String::from).into(),
            environment: [("TZ", "UTC"), ("HOME", "/build")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            outputs: ["out"].map(String::from).into(),
        };
        let (key, messages) = key(&work, root, messages);
        assert_eq!(
            key.to_string(),
            "b9a7f9ff0905283232e82b79202b76796b8b483fd13e37a6555e4acdd2941e56"
        );
        // build, src, src/data, usr, usr/bin, the root, the command and the action
        assert_eq!(messages.len(), 8);
    }

    #[test]
    fn a_tree_known_by_its_digest_gives_the_same_root() {
        let mut nodes = example();
        let usr = nodes.remove("usr/bin/sh").expect("a node");
        let (bin, _) = merkle(&[("sh".to_string(), usr)].into());
        nodes.insert("usr/bin".into(), Node::Tree(bin));
        assert_eq!(merkle(&nodes).0, merkle(&example()).0);
    }

    #[test]
    fn whatever_shapes_a_step_changes_its_key() {
        let work = |value: &str, output: &str| Work {
            arguments: vec!["true".into()],
            environment: [("NAME".to_string(), value.to_string())].into(),
            outputs: vec![output.into()],
        };
        let of = |work: &Work, nodes: &BTreeMap<String, Node>| {
            key(work, merkle(nodes).0, Messages::new()).0
        };
        let first = of(&work("a", "out"), &example());
        assert_eq!(first, of(&work("a", "out"), &example()));
        assert_ne!(first, of(&work("b", "out"), &example()));
        assert_ne!(first, of(&work("a", "other"), &example()));
        let mut changed = example();
        changed.insert("src/build.sh".into(), file(b"echo hello > out\n", false));
        assert_ne!(first, of(&work("a", "out"), &changed), "no longer executable");
    }
}
