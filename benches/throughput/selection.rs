//! What a run is asked to do: lists and numbers of the environment, and what they leave out, each with its reason.

use anyhow::{Context as _, Result, ensure};

use super::results::Named;

/// What a variable of the environment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    variable: &'static str,
    /// None is everything.
    names: Option<Vec<String>>,
}

impl Wanted {
    /// Reads a list of names, separated by commas.
    ///
    /// # Errors
    /// When it has a name that nothing has: such a run would say nothing of what was meant.
    pub(crate) fn parse(
        variable: &'static str,
        list: Option<&str>,
        known: &[&str],
    ) -> Result<Self> {
        let names = list.map(|list| {
            let names = list.split(',').map(str::trim);
            names.map(str::to_owned).collect::<Vec<_>>()
        });
        for name in names.iter().flatten() {
            ensure!(
                known.contains(&name.as_str()),
                "{variable}: there is no '{name}', but: {}",
                known.join(", ")
            );
        }
        Ok(Self { variable, names })
    }

    /// Why something does not run; nothing when it is asked for.
    pub(crate) fn refusal(&self, name: &str) -> Option<String> {
        let names = self.names.as_ref()?;
        let asked = names.iter().any(|wanted| wanted == name);
        (!asked).then(|| format!("left out by {}", self.variable))
    }

    /// Picks what is asked for and possible; the rest is added to what was skipped.
    pub(crate) fn choose<'a, T>(
        &self,
        all: &'a [T],
        name: impl Fn(&T) -> &str,
        missing: impl Fn(&T) -> Option<String>,
        skipped: &mut Vec<Named>,
    ) -> Vec<&'a T> {
        let mut chosen = Vec::new();
        for item in all {
            match self.refusal(name(item)).or_else(|| missing(item)) {
                None => chosen.push(item),
                Some(text) => skipped.push(Named {
                    name: name(item).to_owned(),
                    text,
                }),
            }
        }
        chosen
    }
}

/// The file that follows an option, if it is there.
///
/// # Errors
/// When nothing follows it, or another option.
pub(crate) fn file<'a>(arguments: &'a [String], option: &str) -> Result<Option<&'a str>> {
    let Some(at) = arguments.iter().position(|argument| argument == option) else {
        return Ok(None);
    };
    let file = arguments.get(at + 1).map(String::as_str);
    let file = file.filter(|file| !file.starts_with("--"));
    file.with_context(|| format!("{option} needs a file"))
        .map(Some)
}

/// Reads a number from 1 on.
///
/// # Errors
/// When it is none.
pub(crate) fn number(variable: &str, text: Option<&str>, default: u32) -> Result<u32> {
    let Some(text) = text else {
        return Ok(default);
    };
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    number.with_context(|| format!("{variable}: '{text}' is no number from 1 on"))
}
