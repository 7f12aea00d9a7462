//! Python text as logical lines of tokens.

/// A token, in the classes the grammar tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// An identifier or a keyword.
    Word(&'a str),
    Number,
    Text,
    Open(char),
    Close,
    Comma,
    Colon,
    Semicolon,
    Dot,
    /// An operator, assignments and `->` among them.
    Operator(&'a str),
}

/// A statement line: what the brackets, triple quotes and backslashes join counts as one.
#[derive(Debug)]
pub(super) struct LogicalLine<'a> {
    /// Width of its indentation, a tab counting as 8 (CPython's rule for consistent files).
    pub indent: usize,
    /// Its tokens, at least one.
    pub tokens: Vec<Token<'a>>,
}

/// The lines that hold tokens; `None` where no Python token can stand or something is not closed.
pub(super) fn logical_lines(text: &str) -> Option<Vec<LogicalLine<'_>>> {
    let mut scanner = Scanner { rest: text, open: Vec::new() };
    let mut lines = Vec::new();
    while !scanner.rest.is_empty() {
        let indent = scanner.take_indent();
        let tokens = scanner.line_tokens()?;
        if !tokens.is_empty() {
            lines.push(LogicalLine { indent, tokens });
        }
    }
    scanner.open.is_empty().then_some(lines)
}

/// Longest first, so that a prefix never wins over the whole.
const OPERATORS: [&str; 44] = [
    "**=", "//=", ">>=", "<<=", "->", ":=", "**", "//", ">>", "<<", "<=", ">=", "==", "!=", "+=",
    "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", "+", "-", "*", "/", "%", "@", "&", "|", "^",
    "~", "<", ">", "=", "(", "[", "{", ")", "]", "}", ",", ";",
];

struct Scanner<'a> {
    rest: &'a str,
    /// Brackets that are open, by the character that closes them.
    open: Vec<char>,
}

impl<'a> Scanner<'a> {
    fn take_indent(&mut self) -> usize {
        let text = self.take_while(|letter| letter == ' ' || letter == '\t');
        text.chars().map(|letter| if letter == '\t' { 8 } else { 1 }).sum()
    }

    /// Tokens up to the end of the logical line, which is taken too.
    fn line_tokens(&mut self) -> Option<Vec<Token<'a>>> {
        let mut tokens = Vec::new();
        while let Some(letter) = self.rest.chars().next() {
            match letter {
                '\n' => {
                    self.skip(1);
                    if self.open.is_empty() {
                        break;
                    }
                }
                ' ' | '\t' | '\r' => self.skip(1),
                '#' => {
                    self.take_while(|letter| letter != '\n');
                }
                '\\' => self.rest = self.rest.strip_prefix("\\\n")?,
                _ => tokens.push(self.token(letter)?),
            }
        }
        Some(tokens)
    }

    fn token(&mut self, letter: char) -> Option<Token<'a>> {
        let starts_number = letter.is_ascii_digit()
            || (letter == '.'
                && self.rest.chars().nth(1).is_some_and(|next| next.is_ascii_digit()));
        if starts_number {
            return self.number();
        }
        if letter == '"' || letter == '\'' {
            return self.text();
        }
        if letter == '_' || letter.is_alphabetic() {
            return self.word();
        }
        self.symbol()
    }

    fn word(&mut self) -> Option<Token<'a>> {
        let word = self.take_while(|letter| letter == '_' || letter.is_alphanumeric());
        let quoted = self.rest.starts_with(['"', '\'']);
        let is_prefix = word.len() <= 2 && word.chars().all(|letter| "rRbBfFuU".contains(letter));
        if quoted && is_prefix {
            return self.text();
        }
        Some(Token::Word(word))
    }

    fn number(&mut self) -> Option<Token<'a>> {
        let mut previous = ' ';
        let number = self.take_while(|letter| {
            let is_sign = (letter == '+' || letter == '-') && matches!(previous, 'e' | 'E');
            previous = letter;
            letter == '.' || letter == '_' || letter.is_alphanumeric() || is_sign
        });
        is_number(number).then_some(Token::Number)
    }

    /// A string; in a raw one too, a backslash keeps the next quote from closing it.
    fn text(&mut self) -> Option<Token<'a>> {
        let quote =
            ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| self.rest.starts_with(quote))?;
        self.skip(quote.len());
        loop {
            if let Some(after) = self.rest.strip_prefix(quote) {
                self.rest = after;
                return Some(Token::Text);
            }
            match self.take()? {
                '\\' => {
                    self.take()?;
                }
                '\n' if quote.len() == 1 => return None,
                _ => {}
            }
        }
    }

    fn symbol(&mut self) -> Option<Token<'a>> {
        if let Some(operator) =
            OPERATORS.into_iter().find(|operator| self.rest.starts_with(operator))
        {
            self.skip(operator.len());
            return self.bracket_or_operator(operator);
        }
        match self.take()? {
            ':' => Some(Token::Colon),
            '.' if self.rest.starts_with("..") => {
                self.skip(2);
                // The ellipsis is a value.
                Some(Token::Number)
            }
            '.' => Some(Token::Dot),
            _ => None,
        }
    }

    fn bracket_or_operator(&mut self, operator: &'static str) -> Option<Token<'a>> {
        match operator {
            "(" => Some(self.opened('(', ')')),
            "[" => Some(self.opened('[', ']')),
            "{" => Some(self.opened('{', '}')),
            ")" | "]" | "}" => {
                let expected = self.open.pop()?;
                operator.starts_with(expected).then_some(Token::Close)
            }
            "," => Some(Token::Comma),
            ";" => Some(Token::Semicolon),
            _ => Some(Token::Operator(operator)),
        }
    }

    fn opened(&mut self, bracket: char, closing: char) -> Token<'a> {
        self.open.push(closing);
        Token::Open(bracket)
    }

    fn take(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.skip(letter.len_utf8());
        Some(letter)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn take_while(&mut self, mut keeps: impl FnMut(char) -> bool) -> &'a str {
        let end = self.rest.find(|letter| !keeps(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.replace('_', "").to_ascii_lowercase();
    let prefixed = |prefix: &str, radix: u32| {
        let number = digits.strip_prefix(prefix);
        number.is_some_and(|number| {
            !number.is_empty() && number.chars().all(|letter| letter.is_digit(radix))
        })
    };
    let decimal = digits.strip_suffix('j').unwrap_or(&digits);
    let is_decimal = decimal.starts_with(|letter: char| letter == '.' || letter.is_ascii_digit())
        && decimal.parse::<f64>().is_ok();
    prefixed("0x", 16) || prefixed("0o", 8) || prefixed("0b", 2) || is_decimal
}
