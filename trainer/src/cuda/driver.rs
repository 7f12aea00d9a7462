//! A device through NVIDIA's driver, cuBLAS and NVRTC, which are looked for when it is opened: the
//! program needs none of them to start.

// Kernels and cuBLAS take raw addresses; what they may touch is what `Region`s hold.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use cudarc::cublas::sys::{
    cublasComputeType_t, cublasGemmAlgo_t, cublasOperation_t, cudaDataType,
    is_culib_present as has_blas,
};
use cudarc::cublas::{CudaBlas, result::gemm_ex};
use cudarc::driver::sys::{
    CUdevice_attribute, CUresult, cuDriverGetVersion, is_culib_present as has_driver,
};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, LaunchConfig, PushKernelArg as _, result,
};
use cudarc::nccl::result as nccl;
use cudarc::nccl::sys::{
    is_culib_present as has_team, ncclComm_t, ncclDataType_t, ncclRedOp_t, ncclUniqueId,
};
use cudarc::nvrtc::sys::is_culib_present as has_compiler;
use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

use super::machine::{Address, Argument, DeviceError, Machine, Operand, Product, Region, TeamId};
use super::network::HEAD_WIDTHS;

/// The kernels, as CUDA C.
const KERNELS: &str = include_str!("kernels.cu");
/// The oldest generation with products of bf16 matrices: Ampere. Newer ones translate its code.
const ARCHITECTURE: &str = "compute_80";
const GENERATION_MIN: (i32, i32) = (8, 0);
/// CUDA 13.0, as the driver counts.
const DRIVER_VERSION_MIN: i32 = 13_000;

/// Compiles the kernels.
///
/// # Errors
/// [`DeviceError::Unavailable`]: no NVRTC, or what it said.
pub fn compile() -> Result<Ptx, DeviceError> {
    // SAFETY: loading a library runs its initialisers; NVIDIA's have no conditions.
    if !unsafe { has_compiler() } {
        return Err(missing("libnvrtc", "the CUDA toolkit, or Python's nvidia-cuda-nvrtc"));
    }
    let options = CompileOptions { arch: Some(ARCHITECTURE), ..CompileOptions::default() };
    compile_ptx_with_opts(KERNELS, options).map_err(|error| {
        let told = match error {
            CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
            other => other.to_string(),
        };
        DeviceError::Unavailable(format!("the kernels do not compile: {told}"))
    })
}

fn missing(library: &str, source: &str) -> DeviceError {
    let told = format!("{library} is not found (LD_LIBRARY_PATH): it comes with {source}");
    DeviceError::Unavailable(told)
}

/// Why a driver of this version, as it counts itself, cannot be used.
fn too_old(version: i32) -> Option<String> {
    (version < DRIVER_VERSION_MIN).then(|| {
        let (major, minor) = (version / 1000, version % 1000 / 10);
        format!(
            "NVIDIA's driver is that of CUDA {major}.{minor}, training needs that of CUDA 13 (580) or \
             newer: update it, or train with --device cpu"
        )
    })
}

/// How many devices the driver has; 0 without a driver.
#[must_use]
pub fn devices() -> usize {
    // SAFETY: as in `compile`.
    if !unsafe { has_driver() } || result::init().is_err() {
        return 0;
    }
    result::device::get_count().map_or(0, |count| usize::try_from(count).unwrap_or(0))
}

/// What devices that compute together know one another by.
///
/// # Errors
/// [`DeviceError::Unavailable`]: no NCCL.
pub fn team_id() -> Result<TeamId, DeviceError> {
    // SAFETY: as in `compile`.
    if !unsafe { has_team() } {
        let source =
            "NVIDIA's NCCL, or Python's nvidia-nccl-cu13 (there `ln -s libnccl.so.2 libnccl.so`)";
        return Err(missing("libnccl.so", source));
    }
    TeamId::new().map_err(|error| DeviceError::Unavailable(format!("NCCL: {error:?}")))
}

/// One NVIDIA device.
pub struct Cuda {
    name: String,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    blas: ManuallyDrop<CudaBlas>,
    kernels: BTreeMap<String, CudaFunction>,
    /// Bytes that were free when it was opened.
    free_at_first: u64,
    /// The way to the other devices, once it has joined them.
    team: Cell<Option<ncclComm_t>>,
}

impl Drop for Cuda {
    fn drop(&mut self) {
        // After an error of the driver, cuBLAS' own end would panic and NCCL's wait for the others.
        let is_well = self.stream.synchronize().is_ok();
        if let Some(team) = self.team.take() {
            // SAFETY: `join` made it, and nothing uses it any more.
            let _ = unsafe {
                match is_well {
                    true => nccl::comm_destroy(team),
                    false => nccl::comm_abort(team),
                }
            };
        }
        if is_well {
            // SAFETY: nothing uses it any more.
            unsafe { ManuallyDrop::drop(&mut self.blas) };
        }
    }
}

