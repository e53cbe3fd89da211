//! Who may do what: a role is a list of permissions, as far as the tags of a NIC allow.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::nic::Nic;

/// What the holders of a role may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Permissions in the provider's words, `*` for any text: `ec2:Describe*`,
    /// `Microsoft.Network/networkInterfaces/write`, `PRIVATE_IP_UPDATE`.
    pub allow: Vec<String>,
    /// Only NICs with all these tags may be changed.
    #[serde(default)]
    pub nic_tags: BTreeMap<String, String>,
}

impl Policy {
    /// Tells whether a permission is granted, for a change also on this NIC.
    pub(crate) fn permits(&self, permission: &str, nic: Option<&Nic>) -> bool {
        let tagged = nic.is_none_or(|nic| {
            let mut wanted = self.nic_tags.iter();
            wanted.all(|(key, value)| nic.tags.get(key) == Some(value))
        });
        tagged && self.allow.iter().any(|known| matches(known, permission))
    }
}

/// Matches like [`matches_exactly`], but case does not count.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    matches_exactly(&pattern.to_lowercase(), &text.to_lowercase())
}

/// Matches text against a pattern in which `*` stands for any text and `?` for any character.
pub(crate) fn matches_exactly(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut from) = (0, 0);
    // Where to go on when what follows the latest star does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, from));
                at += 1;
            }
            Some(known) if *known == '?' || *known == text[from] => {
                at += 1;
                from += 1;
            }
            Some(_) | None => match retry {
                Some((star, start)) => {
                    retry = Some((star, start + 1));
                    at = star + 1;
                    from = start + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_providers_have_them() {
        for (pattern, text, fits) in [
            ("ec2:Describe*", "ec2:DescribeInstances", true),
            ("ec2:Describe*", "ec2:AssignPrivateIpAddresses", false),
            ("*", "", true),
            ("*/write", "Microsoft.Network/networkInterfaces/write", true),
            ("*/write", "Microsoft.Network/networkInterfaces/read", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("10.0.0.?", "10.0.0.1", true),
            ("10.0.0.?", "10.0.0.10", false),
            ("PRIVATE_IP_READ", "private_ip_read", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
