//! The same in the form of `sev-snp-measure-go`, which knows no kernel hashes.

use serde::Deserialize;

use super::{Error, Result, SectionForm};
use crate::format::ovmf::Kind;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Form {
    metadata_items: Vec<Item>,
    #[serde(rename = "ResetEIP")]
    reset: String,
    #[serde(rename = "OVMFHash")]
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Item {
    #[serde(rename = "GPA")]
    gpa: String,
    size: String,
    section_type_int: u32,
}

impl Form {
    pub(super) fn into_form(self) -> Result<super::Form> {
        let section = |item: &Item| {
            let kind = Kind::ALL.iter().find(|(number, _, _)| *number == item.section_type_int);
            let kind = kind.map_or("unknown", |(_, name, _)| name).to_string();
            Ok(SectionForm { gpa: number(&item.gpa)?, size: number(&item.size)?, kind })
        };
        Ok(super::Form {
            digest: self.digest,
            reset: Some(number(&self.reset)?),
            hash_table: None,
            sections: self.metadata_items.iter().map(section).collect::<Result<_>>()?,
        })
    }
}

fn number(text: &str) -> Result<u32> {
    let number = text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| Error::Value {
        what: "number in the metadata of a firmware".to_string(),
        expected: "0x and hexadecimal digits".to_string(),
        found: text.to_string(),
    })
}
