//! `samctl iam-policy`: documents that the providers' tools take, and names that they do not.

use samctl::exit::Exit;
use serde_json::Value;

use crate::run::run;

fn printed(args: &[&str]) -> Value {
    let printed = run(args);
    assert_eq!(printed.exit, Exit::Ok, "{}", printed.stderr);
    serde_json::from_str(&printed.stdout).expect("JSON")
}

#[test]
fn a_policy_for_aws_is_bound_to_what_was_said() {
    let policy = printed(&["iam-policy", "aws", "--group", "lab"]);
    assert_eq!(policy["Version"], "2012-10-17");
    let capture = &policy["Statement"][1];
    assert_eq!(capture["Resource"], "arn:aws:ec2:*:*:network-interface/*");
    let tags = &capture["Condition"]["StringEquals"];
    assert_eq!(tags["ec2:ResourceTag/sam-group"], "lab");
    let args = [
        "--group",
        "lab",
        "--region",
        "eu-central-1",
        "--account",
        "123456789012",
    ];
    let policy = printed(&[&["iam-policy", "aws"], &args[..]].concat());
    assert_eq!(
        policy["Statement"][1]["Resource"],
        "arn:aws:ec2:eu-central-1:123456789012:network-interface/*"
    );
}

#[test]
fn a_role_for_azure_can_be_assigned_in_its_group() {
    let args = [
        "iam-policy",
        "azure",
        "--subscription",
        "s-1",
        "--resource-group",
        "rg-lab",
    ];
    let role = printed(&args);
    assert_eq!(
        role["AssignableScopes"][0],
        "/subscriptions/s-1/resourceGroups/rg-lab"
    );
    let joins = |role: &Value| role.to_string().contains("publicIPAddresses/join/action");
    assert!(!joins(&role));
    assert!(joins(&printed(
        &[&args[..], &["--public-addresses"]].concat()
    )));
    let yaml = run(&[&args[..], &["-o", "yaml"]].concat());
    assert!(yaml.stdout.contains("IsCustom: true"), "{}", yaml.stdout);
}

#[test]
fn statements_for_oci_are_of_a_group_and_a_compartment() {
    let args = [
        "iam-policy",
        "oci",
        "--dynamic-group",
        "routers",
        "--compartment",
    ];
    let statements = printed(&[&args[..], &["lab"]].concat());
    let list = statements.as_array().expect("a list");
    assert_eq!(list.len(), 5);
    for statement in list {
        let text = statement.as_str().expect("text");
        assert!(
            text.starts_with("Allow dynamic-group routers to use "),
            "{text}"
        );
        assert!(text.contains(" in compartment lab where any {"), "{text}");
    }
    for (place, written) in [
        (
            "ocid1.compartment.oc1..lab",
            "in compartment id ocid1.compartment.oc1..lab ",
        ),
        ("ocid1.tenancy.oc1..lab", "in tenancy where"),
    ] {
        let statements = printed(&[&args[..], &[place]].concat());
        assert!(statements.to_string().contains(written), "{statements}");
    }
}

#[test]
fn names_that_no_provider_has_are_refused() {
    for args in [
        &["aws"][..],
        &["aws", "--group", "*"],
        &["aws", "--group", "lab", "--region", "eu\"central"],
        &[
            "azure",
            "--subscription",
            "s/../x",
            "--resource-group",
            "rg",
        ],
        &["azure", "--subscription", "s", "--resource-group", ""],
        &["oci", "--dynamic-group", "a b", "--compartment", "lab"],
        &["oci", "--dynamic-group", "a"],
    ] {
        let printed = run(&[&["iam-policy"], args].concat());
        assert_eq!(printed.exit, Exit::Usage, "{args:?}: {}", printed.stdout);
    }
}
