//! Where paths came from, each source once: a path in the table names it by a number.

use std::collections::BTreeMap;

use super::path::PathSource;

/// Names a source while at least one path came from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SourceId(u32);

/// All sources of paths that are there.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// A source, and how many paths came from it; places without paths are free.
    list: Vec<(PathSource, usize)>,
    known: BTreeMap<PathSource, SourceId>,
    free: Vec<SourceId>,
    /// Most paths come from where the one before came from.
    latest: Option<(PathSource, SourceId)>,
}

impl Sources {
    /// Counts one more path from a source.
    pub(super) fn acquire(&mut self, source: PathSource) -> SourceId {
        let id = match self.latest {
            Some((latest, id)) if latest == source => id,
            Some(_) | None => self.enter(source),
        };
        self.latest = Some((source, id));
        self.list[id.index()].1 += 1;
        id
    }

    /// Counts one path less.
    pub(super) fn release(&mut self, id: SourceId) {
        let (source, paths) = &mut self.list[id.index()];
        *paths -= 1;
        if *paths == 0 {
            self.known.remove(source);
            self.free.push(id);
            self.latest = None;
        }
    }

    /// Returns the source with this id.
    pub(super) fn get(&self, id: SourceId) -> PathSource {
        self.list[id.index()].0
    }

    fn enter(&mut self, source: PathSource) -> SourceId {
        if let Some(id) = self.known.get(&source) {
            return *id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            let next = u32::try_from(self.list.len()).expect("there are fewer sources than paths");
            self.list.push((source, 0));
            SourceId(next)
        });
        self.list[id.index()] = (source, 0);
        self.known.insert(source, id);
        id
    }
}

impl SourceId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::source;

    #[test]
    fn a_source_has_one_id_while_it_has_paths() {
        let mut sources = Sources::default();
        let first = sources.acquire(source(1));
        let other = sources.acquire(source(2));
        assert_eq!(sources.acquire(source(1)), first);
        assert_eq!(
            (sources.get(first), sources.get(other)),
            (source(1), source(2))
        );

        sources.release(first);
        assert_eq!(sources.acquire(source(1)), first, "one path was left");
        sources.release(first);
        sources.release(first);
        let reused = sources.acquire(source(3));
        assert_eq!((reused, sources.get(reused)), (first, source(3)));
        assert_ne!(sources.acquire(source(1)), first);
    }
}
