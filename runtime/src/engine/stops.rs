//! Stop strings in a stream of bytes that arrives token by token.

use heapless::Vec;

/// Stop strings of a request at most.
pub const STOPS_MAX: usize = 16;

/// Finds the first stop string in growing text.
pub struct StopWindow<'a> {
    stops: Vec<&'a [u8], STOPS_MAX>,
    longest: usize,
}

impl<'a> StopWindow<'a> {
    /// Empty stop strings are ignored, and those beyond [`STOPS_MAX`].
    pub fn new(stops: &'a [String]) -> Self {
        let bytes = stops.iter().map(String::as_bytes).filter(|stop| !stop.is_empty());
        let stops: Vec<&[u8], STOPS_MAX> = bytes.take(STOPS_MAX).collect();
        let longest = stops.iter().map(|stop| stop.len()).max().unwrap_or(0);
        Self { stops, longest }
    }

    /// Where in `text` the first stop string begins, if one ends within the last `added` bytes.
    pub fn find(&self, text: &[u8], added: usize) -> Option<usize> {
        let from = text.len().saturating_sub(added + self.longest);
        let tail = text.get(from..)?;
        let begins = |stop: &&[u8]| tail.windows(stop.len()).position(|window| window == *stop);
        self.stops.iter().filter_map(begins).min().map(|at| from + at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_string_is_found_across_tokens() {
        let stops = ["<end_code>".to_owned(), "Observation:".to_owned()];
        let window = StopWindow::new(&stops);
        assert_eq!(window.find(b"print(1)\n<end_co", 7), None);
        assert_eq!(window.find(b"print(1)\n<end_code> and", 5), Some(9));
        assert_eq!(window.find(b"plain", 5), None);
    }

    #[test]
    fn without_stop_strings_nothing_is_found() {
        assert_eq!(StopWindow::new(&[]).find(b"text", 4), None);
    }
}
