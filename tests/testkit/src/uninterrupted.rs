//! Calls that a stopped machine interrupts.

use std::io;

/// Calls again while a signal interrupts it.
///
/// A socket with a timeout answers "interrupted" also when its process, or the whole machine, was stopped and goes on
/// (signal(7)), and only the `read_exact` and `read_to_end` of the standard library ask again by themselves.
///
/// # Errors
/// Those of `call`, except for `Interrupted`.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_is_not_an_end() {
        let mut answers = vec![
            Err(io::ErrorKind::WouldBlock),
            Ok(7),
            Err(io::ErrorKind::Interrupted),
            Err(io::ErrorKind::Interrupted),
        ];
        let mut ask = || {
            answers
                .pop()
                .expect("asked no more often")
                .map_err(Into::into)
        };
        assert_eq!(uninterrupted(&mut ask).expect("the third answer"), 7);
        let error = uninterrupted(&mut ask).expect_err("the last answer");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
