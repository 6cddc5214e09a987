//! Vanadium: as [`super::file_order`], with native zero pages (`igvmmeasure --native-zero`).

use super::Profile;
use super::igvm::{Empty, Large, Order, Rules, Vps};

/// The row.
pub const PROFILE: Profile = Profile {
    igvm: Some(&IGVM),
    ..Profile::new("vanadium", "IGVM files in their order, with native zero pages")
};

/// Its launch of IGVM files.
pub const IGVM: Rules = Rules {
    order: Order::File,
    empty: Empty::Zero,
    large: Large::WholeIfEmpty,
    whole_areas: false,
    skips_shared: false,
    vps: Vps::FileWhole,
};
