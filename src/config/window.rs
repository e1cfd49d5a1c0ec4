//! Windows of time in which a statement of a `queue` verdict may run, such as
//! `Mon-Fri 22:00-04:00 America/New_York`. A window is open while a clock in its zone shows a time in
//! it: where clocks are put forward over the whole of it it doesn't open that day, where they are put
//! back into it it opens twice.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names of days, Monday first.
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
/// Letters of a day's short name.
const SHORT: usize = 3;
const MINUTE: u32 = 60;
const HOUR: u32 = 60 * MINUTE;
const DAY: u32 = 24 * HOUR;
/// How far ahead an opening is looked for, in days: two weeks, for clocks may skip a day of one.
const HORIZON: i32 = 15;
/// A window as it is to be written.
const EXAMPLE: &str = "Sat,Sun 02:00-05:00 Europe/Berlin";
/// What people write in place of a zone's name, and a zone of that time.
const ABBREVIATIONS: &[(&str, &str)] = &[
    ("Z", "UTC"),
    ("BST", "Europe/London"),
    ("CEST", "Europe/Berlin"),
    ("EEST", "Europe/Kyiv"),
    ("MSK", "Europe/Moscow"),
    ("EDT", "America/New_York"),
    ("CST", "America/Chicago"),
    ("CDT", "America/Chicago"),
    ("MDT", "America/Denver"),
    ("PST", "America/Los_Angeles"),
    ("PDT", "America/Los_Angeles"),
    ("IST", "Asia/Kolkata"),
    ("JST", "Asia/Tokyo"),
    ("AEST", "Australia/Sydney"),
    ("AEDT", "Australia/Sydney"),
];

/// A window of time: hours of a clock, on some days of the week, somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Days on which it opens, Monday first.
    days: [bool; 7],
    /// Seconds after midnight.
    from: u32,
    /// Seconds after midnight; before `from`: on the next day.
    to: u32,
    zone: TimeZone,
    zone_name: String,
}

impl Window {
    /// Whether it is open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let local = self.zone.to_datetime(now);
        let day = day_index(local.weekday());
        let time = local.time();
        let field = |value: i8| u32::from(value.unsigned_abs());
        let second =
            field(time.hour()) * HOUR + field(time.minute()) * MINUTE + field(time.second());
        let opens_on = |day: usize| self.days.get(day) == Some(&true);
        if self.from < self.to {
            return opens_on(day) && (self.from..self.to).contains(&second);
        }
        (opens_on(day) && second >= self.from) || (opens_on((day + 6) % 7) && second < self.to)
    }

    /// The first moment from `now` on at which it is open; `None` at the end of all calendars only.
    pub fn next_opening(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_open(now) {
            return Some(now);
        }
        // It opens when the clock shows `from`, or when the clock is put forward or back.
        let today = self.zone.to_datetime(now).date();
        let starts = (-1..=HORIZON)
            .filter_map(|day| today.checked_add(day.days()).ok())
            .filter_map(|date| {
                let midnight = date.to_datetime(jiff::civil::Time::midnight());
                midnight.checked_add(i64::from(self.from).seconds()).ok()
            })
            .flat_map(|start| self.moments(start));
        let limit = now.checked_add((HORIZON * 24).hours()).ok()?;
        let changes = self.zone.following(now).map(|change| change.timestamp());
        let changes = changes.take_while(|change| *change <= limit);
        starts
            .chain(changes)
            .filter(|at| *at > now && self.is_open(*at))
            .min()
    }

    /// The moments at which a clock shows this: two where it is put back.
    fn moments(&self, shown: DateTime) -> impl Iterator<Item = Timestamp> {
        let moment = self.zone.to_ambiguous_timestamp(shown);
        [moment.earlier(), moment.later()]
            .into_iter()
            .filter_map(Result::ok)
    }

    /// A moment as a clock in its zone shows it, for people.
    pub fn clock(&self, at: Timestamp) -> String {
        let local = self.zone.to_datetime(at);
        let format = if local.second() == 0 {
            "%a %Y-%m-%d %H:%M"
        } else {
            "%a %Y-%m-%d %H:%M:%S"
        };
        format!("{} ({})", local.strftime(format), self.zone_name)
    }
}

fn day_index(day: Weekday) -> usize {
    usize::try_from(day.to_monday_zero_offset()).unwrap_or_default() // it is from 0 to 6
}

impl FromStr for Window {
    type Err = String;

