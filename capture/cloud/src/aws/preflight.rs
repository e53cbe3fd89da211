//! What the role may do, without doing it.
//!
//! EC2 lets a change of the source/dest check be tried (DryRun), but not the assignment of addresses. So those are asked
//! for with an address that can never be assigned, the subnet's network address: authorization comes before validation,
//! so a complaint about the address is a permission.

use sam_capture::provider::{ErrorClass, Permission, ProviderError};

use super::ec2::{Ec2, Form};
use super::error::DRY_RUN;
use super::identity::Identity;
use super::metadata::InstanceMetadata;
use crate::purpose::Purpose;

pub(super) fn preflight(
    ec2: &mut Ec2,
    metadata: &mut InstanceMetadata,
    identity: &Identity,
) -> Vec<Permission> {
    let impossible = identity.prefix.network();
    let own = |action| Form::new(action).with("NetworkInterfaceId", &identity.nic);
    let forms = [
        Form::new("DescribeNetworkInterfaces").with("NetworkInterfaceId.1", &identity.nic),
        Form::new("DescribeInstances").with_filter(1, "instance-id", [&identity.instance]),
        Form::new("DescribeInstanceTypes").with("InstanceType.1", &identity.instance_type),
        own("AssignPrivateIpAddresses")
            .with("PrivateIpAddress.1", impossible)
            .with("AllowReassignment", false),
        own("UnassignPrivateIpAddresses").with("PrivateIpAddress.1", impossible),
        own("ModifyNetworkInterfaceAttribute")
            .with("SourceDestCheck.Value", false)
            .with("DryRun", true),
    ];
    let permissions = forms.map(|form| {
        let answered = ec2.call(metadata, &identity.region, &form, Purpose::Look);
        judge(form.action(), answered.map(drop))
    });
    permissions.into()
}

/// Refusals that come after authorization: it was only tried, or it got as far as the address.
const PERMITTED: [&str; 2] = [DRY_RUN, "InvalidParameterValue"];

/// Tells from an answer whether the action is permitted.
fn judge(action: &str, answered: Result<(), ProviderError>) -> Permission {
    let (granted, detail) = match answered {
        Ok(()) => (Some(true), "permitted".to_owned()),
        Err(failed) if PERMITTED.contains(&failed.code.as_str()) => {
            (Some(true), "permitted".to_owned())
        }
        Err(failed) if failed.class == ErrorClass::Denied => (Some(false), failed.to_string()),
        Err(failed) => (None, failed.to_string()),
    };
    Permission {
        action: format!("ec2:{action}"),
        granted,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::error;

    #[test]
    fn a_complaint_about_the_address_is_a_permission() {
        let judged = |class, code| judge("AssignPrivateIpAddresses", Err(error(class, code, "x")));
        let granted = |class, code| judged(class, code).granted;
        let invalid = "InvalidParameterValue";
        assert_eq!(granted(ErrorClass::Permanent, invalid), Some(true));
        assert_eq!(granted(ErrorClass::AlreadyGone, invalid), Some(true));
        assert_eq!(granted(ErrorClass::Permanent, "InvalidAction"), None);
        assert_eq!(granted(ErrorClass::Permanent, DRY_RUN), Some(true));
        let denied = judged(ErrorClass::Denied, "UnauthorizedOperation");
        assert_eq!(denied.granted, Some(false));
        assert!(denied.detail.contains("UnauthorizedOperation"));
        assert_eq!(granted(ErrorClass::Unavailable, "AnswerLost"), None);
    }
}
