//! Converts a value from one unit to another: an example of a tool of one's own.
//!
//! The module's side of the agreement is [`alloc`] and [`call`]; `docs/FORMATS.md` has both. It
//! gets `{"value": 3, "from": "km", "to": "mi"}` and returns `{"result": 1.864…}` or
//! `{"error": "…"}`.

mod json;
mod units;

use json::Value;

/// Room for `length` bytes of arguments. The host writes them there and then calls [`call`].
#[unsafe(no_mangle)]
pub extern "C" fn alloc(length: usize) -> *mut u8 {
    // An instance serves one call, so nothing is ever freed.
    Vec::leak(vec![0; length]).as_mut_ptr()
}

/// Answers; returns the answer's pointer in the upper and its length in the lower 32 bits.
///
/// # Safety
/// `pointer` and `length` are what [`alloc`] returned and was given.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn call(pointer: *const u8, length: usize) -> u64 {
    // SAFETY: the bytes were allocated by `alloc` with this length, zeroed, and are not freed.
    let arguments = unsafe { std::slice::from_raw_parts(pointer, length) };
    let answer = Vec::leak(answer(arguments).into_bytes());
    (answer.as_ptr() as u64) << 32 | answer.len() as u64
}

/// The answer to `arguments`, both JSON.
pub fn answer(arguments: &[u8]) -> String {
    match convert(arguments) {
        Ok(value) => format!("{{\"result\": {value:?}}}"),
        Err(message) => format!("{{\"error\": {}}}", json::quoted(&message)),
    }
}

fn convert(arguments: &[u8]) -> Result<f64, String> {
    let text = std::str::from_utf8(arguments).map_err(|error| error.to_string())?;
    let fields = json::flat_object(text)?;
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    match (field("value"), field("from"), field("to")) {
        (Some(Value::Number(value)), Some(Value::Text(from)), Some(Value::Text(to))) => {
            units::convert(*value, from, to)
        }
        _ => Err("expected a number `value` and texts `from` and `to`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn values_are_converted_and_mistakes_told() {
        let cases = [
            (r#"{"value": 10, "from": "km", "to": "m"}"#, r#"{"result": 10000.0}"#),
            (r#"{"to":"celsius","value":50,"from":"fahrenheit"}"#, r#"{"result": 10.0}"#),
            (r#"{"value": 1e3, "from": "g", "to": "kg"}"#, r#"{"result": 1.0}"#),
            (
                r#"{"value": 1, "from": "km", "to": "kg"}"#,
                r#"{"error": "km is a unit of length, kg one of mass"}"#,
            ),
            (
                r#"{"value": 1, "from": "fur\"long", "to": "m"}"#,
                r#"{"error": "no unit fur\"long; there are: mm, cm, m, km, in, ft, yd, mi, mg, g, kg, t, oz, lb, s, min, h, d, kelvin, celsius, fahrenheit"}"#,
            ),
            (r#"[1]"#, r#"{"error": "expected {"}"#),
        ];
        for (arguments, expected) in cases {
            let expected = expected.replace("fur\"long;", "fur\\\"long;");
            assert_eq!(answer(arguments.as_bytes()), expected, "{arguments}");
        }
    }
}