impl Cuda {
    /// Opens the device `index` and compiles the kernels.
    ///
    /// # Errors
    /// [`DeviceError::Unavailable`] says what is missing.
    pub fn open(index: usize) -> Result<Self, DeviceError> {
        // SAFETY: as in `compile`.
        if !unsafe { has_driver() } {
            return Err(missing("libcuda", "NVIDIA's driver"));
        }
        // SAFETY: as in `compile`.
        if !unsafe { has_blas() } {
            return Err(missing("libcublas", "the CUDA toolkit, or Python's nvidia-cublas"));
        }
        let refused = |doing: &'static str| {
            move |error: result::DriverError| {
                DeviceError::Unavailable(format!("cuda:{index}: {doing}: {error}"))
            }
        };
        result::init().map_err(|error| DeviceError::Unavailable(error.to_string()))?;
        let mut version = 0;
        // SAFETY: the driver writes one number.
        let asked = unsafe { cuDriverGetVersion(&raw mut version) };
        if let (CUresult::CUDA_SUCCESS, Some(told)) = (asked, too_old(version)) {
            return Err(DeviceError::Unavailable(told));
        }
        let count = devices();
        if index >= count {
            let told = format!("cuda:{index} is not there: the driver has {count} devices");
            return Err(DeviceError::Unavailable(told));
        }
        let context = CudaContext::new(index).map_err(refused("opening"))?;
        let attribute = |which| context.attribute(which).map_err(refused("asking"));
        let generation = (
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let name = context.name().map_err(refused("asking"))?;
        let name = format!("cuda:{index} ({name})");
        if generation < GENERATION_MIN {
            let (major, minor) = generation;
            return Err(DeviceError::Unavailable(format!(
                "{name} has compute capability {major}.{minor}, training needs 8.0 (Ampere) or \
                 newer: train with --device cpu"
            )));
        }
        // One stream, one thread: nothing has to be tracked.
        // SAFETY: no memory is shared between streams, for there is one.
        unsafe { context.disable_event_tracking() };
        let stream = context.default_stream();
        let blas = CudaBlas::new(stream.clone())
            .map_err(|error| DeviceError::Unavailable(format!("{name}: cuBLAS: {error}")))?;
        let module = context.load_module(compile()?).map_err(|error| match error.0 {
            CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => DeviceError::Unavailable(
                "libnvrtc is newer than NVIDIA's driver: update the driver, or take an NVRTC of the \
                 driver's version"
                    .to_owned(),
            ),
            _ => refused("loading the kernels")(error),
        })?;
        let mut kernels = BTreeMap::new();
        for kernel in names() {
            let function = module.load_function(&kernel).map_err(refused("loading a kernel"))?;
            kernels.insert(kernel, function);
        }
        let (team, blas) = (Cell::new(None), ManuallyDrop::new(blas));
        let mut own = Cuda { name, context, stream, blas, kernels, free_at_first: 0, team };
        own.free_at_first = own.free_bytes()?;
        Ok(own)
    }

    fn failed(&self, doing: &str, told: &dyn std::fmt::Display) -> DeviceError {
        let (name, doing, told) = (self.name.clone(), doing.to_owned(), told.to_string());
        DeviceError::Failed { name, doing, told }
    }
}

/// The names of the kernels, as the source declares them; those of attention stand for one each of
/// every width.
fn names() -> Vec<String> {
    let declared = KERNELS.split("__global__ void ").skip(1);
    let names = declared.filter_map(|text| {
        let text = text.strip_prefix("__launch_bounds__(128) ").unwrap_or(text);
        text.split('(').next()
    });
    let every = |name: &str| match name.strip_suffix("##WIDTH") {
        Some(stem) => HEAD_WIDTHS.map(|width| format!("{stem}{width}")).to_vec(),
        None => vec![name.to_owned()],
    };
    names.flat_map(every).collect()
}

impl Machine for Cuda {
    fn name(&self) -> &str {
        &self.name
    }

    fn free_bytes(&self) -> Result<u64, DeviceError> {
        let told = self.context.mem_get_info();
        let (free, _) = told.map_err(|error| self.failed("asking for free memory", &error))?;
        Ok(free as u64)
    }

    fn held_bytes(&self) -> Result<u64, DeviceError> {
        Ok(self.free_at_first.saturating_sub(self.free_bytes()?))
    }

    fn allocate(&self, bytes: usize) -> Result<Region, DeviceError> {
        // An empty buffer is asked for where a shape has no such part.
        let memory: CudaSlice<u8> =
            self.stream.alloc_zeros(bytes.max(1)).map_err(|error| match error.0 {
                CUresult::CUDA_ERROR_OUT_OF_MEMORY => DeviceError::OutOfMemory {
                    wanted_mib: bytes as u64 >> 20,
                    free_mib: self.free_bytes().unwrap_or(0) >> 20,
                    advice: "take a smaller model, or adapters where the whole one is trained; \
                             does another process hold memory?"
                        .to_owned(),
                },
                _ => self.failed("allocating", &error),
            })?;
        let at = {
            use cudarc::driver::DevicePtr as _;
            let (at, _) = memory.device_ptr(&self.stream);
            Address(at)
        };
        Ok(Region { at, bytes, _owner: Box::new(memory) })
    }

    fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        // SAFETY: `to` lies in a region that holds as many bytes.
        let done = unsafe { result::memcpy_htod_async(to.0, bytes, self.stream.cu_stream()) };
        done.and_then(|()| self.stream.synchronize())
            .map_err(|error| self.failed("copying to the device", &error))
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        // SAFETY: `from` lies in a region that holds as many bytes.
        let done = unsafe { result::memcpy_dtoh_async(bytes, from.0, self.stream.cu_stream()) };
        done.and_then(|()| self.stream.synchronize())
            .map_err(|error| self.failed("copying from the device", &error))
    }

    fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: both lie in regions that hold as many bytes.
        unsafe { result::memcpy_dtod_async(to.0, from.0, bytes, self.stream.cu_stream()) }
            .map_err(|error| self.failed("copying", &error))
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError> {
        // SAFETY: `at` lies in a region that holds as many bytes.
        unsafe { result::memset_d8_async(at.0, 0, bytes, self.stream.cu_stream()) }
            .map_err(|error| self.failed("clearing memory", &error))
    }

    fn launch(
        &self,
        kernel: &str,
        [x, y]: [usize; 2],
        threads: usize,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        let function = self.kernels.get(kernel);
        let function = function.ok_or_else(|| self.failed(kernel, &"no such kernel"))?;
        let mut builder = self.stream.launch_builder(function);
        for argument in arguments {
            match argument {
                Argument::Address(Address(value)) | Argument::U64(value) => builder.arg(value),
                Argument::U32(value) => builder.arg(value),
                Argument::F32(value) => builder.arg(value),
            };
        }
        let config = LaunchConfig {
            grid_dim: (x as u32, y as u32, 1),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the arguments are those that the kernel declares, and name regions large enough;
        // the tests run every launch on the processor, where a sanitiser would see it.
        unsafe { builder.launch(config) }.map(|_| ()).map_err(|error| self.failed(kernel, &error))
    }

    fn join(&self, rank: usize, count: usize, id: &TeamId) -> Result<(), DeviceError> {
        let id = ncclUniqueId { internal: *id.internal() };
        let mut team = std::ptr::null_mut();
        // SAFETY: the context of this thread is that of the device; `team` is written before use.
        let done = unsafe { nccl::comm_init_rank(&mut team, count as i32, id, rank as i32) };
        done.map_err(|error| self.failed("joining the other devices", &format!("{error:?}")))?;
        self.team.set(Some(team));
        Ok(())
    }

    fn add_up(&self, at: Address, count: usize) -> Result<(), DeviceError> {
        let Some(team) = self.team.get() else { return Ok(()) };
        // SAFETY: `at` lies in a region that holds as many values; NCCL may work in place.
        let done = unsafe {
            nccl::all_reduce(
                at.0 as *const c_void,
                at.0 as *mut c_void,
                count,
                ncclDataType_t::ncclFloat32,
                ncclRedOp_t::ncclSum,
                team,
                self.stream.cu_stream().cast(),
            )
        };
        let told = |error| self.failed("adding gradients up", &format!("{error:?}"));
        done.map(|_| ()).map_err(told)
    }

    fn multiply(&self, product: &Product) -> Result<(), DeviceError> {
        let Product { factor, a, b, keep, out } = product;
        let ((rows, inner), (_, columns)) = (a.size(), b.size());
        // cuBLAS counts by columns, so it is given out^T = b^T a^T: what it takes for a column is
        // one of our rows.
        let operation = |operand: &Operand| match operand.is_transposed {
            true => cublasOperation_t::CUBLAS_OP_T,
            false => cublasOperation_t::CUBLAS_OP_N,
        };
        let out_type = match out.is_single {
            true => cudaDataType::CUDA_R_32F,
            false => cudaDataType::CUDA_R_16BF,
        };
        // SAFETY: the sizes are those of the operands, which lie in regions large enough.
        let done = unsafe {
            gemm_ex(
                *self.blas.handle(),
                operation(b),
                operation(a),
                columns as i32,
                rows as i32,
                inner as i32,
                std::ptr::from_ref(factor).cast(),
                b.at.0 as *const c_void,
                cudaDataType::CUDA_R_16BF,
                b.stride as i32,
                a.at.0 as *const c_void,
                cudaDataType::CUDA_R_16BF,
                a.stride as i32,
                std::ptr::from_ref(keep).cast(),
                out.at.0 as *mut c_void,
                out_type,
                out.stride as i32,
                cublasComputeType_t::CUBLAS_COMPUTE_32F,
                cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        done.map_err(|error| self.failed("multiplying matrices", &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_driver_is_told_by_its_version() {
        let told = too_old(12_080).unwrap_or_default();
        assert!(told.contains("CUDA 12.8, training needs that of CUDA 13 (580)"), "{told}");
        assert_eq!((too_old(13_000), too_old(13_020)), (None, None));
    }

    #[test]
    fn the_kernels_are_found_by_name() {
        let names = names();
        for expected in ["gather", "attention_32", "attention_keys_128", "adamw", "cast"] {
            assert!(names.iter().any(|name| name == expected), "{expected} is not among {names:?}");
        }
    }
}
