//! Reads the header of a GGUF file (version 3, and 2): metadata and the table of tensors. Every
//! count and length is checked against the file before it is believed. Format:
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::collections::BTreeMap;
use std::io::{self, Read};

/// Longest string, most array elements and most entries taken from a file.
const STRING_BYTES_MAX: u64 = 1 << 24;
const ELEMENTS_MAX: u64 = 1 << 22;
const ENTRIES_MAX: u64 = 1 << 16;

/// What is wrong with a header.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file does not start as a GGUF file does.
    #[error("not a GGUF file: it starts with {0:02x?}, expected the bytes \"GGUF\"")]
    Magic([u8; 4]),
    /// A version this reader does not know.
    #[error("GGUF version {0}, expected 2 or 3")]
    Version(u32),
    /// The file ends inside the header.
    #[error("the file ends inside its header (while reading {0})")]
    Truncated(&'static str),
    /// A count or length beyond any sensible file.
    #[error("{what} is {value}, expected at most {limit}")]
    TooLarge {
        /// The field.
        what: &'static str,
        /// What the file says.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// A string that is not UTF-8, or an unknown type.
    #[error("{0}")]
    Malformed(String),
    /// A key that is needed is missing or has another type.
    #[error("key {key} is missing or is not {expected}")]
    Key {
        /// The key.
        key: String,
        /// Its type.
        expected: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(io::Error),
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Any integer.
    Integer(i128),
    /// A 32-bit float.
    Float(f64),
    /// A 64-bit float.
    Double(f64),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(String),
    /// An array of integers or truth values.
    Integers(Vec<i128>),
    /// An array of floats.
    Floats(Vec<f64>),
    /// An array of strings.
    Texts(Vec<String>),
}

/// One row of the table of tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name.
    pub name: String,
    /// Extents, fastest first.
    pub dimensions: Vec<u64>,
    /// ggml's type number.
    pub kind: u32,
    /// Bytes from the start of the data section.
    pub offset: u64,
}

/// A parsed header.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Key-value metadata.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors in file order.
    pub tensors: Vec<TensorInfo>,
    /// Bytes from the start of the file to the data section.
    pub data_offset: u64,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// See [`GgufError`].
    pub fn read(source: impl Read) -> Result<Self, GgufError> {
        let mut reader = Reader { source, position: 0 };
        let magic = reader.bytes::<4>("the magic")?;
        if &magic != b"GGUF" {
            return Err(GgufError::Magic(magic));
        }
        let version = reader.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensor_count = reader.count("the number of tensors", ENTRIES_MAX)?;
        let entry_count = reader.count("the number of keys", ENTRIES_MAX)?;
        let mut header = Self::default();
        for _ in 0..entry_count {
            let key = reader.string("a key")?;
            let value = reader.value()?;
            if header.metadata.insert(key.clone(), value).is_some() {
                return Err(GgufError::Malformed(format!("key {key} stands twice")));
            }
        }
        for _ in 0..tensor_count {
            header.tensors.push(reader.tensor()?);
        }
        let alignment = header.alignment()?;
        header.data_offset = reader.position.next_multiple_of(alignment);
        Ok(header)
    }

    /// A string.
    ///
    /// # Errors
    /// [`GgufError::Key`] if it is missing.
    pub fn text(&self, key: &str) -> Result<&str, GgufError> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(missing(key, "a string")),
        }
    }

    /// A non-negative integer.
    ///
    /// # Errors
    /// [`GgufError::Key`] if it is missing or negative.
    pub fn integer(&self, key: &str) -> Result<u64, GgufError> {
        match self.metadata.get(key) {
            Some(Value::Integer(number)) => {
                u64::try_from(*number).map_err(|_| missing(key, "a non-negative integer"))
            }
            _ => Err(missing(key, "a non-negative integer")),
        }
    }

    /// A float.
    ///
    /// # Errors
    /// [`GgufError::Key`] if it is missing.
    pub fn float(&self, key: &str) -> Result<f64, GgufError> {
        match self.metadata.get(key) {
            Some(Value::Float(number) | Value::Double(number)) => Ok(*number),
            _ => Err(missing(key, "a float")),
        }
    }

    /// An array of strings.
    ///
    /// # Errors
    /// [`GgufError::Key`] if it is missing.
    pub fn texts(&self, key: &str) -> Result<&[String], GgufError> {
        match self.metadata.get(key) {
            Some(Value::Texts(texts)) => Ok(texts),
            _ => Err(missing(key, "an array of strings")),
        }
    }

    /// An array of integers.
    ///
    /// # Errors
    /// [`GgufError::Key`] if it is missing.
    pub fn integers(&self, key: &str) -> Result<&[i128], GgufError> {
        match self.metadata.get(key) {
            Some(Value::Integers(numbers)) => Ok(numbers),
            _ => Err(missing(key, "an array of integers")),
        }
    }

    /// Alignment of tensor data in bytes; 32 unless the file says otherwise.
    ///
    /// # Errors
    /// When it is no power of two in 32..=4096.
    pub fn alignment(&self) -> Result<u64, GgufError> {
        match self.metadata.get("general.alignment") {
            None => Ok(32),
            Some(_) => {
                let alignment = self.integer("general.alignment")?;
                let is_sane = alignment.is_power_of_two() && (32..=4096).contains(&alignment);
                is_sane.then_some(alignment).ok_or_else(|| {
                    GgufError::Malformed(format!(
                        "general.alignment is {alignment}, expected a power of two in 32..=4096"
                    ))
                })
            }
        }
    }
}

