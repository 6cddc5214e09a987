//! MRTD: SHA-384 over the leaf functions that build the TD (Intel TDX Module Base Architecture
//! Specification, section 12.2.1).

use alloc::vec::Vec;

use crate::digest::Sha384;
use crate::format::tdvf::Section;
use crate::measure::Result;
use crate::measure::page::{Action, Step};
use crate::measure::vmm::tdvf::{Order, steps};

/// Size of the block that each leaf function hashes before its data.
const BLOCK: usize = 128;

/// MRTD of a TD with `sections`.
///
/// # Errors
/// The sections cannot be loaded.
pub fn mrtd(sections: &[Section<'_>], order: Order) -> Result<Sha384> {
    let steps = steps(sections, order)?;
    let blocks: Vec<_> = steps.iter().map(block).collect();
    let parts = steps.iter().zip(&blocks).flat_map(|(step, block)| [&block[..], contents(step)]);
    Ok(Sha384::of_parts(parts))
}

/// Name of the leaf function and the address, zeros behind them.
fn block(step: &Step<'_>) -> [u8; BLOCK] {
    let name: &[u8] = match step.action {
        Action::Extend(_) => b"MR.EXTEND",
        _ => b"MEM.PAGE.ADD",
    };
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[16..24].copy_from_slice(&step.gpa.to_le_bytes());
    block
}

fn contents<'a>(step: &'a Step<'_>) -> &'a [u8] {
    match &step.action {
        Action::Extend(contents) => contents,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tdvf::{sections, tests::image};
    use alloc::string::ToString as _;

    #[test]
    fn an_image_of_our_own_has_the_digests_that_the_specification_gives() {
        // Computed by hand from the specification: 0x2000 measured bytes at 4 GiB, one page added.
        let parts = [(0x1000, 0x2000, 0xffff_e000, 0x2000, 0, 1), (0, 0, 0x80_9000, 0x1000, 2, 0)];
        let image = image(0x4000, &parts);
        let sections = sections(&image).expect("metadata");
        let mut single = Vec::new();
        let add = |gpa: u64| [&b"MEM.PAGE.ADD\0\0\0\0"[..], &gpa.to_le_bytes(), &[0; 104]].concat();
        let extend = |gpa: u64, data: &[u8]| {
            [&b"MR.EXTEND\0\0\0\0\0\0\0"[..], &gpa.to_le_bytes(), &[0; 104], data].concat()
        };
        let mut two = [add(0xffff_e000), add(0xffff_f000)].concat();
        for page in 0..2u64 {
            single.extend(add(0xffff_e000 + page * 0x1000));
            for (index, chunk) in image[0x1000..0x3000].chunks(256).enumerate() {
                let index = u64::try_from(index).expect("small");
                if index / 16 == page {
                    single.extend(extend(0xffff_e000 + 256 * index, chunk));
                    two.extend(extend(0xffff_e000 + 256 * index, chunk));
                }
            }
        }
        single.extend(add(0x80_9000));
        two.extend(add(0x80_9000));
        assert_eq!(mrtd(&sections, Order::SinglePass), Ok(Sha384::of(&single)));
        assert_eq!(mrtd(&sections, Order::TwoPass), Ok(Sha384::of(&two)));
        assert_ne!(Sha384::of(&single).to_string(), Sha384::of(&two).to_string());
    }

    #[test]
    fn an_image_of_td_shim_has_the_digest_that_its_own_tool_gives() {
        // Every type of section; `td_shim_tee_info_hash.py` of td-shim 125eeab printed the value.
        let parts = [
            (0, 0x1000, 0xff00_0000, 0x1000, 1, 0),
            (0, 0, 0x7e00_0000, 0x2000, 3, 0),
            (0, 0, 0x80_0000, 0x1000, 2, 0),
            (0, 0, 0x80_1000, 0x1000, 6, 0),
            (0, 0, 0x4000_0000, 0x10_0000, 4, 2),
            (0x1000, 0x4000, 0xff00_1000, 0x4000, 5, 1),
            (0x5000, 0x300, 0, 0, 7, 0),
            (0x6000, 0x8000, 0xff00_6000, 0x8000, 0, 1),
        ];
        let mut image = image(0x1_0000, &parts);
        // No table of GUIDed entries: the place of the descriptor, from the start of the image.
        let place = image.len() - 72 - 16 - 32 * parts.len();
        let end = image.len();
        image[end - 72..].fill(0);
        image[end - 32..end - 24].copy_from_slice(&place.to_le_bytes());
        let found = mrtd(&sections(&image).expect("metadata"), Order::SinglePass);
        let known = "d11d30d8879eb1d5572ed1bcd76d0786985cf3336da4fb8bd3f057977e6185f5e81c76c7583b77d00c9638c16b8bc1d4";
        assert_eq!(found.expect("a digest").to_string(), known);
    }
}
