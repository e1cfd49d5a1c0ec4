use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn window(text: &str) -> Window {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next opening, in UTC.
fn next(window: &str, now: &str) -> String {
    let opening = self::window(window).next_opening(at(now)).unwrap();
    opening.to_string()
}

#[test]
fn windows_are_shown_as_they_are_written() {
    for (text, shown) in [
        ("02:00-05:00 Europe/Berlin", "02:00-05:00 Europe/Berlin"),
        ("02:00-05:00", "02:00-05:00 UTC"),
        ("Sat,Sun 00:00-24:00 UTC", "Sat,Sun 00:00-24:00 UTC"),
        (
            "monday - FRI  22:00 – 04:00 america/new_york",
            "Mon-Fri 22:00-04:00 America/New_York",
        ),
        ("Sat-Mon 01:00-02:00", "Mon,Sat,Sun 01:00-02:00 UTC"),
        ("Mon-Sun 01:00-02:00", "01:00-02:00 UTC"),
        ("Sun-Sun 22:00:05-00:00", "Sun 22:00:05-00:00 UTC"),
        (
            "Mon, Wed-Fri 01:00-02:00 utc",
            "Mon,Wed-Fri 01:00-02:00 UTC",
        ),
    ] {
        assert_eq!(window(text).to_string(), shown, "{text}");
        assert_eq!(window(shown), window(text));
    }
}

#[test]
fn what_is_wrong_is_named_with_what_would_be_right() {
    for (text, needle) in [
        ("", "no hours"),
        ("Europe/Berlin", "Sat,Sun 02:00-05:00 Europe/Berlin"),
        (
            "Sta 02:00-05:00",
            "no day `Sta`; the nearest valid one is `Sat`",
        ),
        ("Saterday 02:00-05:00", "nearest valid one is `Sat`"),
        ("Mon,,Tue 02:00-05:00", "no day ``"),
        ("Mon to Fri 02:00-05:00", "days come first"),
        ("02:00-05:00 Mon-Fri", "days come first"),
        (
            "02:00",
            "no end; write from when to when, such as `02:00-24:00`",
        ),
        (
            "2:00-05:00",
            "`2:00` is no hour of the day; the nearest valid one is `02:00`",
        ),
        ("02:00-5pm", "nearest valid one is `17:00`"),
        ("12am-05:00", "nearest valid one is `00:00`"),
        ("0200-05:00", "nearest valid one is `02:00`"),
        ("02:00-25:30", "nearest valid one is `24:00`"),
        ("02:00-24:01", "nearest valid one is `24:00`"),
        ("24:00-02:00", "nearest valid one is `23:00`"),
        ("02:00:61-05:00", "nearest valid one is `02:00:59`"),
        ("02:00-", "`` is no hour of the day; write one as"),
        ("02:00-03:00-04:00", "nearest valid one is `03:00:04`"),
        ("99999999999999999999:00-03:00", "write one as"),
        ("02:00-02:00", "for the whole day write `00:00-24:00`"),
        (
            "02:00-05:00 Europe/Berln",
            "nearest valid one is `Europe/Berlin`",
        ),
        ("02:00-05:00 Berlin", "nearest valid one is `Europe/Berlin`"),
        (
            "02:00-05:00 America/New York",
            "nearest valid one is `America/New_York`",
        ),
        (
            "02:00-05:00 New York",
            "nearest valid one is `America/New_York`",
        ),
        (
            "02:00-05:00 PST",
            "nearest valid one is `America/Los_Angeles`",
        ),
        ("02:00-05:00 UTC+2", "name a place, such as `Europe/Berlin`"),
    ] {
        let error = text.parse::<Window>().unwrap_err();
        assert!(error.contains(needle), "{text}: {error}");
    }
}

#[test]
fn it_is_open_from_its_beginning_up_to_its_end() {
    let night = window("02:00-05:00 Europe/Berlin");
    for (now, open) in [
        ("2026-07-01T00:00:00Z", true), // 02:00 in summer
        ("2026-06-30T23:59:59.999Z", false),
        ("2026-07-01T02:59:59.999Z", true),
        ("2026-07-01T03:00:00Z", false),
        ("2026-01-01T00:30:00Z", false), // 01:30 in winter
        ("2026-01-01T01:00:00Z", true),
    ] {
        assert_eq!(night.is_open(at(now)), open, "{now}");
    }
}

#[test]
fn over_midnight_the_day_is_that_of_the_beginning() {
    let week = window("Mon-Fri 22:00-04:00 America/New_York");
    for (now, open) in [
        // 2026-07-03 is a Friday; New York is 4 hours behind.
        ("2026-07-04T01:59:59Z", false),
        ("2026-07-04T02:00:00Z", true),
        ("2026-07-04T07:59:59Z", true),
        ("2026-07-04T08:00:00Z", false),
        ("2026-07-05T02:00:00Z", false), // Saturday evening
        ("2026-07-06T05:00:00Z", false), // Monday night, which is Sunday's
        ("2026-07-07T02:00:00Z", true),
    ] {
        assert_eq!(week.is_open(at(now)), open, "{now}");
    }
    let opening = next(
        "Mon-Fri 22:00-04:00 America/New_York",
        "2026-07-04T08:00:00Z",
    );
    assert_eq!(opening, "2026-07-07T02:00:00Z");
}

#[test]
fn the_next_opening() {
    for (text, now, expected) in [
        (
            "02:00-05:00",
            "2026-07-01T03:00:00.5Z",
            "2026-07-01T03:00:00.5Z",
        ),
        (
            "02:00-05:00",
            "2026-07-01T05:00:00Z",
            "2026-07-02T02:00:00Z",
        ),
        (
            "02:00:07-05:00",
            "2026-07-01T00:00:00Z",
            "2026-07-01T02:00:07Z",
        ),
        (
            "Wed 02:00-05:00",
            "2026-07-01T05:00:00Z",
            "2026-07-08T02:00:00Z",
        ),
        (
            "Sat,Sun 00:00-24:00",
            "2026-07-01T05:00:00Z",
            "2026-07-04T00:00:00Z",
        ),
        // The day there is not the day here.
        (
            "Sun 00:00-24:00 Pacific/Auckland",
            "2026-07-03T13:00:00Z",
            "2026-07-04T12:00:00Z",
        ),
    ] {
        assert_eq!(next(text, now), expected, "{text} {now}");
    }
}

#[test]
fn clocks_that_are_put_forward_and_back() {
    // In Berlin the clock goes from 02:00 to 03:00 on 2026-03-29, and from 03:00 back to 02:00 on 2026-10-25.
    for (text, now, expected) in [
        (
            "02:00-05:00 Europe/Berlin",
            "2026-03-28T20:00:00Z",
            "2026-03-29T01:00:00Z",
        ),
        (
            "02:15-02:45 Europe/Berlin",
            "2026-03-28T20:00:00Z",
            "2026-03-30T00:15:00Z",
        ),
        (
            "03:00-05:00 Europe/Berlin",
            "2026-03-28T20:00:00Z",
            "2026-03-29T01:00:00Z",
        ),
        (
            "02:15-02:45 Europe/Berlin",
            "2026-10-24T20:00:00Z",
            "2026-10-25T00:15:00Z",
        ),
        (
            "02:15-02:45 Europe/Berlin",
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:15:00Z",
        ),
        // Open until the clock is put back to before its beginning.
        (
            "02:30-05:00 Europe/Berlin",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
        ),
        // Put back to within it: it opens with the change.
        (
            "01:00-02:30 Europe/Berlin",
            "2026-10-25T00:45:00Z",
            "2026-10-25T01:00:00Z",
        ),
        // Samoa had no Friday on 2011-12-30.
        (
            "Fri 00:00-24:00 Pacific/Apia",
            "2011-12-28T00:00:00Z",
            "2012-01-05T10:00:00Z",
        ),
    ] {
        assert_eq!(next(text, now), expected, "{text} {now}");
    }
    let long = window("02:15-02:45 Europe/Berlin");
    assert!(long.is_open(at("2026-10-25T00:20:00Z")) && long.is_open(at("2026-10-25T01:20:00Z")));
}

#[test]
fn there_is_no_opening_behind_the_end_of_the_calendar() {
    let window = window("02:00-05:00");
    assert_eq!(window.next_opening(Timestamp::MAX), None);
    assert!(window.next_opening(Timestamp::MIN).is_some());
}

#[test]
fn of_several_windows_the_first_counts() {
    let windows: Windows = ["Sat 10:00-12:00", "02:00-05:00 Europe/Berlin"]
        .map(window)
        .into_iter()
        .collect();
    let now = at("2026-07-04T08:00:00Z"); // a Saturday
    assert!(!windows.is_open(now));
    let (opening, which) = windows.next_opening(now).unwrap();
    assert_eq!(which.clock(opening), "Sat 2026-07-04 10:00 (UTC)");
    let (opening, which) = windows.next_opening(at("2026-07-04T12:00:00Z")).unwrap();
    assert_eq!(which.clock(opening), "Sun 2026-07-05 02:00 (Europe/Berlin)");
    assert_eq!(
        windows.to_string(),
        "Sat 10:00-12:00 UTC; 02:00-05:00 Europe/Berlin"
    );
    assert_eq!(Windows::default().next_opening(now), None);
}

#[test]
fn zones_are_known_where_the_system_knows_none() {
    let bundled = jiff::tz::TimeZoneDatabase::bundled();
    let berlin = bundled.get("Europe/Berlin").unwrap();
    let summer = at("2026-07-01T00:00:00Z");
    assert_eq!(berlin.to_datetime(summer).hour(), 2);
}

#[test]
fn spans_for_people() {
    for (milliseconds, expected) in [
        (0, "0 s"),
        (1, "1 s"),
        (59_001, "1 min"),
        (61_000, "1 min 1 s"),
        (3_600_000, "1 h"),
        (3_601_000, "1 h"),
        (33_120_000, "9 h 12 min"),
        (86_400_000, "24 h"),
        (172_740_000, "47 h 59 min"),
        (180_000_000, "2 d 2 h"),
    ] {
        assert_eq!(human_span(Duration::from_millis(milliseconds)), expected);
    }
}

/// A window whose hours are quarters, in a zone whose clocks are put forward and back by quarters.
fn any_window() -> impl Strategy<Value = Window> {
    let zone = prop::sample::select(vec![
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "America/St_Johns",
        "Pacific/Chatham",
    ]);
    (any::<[bool; 7]>(), 0..96_u32, 1..96_u32, zone).prop_map(|(days, from, length, zone)| {
        let to = match from + length {
            96 => 96,
            to => to % 96,
        };
        let (zone, zone_name) = parse_zone(zone).unwrap();
        Window {
            days: if days == [false; 7] { [true; 7] } else { days },
            from: from * 15 * MINUTE,
            to: to * 15 * MINUTE,
            zone,
            zone_name,
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_shown_can_be_read(window in any_window()) {
        prop_assert_eq!(window.to_string().parse::<Window>(), Ok(window));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[ -~–é]{0,24}") {
        if let Ok(window) = text.parse::<Window>() {
            prop_assert_eq!(window.to_string().parse::<Window>(), Ok(window));
        }
    }

    /// Two years from 2026 on, by quarters of an hour; often shortly before a clock is put forward or back.
    #[test]
    fn it_opens_then_and_not_before(
        window in any_window(),
        quarter in 0..70_080_i64,
        before_change in prop::option::of(0..16_i64),
    ) {
        const QUARTER: i64 = 900;
        let mut now = Timestamp::from_second(1_767_225_600 + quarter * QUARTER).unwrap();
        let change = window.zone.following(now).next().map(|change| change.timestamp());
        if let (Some(before), Some(change)) = (before_change, change) {
            now = Timestamp::from_second(change.as_second() - before * QUARTER).unwrap();
        }
        let opening = window.next_opening(now).unwrap();
        prop_assert!(opening >= now && window.is_open(opening));
        let mut before = now;
        while before < opening {
            prop_assert!(!window.is_open(before), "{} is open at {}, not only at {}", window, before, opening);
            before = Timestamp::from_second(before.as_second() + QUARTER).unwrap();
        }
    }
}

fn load(text: &str) -> Result<crate::config::Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lockkeeper.toml");
    std::fs::write(&file, text).unwrap();
    crate::config::Config::load(Some(&file)).map_err(|error| error.to_string())
}

#[test]
fn settings() {
    for (text, windows, max_wait) in [
        ("", "", 86_400),
        (
            "[policy]\nwindows = ['Sat, Sun 00:00-24:00', '02:00-05:00 Europe/Berlin']\n[queue]\nmax_wait = '90m'",
            "Sat,Sun 00:00-24:00 UTC; 02:00-05:00 Europe/Berlin",
            5_400,
        ),
        (
            "[policy]\nwindows = 'Sat,Sun 00:00-24:00; 02:00-05:00 Europe/Berlin;'\n[queue]\nmax_wait = '0s'",
            "Sat,Sun 00:00-24:00 UTC; 02:00-05:00 Europe/Berlin",
            0,
        ),
    ] {
        let config = load(text).unwrap();
        assert_eq!(config.policy.windows.to_string(), windows);
        assert_eq!(config.queue.max_wait.as_secs(), max_wait);
        let entries = config.entries();
        assert!(entries.iter().any(|(key, _)| *key == "policy.windows"));
    }
}

#[test]
fn settings_that_are_wrong_name_the_place_and_the_remedy() {
    for (text, needle) in [
        (
            "[policy]\nwindows = ['02:00-05:00', 'Sta 02:00-05:00']",
            "`policy.windows`: window 2 (\"Sta 02:00-05:00\"): there is no day `Sta`; the nearest valid one is `Sat`",
        ),
        (
            "[policy]\nwindows = '02:00-05:00 Mountain time'",
            "`policy.windows`: window 1 (\"02:00-05:00 Mountain time\"): there is no zone `Mountain time`; the nearest",
        ),
        (
            "[policy]\nwindow = []",
            "the nearest valid one is `policy.windows`",
        ),
        (
            "[queue]\nmaxwait = '1h'",
            "the nearest valid one is `queue.max_wait`",
        ),
        ("[queue]\nmax_wait = '1'", "`queue.max_wait`"),
        ("[queue]\nmax_wait = '1'", "write a number and a unit"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(needle), "{text}: {error}");
        assert_eq!(
            error.contains("such as 100ms"),
            text.contains("max_wait"),
            "{error}"
        );
    }
}
