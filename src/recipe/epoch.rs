//! The one time of every output.

use super::path::Fault;

/// Seconds since 1970 of a time as recipes write it; none if it is no such time.
pub fn seconds(text: &str) -> Option<u64> {
    parse(text).ok().map(u64::from)
}

/// Seconds since 1970 of an RFC 3339 time in UTC, `2026-11-01T00:00:00Z`. Every archive format of
/// an output can hold what this accepts (cpio and gzip have 32 unsigned bits).
pub(super) fn parse(text: &str) -> Result<u32, Fault> {
    let hint = "as in 2026-11-01T00:00:00Z, in UTC and without fractions";
    let fields = fields(text).ok_or_else(|| Fault::new(format!("{text:?} is not a time"), hint))?;
    let [year, month, day, hour, minute, second] = fields;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let none = || Fault::new(format!("there is no time {text}"), hint);
    let days = in_range.then(|| days_before(year, month, day)).flatten().ok_or_else(none)?;
    let seconds = days * 86_400 + u64::from(hour * 3600 + minute * 60 + second);
    u32::try_from(seconds)
        .map_err(|_| Fault::new(format!("{text} is too late"), "archives hold times up to 2106"))
}

/// Year, month, day, hour, minute, second, each with its exact number of digits.
fn fields(text: &str) -> Option<[u32; 6]> {
    let shape = "dddd-dd-ddTdd:dd:ddZ";
    let fits = |(c, s): (char, char)| if s == 'd' { c.is_ascii_digit() } else { c == s };
    if text.len() != shape.len() || !text.chars().zip(shape.chars()).all(fits) {
        return None;
    }
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().ok());
    let mut next = || numbers.next().flatten();
    Some([next()?, next()?, next()?, next()?, next()?, next()?])
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01, or nothing before it.
fn days_before(year: u32, month: u32, day: u32) -> Option<u64> {
    let years = (1970..year).map(|y| if is_leap(y) { 366 } else { 365 }).sum::<u64>();
    let months = (1..month).map(|m| u64::from(days_in(year, m))).sum::<u64>();
    (year >= 1970).then(|| years + months + u64::from(day - 1))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn seconds_as_date_counts_them() {
        // GNU date: date -u -d TIME +%s
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2026-11-01T00:00:00Z", 1_793_491_200),
            ("2106-02-07T06:28:15Z", 4_294_967_295),
        ] {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "2026-11-01",
            "2026-11-01T00:00:00+00:00",
            "2026-11-01 00:00:00Z",
            "2026-11-01t00:00:00z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-01T24:00:00Z",
            "2026-11-01T00:00:60Z",
            "1969-12-31T23:59:59Z",
            "2106-02-07T06:28:16Z",
            "２026-11-01T00:00:0Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
