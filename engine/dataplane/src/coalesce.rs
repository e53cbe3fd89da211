//! Stand-in until the real one is merged.
use crate::buffer::BufferPool;
use crate::drop_reason::DropReason;
use crate::packet::Classified;
use crate::unit::Unit;
/// Flows.
pub const RUNS_MAX: usize = 16;
/// Stand-in.
#[derive(Debug)]
pub struct Coalescer<K>(std::marker::PhantomData<K>);
impl<K: Copy + Eq> Coalescer<K> {
    /// Stand-in.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "stand-in")]
    pub fn new() -> Self {
        Self(std::marker::PhantomData)
    }
    /// Stand-in.
    /// # Errors
    /// Pool.
    pub fn push(&mut self, key: K, packet: &[u8], _classified: &Classified, pool: &mut BufferPool, emit: &mut impl FnMut(K, Unit)) -> Result<(), DropReason> {
        let mut buffer = pool.take().ok_or(DropReason::BufferPoolEmpty)?;
        assert!(buffer.append(packet));
        emit(key, Unit::plain(buffer));
        Ok(())
    }
    /// Stand-in.
    pub fn flush(&mut self, _emit: &mut impl FnMut(K, Unit)) {}
}
