//! An SNP firmware by its digest and metadata, as JSON: enough to compute every measurement of it,
//! so that a verifier needs no binary.

mod go;

use serde::{Deserialize, Serialize};

use super::{Error, Result};
use crate::format::ovmf::{Area, Kind, MAX_BYTES, Section, SevMetadata, size_of_all};
use crate::measure::ovmf::Precomputed;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    /// Launch digest after the firmware's pages.
    digest: String,
    /// Start of application processors.
    reset: Option<u32>,
    hash_table: Option<AreaForm>,
    sections: Vec<SectionForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AreaForm {
    base: u32,
    size: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SectionForm {
    gpa: u32,
    size: u32,
    #[serde(rename = "type")]
    kind: String,
}

/// The JSON text of `firmware`.
///
/// # Errors
/// It has no JSON form.
pub fn to_text(firmware: &Precomputed) -> Result<String> {
    let metadata = &firmware.metadata;
    let section =
        |s: &Section| SectionForm { gpa: s.gpa, size: s.size, kind: s.kind.name().into() };
    let form = Form {
        digest: firmware.digest.to_string(),
        reset: metadata.reset,
        hash_table: metadata.hash_table.map(|a| AreaForm { base: a.base, size: a.size }),
        sections: metadata.sections.iter().map(section).collect(),
    };
    let text = serde_json::to_string_pretty(&form).map_err(|error| Error::Text(error.to_string()));
    text.map(|text| text + "\n")
}

/// The firmware that a JSON text describes: one of [`to_text`], or of `sev-snp-measure-go`.
///
/// # Errors
/// The text is no such JSON, or names a type of section that does not exist.
pub fn parse(text: &str) -> Result<Precomputed> {
    let ours = |error: serde_json::Error| Error::Value {
        what: "metadata of a firmware".to_string(),
        expected: "the JSON of `measure --dump-metadata`".to_string(),
        found: error.to_string(),
    };
    let form = match serde_json::from_str::<go::Form>(text) {
        Ok(form) => form.into_form()?,
        Err(_) => serde_json::from_str::<Form>(text).map_err(ours)?,
    };
    let digest = form.digest.parse().map_err(|error: crate::digest::Error| Error::Value {
        what: "digest of the firmware".to_string(),
        expected: "96 hexadecimal digits".to_string(),
        found: error.to_string(),
    })?;
    let sections: Vec<_> = form.sections.iter().map(section).collect::<Result<_>>()?;
    let total = size_of_all(&sections);
    if total > MAX_BYTES {
        return Err(Error::Value {
            what: "size of all sections of the firmware".to_string(),
            expected: format!("at most {MAX_BYTES:#x} bytes"),
            found: format!("{total:#x}"),
        });
    }
    let hash_table = form.hash_table.map(|area| Area { base: area.base, size: area.size });
    Ok(Precomputed { digest, metadata: SevMetadata { reset: form.reset, hash_table, sections } })
}

fn section(form: &SectionForm) -> Result<Section> {
    let kind = Kind::ALL.iter().find(|(_, name, _)| *name == form.kind).map(|(_, _, kind)| *kind);
    let whole_pages =
        form.gpa.is_multiple_of(4096) && form.size.is_multiple_of(4096) && form.size > 0;
    match (kind, whole_pages) {
        (Some(kind), true) => Ok(Section { gpa: form.gpa, size: form.size, kind }),
        _ => Err(Error::Value {
            what: "section of the firmware".to_string(),
            expected: "whole pages, of a type as memory or kernel-hashes".to_string(),
            found: format!("{:#x} bytes of type {} at {:#x}", form.size, form.kind, form.gpa),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let section = Section { gpa: 0x80_0000, size: 0x9000, kind: Kind::KernelHashes };
        let metadata = SevMetadata {
            reset: Some(0x80_b004),
            hash_table: Some(Area { base: 0x80_0c00, size: 0x400 }),
            sections: vec![section],
        };
        let firmware = Precomputed { digest: crate::digest::Sha384::of(b"firmware"), metadata };
        let text = to_text(&firmware).expect("JSON");
        assert_eq!(parse(&text), Ok(firmware));
        assert!(parse(&text.replace("kernel-hashes", "kernel")).is_err());
        assert!(parse(&text.replace("36864", "36865")).is_err());
        let two = text.replace(
            "\"sections\": [",
            "\"sections\": [{\"gpa\": 4096, \"size\": 4294959104, \"type\": \"memory\"},",
        );
        assert!(parse(&two).expect_err("too much").to_string().contains("0x100007000"));
        assert!(parse(&text.replace("sections", "section")).is_err());
    }
}
