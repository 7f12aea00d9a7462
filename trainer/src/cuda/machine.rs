//! What the network asks of a device: memory, copies, kernels, matrix products.
//!
//! Everything is queued in order; only copies from and to the processor wait. The real device is behind
//! [`super::driver`]; tests run the same kernels on the processor.

use std::any::Any;

/// Bytes of a bf16 value.
pub const HALF: usize = 2;
/// Bytes of an f32 or u32 value.
pub const SINGLE: usize = 4;

/// A place in the device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub u64);

impl Address {
    /// The place so many bf16 values further on.
    #[must_use]
    pub fn halves(self, count: usize) -> Self {
        Address(self.0 + (count * HALF) as u64)
    }

    /// The place so many f32 or u32 values further on.
    #[must_use]
    pub fn singles(self, count: usize) -> Self {
        Address(self.0 + (count * SINGLE) as u64)
    }
}

/// Memory of a device, given back when dropped.
pub struct Region {
    /// Where it begins.
    pub at: Address,
    /// Its size.
    pub bytes: usize,
    /// What gives it back.
    pub _owner: Box<dyn Any>,
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A pointer.
    Address(Address),
    /// An unsigned 32-bit number.
    U32(u32),
    /// An unsigned 64-bit number.
    U64(u64),
    /// A float.
    F32(f32),
}

impl From<Address> for Argument {
    fn from(value: Address) -> Self {
        Argument::Address(value)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Argument::F32(value)
    }
}

impl From<u64> for Argument {
    fn from(value: u64) -> Self {
        Argument::U64(value)
    }
}

/// Sizes: a shape's are checked, and a batch whose tokens need more than 32 bits fits no memory.
impl From<usize> for Argument {
    fn from(value: usize) -> Self {
        Argument::U32(value as u32)
    }
}

/// A matrix of bf16 values in the device's memory.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    /// Its first value.
    pub at: Address,
    /// Rows as they lie in memory.
    pub rows: usize,
    /// Columns as they lie in memory.
    pub columns: usize,
    /// Values from one row to the next.
    pub stride: usize,
    /// Whether the transposed matrix is meant.
    pub is_transposed: bool,
}

impl Operand {
    /// A matrix whose rows lie without gaps.
    #[must_use]
    pub fn new(at: Address, rows: usize, columns: usize) -> Self {
        Operand { at, rows, columns, stride: columns, is_transposed: false }
    }

    /// The same rows, further apart.
    #[must_use]
    pub fn strided(self, stride: usize) -> Self {
        Operand { stride, ..self }
    }

    /// The transposed matrix.
    #[must_use]
    pub fn transposed(self) -> Self {
        Operand { is_transposed: !self.is_transposed, ..self }
    }

    /// Rows and columns of what is meant.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        match self.is_transposed {
            true => (self.columns, self.rows),
            false => (self.rows, self.columns),
        }
    }
}

/// Where a product goes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its first value.
    pub at: Address,
    /// Values from one row to the next.
    pub stride: usize,
    /// Whether its values are f32; otherwise they are bf16.
    pub is_single: bool,
}

/// `out = factor a b + keep out`, summed in f32.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Factor of the product.
    pub factor: f32,
    /// Left matrix.
    pub a: Operand,
    /// Right matrix.
    pub b: Operand,
    /// Factor of what `out` holds; 0 ignores it.
    pub keep: f32,
    /// Where it goes.
    pub out: Target,
}

/// What a device refused.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// A driver or library that is not there, or is too old.
    #[error("{0}")]
    Unavailable(String),
    /// The device's memory is full.
    #[error("the device has {free_mib} MiB free, {wanted_mib} more were asked for: {advice}")]
    OutOfMemory {
        /// MiB asked for.
        wanted_mib: u64,
        /// MiB that are free.
        free_mib: u64,
        /// What to do.
        advice: String,
    },
    /// An error in the middle of the work.
    #[error("{name}: {doing} failed: {told}")]
    Failed {
        /// The device.
        name: String,
        /// What was being done.
        doing: String,
        /// What the driver said.
        told: String,
    },
}

/// What devices that compute together know one another by.
pub type TeamId = cudarc::nccl::Id;

/// A device.
pub trait Machine {
    /// What it is called.
    fn name(&self) -> &str;

    /// Bytes of its memory that are free.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn free_bytes(&self) -> Result<u64, DeviceError>;

    /// Bytes of its memory that are in use since it was opened.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn held_bytes(&self) -> Result<u64, DeviceError>;

    /// Memory that holds zeros.
    ///
    /// # Errors
    /// [`DeviceError::OutOfMemory`].
    fn allocate(&self, bytes: usize) -> Result<Region, DeviceError>;

    /// Copies to the device.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Waits for all that is queued and copies from the device.
    ///
    /// # Errors
    /// [`DeviceError`], also of what was queued before.
    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError>;

    /// Copies within the device.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<(), DeviceError>;

    /// Fills with zeros.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError>;

    /// Runs a kernel in `grid` blocks of `threads`.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn launch(
        &self,
        kernel: &str,
        grid: [usize; 2],
        threads: usize,
        arguments: &[Argument],
    ) -> Result<(), DeviceError>;

    /// Takes its place among `count` devices that compute together; all of them must.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn join(&self, rank: usize, count: usize, id: &TeamId) -> Result<(), DeviceError>;

    /// Replaces `count` f32 values by their sums over all devices that joined; all of them must.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn add_up(&self, at: Address, count: usize) -> Result<(), DeviceError>;

    /// Multiplies matrices.
    ///
    /// # Errors
    /// [`DeviceError`].
    fn multiply(&self, product: &Product) -> Result<(), DeviceError>;
}
