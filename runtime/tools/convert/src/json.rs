//! As much JSON as the tool needs: an object of texts and numbers.

use std::iter::Peekable;
use std::str::Chars;

pub enum Value {
    Number(f64),
    Text(String),
}

/// The fields of a JSON object that holds only texts and numbers.
pub fn flat_object(text: &str) -> Result<Vec<(String, Value)>, String> {
    let mut rest = text.chars().peekable();
    let mut fields = Vec::new();
    expect(&mut rest, '{')?;
    if take(&mut rest, '}') {
        return Ok(fields);
    }
    loop {
        let key = string(&mut rest)?;
        expect(&mut rest, ':')?;
        skip_space(&mut rest);
        let value = match rest.peek() {
            Some('"') => Value::Text(string(&mut rest)?),
            _ => Value::Number(number(&mut rest)?),
        };
        fields.push((key, value));
        if !take(&mut rest, ',') {
            expect(&mut rest, '}')?;
            return Ok(fields);
        }
    }
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter < ' ' => quoted += &format!("\\u{:04x}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

fn skip_space(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|letter| letter.is_ascii_whitespace()).is_some() {}
}

fn take(rest: &mut Peekable<Chars<'_>>, letter: char) -> bool {
    skip_space(rest);
    rest.next_if_eq(&letter).is_some()
}

fn expect(rest: &mut Peekable<Chars<'_>>, letter: char) -> Result<(), String> {
    if take(rest, letter) { Ok(()) } else { Err(format!("expected {letter}")) }
}

fn number(rest: &mut Peekable<Chars<'_>>) -> Result<f64, String> {
    let mut text = String::new();
    while let Some(letter) =
        rest.next_if(|letter| "+-.eE".contains(*letter) || letter.is_ascii_digit())
    {
        text.push(letter);
    }
    text.parse().map_err(|_| "expected a number".to_owned())
}

fn string(rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    expect(rest, '"')?;
    let mut text = String::new();
    loop {
        match rest.next() {
            Some('"') => return Ok(text),
            Some('\\') => text.push(escaped(rest)?),
            Some(letter) => text.push(letter),
            None => return Err("expected \"".to_owned()),
        }
    }
}

/// The character after a backslash. Names of units have none beyond these.
fn escaped(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    match rest.next() {
        Some(letter @ ('"' | '\\' | '/')) => Ok(letter),
        Some('n') => Ok('\n'),
        Some('t') => Ok('\t'),
        _ => Err("an escape that is not understood".to_owned()),
    }
}
