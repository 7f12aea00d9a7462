//! How long to wait before a request is sent again.

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;
use rand::RngExt;

use super::config::ServerConfig;

/// Exponential backoff with full jitter: the wait before attempt `n + 1` is drawn evenly from the
/// upper half of `backoff * 2^(n - 1)`, so that clients that failed together do not return together.
pub fn backoff(config: &ServerConfig, failures: u32, random: &mut impl RngExt) -> Duration {
    let doublings = failures.saturating_sub(1).min(30);
    let longest = config.backoff_seconds * f64::from(1_u32 << doublings);
    let longest = longest.min(config.backoff_seconds_max);
    Duration::from_secs_f64(longest * random.random_range(0.5..=1.0))
}

/// The value of a `Retry-After` header: seconds, or a date.
pub fn retry_after(value: &str, unix_seconds: i64) -> Option<Duration> {
    static DATES: DateTimeParser = DateTimeParser::new();
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = DATES.parse_timestamp(value).ok()?;
    let seconds = date.as_second().saturating_sub(unix_seconds);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn waits_double_up_to_their_limit_and_follow_the_seed() {
        let config =
            ServerConfig { backoff_seconds_max: 10.0, ..ServerConfig::new("http://h/v1", "m") };
        let waits = |seed| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            (1..=40).map(|n| backoff(&config, n, &mut random).as_secs_f64()).collect::<Vec<_>>()
        };
        for (wait, longest) in waits(1).iter().zip([1.0, 2.0, 4.0, 8.0, 10.0, 10.0]) {
            assert!((longest / 2.0..=longest).contains(wait), "{wait} of {longest}");
        }
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn a_server_says_how_long_in_seconds_or_by_date() {
        assert_eq!(retry_after("7", 0), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(" 0.5 ", 0), Some(Duration::from_millis(500)));
        // 1445412480 is the moment of the date.
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        assert_eq!(retry_after(date, 1_445_412_450), Some(Duration::from_secs(30)));
        assert_eq!(retry_after(date, 1_500_000_000), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", 0), None);
        assert_eq!(retry_after("-3", 0), None);
    }
}
