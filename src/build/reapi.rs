//! Messages of the Remote Execution API, version 2, as far as local and remote execution of our
//! steps need them: `build/bazel/remote/execution/v2/remote_execution.proto` of
//! github.com/bazelbuild/remote-apis. Field numbers and the canonical forms are that file's.
//!
//! A step's key is the digest of an encoded [`Action`]. A protocol buffer encoded by field number
//! without unknown fields or maps has one encoding, which is what the API asks of keys.

use crate::digest::Sha256;

/// `Digest`: hash in lower-case hexadecimal, and size.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Digest {
    /// SHA-256, 64 hexadecimal digits.
    #[prost(string, tag = "1")]
    pub hash: String,
    /// Size in bytes.
    #[prost(int64, tag = "2")]
    pub size_bytes: i64,
}

impl Digest {
    /// Digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::new(&Sha256::of(bytes), bytes.len() as u64)
    }

    /// From a known hash and size.
    pub fn new(hash: &Sha256, size: u64) -> Self {
        Self { hash: hash.to_string(), size_bytes: i64::try_from(size).unwrap_or(i64::MAX) }
    }

    /// Digest of an encoded message.
    pub fn of_message(message: &impl prost::Message) -> Self {
        Self::of(&message.encode_to_vec())
    }
}

/// `Action`: what is run, and on what.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Action {
    /// Digest of the [`Command`].
    #[prost(message, optional, tag = "1")]
    pub command_digest: Option<Digest>,
    /// Digest of the root [`Directory`].
    #[prost(message, optional, tag = "2")]
    pub input_root_digest: Option<Digest>,
}

/// `Command`: program, surroundings and outputs.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Command {
    /// Program and arguments.
    #[prost(string, repeated, tag = "1")]
    pub arguments: Vec<String>,
    /// Sorted by name.
    #[prost(message, repeated, tag = "2")]
    pub environment_variables: Vec<EnvironmentVariable>,
    /// Relative to the input root.
    #[prost(string, tag = "6")]
    pub working_directory: String,
    /// Relative to the working directory; sorted, without duplicates.
    #[prost(string, repeated, tag = "7")]
    pub output_paths: Vec<String>,
}

/// `Command.EnvironmentVariable`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EnvironmentVariable {
    /// Name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `Directory`: one level of a Merkle tree; each list sorted by name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Directory {
    /// Files.
    #[prost(message, repeated, tag = "1")]
    pub files: Vec<FileNode>,
    /// Directories.
    #[prost(message, repeated, tag = "2")]
    pub directories: Vec<DirectoryNode>,
    /// Symbolic links.
    #[prost(message, repeated, tag = "3")]
    pub symlinks: Vec<SymlinkNode>,
}

/// `FileNode`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FileNode {
    /// Name, one path component.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Digest of the contents.
    #[prost(message, optional, tag = "2")]
    pub digest: Option<Digest>,
    /// Whether it may be executed.
    #[prost(bool, tag = "4")]
    pub is_executable: bool,
}

/// `DirectoryNode`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DirectoryNode {
    /// Name, one path component.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Digest of the encoded [`Directory`].
    #[prost(message, optional, tag = "2")]
    pub digest: Option<Digest>,
}

/// `SymlinkNode`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SymlinkNode {
    /// Name, one path component.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Target, as stored.
    #[prost(string, tag = "2")]
    pub target: String,
}

/// `ActionResult`: what came of an action.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ActionResult {
    /// Files, sorted by path.
    #[prost(message, repeated, tag = "2")]
    pub output_files: Vec<OutputFile>,
    /// Exit code of the command.
    #[prost(int32, tag = "4")]
    pub exit_code: i32,
    /// Digest of the command's error output, which is our log of both outputs.
    #[prost(message, optional, tag = "8")]
    pub stderr_digest: Option<Digest>,
}

/// `OutputFile`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OutputFile {
    /// Relative to the working directory.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Digest of the contents.
    #[prost(message, optional, tag = "2")]
    pub digest: Option<Digest>,
    /// Whether it may be executed.
    #[prost(bool, tag = "4")]
    pub is_executable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The empty message has the empty encoding, whose digest every implementation knows.
    #[test]
    fn the_empty_directory_is_the_empty_blob() {
        let digest = Digest::of_message(&Directory::default());
        assert_eq!(digest.hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.size_bytes, 0);
    }
}
