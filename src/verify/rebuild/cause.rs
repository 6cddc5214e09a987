//! What a difference looks like: the causes that reproducible-build projects meet again and again.
//!
//! The second build of `reproduce` has a host name, user, path, time zone and variables that occur
//! nowhere by chance: where one of them stands in the difference, that is the cause.

use std::ops::Range;

use crate::build::variation::Variation;

/// Bytes around a difference that are looked at: enough for a line of text.
const AROUND: usize = 96;

/// Seconds since 1970 that a clock of these years tells: from 2020 to 2035.
const CLOCK: Range<u32> = 1_577_836_800..2_051_222_400;

/// A cause, and whether a difference looks like it. The first that does is taken.
type Cause = (&'static str, fn(&Sight<'_>) -> bool);

/// What there is to see of a difference.
struct Sight<'a> {
    whole: [&'a [u8]; 2],
    near: [&'a [u8]; 2],
    start: usize,
}

const CAUSES: &[Cause] = &[
    ("the time in a gzip header: use `gzip -n`", gzip_time),
    ("the host name: set it, or leave it out", |sight| sight.has(&Variation::HOST_NAME)),
    ("the path of the build: map it away (-ffile-prefix-map, --remap-path-prefix)", |sight| {
        sight.has(&["/deeper/", "/tmp/", "step-"])
    }),
    ("a variable of the environment: state it in the step", |sight| sight.has(&Variation::WORDS)),
    ("the user's name or number: state it (tar --owner=0 --group=0)", |sight| {
        sight.has_number(&["4321", "1000"])
    }),
    ("the time zone: set TZ", |sight| sight.has(&["+14", "UTC"])),
    (
        "the same parts in another order: sort them (a directory is read in its own order)",
        reordered,
    ),
    ("permissions that follow the umask: set them", permissions),
    ("the number of CPUs, or of jobs: results must not depend on it", count),
    ("the time of the build: take it from SOURCE_DATE_EPOCH", time),
    ("random numbers, or what is derived from something else that differs", |_| true),
];

/// The cause that the difference at `range` looks like.
pub(super) fn of(whole: [&[u8]; 2], range: &Range<usize>) -> &'static str {
    let start = range.start.saturating_sub(AROUND);
    let near = whole.map(|bytes| {
        let end = bytes.len().min(range.end + AROUND);
        bytes.get(start..end).unwrap_or_default()
    });
    let sight = Sight { whole, near, start: range.start };
    let found = CAUSES.iter().find(|(_, looks)| looks(&sight));
    found.map_or("nothing known", |(cause, _)| cause)
}

impl Sight<'_> {
    /// Whether one of `words` stands near the difference on one side and not on the other.
    fn has(&self, words: &[&str]) -> bool {
        let on = |side: &[u8], word: &str| side.windows(word.len()).any(|w| w == word.as_bytes());
        words.iter().any(|word| on(self.near[0], word) != on(self.near[1], word))
    }

    /// The same for `numbers` that stand alone, not within a longer run of letters and digits.
    fn has_number(&self, numbers: &[&str]) -> bool {
        let on = |side: &[u8], number: &str| {
            side.split(|byte| !byte.is_ascii_alphanumeric()).any(|word| word == number.as_bytes())
        };
        numbers.iter().any(|number| on(self.near[0], number) != on(self.near[1], number))
    }
}

fn gzip_time(sight: &Sight<'_>) -> bool {
    let gzip = |bytes: &[u8]| bytes.starts_with(&[0x1f, 0x8b, 8]);
    sight.whole.iter().all(|bytes| gzip(bytes)) && (4..8).contains(&sight.start)
}

