//! Options of a hand-over to Kata Containers.

use std::path::PathBuf;

use crate::publish;

/// What `publish --to kata` takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Kata Containers")]
pub(super) struct Kata {
    /// Version of kata whose command line is assembled: 4.1.0
    #[arg(long, value_name = "VERSION")]
    runtime: Option<String>,
    /// Where the payload will be pulled from: registry.example/guests/payload
    #[arg(long, value_name = "REFERENCE")]
    payload: Option<String>,
    /// OCI layout of kata-deploy's own image, which the payload is laid upon
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Root file system with dm-verity as a disk image, instead of the build's initrd
    #[arg(long, value_name = "FILE", requires = "verity")]
    image: Option<PathBuf>,
    /// Parameters of dm-verity: root_hash=…,salt=…,data_blocks=…,data_block_size=…,hash_block_size=…
    #[arg(long, value_name = "PARAMETERS", requires = "image")]
    verity: Option<String>,
    /// File system of the image
    #[arg(long, value_name = "TYPE", default_value = "ext4")]
    rootfs_type: String,
}

impl Kata {
    /// The same without the command line.
    pub(super) fn options(&self) -> publish::Kata {
        let image = self.image.clone().zip(self.verity.clone());
        publish::Kata {
            runtime: self.runtime.clone(),
            payload: self.payload.clone(),
            base: self.base.clone(),
            image: image.map(|(path, verity)| publish::KataImage {
                path,
                verity,
                kind: self.rootfs_type.clone(),
            }),
        }
    }
}