    /// Reads `[days] from-to [zone]`; the error names what is wrong, and what would be right.
    fn from_str(text: &str) -> Result<Window, String> {
        let joined = join(text);
        let words: Vec<&str> = joined.split_whitespace().collect();
        let is_hours = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        let at = words
            .iter()
            .position(is_hours)
            .ok_or_else(|| format!("it names no hours; write it as `{EXAMPLE}`"))?;
        let (before, rest) = words.split_at(at);
        let days = match before {
            [] => [true; 7],
            [days] => parse_days(days)?,
            [_, ..] => return Err(format!("days come first; write it as `{EXAMPLE}`")),
        };
        let (from, to) = parse_hours(rest.first().copied().unwrap_or_default())?;
        let written = rest.get(1..).unwrap_or_default().join(" ");
        let (zone, zone_name) = if written.is_empty() {
            (TimeZone::UTC, "UTC".to_owned())
        } else if parse_days(&written).is_ok() {
            return Err(format!("days come first; write it as `{EXAMPLE}`"));
        } else {
            parse_zone(&written)?
        };
        Ok(Window {
            days,
            from,
            to,
            zone,
            zone_name,
        })
    }
}

/// Without the blanks around commas and dashes.
fn join(text: &str) -> String {
    let mut joined = text.replace(['–', '—'], "-");
    for sign in ["-", ","] {
        for loose in [format!(" {sign}"), format!("{sign} ")] {
            while joined.contains(&loose) {
                joined = joined.replace(&loose, sign);
            }
        }
    }
    joined
}

fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (parse_day(first)?, parse_day(last)?);
        loop {
            if let Some(set) = days.get_mut(day) {
                *set = true;
            }
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Ok(days)
}

/// A day by its name or the first three letters of it.
fn parse_day(text: &str) -> Result<usize, String> {
    let lower = text.to_lowercase();
    let spellings = DAYS
        .iter()
        .map(|name| name.to_lowercase())
        .map(|name| [name.get(..SHORT).unwrap_or_default().to_owned(), name]);
    let found = spellings
        .clone()
        .position(|spellings| spellings.contains(&lower));
    found.ok_or_else(|| {
        let distance = |(_, spellings): &(usize, [String; 2])| {
            let each = spellings.iter();
            each.map(|one| strsim::damerau_levenshtein(one, &lower))
                .min()
        };
        let nearest = spellings.enumerate().min_by_key(distance);
        let near = nearest.map_or("", |(day, _)| short(day));
        format!("there is no day `{text}`; the nearest valid one is `{near}`")
    })
}

fn short(day: usize) -> &'static str {
    DAYS.get(day)
        .and_then(|name| name.get(..SHORT))
        .unwrap_or_default()
}

fn parse_hours(text: &str) -> Result<(u32, u32), String> {
    let Some((from, to)) = text.split_once('-') else {
        let near = nearest_clock(text, false).map(show_clock);
        let near = near.unwrap_or("02:00".to_owned());
        return Err(format!(
            "`{text}` has no end; write from when to when, such as `{near}-24:00`"
        ));
    };
    let (from, to) = (parse_clock(from, false)?, parse_clock(to, true)?);
    if from == to {
        return Err(format!(
            "`{text}` opens and closes at once; for the whole day write `00:00-24:00`"
        ));
    }
    Ok((from, to))
}

/// `HH:MM` or `HH:MM:SS` in seconds after midnight; 24:00 as an end only.
fn parse_clock(text: &str, is_end: bool) -> Result<u32, String> {
    let field = |part: &str| -> Option<u32> {
        let is_field = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        is_field.then(|| part.parse().ok()).flatten()
    };
    let fields: Option<Vec<u32>> = text.split(':').map(field).collect();
    let seconds = match fields.as_deref() {
        Some([hours, minutes]) => valid_clock(*hours, *minutes, 0, is_end),
        Some([hours, minutes, seconds]) => valid_clock(*hours, *minutes, *seconds, is_end),
        _ => None,
    };
    seconds.ok_or_else(|| match nearest_clock(text, is_end) {
        Some(near) => format!(
            "`{text}` is no hour of the day; the nearest valid one is `{}`",
            show_clock(near)
        ),
        None => format!("`{text}` is no hour of the day; write one as `05:00` or `05:00:30`"),
    })
}

fn valid_clock(hours: u32, minutes: u32, seconds: u32, is_end: bool) -> Option<u32> {
    let sum = hours * HOUR + minutes * MINUTE + seconds;
    let last = if is_end { DAY } else { DAY - 1 };
    (minutes < 60 && seconds < 60 && sum <= last).then_some(sum)
}

/// What somebody meant who wrote `5:00`, `0500`, `5pm` or `25:00`.
fn nearest_clock(text: &str, is_end: bool) -> Option<u32> {
    let lower = text.to_lowercase();
    let groups: Vec<&str> = lower
        .split(|c: char| !c.is_ascii_digit())
        .filter(|group| !group.is_empty())
        .collect();
    let groups = match groups.as_slice() {
        // Without a colon.
        [one] if matches!(one.len(), 3 | 4) => {
            let (hours, minutes) = one.split_at(one.len() - 2);
            vec![hours, minutes]
        }
        groups => groups.to_vec(),
    };
    let number = |at: usize| -> Option<u32> {
        let group = groups.get(at);
        group.map_or(Some(0), |group| group.parse().ok())
    };
    groups.first()?;
    let (mut hours, minutes, seconds) = (number(0)?, number(1)?, number(2)?);
    if lower.ends_with("pm") && hours < 12 {
        hours += 12;
    }
    if lower.ends_with("am") && hours == 12 {
        hours = 0;
    }
    let last = if is_end { DAY } else { DAY - HOUR };
    let sum = hours.saturating_mul(HOUR).min(last) + minutes.min(59) * MINUTE + seconds.min(59);
    Some(sum.min(if is_end { DAY } else { DAY - 1 }))
}

