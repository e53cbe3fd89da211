//! Classic BPF programs, instruction by instruction. What a program's result means is its user's to say: bytes to keep,
//! or the number of a socket.

/// Where a jump leads: one of the two instructions that a program ends with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What jumps nowhere falls into this one.
    First,
    /// The last instruction.
    Second,
}

/// An operation code with its operand.
pub(crate) type Instruction = (u32, u32);

/// Ends a filter: the packet is dropped.
pub(crate) const DROP: Instruction = (libc::BPF_RET | libc::BPF_K, 0);
/// Ends a filter: the packet is kept whole.
pub(crate) const KEEP: Instruction = (libc::BPF_RET | libc::BPF_K, u32::MAX);

pub(crate) const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
pub(crate) const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
pub(crate) const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;

/// Collects instructions; jumps are resolved by [`Assembler::finish`].
#[derive(Default)]
pub(crate) struct Assembler {
    code: Vec<libc::sock_filter>,
    /// Index of a jump, whether it is taken on equality, and where to.
    jumps: Vec<(usize, bool, End)>,
}

impl Assembler {
    pub(crate) fn load(&mut self, code: u32, at: u32) {
        self.push((code, at));
    }

    /// Calculates with a constant: `operation` is such as `BPF_AND`.
    pub(crate) fn calculate(&mut self, operation: u32, operand: u32) {
        self.push((libc::BPF_ALU | libc::BPF_K | operation, operand));
    }

    /// Calculates with what was saved.
    pub(crate) fn calculate_with_saved(&mut self, operation: u32) {
        self.push((libc::BPF_ALU | libc::BPF_X | operation, 0));
    }

    pub(crate) fn save(&mut self) {
        self.push((libc::BPF_MISC | libc::BPF_TAX, 0));
    }

    pub(crate) fn restore(&mut self) {
        self.push((libc::BPF_MISC | libc::BPF_TXA, 0));
    }

    pub(crate) fn jump_if_equal(&mut self, value: u32, end: End) {
        self.jump(value, true, end);
    }

    pub(crate) fn jump_unless_equal(&mut self, value: u32, end: End) {
        self.jump(value, false, end);
    }

    fn jump(&mut self, value: u32, on_equal: bool, end: End) {
        self.jumps.push((self.code.len(), on_equal, end));
        self.push((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value));
    }

    fn push(&mut self, instruction: Instruction) {
        self.code.push(assembled(instruction));
    }

    /// Appends the two ends. No distance reaches 256: the longest program, a LAN port's filter, has three lists of at
    /// most 16 entries and three instructions each.
    #[expect(clippy::cast_possible_truncation, reason = "programs are short")]
    pub(crate) fn finish(mut self, ends: [Instruction; 2]) -> Vec<libc::sock_filter> {
        let first = self.code.len();
        ends.into_iter().for_each(|end| self.push(end));
        for (at, on_equal, end) in self.jumps {
            let to = match end {
                End::First => first,
                End::Second => first + 1,
            };
            let distance = (to - at - 1) as u8;
            let jump = &mut self.code[at];
            if on_equal {
                jump.jt = distance;
            } else {
                jump.jf = distance;
            }
        }
        self.code
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "operation codes have 8 bits"
)]
pub(crate) const fn assembled((code, k): Instruction) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}
