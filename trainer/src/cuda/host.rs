//! A device for tests: the kernels run on the processor, products are summed here.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex, PoisonError};

use half::bf16;
use retort_test_cuda::{Host, Value};

use super::machine::{
    Address, Argument, DeviceError, HALF, Machine, Operand, Product, Region, SINGLE, TeamId,
};
use crate::model::add;

/// Memory of a stated size.
pub struct Processor {
    host: Rc<Host>,
    all: u64,
    free: Rc<Cell<u64>>,
    /// Kernels that still run before one fails.
    launches_left: Cell<usize>,
    meeting: Option<(usize, Arc<Meeting>)>,
}

/// Where several meet to add up.
pub struct Meeting {
    all_here: Barrier,
    /// What each has brought, by rank.
    brought: Mutex<Vec<Vec<f32>>>,
}

impl Meeting {
    pub fn of(count: usize) -> Arc<Self> {
        let brought = Mutex::new(vec![Vec::new(); count]);
        Arc::new(Meeting { all_here: Barrier::new(count), brought })
    }
}

impl Processor {
    pub fn of(bytes: u64) -> Rc<dyn Machine> {
        Rc::new(Self::with(bytes))
    }

    /// One whose driver fails after so many kernels.
    pub fn failing_after(bytes: u64, launches: usize) -> Rc<dyn Machine> {
        Rc::new(Processor { launches_left: Cell::new(launches), ..Self::with(bytes) })
    }

    /// One of several.
    pub fn at(bytes: u64, rank: usize, meeting: Arc<Meeting>) -> Rc<dyn Machine> {
        Rc::new(Processor { meeting: Some((rank, meeting)), ..Self::with(bytes) })
    }

    fn with(bytes: u64) -> Self {
        Processor {
            host: Rc::default(),
            all: bytes,
            free: Rc::new(Cell::new(bytes)),
            launches_left: Cell::new(usize::MAX),
            meeting: None,
        }
    }

    /// The values of a matrix, a row after another, as it is meant.
    fn values(&self, operand: &Operand) -> Vec<f32> {
        let Operand { at, rows, columns, stride, is_transposed } = *operand;
        let mut values = vec![0.0; rows * columns];
        let mut row_values = vec![0_u16; columns];
        for row in 0..rows {
            self.host.read(at.halves(row * stride).0, bytemuck::cast_slice_mut(&mut row_values));
            for (column, value) in row_values.iter().enumerate() {
                let place =
                    if is_transposed { column * rows + row } else { row * columns + column };
                values[place] = bf16::from_bits(*value).to_f32();
            }
        }
        values
    }
}

/// Gives a piece of memory back.
struct Owner {
    host: Rc<Host>,
    free: Rc<Cell<u64>>,
    at: u64,
    bytes: u64,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.host.release(self.at);
        self.free.set(self.free.get() + self.bytes);
    }
}

impl Machine for Processor {
    fn name(&self) -> &str {
        "the processor"
    }

    fn free_bytes(&self) -> Result<u64, DeviceError> {
        Ok(self.free.get())
    }

    fn held_bytes(&self) -> Result<u64, DeviceError> {
        Ok(self.all - self.free.get())
    }

    fn allocate(&self, bytes: usize) -> Result<Region, DeviceError> {
        let (host, free) = (self.host.clone(), self.free.clone());
        let left = free.get().checked_sub(bytes as u64);
        free.set(left.ok_or_else(|| DeviceError::Unavailable("no memory".to_owned()))?);
        let at = host.allocate(bytes);
        let owner = Owner { host, free, at, bytes: bytes as u64 };
        Ok(Region { at: Address(at), bytes, _owner: Box::new(owner) })
    }

    fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), DeviceError> {
        self.host.write(to.0, bytes);
        Ok(())
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), DeviceError> {
        self.host.read(from.0, bytes);
        Ok(())
    }

    fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<(), DeviceError> {
        let mut copied = vec![0; bytes];
        self.host.read(from.0, &mut copied);
        self.host.write(to.0, &copied);
        Ok(())
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), DeviceError> {
        self.host.write(at.0, &vec![0; bytes]);
        Ok(())
    }

    fn launch(
        &self,
        kernel: &str,
        grid: [usize; 2],
        threads: usize,
        arguments: &[Argument],
    ) -> Result<(), DeviceError> {
        assert!(grid.iter().all(|blocks| *blocks > 0), "{kernel}: an empty grid");
        let Some(left) = self.launches_left.get().checked_sub(1) else {
            let [name, told] = ["the processor", "an illegal address"].map(str::to_owned);
            return Err(DeviceError::Failed { name, doing: kernel.to_owned(), told });
        };
        self.launches_left.set(left);
        let values: Vec<Value> = arguments
            .iter()
            .map(|argument| match *argument {
                Argument::Address(Address(value)) | Argument::U64(value) => Value::U64(value),
                Argument::U32(value) => Value::U32(value),
                Argument::F32(value) => Value::F32(value),
            })
            .collect();
        self.host.launch(kernel, grid.map(|blocks| blocks as u32), threads as u32, &values);
        Ok(())
    }

    fn join(&self, _: usize, _: usize, _: &TeamId) -> Result<(), DeviceError> {
        Ok(())
    }

    fn add_up(&self, at: Address, count: usize) -> Result<(), DeviceError> {
        let Some((rank, meeting)) = &self.meeting else { return Ok(()) };
        let mut own = vec![0.0_f32; count];
        self.host.read(at.0, bytemuck::cast_slice_mut(&mut own));
        let brought = || meeting.brought.lock().unwrap_or_else(PoisonError::into_inner);
        brought()[*rank] = own;
        meeting.all_here.wait();
        let mut sums = vec![0.0_f32; count];
        brought().iter().for_each(|values| add(&mut sums, values));
        self.host.write(at.0, bytemuck::cast_slice(&sums));
        meeting.all_here.wait();
        Ok(())
    }

    fn multiply(&self, product: &Product) -> Result<(), DeviceError> {
        let Product { factor, a, b, keep, out } = *product;
        let ((rows, inner), (inner_of_b, columns)) = (a.size(), b.size());
        assert_eq!(inner, inner_of_b, "matrices that do not fit");
        let (a, b) = (self.values(&a), self.values(&b.transposed()));
        for row in 0..rows {
            let left = &a[row * inner..(row + 1) * inner];
            let sums = (0..columns).map(|column| {
                let right = &b[column * inner..(column + 1) * inner];
                factor * left.iter().zip(right).map(|(x, y)| x * y).sum::<f32>()
            });
            let sums: Vec<f32> = sums.collect();
            let size = if out.is_single { SINGLE } else { HALF };
            let at = out.at.0 + (row * out.stride * size) as u64;
            if out.is_single {
                let mut old = vec![0.0_f32; columns];
                self.host.read(at, bytemuck::cast_slice_mut(&mut old));
                for (old, sum) in old.iter_mut().zip(sums) {
                    *old = if keep == 0.0 { sum } else { keep * *old + sum };
                }
                self.host.write(at, bytemuck::cast_slice(&old));
            } else {
                let mut old = vec![0_u16; columns];
                self.host.read(at, bytemuck::cast_slice_mut(&mut old));
                for (old, sum) in old.iter_mut().zip(sums) {
                    let kept =
                        if keep == 0.0 { 0.0 } else { keep * bf16::from_bits(*old).to_f32() };
                    *old = bf16::from_f32(kept + sum).to_bits();
                }
                self.host.write(at, bytemuck::cast_slice(&old));
            }
        }
        Ok(())
    }
}
