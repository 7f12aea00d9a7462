//! How text becomes terms, for documents and for questions.

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, RemoveLongFilter, SimpleTokenizer, Stemmer,
    StopWordFilter, TextAnalyzer,
};

/// Name and version of the analyser. It stands in the index and in the ledger: a corpus analysed
/// by another one is refused.
pub const ANALYSER: &str = "retort-en-1";

/// Distinct terms of a question that are searched for; those after are ignored. The longest
/// question of the four measured sets has 37, and a 1 MB question costs no more than
/// reading it.
pub const QUERY_TERMS_MAX: usize = 64;

/// Words longer than this are noise (addresses, base64).
const WORD_BYTES_MAX: usize = 40;

/// Words that ask and carry nothing to look for. Leaving them out gained 2 points of recall at 5
/// together with the title weight (HotpotQA, 500 questions).
const QUESTION_WORDS: &[&str] = &[
    "who", "whom", "whose", "what", "which", "when", "where", "why", "how", "did", "does", "do",
    "done", "has", "have", "had", "were", "been", "being", "can", "could", "would", "should",
    "may", "might", "also", "than", "from", "he", "she", "his", "her", "its", "him", "us", "you",
    "we", "i", "me", "my", "our", "your",
];

/// The chain for documents: words, folded to lower-case ASCII, without stop words, stemmed.
pub(super) fn document_analyser() -> TextAnalyzer {
    let words = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .dynamic();
    let words = match StopWordFilter::new(Language::English) {
        Some(stop_words) => words.filter_dynamic(stop_words),
        None => words,
    };
    words.filter_dynamic(Stemmer::new(Language::English)).build()
}

/// The chain for questions: as for documents, also without question words.
fn question_analyser() -> TextAnalyzer {
    let question_words = QUESTION_WORDS.iter().map(|word| (*word).to_owned());
    let words = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(StopWordFilter::remove(question_words))
        .dynamic();
    let words = match StopWordFilter::new(Language::English) {
        Some(stop_words) => words.filter_dynamic(stop_words),
        None => words,
    };
    words.filter_dynamic(Stemmer::new(Language::English)).build()
}

/// The distinct terms of a question in the order of their first appearance, at most
/// [`QUERY_TERMS_MAX`]. A question of nothing but question words keeps them.
pub(super) fn question_terms(question: &str) -> Vec<String> {
    let terms = distinct_terms(question_analyser(), question);
    if terms.is_empty() { distinct_terms(document_analyser(), question) } else { terms }
}

fn distinct_terms(mut analyser: TextAnalyzer, text: &str) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    let mut tokens = analyser.token_stream(text);
    while terms.len() < QUERY_TERMS_MAX && tokens.advance() {
        let term = &tokens.token().text;
        if !terms.contains(term) {
            terms.push(term.clone());
        }
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn question_words_are_left_out_unless_they_are_all_there_is() {
        assert_eq!(question_terms("Who designed the Heahi Bridge?"), ["design", "heahi", "bridg"]);
        assert_eq!(question_terms("Who?"), ["who"]);
        assert!(question_terms(" ?! ").is_empty());
    }

    #[test]
    fn accents_and_case_are_folded() {
        assert_eq!(question_terms("Malmö ZÜRICH"), ["malmo", "zurich"]);
    }

    #[test]
    fn query_syntax_is_only_text() {
        assert_eq!(question_terms("title:(a OR \"b\") -c^2 *"), ["titl", "b", "c", "2"]);
    }

    #[test]
    fn a_question_of_a_megabyte_has_a_bounded_number_of_terms() {
        let question: String = (0..200_000).map(|word| format!("w{word} ")).collect();
        assert_eq!(question_terms(&question).len(), QUERY_TERMS_MAX);
        assert_eq!(question_terms(&"bridge ".repeat(150_000)), ["bridg"]);
        assert!(question_terms(&"x".repeat(1 << 20)).is_empty());
    }
}
