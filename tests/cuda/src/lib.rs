//! Runs the trainer's CUDA kernels on the processor, so that what they compute is tested where no
//! GPU is. The kernels are the very ones that a GPU is given; `host.h` says what CUDA's words mean
//! here.

#![allow(unsafe_code)] // Kernels take addresses.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int, c_uint, c_void};

unsafe extern "C" {
    fn retort_host_launch(
        name: *const c_char,
        grid_x: c_uint,
        grid_y: c_uint,
        threads: c_uint,
        arguments: *mut *mut c_void,
    ) -> c_int;
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// A pointer or an unsigned 64-bit number.
    U64(u64),
    /// An unsigned 32-bit number.
    U32(u32),
    /// A float.
    F32(f32),
}

/// Words before and after each piece of memory, which no kernel may touch.
const GUARD: usize = 8;
const UNTOUCHED: u64 = 0xfeed_c0de_feed_c0de;

/// The memory of a device that is none.
#[derive(Default)]
pub struct Host {
    pieces: RefCell<BTreeMap<u64, (usize, *mut [u64])>>,
}

impl Host {
    /// Memory that holds zeros.
    pub fn allocate(&self, bytes: usize) -> u64 {
        let words = bytes.div_ceil(8);
        let mut memory = vec![UNTOUCHED; words + 2 * GUARD].into_boxed_slice();
        memory[GUARD..GUARD + words].fill(0);
        let memory = Box::into_raw(memory);
        // SAFETY: the piece is longer than its guard.
        let at = unsafe { memory.cast::<u64>().add(GUARD) } as u64;
        self.pieces.borrow_mut().insert(at, (bytes, memory));
        at
    }

    /// Gives memory back.
    ///
    /// # Panics
    /// When it was not allocated, or something was written beside it.
    pub fn release(&self, at: u64) {
        let piece = self.pieces.borrow_mut().remove(&at);
        assert!(piece.is_some(), "{at:#x} was not allocated");
        let Some((bytes, memory)) = piece else { return };
        // SAFETY: `allocate` made it from a box, and it is removed once.
        let memory = unsafe { Box::from_raw(memory) };
        let words = bytes.div_ceil(8);
        let (before, after) = (&memory[..GUARD], &memory[GUARD + words..]);
        let is_whole = before.iter().chain(after).all(|word| *word == UNTOUCHED);
        assert!(is_whole, "something was written beside a piece of {bytes} bytes");
    }

    /// A place within one piece.
    fn place(&self, at: u64, bytes: usize) -> *mut u8 {
        let pieces = self.pieces.borrow();
        let piece = pieces.range(..=at).next_back();
        let fits =
            piece.is_some_and(|(first, (size, _))| at - first + bytes as u64 <= *size as u64);
        assert!(fits || bytes == 0, "{bytes} bytes at {at:#x} lie in no piece of memory");
        at as *mut u8
    }

    /// Copies into it.
    ///
    /// # Panics
    /// When the bytes lie outside.
    pub fn write(&self, to: u64, bytes: &[u8]) {
        let to = self.place(to, bytes.len());
        // SAFETY: `place` checked it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// Copies out of it.
    ///
    /// # Panics
    /// When the bytes lie outside.
    pub fn read(&self, from: u64, bytes: &mut [u8]) {
        let from = self.place(from, bytes.len());
        // SAFETY: `place` checked it.
        unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Runs a kernel.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn launch(&self, name: &str, [x, y]: [u32; 2], threads: u32, arguments: &[Value]) {
        let mut arguments = arguments.to_vec();
        let mut pointers: Vec<*mut c_void> = arguments
            .iter_mut()
            .map(|argument| match argument {
                Value::U64(value) => std::ptr::from_mut(value).cast(),
                Value::U32(value) => std::ptr::from_mut(value).cast(),
                Value::F32(value) => std::ptr::from_mut(value).cast(),
            })
            .collect();
        let text = CString::new(name).unwrap_or_default();
        // SAFETY: the kernel reads one value for each of its parameters; that there are as many
        // is what the caller tests.
        let done =
            unsafe { retort_host_launch(text.as_ptr(), x, y, threads, pointers.as_mut_ptr()) };
        assert_eq!(done, 0, "there is no kernel {name}");
    }
}
