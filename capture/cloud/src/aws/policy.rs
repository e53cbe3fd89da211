//! The least that the role of a router must be permitted, as IAM wants it.

use serde_json::{Value, json};

/// Which NICs a role may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyScope {
    /// Region, `*` for any.
    pub region: String,
    /// Account, `*` for any.
    pub account: String,
    /// Value of the tag `sam-group`, which the NICs of all routers that take addresses from each other must have: a
    /// reassignment changes both sides.
    pub group: String,
}

/// The tag of the NICs that may be changed.
pub const TAG: &str = "sam-group";

/// Writes the policy. Reading cannot be limited to resources, changing is.
#[must_use]
pub fn policy(scope: &PolicyScope) -> Value {
    let PolicyScope {
        region,
        account,
        group,
    } = scope;
    let partition = partition(region);
    let nics = format!("arn:{partition}:ec2:{region}:{account}:network-interface/*");
    let tag = format!("ec2:ResourceTag/{TAG}");
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Observe",
                "Effect": "Allow",
                "Action": [
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeInstances",
                    "ec2:DescribeNetworkInterfaces",
                ],
                "Resource": "*",
            },
            {
                "Sid": "Capture",
                "Effect": "Allow",
                "Action": ["ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"],
                "Resource": nics,
                "Condition": { "StringEquals": { tag.clone(): group } },
            },
            {
                "Sid": "Forwarding",
                "Effect": "Allow",
                "Action": ["ec2:ModifyNetworkInterfaceAttribute"],
                "Resource": nics,
                "Condition": { "StringEquals": { tag: group, "ec2:Attribute": "SourceDestCheck" } },
            },
        ],
    })
}

/// Names of resources begin with that of the partition, which the region tells.
fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("eusc-") => "aws-eusc",
        region if region.starts_with("us-iso-") => "aws-iso",
        region if region.starts_with("us-isob-") => "aws-iso-b",
        _ => "aws",
    }
}

/// Lists the actions of a policy.
#[must_use]
pub fn actions(policy: &Value) -> Vec<&str> {
    let statements = policy["Statement"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let lists = statements
        .iter()
        .filter_map(|statement| statement["Action"].as_array());
    lists.flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_bound_to_region_account_and_tag() {
        let scope = PolicyScope {
            region: "cn-north-1".into(),
            account: "123456789012".into(),
            group: "lab".into(),
        };
        let policy = policy(&scope);
        let statements = policy["Statement"].as_array().expect("statements");
        let changing: Vec<&Value> = statements
            .iter()
            .filter(|statement| statement["Resource"] != "*")
            .collect();
        assert_eq!(changing.len(), 2);
        for statement in changing {
            assert_eq!(
                statement["Resource"],
                "arn:aws-cn:ec2:cn-north-1:123456789012:network-interface/*"
            );
            assert_eq!(
                statement["Condition"]["StringEquals"]["ec2:ResourceTag/sam-group"],
                "lab"
            );
        }
        for action in actions(&json!({"Statement": [statements[0]]})) {
            assert!(action.starts_with("ec2:Describe"), "{action}");
        }
    }
}
