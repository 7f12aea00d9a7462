//! How text becomes terms, for documents and for questions.

use tantivy::tokenizer::{
    AsciiFoldingFilter, BoxTokenStream, LowerCaser, RemoveLongFilter, Stemmer, StopWordFilter,
    TextAnalyzer, Tokenizer,
};

use super::language::Language;
use super::words::{Runs, Words};

/// Name and version of the analyser. It stands in the index and in the ledger: a corpus analysed
/// by another one is refused.
pub const ANALYSER: &str = "retort-2";

/// Distinct terms of a question that are searched for, in each language of the corpus; those after
/// are ignored. The longest question of the four measured sets has 37, and a 1 MB question costs
/// no more than reading it.
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

/// Words, folded to lower-case ASCII, without stop words, stemmed.
fn analyser(language: Language, runs: Runs, left_out: &[&str]) -> TextAnalyzer {
    let left_out = left_out.iter().map(|word| (*word).to_owned());
    let mut words = TextAnalyzer::builder(Words::new(runs))
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(StopWordFilter::remove(left_out))
        .dynamic();
    let Some(language) = stemmed(language) else {
        return words.build();
    };
    if let Some(stop_words) = StopWordFilter::new(language) {
        words = words.filter_dynamic(stop_words);
    }
    words.filter_dynamic(Stemmer::new(language)).build()
}

/// The name that the stemmers and lists of stop words have for a language.
fn stemmed(language: Language) -> Option<tantivy::tokenizer::Language> {
    use tantivy::tokenizer::Language as Known;
    Some(match language {
        Language::Arabic => Known::Arabic,
        Language::Danish => Known::Danish,
        Language::Dutch => Known::Dutch,
        Language::English => Known::English,
        Language::Finnish => Known::Finnish,
        Language::French => Known::French,
        Language::German => Known::German,
        Language::Greek => Known::Greek,
        Language::Hungarian => Known::Hungarian,
        Language::Italian => Known::Italian,
        Language::Norwegian => Known::Norwegian,
        Language::Portuguese => Known::Portuguese,
        Language::Romanian => Known::Romanian,
        Language::Russian => Known::Russian,
        Language::Spanish => Known::Spanish,
        Language::Swedish => Known::Swedish,
        Language::Tamil => Known::Tamil,
        Language::Turkish => Known::Turkish,
        Language::Other => return None,
    })
}

/// Analyses the text of documents. The text's first line names its language, by its code: one
/// field holds the passages of all languages.
#[derive(Clone)]
pub(super) struct DocumentAnalyser {
    english: TextAnalyzer,
    others: Vec<(Language, TextAnalyzer)>,
}

impl DocumentAnalyser {
    pub(super) fn new() -> Self {
        let of = |language| analyser(language, Runs::LettersAndPairs, &[]);
        let others = Language::all().filter(|language| *language != Language::English);
        let others = others.map(|language| (language, of(language))).collect();
        Self { english: of(Language::English), others }
    }

    /// What to hand to the field for `text`.
    pub(super) fn labelled(language: Language, text: &str) -> String {
        format!("{}\n{text}", language.code())
    }
}

impl Tokenizer for DocumentAnalyser {
    type TokenStream<'a> = BoxTokenStream<'a>;

    fn token_stream<'a>(&'a mut self, labelled: &'a str) -> BoxTokenStream<'a> {
        let (label, text) = labelled.split_once('\n').unwrap_or_default();
        let language = Language::of_code(label).unwrap_or_default();
        let other = self.others.iter_mut().find(|(known, _)| *known == language);
        other.map_or(&mut self.english, |(_, analyser)| analyser).token_stream(text)
    }
}

/// Analyses questions put to a corpus in some languages.
#[derive(Clone)]
pub(super) struct QuestionAnalyser {
    /// For each language: without question words, and with them.
    by_language: Vec<[TextAnalyzer; 2]>,
}

impl QuestionAnalyser {
    /// For a corpus with passages in `languages`. A question is analysed in each of them: it is
    /// too short to tell which it is in, and a term that only another language makes is in no
    /// passage of this one.
    pub(super) fn new(languages: impl IntoIterator<Item = Language>) -> Self {
        let of = |language| {
            let asking = if language == Language::English { QUESTION_WORDS } else { &[] };
            [asking, &[]].map(|left_out| analyser(language, Runs::Pairs, left_out))
        };
        Self { by_language: languages.into_iter().map(of).collect() }
    }

    /// The distinct terms of a question in the order of their first appearance, at most
    /// [`QUERY_TERMS_MAX`] a language. A question of nothing but question words keeps them.
    pub(super) fn terms(&self, question: &str) -> Vec<String> {
        let mut terms = Vec::new();
        for [short, whole] in &self.by_language {
            let mut found = distinct_terms(short, question);
            if found.is_empty() {
                found = distinct_terms(whole, question);
            }
            found.retain(|term| !terms.contains(term));
            terms.append(&mut found);
        }
        terms
    }

    /// The terms of a title, those that ask too.
    pub(super) fn title_terms(&self, title: &str) -> Vec<String> {
        self.by_language.iter().flat_map(|[_, whole]| distinct_terms(whole, title)).collect()
    }
}

fn distinct_terms(analyser: &TextAnalyzer, text: &str) -> Vec<String> {
    let mut terms: Vec<String> = Vec::new();
    let mut analyser = analyser.clone();
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

    fn english(question: &str) -> Vec<String> {
        QuestionAnalyser::new([Language::English]).terms(question)
    }

    fn document(language: Language, text: &str) -> Vec<String> {
        let labelled = DocumentAnalyser::labelled(language, text);
        let mut analyser = DocumentAnalyser::new();
        let mut tokens = analyser.token_stream(&labelled);
        let mut found = Vec::new();
        while tokens.advance() {
            found.push(tokens.token().text.clone());
        }
        found
    }

    #[test]
    fn question_words_are_left_out_unless_they_are_all_there_is() {
        assert_eq!(english("Who designed the Heahi Bridge?"), ["design", "heahi", "bridg"]);
        assert_eq!(english("Who?"), ["who"]);
        assert!(english(" ?! ").is_empty());
    }

    #[test]
    fn accents_and_case_are_folded() {
        assert_eq!(english("Malmö ZÜRICH"), ["malmo", "zurich"]);
    }

    #[test]
    fn query_syntax_is_only_text() {
        assert_eq!(english("title:(a OR \"b\") -c^2 *"), ["titl", "b", "c", "2"]);
    }

    #[test]
    fn a_question_of_a_megabyte_has_a_bounded_number_of_terms() {
        let question: String = (0..200_000).map(|word| format!("w{word} ")).collect();
        assert_eq!(english(&question).len(), QUERY_TERMS_MAX);
        assert_eq!(english(&"bridge ".repeat(150_000)), ["bridg"]);
        assert!(english(&"x".repeat(1 << 20)).is_empty());
    }

    #[test]
    fn each_language_has_its_own_words() {
        assert_eq!(document(Language::English, "the bridges"), ["bridg"]);
        assert_eq!(document(Language::German, "die Brücken der Stadt"), ["bruck", "stadt"]);
        assert_eq!(document(Language::Other, "the bridges"), ["the", "bridges"]);
        assert_eq!(document(Language::Other, "橋は古い").len(), 7);
    }

    #[test]
    fn a_question_is_analysed_in_every_language_of_the_corpus() {
        let both = QuestionAnalyser::new([Language::English, Language::German]);
        assert_eq!(both.terms("die Brücken"), ["die", "brucken", "bruck"]);
        assert_eq!(both.terms("Bergen"), ["bergen", "berg"]);
    }
}
