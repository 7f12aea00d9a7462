//! The units: name, what it measures, and how it becomes the measure's base unit.

const LENGTH: &str = "length";
const MASS: &str = "mass";
const TIME: &str = "time";
const TEMPERATURE: &str = "temperature";

/// `base = value * factor + offset`.
struct Unit {
    name: &'static str,
    measures: &'static str,
    factor: f64,
    offset: f64,
}

const fn unit(name: &'static str, measures: &'static str, factor: f64) -> Unit {
    Unit { name, measures, factor, offset: 0.0 }
}

const UNITS: [Unit; 21] = [
    unit("mm", LENGTH, 0.001),
    unit("cm", LENGTH, 0.01),
    unit("m", LENGTH, 1.0),
    unit("km", LENGTH, 1000.0),
    unit("in", LENGTH, 0.0254),
    unit("ft", LENGTH, 0.3048),
    unit("yd", LENGTH, 0.9144),
    unit("mi", LENGTH, 1609.344),
    unit("mg", MASS, 0.001),
    unit("g", MASS, 1.0),
    unit("kg", MASS, 1000.0),
    unit("t", MASS, 1e6),
    unit("oz", MASS, 28.349523125),
    unit("lb", MASS, 453.59237),
    unit("s", TIME, 1.0),
    unit("min", TIME, 60.0),
    unit("h", TIME, 3600.0),
    unit("d", TIME, 86400.0),
    unit("kelvin", TEMPERATURE, 1.0),
    Unit { name: "celsius", measures: TEMPERATURE, factor: 1.0, offset: 273.15 },
    Unit {
        name: "fahrenheit",
        measures: TEMPERATURE,
        factor: 5.0 / 9.0,
        offset: 255.3722222222222,
    },
];

/// Digits that survive conversion there and back.
const DIGITS: i32 = 12;

/// `value` of the unit `from` in the unit `to`.
pub fn convert(value: f64, from: &str, to: &str) -> Result<f64, String> {
    let (from, to) = (find(from)?, find(to)?);
    if from.measures != to.measures {
        let (one, other) = (from.measures, to.measures);
        return Err(format!("{} is a unit of {one}, {} one of {other}", from.name, to.name));
    }
    let converted = (value * from.factor + from.offset - to.offset) / to.factor;
    if converted.is_finite() { Ok(rounded(converted)) } else { Err("out of range".to_owned()) }
}

fn find(name: &str) -> Result<&'static Unit, String> {
    UNITS.iter().find(|unit| unit.name == name).ok_or_else(|| {
        let names: Vec<&str> = UNITS.iter().map(|unit| unit.name).collect();
        format!("no unit {name}; there are: {}", names.join(", "))
    })
}

fn rounded(value: f64) -> f64 {
    let text = format!("{value:.*e}", DIGITS as usize);
    text.parse().unwrap_or(value)
}