fn parse_zone(text: &str) -> Result<(TimeZone, String), String> {
    let found = jiff::tz::db().get(text).ok();
    let found = found.and_then(|zone| {
        let name = zone.iana_name()?.to_owned();
        Some((zone, name))
    });
    found.ok_or_else(|| match nearest_zone(text) {
        Some(near) => format!("there is no zone `{text}`; the nearest valid one is `{near}`"),
        None => format!("`{text}` is no zone; name a place, such as `Europe/Berlin`, or `UTC`"),
    })
}

/// The zone that somebody meant; `None` for an offset, which knows nothing of summer.
fn nearest_zone(text: &str) -> Option<String> {
    let known = ABBREVIATIONS
        .iter()
        .find(|(written, _)| written.eq_ignore_ascii_case(text));
    if let Some((_, zone)) = known {
        return Some((*zone).to_owned());
    }
    if text.contains('+') || text.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let lower = text.to_lowercase().replace(' ', "_");
    let distance = |name: &String| {
        let name = name.to_lowercase();
        let place = name.rsplit('/').next().unwrap_or_default();
        let near = |name: &str| strsim::damerau_levenshtein(name, &lower);
        // Of names alike, the one of a place rather than an old alias.
        (near(&name).min(near(place)), !name.contains('/'))
    };
    let names = jiff::tz::db().available().map(|name| name.to_string());
    names.min_by_key(distance)
}

fn show_clock(seconds: u32) -> String {
    let (hours, minutes, rest) = (seconds / HOUR, seconds % HOUR / MINUTE, seconds % MINUTE);
    if rest == 0 {
        format!("{hours:02}:{minutes:02}")
    } else {
        format!("{hours:02}:{minutes:02}:{rest:02}")
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for (day, _) in self.days.iter().enumerate().filter(|(_, opens)| **opens) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == day => *last = day,
                _ => runs.push((day, day)),
            }
        }
        let show = |(first, last): &(usize, usize)| match last - first {
            0 => short(*first).to_owned(),
            1 => format!("{},{}", short(*first), short(*last)),
            _ => format!("{}-{}", short(*first), short(*last)),
        };
        let days: Vec<String> = runs.iter().map(show).collect();
        if runs != [(0, 6)] {
            write!(f, "{} ", days.join(","))?;
        }
        let (from, to) = (show_clock(self.from), show_clock(self.to));
        write!(f, "{from}-{to} {}", self.zone_name)
    }
}

/// `policy.windows`: open when one of them is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows(Vec<Window>);

impl Windows {
    /// Whether there are none: nothing ever opens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Window> {
        self.0.iter()
    }

    /// Whether one is open.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.0.iter().any(|window| window.is_open(now))
    }

    /// The window that is open first from `now` on, and since when.
    pub fn next_opening(&self, now: Timestamp) -> Option<(Timestamp, &Window)> {
        let openings = self.0.iter();
        openings
            .filter_map(|window| Some((window.next_opening(now)?, window)))
            .min_by_key(|(at, _)| *at)
    }
}

impl FromIterator<Window> for Windows {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Windows {
        Windows(windows.into_iter().collect())
    }
}

impl fmt::Display for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

impl Serialize for Windows {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for Windows {
    /// A list, or one text, as environment variables have it: with semicolons between windows.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Windows, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMany {
            One(String),
            Many(Vec<String>),
        }
        let texts = match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => one
                .split(';')
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
                .collect(),
            OneOrMany::Many(many) => many,
        };
        let parse = |(at, text): (usize, &String)| {
            text.parse::<Window>().map_err(|error| {
                serde::de::Error::custom(format!("window {} ({text:?}): {error}", at + 1))
            })
        };
        texts.iter().enumerate().map(parse).collect()
    }
}

/// A span for people, in its two largest units, rounded up to seconds.
pub fn human_span(span: std::time::Duration) -> String {
    let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
    // Up to two days in hours.
    let days = if seconds < 172_800 {
        0
    } else {
        seconds / 86_400
    };
    let units = [
        (days, "d"),
        ((seconds - days * 86_400) / 3_600, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let first = units.iter().position(|(count, _)| *count > 0);
    let Some(first) = first else {
        return "0 s".to_owned();
    };
    let shown = units.iter().skip(first).take(2);
    let shown: Vec<String> = shown
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests;
