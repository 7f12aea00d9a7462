//! Values as they stand in text.

use super::relation::ValueKind;

/// What faults are caused by.
pub const CAUSES: &[&str] = &[
    "low oil pressure",
    "high oil pressure",
    "low water level",
    "high water level",
    "a blocked inlet",
    "a blocked outlet",
    "a broken belt",
    "a loose belt",
    "a worn brush",
    "an open door",
    "an open valve",
    "a closed valve",
    "a hot motor",
    "a cold motor",
    "a burnt fuse",
    "a lost signal",
    "dirty oil",
    "dirty water",
    "too little air",
    "too much air",
    "too little grease",
    "too much heat",
    "a leaking pipe",
    "a cracked pipe",
];

/// The months as dates write them.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The value of this kind at the start of `text`.
pub fn at_start(kind: ValueKind, text: &str) -> Option<&str> {
    let end = match kind {
        ValueKind::Number => number(text),
        ValueKind::Title => title(text),
        ValueKind::Date => date_bytes(text),
        ValueKind::List => list(text),
        ValueKind::Phrase => {
            CAUSES.iter().find(|cause| text.starts_with(**cause)).map(|cause| cause.len())
        }
    }?;
    text.get(..end).filter(|value| !value.is_empty())
}

/// The titles of a list.
pub fn items(list: &str) -> Vec<&str> {
    list.split(", ").flat_map(|part| part.split(" and ")).collect()
}

/// Titles as a list: `A, B and C`.
pub fn joined(titles: &[String]) -> String {
    match titles.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// Year, month and day of a date as documents write it.
pub fn date_parts(date: &str) -> Option<(i64, usize, i64)> {
    let mut words = date.split(' ');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    Some((year.parse().ok()?, month, day.parse().ok()?))
}

/// Days from the first of March of year 0 of the Gregorian calendar to `date` (algorithm of
/// Howard Hinnant, <https://howardhinnant.github.io/date_algorithms.html>, `days_from_civil`).
pub fn day_number(date: &str) -> Option<i64> {
    let (year, month, day) = date_parts(date)?;
    let month = i64::try_from(month).ok()?;
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year)
}

/// The number of the first of January of a year.
pub fn new_year(year: u32) -> i64 {
    day_number(&format!("1 January {year}")).unwrap_or_default()
}

/// The day with this number, as documents write it (`civil_from_days` of the same source).
pub fn date(number: i64) -> String {
    let era = number.div_euclid(146_097);
    let day_of_era = number.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = usize::try_from((shifted + 2) % 12).unwrap_or_default();
    let year = year_of_era + era * 400 + i64::from(month < 2);
    format!("{day} {} {year}", MONTHS.get(month).copied().unwrap_or_default())
}

/// `text` with its first letter in lower case.
pub fn decapitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn number(text: &str) -> Option<usize> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let goes_on = text.get(end..)?.starts_with(char::is_alphanumeric);
    (!goes_on).then_some(end)
}

/// Bytes of the capitalised words at the start; a comma or other mark ends them.
fn title(text: &str) -> Option<usize> {
    let mut end = 0;
    for word in text.split(' ') {
        let bare = word.trim_end_matches(|letter: char| !letter.is_alphanumeric());
        if !bare.starts_with(|letter: char| letter.is_ascii_uppercase()) {
            break;
        }
        let start = if end == 0 { 0 } else { end + 1 };
        end = start + bare.len();
        if bare.len() < word.len() {
            break;
        }
    }
    (end > 0).then_some(end)
}

fn date_bytes(text: &str) -> Option<usize> {
    let end = text.match_indices(' ').nth(1)?.0 + 5;
    date_parts(text.get(..end)?).map(|_| end)
}

fn list(text: &str) -> Option<usize> {
    let mut end = title(text)?;
    loop {
        let rest = text.get(end..)?;
        let joint = [", ", " and "].into_iter().find(|joint| rest.starts_with(joint));
        let Some(joint) = joint else { return Some(end) };
        match title(rest.get(joint.len()..)?) {
            Some(further) => end += joint.len() + further,
            None => return Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ValueKind, text: &str, expected: Option<&str>) {
        assert_eq!(at_start(kind, text), expected);
    }

    #[test]
    fn values_are_found_at_the_start() {
        check(ValueKind::Number, "240 metres", Some("240"));
        check(ValueKind::Number, "240th", None);
        check(ValueKind::Title, "Lu Bridge and more", Some("Lu Bridge"));
        check(ValueKind::Title, "Lu Bridge, Pa", Some("Lu Bridge"));
        check(ValueKind::Title, "the", None);
        check(ValueKind::Date, "3 May 1902, as", Some("3 May 1902"));
        check(ValueKind::Date, "3 men came", None);
        check(ValueKind::List, "A Seal, B Seal and C Seal, of", Some("A Seal, B Seal and C Seal"));
        check(ValueKind::List, "A Seal and is old", Some("A Seal"));
        check(ValueKind::Phrase, "a hot motor here", Some("a hot motor"));
    }

    #[test]
    fn days_are_counted_as_calendars_do() {
        let days = |from, to| day_number(to).zip(day_number(from)).map(|(to, from)| to - from);
        assert_eq!(days("28 February 1900", "1 March 1900"), Some(1));
        assert_eq!(days("28 February 2000", "1 March 2000"), Some(2));
        assert_eq!(days("31 December 1999", "1 January 2000"), Some(1));
        assert_eq!(days("3 May 1902", "3 May 1903"), Some(365));
        for number in (new_year(1700)..new_year(2100)).step_by(37) {
            assert_eq!(day_number(&date(number)), Some(number));
        }
    }

    #[test]
    fn lists_are_taken_apart_as_they_were_joined() {
        let titles = ["A Seal", "B Filter", "C Seal"].map(str::to_owned);
        assert_eq!(joined(&titles), "A Seal, B Filter and C Seal");
        assert_eq!(items(&joined(&titles)), titles);
    }
}
