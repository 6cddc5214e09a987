//! Times as a `Release` file writes them (RFC 2822 in UTC, as apt reads it) and as the lock does
//! (RFC 3339).

use anyhow::{Context as _, Result};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// The time that `text` names: `Sat, 21 Nov 2026 09:15:44 UTC`.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn of_release(text: &str) -> Result<Self> {
        fields(text).with_context(|| {
            format!("`{text}` is no time of the form `Sat, 21 Nov 2026 09:15:44 UTC`")
        })
    }

    /// The time that `text` names: `2026-11-21T09:15:44Z`.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn of_lock(text: &str) -> Result<Self> {
        let parsed = || {
            let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
            let mut date = date.splitn(3, '-').map(|n| n.parse().ok());
            let (year, month, day) = (date.next()??, date.next()??, date.next()??);
            seconds([year, month, day], time)
        };
        parsed().with_context(|| format!("`{text}` is no time of the form `2026-11-21T09:15:44Z`"))
    }
}

fn fields(text: &str) -> Option<Time> {
    let mut words = text.split_ascii_whitespace().skip(1);
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (time, zone) = (words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let utc = ["UTC", "GMT", "Z", "+0000"].contains(&zone) && words.next().is_none();
    let date = [year.parse().ok()?, u32::try_from(month).ok()?, day.parse().ok()?];
    seconds(date, time).filter(|_| utc)
}

/// Days since 1970 by the civil calendar: years begin in March, so that the leap day ends them.
fn seconds([year, month, day]: [u32; 3], time: &str) -> Option<Time> {
    let mut time = time.splitn(3, ':').map(|n| n.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let sound = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    let (y, m) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = u64::from(365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1);
    sound.then(|| Time((days - 719_468) * 86_400 + hour * 3600 + minute * 60 + second))
}

/// RFC 3339 in UTC.
impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, seconds) = (self.0 / 86_400 + 719_468, self.0 % 86_400);
        // Inverse of the above: 400 years have 146,097 days.
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let (day, year) = (day - (153 * month + 2) / 5 + 1, year + 400 * era);
        let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_as_date_counts_them() {
        // date -u -d '…' +%s
        for (release, lock, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", "1970-01-01T00:00:00Z", 0),
            ("Tue, 29 Feb 2000 23:59:59 UTC", "2000-02-29T23:59:59Z", 951_868_799),
            ("Wed, 01 Mar 2000 00:00:00 GMT", "2000-03-01T00:00:00Z", 951_868_800),
            ("Sat, 21 Nov 2026 09:15:44 UTC", "2026-11-21T09:15:44Z", 1_795_252_544),
            ("Thu, 31 Dec 2099 12:00:00 +0000", "2099-12-31T12:00:00Z", 4_102_401_600),
        ] {
            assert_eq!(Time::of_release(release).expect("a time"), Time(seconds), "{release}");
            assert_eq!(Time(seconds).to_string(), lock);
            assert_eq!(Time::of_lock(lock).expect("a time"), Time(seconds));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for wrong in [
            "",
            "Sat, 21 Nov 2026 09:15:44",
            "Sat, 21 Nov 2026 09:15:44 CET",
            "Sat, 21 Foo 2026 09:15:44 UTC",
            "Sat, 21 Nov 1926 09:15:44 UTC",
            "Sat, 32 Nov 2026 09:15:44 UTC",
            "Sat, 21 Nov 2026 09:15 UTC",
            "Sat, 21 Nov 99999999999 09:15:44 UTC",
        ] {
            assert!(Time::of_release(wrong).is_err(), "{wrong}");
        }
    }
}