/// The same lines, or the same bytes, in another order.
fn reordered(sight: &Sight<'_>) -> bool {
    let [first, second] = sight.whole;
    if first.len() != second.len() {
        return false;
    }
    let sorted = |bytes: &[u8]| {
        let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    let counted = |bytes: &[u8]| {
        bytes.iter().fold([0_u64; 256], |mut counts, byte| {
            counts[usize::from(*byte)] += 1;
            counts
        })
    };
    sorted(first) == sorted(second) || (first.len() > 256 && counted(first) == counted(second))
}

/// Octal modes as `ls -l`, tar and cpio write them.
fn permissions(sight: &Sight<'_>) -> bool {
    let modes =
        [("rw-r--r--", "rw-------"), ("rwxr-xr-x", "rwx------"), ("644", "600"), ("755", "700")];
    let on = |side: &[u8], word: &str| side.windows(word.len()).any(|w| w == word.as_bytes());
    modes.iter().any(|(usual, masked)| on(sight.near[0], usual) && on(sight.near[1], masked))
}

/// Both have a small decimal number there, the second 1.
fn count(sight: &Sight<'_>) -> bool {
    let number = |bytes: &[u8]| -> Option<u32> {
        let from = bytes.get(sight.start..)?;
        let digits: Vec<u8> = from.iter().copied().take_while(u8::is_ascii_digit).collect();
        let alone = sight.start == 0 || !bytes.get(sight.start - 1)?.is_ascii_digit();
        alone.then(|| String::from_utf8(digits).ok()?.parse().ok()).flatten()
    };
    matches!((number(sight.whole[0]), number(sight.whole[1])), (Some(2..=1024), Some(1)))
}

/// A number near by that is a time of these years, in text or as 32 bits of either order, on both
/// sides; or a year, or hours and minutes.
fn time(sight: &Sight<'_>) -> bool {
    let looks = |bytes: &&[u8]| {
        let words = bytes.windows(4).filter_map(|word| <[u8; 4]>::try_from(word).ok());
        let binary = |word: &[u8; 4]| !word.iter().all(u8::is_ascii_graphic); // else it is text
        let binary = words.clone().filter(binary).any(|word| {
            CLOCK.contains(&u32::from_le_bytes(word)) || CLOCK.contains(&u32::from_be_bytes(word))
        });
        let year = words.clone().any(|word| {
            std::str::from_utf8(&word).is_ok_and(|t| (2020..2036).any(|y| y.to_string() == t))
        });
        let hour = bytes
            .windows(5)
            .any(|w| w[2] == b':' && [0, 1, 3, 4].iter().all(|index| w[*index].is_ascii_digit()));
        let text = bytes.split(|byte| !byte.is_ascii_digit());
        let seconds = text.filter_map(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        binary || year || hour || seconds.into_iter().any(|number: u32| CLOCK.contains(&number))
    };
    sight.near.iter().all(looks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(first: &[u8], second: &[u8]) -> &'static str {
        let start = first.iter().zip(second).position(|(a, b)| a != b).unwrap_or(0);
        of([first, second], &(start..start + 1))
    }

    #[test]
    fn known_causes_are_recognised() {
        let cases: &[(&[u8], &[u8], &str)] = &[
            (b"\x1f\x8b\x08\0AAAAx", b"\x1f\x8b\x08\0BAAAx", "the time in a gzip header"),
            (b"on build today", b"on another-machine today", "the host name"),
            (b"b\na\nc\n", b"a\nb\nc\n", "the same parts in another order"),
            (b"jobs=2", b"jobs=1", "the number of CPUs"),
            (b"at 1793491200", b"at 1828051200", "the time of the build"),
            (b"Tue Nov 24 2026", b"Wed Dec 29 2027", "the time of the build"),
            (b"TZ=UTC", b"TZ=+14", "the time zone"),
            (b"-rw-r--r--", b"-rw-------", "permissions"),
            (b"0123456789abcdef", b"fedcba9876543210", "random numbers"),
        ];
        for (first, second, expected) in cases {
            let found = cause(first, second);
            assert!(found.starts_with(expected), "{}: {found}", first.escape_ascii());
        }
    }
}
