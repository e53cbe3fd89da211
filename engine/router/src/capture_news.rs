//! What the reconciler tells, as events of the router.

use sam_capture::executor::News;

use crate::events::Event;

impl From<News> for Event {
    fn from(news: News) -> Self {
        match news {
            News::Captured(address) => Self::Captured { address },
            News::Released(address) => Self::Released { address },
            News::Lost(address, hold) => Self::CaptureLost {
                address,
                hold: hold.map(|hold| hold.as_secs()),
            },
            News::Fenced {
                operation,
                addresses,
                why,
            } => Self::CaptureFenced {
                operation: operation.into(),
                addresses: addresses.into_iter().collect(),
                reason: why,
            },
            News::Refused {
                operation,
                addresses,
                class,
                detail,
            } => Self::CaptureRefused {
                operation: operation.into(),
                addresses: addresses.into_iter().collect(),
                class: class.into(),
                reason: detail,
            },
            News::NoRoom(addresses) => Self::CaptureNoRoom { addresses },
        }
    }
}