fn missing(key: &str, expected: &'static str) -> GgufError {
    GgufError::Key { key: key.to_owned(), expected }
}

struct Reader<R> {
    source: R,
    position: u64,
}

impl<R: Read> Reader<R> {
    fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8], what: &'static str) -> Result<(), GgufError> {
        self.source.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => GgufError::Truncated(what),
            _ => GgufError::Io(error),
        })?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    fn count(&mut self, what: &'static str, limit: u64) -> Result<u64, GgufError> {
        let value = u64::from_le_bytes(self.bytes(what)?);
        if value > limit {
            return Err(GgufError::TooLarge { what, value, limit });
        }
        Ok(value)
    }

    fn string(&mut self, what: &'static str) -> Result<String, GgufError> {
        let length = self.count(what, STRING_BYTES_MAX)?;
        // Grows with what is really there: a false length allocates nothing.
        let mut bytes = Vec::new();
        let read = self.source.by_ref().take(length).read_to_end(&mut bytes);
        if read.map_err(GgufError::Io)? as u64 != length {
            return Err(GgufError::Truncated(what));
        }
        self.position += length;
        String::from_utf8(bytes).map_err(|_| GgufError::Malformed(format!("{what} is not UTF-8")))
    }

    fn tensor(&mut self) -> Result<TensorInfo, GgufError> {
        let name = self.string("a tensor's name")?;
        let rank = self.u32("a tensor's rank")?;
        if rank > 4 {
            let (what, value) = ("a tensor's rank", u64::from(rank));
            return Err(GgufError::TooLarge { what, value, limit: 4 });
        }
        let mut dimensions = Vec::new();
        for _ in 0..rank {
            dimensions.push(self.count("a tensor's extent", 1 << 32)?);
        }
        let kind = self.u32("a tensor's type")?;
        let offset = u64::from_le_bytes(self.bytes("a tensor's offset")?);
        Ok(TensorInfo { name, dimensions, kind, offset })
    }

    fn value(&mut self) -> Result<Value, GgufError> {
        const ARRAY: u32 = 9;
        match self.u32("a value's type")? {
            ARRAY => {
                let kind = self.u32("an array's type")?;
                let count = self.count("an array's length", ELEMENTS_MAX)?;
                self.array(kind, count)
            }
            kind => self.scalar(kind),
        }
    }

    fn array(&mut self, kind: u32, count: u64) -> Result<Value, GgufError> {
        let (mut integers, mut floats, mut texts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            match self.scalar(kind)? {
                Value::Integer(number) => integers.push(number),
                Value::Bool(truth) => integers.push(i128::from(truth)),
                Value::Float(number) | Value::Double(number) => floats.push(number),
                Value::Text(text) => texts.push(text),
                _ => return Err(GgufError::Malformed("an array inside an array".to_owned())),
            }
        }
        Ok(match kind {
            6 | 12 => Value::Floats(floats),
            8 => Value::Texts(texts),
            _ => Value::Integers(integers),
        })
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, GgufError> {
        const WHAT: &str = "a value";
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.bytes(WHAT)?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.bytes(WHAT)?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.bytes(WHAT)?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.bytes(WHAT)?).into()),
            4 => Value::Integer(u32::from_le_bytes(self.bytes(WHAT)?).into()),
            5 => Value::Integer(i32::from_le_bytes(self.bytes(WHAT)?).into()),
            6 => Value::Float(f32::from_le_bytes(self.bytes(WHAT)?).into()),
            7 => Value::Bool(self.bytes::<1>(WHAT)? != [0]),
            8 => Value::Text(self.string("a string")?),
            10 => Value::Integer(u64::from_le_bytes(self.bytes(WHAT)?).into()),
            11 => Value::Integer(i64::from_le_bytes(self.bytes(WHAT)?).into()),
            12 => Value::Double(f64::from_le_bytes(self.bytes(WHAT)?)),
            other => return Err(GgufError::Malformed(format!("unknown value type {other}"))),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header_bytes() -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(4u64.to_le_bytes());
        bytes.extend(b"some");
        bytes.extend(8u32.to_le_bytes());
        bytes.extend(2u64.to_le_bytes());
        bytes.extend(b"ok");
        bytes
    }

    #[test]
    fn a_small_header_is_read() {
        let header = Header::read(header_bytes().as_slice()).unwrap();
        assert_eq!(header.text("some").unwrap(), "ok");
        assert_eq!(header.data_offset % 32, 0);
        assert!(header.integer("some").is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = header_bytes();
        for length in 0..bytes.len() {
            let error = Header::read(bytes.get(..length).unwrap()).unwrap_err();
            assert!(matches!(error, GgufError::Truncated(_)), "{length}: {error}");
        }
    }

    #[test]
    fn absurd_counts_are_refused() {
        let mut bytes = header_bytes();
        bytes[8..16].fill(0xff);
        let error = Header::read(bytes.as_slice()).unwrap_err();
        assert!(error.to_string().contains("number of tensors"), "{error}");
    }
}
