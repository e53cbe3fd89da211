//! Numbers for what routes lead to, each kept once however many routes lead there.

use std::collections::BTreeMap;

use super::NextHop;
use super::trie::{NOTHING, Number};

/// All groups that a route leads to.
#[derive(Debug, Clone)]
pub(super) struct Groups<G> {
    /// By number; the first has number 1.
    groups: Vec<Option<Group<G>>>,
    numbers: BTreeMap<G, Number>,
    free: Vec<Number>,
}

#[derive(Debug, Clone)]
struct Group<G> {
    group: G,
    routes: usize,
}

impl<G> Default for Groups<G> {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            numbers: BTreeMap::new(),
            free: Vec::new(),
        }
    }
}

impl<G: Ord + Clone> Groups<G> {
    /// Returns the number of a group to which one more route leads.
    pub(super) fn acquire(&mut self, group: G) -> Number {
        if let Some(number) = self.numbers.get(&group) {
            let number = *number;
            if let Some(known) = self.place(number) {
                known.routes += 1;
            }
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.groups.push(None);
            Number::try_from(self.groups.len()).expect("no more groups than IPv4 has addresses")
        });
        self.numbers.insert(group.clone(), number);
        if let Some(place) = self.groups.get_mut(index(number)) {
            *place = Some(Group { group, routes: 1 });
        }
        number
    }

    /// One route less leads to a group; with the last one it is forgotten.
    pub(super) fn release(&mut self, number: Number) {
        let Some(known) = self.place(number) else {
            return;
        };
        known.routes -= 1;
        if known.routes == 0
            && let Some(gone) = self.groups[index(number)].take()
        {
            self.numbers.remove(&gone.group);
            self.free.push(number);
        }
    }

    /// Returns the group of a number.
    pub(super) fn get(&self, number: Number) -> Option<&G> {
        let group = self.groups.get(index(number))?.as_ref()?;
        Some(&group.group)
    }

    /// Lists all groups.
    pub(super) fn iter(&self) -> impl Iterator<Item = &G> {
        let groups = self.groups.iter().flatten();
        groups.map(|place| &place.group)
    }

    /// Says where each number leads.
    pub(super) fn ways(&self, way: impl Fn(&G) -> Option<NextHop>) -> Vec<Option<NextHop>> {
        let groups = self.groups.iter();
        let ways = groups.map(|place| way(&place.as_ref()?.group));
        std::iter::once(None).chain(ways).collect()
    }

    fn place(&mut self, number: Number) -> Option<&mut Group<G>> {
        self.groups.get_mut(index(number))?.as_mut()
    }
}

/// The place of a number; [`NOTHING`] has none.
fn index(number: Number) -> usize {
    (number as usize).wrapping_sub(NOTHING as usize + 1)
}
