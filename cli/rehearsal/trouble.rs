//! What can go wrong in a rehearsal, by name.

use clap::ValueEnum;
use sam_fakecloud::{Effect, Fault, Provider, Site};

/// What goes wrong on order, after the plan; all but `denied` end by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Trouble {
    /// Two changes of each kind happen, but their answers are lost
    AnswerLost,
    /// Two requests of each kind are lost before they have an effect
    RequestLost,
    /// Two changes of each kind end as an error of the server
    ServerError,
    /// Two changes of each kind are refused: asked too often
    Throttled,
    /// No change is permitted
    Denied,
    /// Changes take two seconds
    Slow,
    /// Of several addresses only one changes, twice
    Partial,
    /// What is read is old, ten times
    StaleLooks,
    /// The metadata service fails, three times
    MetadataDown,
    /// Lists come in pages of one entry
    SmallPages,
    /// The interface has room for one more address only
    NicFull,
    /// Azure: two changes of each kind are accepted and fail later
    OperationFails,
    /// Azure: one change of each kind is accepted and never ends
    OperationHangs,
    /// Azure: moveIpConfigurations is not there
    NoAtomicMove,
}

/// Addresses that an interface has room for when it is nearly full, its own among them.
const NEARLY_FULL: usize = 2;

impl Trouble {
    /// Returns its name, as it is typed.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Tells whether a provider has what goes wrong.
    #[must_use]
    pub const fn concerns(self, provider: Provider) -> bool {
        let needs_azure = matches!(
            self,
            Self::OperationFails | Self::OperationHangs | Self::NoAtomicMove
        );
        !needs_azure || matches!(provider, Provider::Azure)
    }

    /// Changes the cloud itself.
    pub(super) fn shape(self, site: &mut Site) {
        match self {
            Self::SmallPages => site.page_size = Some(1),
            Self::NicFull => {
                let kinds = site.instances.iter().map(|instance| instance.kind.clone());
                site.address_limits = kinds.map(|kind| (kind, NEARLY_FULL)).collect();
            }
            Self::NoAtomicMove => site.atomic_move = false,
            Self::AnswerLost
            | Self::RequestLost
            | Self::ServerError
            | Self::Throttled
            | Self::Denied
            | Self::Slow
            | Self::Partial
            | Self::StaleLooks
            | Self::MetadataDown
            | Self::OperationFails
            | Self::OperationHangs => {}
        }
    }

    /// What is to go wrong with the calls of one instance.
    pub(super) fn faults(self, provider: Provider, instance: &str) -> Vec<Fault> {
        let (times, effect) = match self {
            Self::AnswerLost => (Some(2), Effect::LoseAnswer),
            Self::RequestLost => (Some(2), Effect::LoseRequest),
            Self::ServerError => (Some(2), refusal(503, server_error(provider))),
            Self::Throttled => (
                Some(2),
                refusal(throttle_status(provider), throttled(provider)),
            ),
            Self::Denied => (None, Effect::Revoke),
            Self::Slow => (None, slow()),
            Self::Partial => (Some(2), Effect::Partial(1)),
            Self::StaleLooks => (Some(10), Effect::Stale(10)),
            Self::MetadataDown => (Some(3), refusal(500, "InternalError")),
            Self::OperationFails => (Some(2), Effect::FailOperation),
            Self::OperationHangs => (Some(1), Effect::HangOperation),
            Self::SmallPages | Self::NicFull | Self::NoAtomicMove => return Vec::new(),
        };
        let operations: &[&str] = if matches!(self, Self::StaleLooks) {
            &["Describe*", "Get*", "List*"]
        } else if matches!(self, Self::MetadataDown) {
            &["Metadata"]
        } else {
            changes(provider)
        };
        let fault = |operation: &&str| Fault {
            provider: Some(provider),
            operation: (*operation).to_owned(),
            address: None,
            principal: Some(instance.to_owned()),
            percent: None,
            skip: 0,
            times,
            effect: effect.clone(),
        };
        operations.iter().map(fault).collect()
    }
}

const fn changes(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Aws => &["Assign*", "Unassign*", "Modify*"],
        Provider::Azure => &["PutNetworkInterface", "MoveIpConfigurations"],
        Provider::Oci => &["Create*", "Update*", "Delete*", "Bulk*"],
    }
}

fn refusal(status: u16, code: &str) -> Effect {
    Effect::Refuse {
        status,
        code: code.to_owned(),
        retry_after: None,
    }
}

const fn slow() -> Effect {
    Effect::Delay {
        before_ms: 2000,
        after_ms: 0,
    }
}

const fn server_error(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "Unavailable",
        Provider::Azure | Provider::Oci => "ServiceUnavailable",
    }
}

const fn throttled(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "RequestLimitExceeded",
        Provider::Azure | Provider::Oci => "TooManyRequests",
    }
}

const fn throttle_status(provider: Provider) -> u16 {
    match provider {
        Provider::Aws => 503,
        Provider::Azure | Provider::Oci => 429,
    }
}
