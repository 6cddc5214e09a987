//! `nitro-peer build OUT METADATA ARM64 KERNEL CMDLINE CERTIFICATE KEY RAMDISK…` writes an enclave
//! image; `nitro-peer read IMAGE` checks its CRC and its signature. Both print the PCRs as JSON. An
//! empty CERTIFICATE leaves the image unsigned.

use std::fs::File;
use std::path::Path;

use aws_nitro_enclaves_image_format::utils::eif_reader::EifReader;
use aws_nitro_enclaves_image_format::utils::{
    EifBuilder, PcrSignatureChecker, SignEnclaveInfo, get_pcrs,
};
use sha2::{Digest, Sha384};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let pcrs = match words.as_slice() {
        ["build", out, metadata, arm64, kernel, cmdline, certificate, key, disks @ ..] => {
            let text = std::fs::read(metadata).expect("metadata");
            let metadata = serde_json::from_slice(&text).expect("metadata as the library has them");
            let signer = SignEnclaveInfo::new(certificate, key);
            let signer = (!certificate.is_empty()).then(|| signer.expect("a certificate and its key"));
            let flags = u16::from(*arm64 == "true");
            let (kernel, cmdline) = (Path::new(kernel), cmdline.to_string());
            let new = EifBuilder::new(kernel, cmdline, signer, Sha384::new(), flags, metadata);
            let mut builder = new;
            disks.iter().for_each(|disk| builder.add_ramdisk(Path::new(disk)));
            builder.write_to(&mut File::create(out).expect("a file"))
        }
        ["read", image] => {
            let mut eif = EifReader::from_eif(image.to_string()).expect("an enclave image");
            assert!(eif.check_crc(), "the CRC is wrong");
            let mut checker = PcrSignatureChecker::from_eif(image).expect("an enclave image");
            let signed = !checker.is_empty();
            if signed {
                checker.verify().expect("a good signature");
            }
            get_pcrs(
                &mut eif.image_hasher,
                &mut eif.bootstrap_hasher,
                &mut eif.app_hasher,
                &mut eif.cert_hasher,
                Sha384::new(),
                signed,
            )
            .expect("PCRs")
        }
        _ => panic!("usage: nitro-peer build|read …"),
    };
    println!("{}", serde_json::to_string(&pcrs).expect("JSON"));
}
