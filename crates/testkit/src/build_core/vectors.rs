//! Floating-point and vector registers: the FXSAVE block (NT_FPREGSET), the XSAVE block (NT_X86_XSTATE), and
//! aarch64's `user_fpsimd_state`.
//!
//! ```
//! use afterimage_testkit::build_core::VectorState;
//! let vectors = VectorState::new().xmm(0, 0x1122).ymm_high(0, 0x3344);
//! assert_eq!(vectors.fxsave().len(), 512);
//! assert_eq!(vectors.xsave().len(), 832);
//! ```
//!
//! *Trap*: a YMM register is split: its low half lies in the FXSAVE part, its high half at 576.

use super::pen::Pen;

/// Values of the vector registers of one thread.
#[derive(Clone, Debug, Default)]
pub struct VectorState {
    low: [u128; 16],
    high: [u128; 16],
    arm: [u128; 32],
}

const MXCSR_DEFAULT: u32 = 0x1f80;
const X87_CONTROL_DEFAULT: u16 = 0x37f;

impl VectorState {
    /// All zero, control words as the kernel starts them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value of XMM*n* (the low half of YMM*n*).
    #[must_use]
    pub fn xmm(mut self, number: usize, value: u128) -> Self {
        if let Some(place) = self.low.get_mut(number) {
            *place = value;
        }
        self
    }

    /// The high half of YMM*n*.
    #[must_use]
    pub fn ymm_high(mut self, number: usize, value: u128) -> Self {
        if let Some(place) = self.high.get_mut(number) {
            *place = value;
        }
        self
    }

    /// The value of aarch64's V*n*.
    #[must_use]
    pub fn v(mut self, number: usize, value: u128) -> Self {
        if let Some(place) = self.arm.get_mut(number) {
            *place = value;
        }
        self
    }

    /// The 512 bytes of FXSAVE (Intel SDM volume 1, 10.5.1): x86-64's NT_FPREGSET.
    #[must_use]
    pub fn fxsave(&self) -> Vec<u8> {
        self.fxsave_with_xcr0(0)
    }

    fn fxsave_with_xcr0(&self, xcr0: u64) -> Vec<u8> {
        let mut pen = Pen::little();
        pen.u16(X87_CONTROL_DEFAULT).up_to(24).u32(MXCSR_DEFAULT).u32(0xffff).up_to(160);
        for value in self.low {
            pen.bytes(&value.to_le_bytes());
        }
        // Linux keeps a copy of XCR0 in the part of FXSAVE that is free for software, at 464.
        pen.up_to(464).u64(xcr0).up_to(512);
        pen.into_bytes()
    }

    /// FXSAVE, XSAVE header and the AVX part in the standard (not compacted) form: NT_X86_XSTATE, 832 bytes.
    #[must_use]
    pub fn xsave(&self) -> Vec<u8> {
        const X87_SSE_AVX: u64 = 7;
        let mut pen = Pen::little();
        pen.bytes(&self.fxsave_with_xcr0(X87_SSE_AVX)).u64(X87_SSE_AVX).up_to(576);
        for value in self.high {
            pen.bytes(&value.to_le_bytes());
        }
        pen.into_bytes()
    }

    /// aarch64's NT_FPREGSET: V0 to V31, FPSR, FPCR; 528 bytes.
    #[must_use]
    pub fn fpsimd(&self) -> Vec<u8> {
        let mut pen = Pen::little();
        for value in self.arm {
            pen.bytes(&value.to_le_bytes());
        }
        pen.up_to(528);
        pen.into_bytes()
    }
}
