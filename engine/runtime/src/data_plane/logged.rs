//! What is logged while something runs, for tests.

use std::fmt::{self, Write as _};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// Runs `work`, and returns the lines that this thread logs meanwhile at INFO and above, each after its level.
pub(super) fn logged(work: impl FnOnce()) -> Vec<String> {
    LazyLock::force(&KEPT);
    let lines = Arc::new(Mutex::default());
    tracing::subscriber::with_default(Lines(Arc::clone(&lines)), work);
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *lines)
}

/// While there is only one subscriber, a line that another thread comes to first, which has none, is off for all. With these
/// there are always several, and then each is asked.
static KEPT: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(Lines(Arc::default()))));

struct Lines(Arc<Mutex<Vec<String>>>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Message(&mut line));
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Adds the words of an event to its line.
struct Message<'a>(&'a mut String);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            write!(self.0, " {value:?}").expect("a string takes it");
        }
    }
}

#[test]
fn a_line_that_another_thread_comes_to_first_is_logged_all_the_same() {
    let say = || tracing::info!("something");

    let log = logged(|| {
        std::thread::spawn(say).join().expect("nothing panics");
        say();
    });

    assert_eq!(log, ["INFO something"]);
}
