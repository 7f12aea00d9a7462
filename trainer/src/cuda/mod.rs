//! Training on an NVIDIA device: the network of [`crate::model`] with bf16 values, f32 sums and f32
//! masters.
//!
//! `machine` is what is asked of a device, `driver` the real one, `kernels.cu` what runs on it.
//! `network` computes loss and gradient (blocks in `pass`, matrices and adapters in
//! `projection`, the head in `loss`), `optimise` changes the masters; [`Team`] has one device
//! or several work, and is what a training loop asks. The processor's path is the specification:
//! tests run the same kernels on the processor and compare.

mod driver;
#[cfg(test)]
mod host;
mod loss;
mod machine;
mod memory;
mod network;
mod optimise;
mod pass;
mod projection;
mod team;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fmt;
use std::str::FromStr;

pub use driver::devices;
pub use machine::DeviceError;
pub use team::{Settings, Team};

use crate::model::Model;

/// Parameters from which [`Device::Auto`] prefers a device: with fewer, starting its kernels takes
/// longer than what they do.
const PARAMETERS_MIN: usize = 20_000_000;

/// Where training computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first NVIDIA device for models of 20 million parameters or more, where there is one that
    /// can be used.
    Auto,
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA devices of these numbers.
    Cuda {
        /// The first.
        first: usize,
        /// The last.
        last: usize,
    },
}

impl Device {
    /// Refuses devices that are not there, before anything is spent on what would be trained there.
    ///
    /// # Errors
    /// What is missing, by the first device of which it is.
    pub fn check(self) -> Result<(), DeviceError> {
        match self {
            Device::Auto | Device::Cpu => Ok(()),
            Device::Cuda { first, last } => {
                (first..=last).try_for_each(|index| driver::Cuda::open(index).map(drop))
            }
        }
    }
}

/// What [`Device::Auto`] means for `model`; says why a device that is there is not used.
#[must_use]
pub fn found(model: &Model) -> Device {
    if model.parameters.len() < PARAMETERS_MIN || devices() == 0 {
        return Device::Cpu;
    }
    let usable = network::attention_kernels(&model.shape).and_then(|_| driver::Cuda::open(0));
    match usable {
        Ok(_) => Device::Cuda { first: 0, last: 0 },
        Err(told) => {
            errln!("training on the processor: {told}");
            Device::Cpu
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text}: expected auto, cpu, cuda:0, or several as cuda:0-3");
        match text {
            "auto" => return Ok(Device::Auto),
            "cpu" => return Ok(Device::Cpu),
            "cuda" => return Ok(Device::Cuda { first: 0, last: 0 }),
            _ => {}
        }
        let named = text.strip_prefix("cuda:").ok_or_else(refused)?;
        let (first, last) = named.split_once('-').unwrap_or((named, named));
        let number = |text: &str| text.parse::<u16>().map(usize::from).map_err(|_| refused());
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(refused());
        }
        Ok(Device::Cuda { first, last })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Device::Auto => f.write_str("auto"),
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda { first, last } if first == last => write!(f, "cuda:{first}"),
            Device::Cuda { first, last } => write!(f, "cuda:{first}-{last}"),
        }
    }
}
