//! Any loader that follows an IGVM file to the letter, as `igvmmeasure` of coconut-svsm assumes.

use super::Profile;
use super::igvm::{Empty, Large, Order, Rules, Vps};

/// The row.
pub const PROFILE: Profile = Profile {
    igvm: Some(&IGVM),
    ..Profile::new("file-order", "IGVM files loaded in the order of the file")
};

/// Its launch of IGVM files.
pub const IGVM: Rules = Rules {
    order: Order::File,
    empty: Empty::Normal,
    large: Large::WholeIfEmpty,
    whole_areas: false,
    skips_shared: false,
    vps: Vps::FileWhole,
};
