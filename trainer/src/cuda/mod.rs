//! Training on an NVIDIA device: the network of [`crate::model`] with bf16 values, f32 sums and f32
//! masters.
//!
//! [`machine`] is what is asked of a device, [`driver`] the real one, `kernels.cu` what runs on it.
//! [`network`] computes loss and gradient, [`optimise`] changes the masters, [`OnDevice`] is what
//! the training loop sees. The processor's path is the specification: tests run the same kernels
//! on the processor and compare.

mod driver;
#[cfg(test)]
mod host;
mod learner;
mod machine;
mod memory;
mod network;
mod optimise;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use driver::devices;
pub use learner::OnDevice;
pub use machine::DeviceError;

/// Parameters from which [`Device::Auto`] prefers a device: with fewer, starting its kernels takes
/// longer than what they do.
const PARAMETERS_MIN: usize = 20_000_000;

/// Where training computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first NVIDIA device for models of more than 20 million parameters, where there is one.
    Auto,
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA device of this number.
    Cuda(usize),
}

/// What [`Device::Auto`] means for a model of so many parameters.
#[must_use]
pub fn found(parameters: usize) -> Device {
    match parameters >= PARAMETERS_MIN && devices() > 0 {
        true => Device::Cuda(0),
        false => Device::Cpu,
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index = text.strip_prefix("cuda").map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        match (text, index) {
            ("auto", _) => Ok(Device::Auto),
            ("cpu", _) => Ok(Device::Cpu),
            ("cuda", _) => Ok(Device::Cuda(0)),
            (_, Some(index)) if text.starts_with("cuda:") => {
                let index = index.parse().map_err(|_| format!("{text}: expected cuda:0 or so"))?;
                Ok(Device::Cuda(index))
            }
            _ => Err(format!("{text}: expected auto, cpu or cuda:0")),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
