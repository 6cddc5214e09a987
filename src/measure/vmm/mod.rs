//! Which pages and events each VMM brings, in which order, one file per VMM.
