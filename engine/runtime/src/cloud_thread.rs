//! The thread that calls the provider of the cloud, and the journal of captures. Calls may take long; nothing else waits.
//!
//! ```text
//!  control ── Authority ──► shared cell ◄── asked before each request ── thread ──► provider
//!     │ └──── Record ─────► journal (before the order leaves)              ▲  │
//!     └────── Order ──────► mailbox ───────────────────────────────────────┘  └──► answer to control
//! ```
//! Control gives one order at a time, and decides anew after each answer.

use std::cell::Cell;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use sam_capture::executor::Order;
use sam_capture::provider::{Capabilities, ErrorClass, Fence, Operation, Outcome, ProviderError};
use sam_capture::{Authority, Prior, Provider, Record, Stale, Ticket};
use sam_net::{Epoll, Interest};
use sam_router::{CloudInput, Config};
use tokio::sync::mpsc;
use tracing::warn;

use crate::StartError;
use crate::capture_journal::CaptureJournal;
use crate::mailbox::Mailbox;

/// Answers that may wait; there is one order at a time.
const ANSWERS: usize = 4;
/// Name of what the thread waits for.
const MAILBOX: u64 = 0;

/// Makes the client for the cloud of a configuration; the error is for people.
pub type Providers = Box<dyn FnOnce(&Config) -> Result<Box<dyn Provider>, String>>;

/// Answers of the provider; closed when the thread is gone.
pub(crate) type Answers = mpsc::Receiver<CloudInput>;

/// What the thread has not read yet.
#[derive(Debug, Default)]
struct Letters {
    order: Option<Order>,
    /// The order rests on a mark that could not be written.
    unmarked: bool,
    stop: bool,
}

/// The control side of the provider.
#[derive(Debug)]
pub(crate) struct Cloud {
    mailbox: Arc<Mailbox<Letters>>,
    authority: Arc<Mutex<Authority>>,
    journal: Option<CaptureJournal>,
    /// Whether the last line could not be written; when it could, all before it were.
    failed: bool,
    /// Whether the provider's entries tell whose they are.
    marks: bool,
}

impl Cloud {
    /// Opens the journal, makes the provider and starts its thread, where the configuration captures in a cloud. A router
    /// without provider forwards nevertheless; why there is none is the first thing that comes from the other end.
    ///
    /// # Errors
    /// When the kernel gives no eventfd, epoll or thread, or the journal cannot be opened.
    pub(crate) fn start(
        config: &Config,
        providers: Providers,
    ) -> Result<Option<(Self, Answers)>, StartError> {
        let Some(cloud) = config.cloud() else {
            return Ok(None);
        };
        let (journal, prior) = match &cloud.journal_file {
            Some(path) => {
                let journal = CaptureJournal::open(path);
                let (journal, prior) = journal.with_context(|| {
                    format!(
                        "cannot open the journal of captures {}; correct self.capture.journalFile",
                        path.display()
                    )
                })?;
                (Some(journal), prior)
            }
            None => (None, Prior::default()),
        };
        let provider = providers(config);
        Self::spawn(provider, journal, prior).map(Some)
    }

    fn spawn(
        provider: Result<Box<dyn Provider>, String>,
        journal: Option<CaptureJournal>,
        prior: Prior,
    ) -> Result<(Self, Answers), StartError> {
        let mailbox = Arc::new(Mailbox::new().context("cannot make an eventfd")?);
        let authority = Arc::new(Mutex::new(Authority::default()));
        let (sender, answers) = mpsc::channel(ANSWERS);
        let mut marks = false;
        match provider {
            Ok(provider) => {
                let capabilities: Capabilities = provider.capabilities();
                marks = capabilities.marks;
                let ready = CloudInput::Ready {
                    capabilities,
                    prior,
                };
                // It is the first one, so there is room.
                sender.try_send(ready).ok();
                let epoll = Epoll::new(1).context("cannot wait for orders to the provider")?;
                epoll
                    .add(mailbox.as_fd(), MAILBOX, Interest::Read)
                    .context("cannot wait for orders to the provider")?;
                let thread = Thread {
                    provider,
                    capabilities,
                    answered: None,
                    mailbox: Arc::clone(&mailbox),
                    authority: Arc::clone(&authority),
                    answers: sender,
                };
                // It may be in a call when the router stops: nobody waits for it, and it is permitted nothing then.
                std::thread::Builder::new()
                    .name("provider".to_owned())
                    .spawn(move || thread.run(epoll))
                    .context("cannot start the thread of the provider")?;
            }
            Err(reason) => {
                warn!(%reason, "nothing is captured");
                sender.try_send(CloudInput::Unavailable { reason }).ok();
            }
        }
        let cloud = Self {
            mailbox,
            authority,
            journal,
            failed: false,
            marks,
        };
        Ok((cloud, answers))
    }

    /// From now on this may be done, and nothing else.
    pub(crate) fn set_authority(&self, authority: Authority) {
        *self
            .authority
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = authority;
    }

    /// Writes into the journal; returns whether that works, if it is news.
    pub(crate) fn record(&mut self, record: &Record) -> Option<CloudInput> {
        let result = self.journal.as_mut()?.append(record);
        if let Err(error) = &result
            && !self.failed
        {
            warn!(%error, "cannot write the journal of captures: nothing is released, nor captured without it");
        }
        let failed = result.is_err();
        let news = std::mem::replace(&mut self.failed, failed) != failed;
        news.then_some(CloudInput::Journal { failed })
    }

    /// Calls the provider; but a capture that neither it nor the journal would know as ours is answered as not sent.
    pub(crate) fn order(&self, order: Order) {
        let captures = matches!(
            order.operation,
            Operation::Assign { .. } | Operation::Seize { .. }
        );
        let unmarked = captures && self.failed && !self.marks;
        self.mailbox.post(|letters| {
            (letters.order, letters.unmarked) = (Some(order), unmarked);
        });
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.set_authority(Authority::default());
        self.mailbox.post(|letters| letters.stop = true);
    }
}

/// The thread, ready to run.
struct Thread {
    provider: Box<dyn Provider>,
    /// What it can do, as told last.
    capabilities: Capabilities,
    /// When that answer came whose tale was told last.
    answered: Option<Instant>,
    mailbox: Arc<Mailbox<Letters>>,
    authority: Arc<Mutex<Authority>>,
    answers: mpsc::Sender<CloudInput>,
}

impl Thread {
    fn run(mut self, mut epoll: Epoll) {
        loop {
            if let Err(error) = epoll.wait(None).map(drop) {
                warn!(%error, "cannot wait for orders to the provider, nothing more is captured");
                return;
            }
            let letters = self.mailbox.take();
            if letters.stop {
                return;
            }
            let Some(order) = letters.order else {
                continue;
            };
            let answer = CloudInput::Answer {
                order: order.id,
                answer: if letters.unmarked {
                    Err(unmarked())
                } else {
                    self.perform(&order)
                },
            };
            // What follows from the answer follows from what is possible, so that comes first.
            if !self.tell_news() || self.answers.blocking_send(answer).is_err() {
                return;
            }
        }
    }

    /// Tells what the provider can do, and what its answers told, if that is news; returns whether anybody listens.
    fn tell_news(&mut self) -> bool {
        let mut news = Vec::new();
        let capabilities = self.provider.capabilities();
        if capabilities != self.capabilities {
            self.capabilities = capabilities;
            news.push(CloudInput::Capabilities(capabilities));
        }
        let standing = self.provider.standing();
        if standing.answered != self.answered {
            self.answered = standing.answered;
            news.push(CloudInput::Standing(standing));
        }
        let mut news = news.into_iter();
        news.all(|news| self.answers.blocking_send(news).is_ok())
    }

    fn perform(&mut self, order: &Order) -> Result<Outcome, ProviderError> {
        let fence = Guard {
            authority: &self.authority,
            ticket: order.ticket.as_ref(),
            stale: Cell::new(None),
        };
        if !fence.is_current() {
            return Err(fence.error("not sent"));
        }
        let answer = self.provider.perform(&order.operation, &fence);
        match answer {
            Err(error) if error.class == ErrorClass::Fenced => Err(fence.error(&error.message)),
            answer => answer,
        }
    }
}

/// The provider heard nothing, so nothing is there that would have to be known as ours.
fn unmarked() -> ProviderError {
    ProviderError {
        class: ErrorClass::Unavailable,
        code: "JournalFailed".to_owned(),
        message: "not sent: the journal of captures cannot be written".to_owned(),
        request_id: None,
        unclassified: false,
    }
}

/// Asks the shared authority about one order.
struct Guard<'a> {
    authority: &'a Mutex<Authority>,
    /// Looks need no permission.
    ticket: Option<&'a Ticket>,
    /// What it answered last.
    stale: Cell<Option<Stale>>,
}

impl Fence for Guard<'_> {
    fn is_current(&self) -> bool {
        let Some(ticket) = self.ticket else {
            return true;
        };
        let authority = self.authority.lock();
        let authority = authority.unwrap_or_else(PoisonError::into_inner);
        let verdict = authority.check(ticket, Instant::now());
        self.stale.set(verdict.err());
        verdict.is_ok()
    }
}

impl Guard<'_> {
    /// The reason that ended, for people.
    fn error(&self, otherwise: &str) -> ProviderError {
        let stale = self.stale.get();
        ProviderError {
            class: ErrorClass::Fenced,
            code: ErrorClass::Fenced.name().to_owned(),
            message: stale.map_or_else(|| otherwise.to_owned(), |stale| stale.to_string()),
            request_id: None,
            unclassified: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use sam_capture::provider::Standing;
    use sam_capture::{NodeId, PathSignature, Want};

    use super::*;

    #[test]
    fn an_order_is_carried_out_and_answered() {
        let (cloud, mut answers) = start();
        cloud.set_authority(authority(1));

        cloud.order(order(1, 1));

        let answer = next(&mut answers);
        assert!(
            matches!(
                answer,
                CloudInput::Answer {
                    order: 1,
                    answer: Ok(_)
                }
            ),
            "{answer:?}"
        );
    }

    #[test]
    fn what_a_look_finds_possible_is_told_before_its_answer_and_once() {
        let (cloud, mut answers) = start_with(Fake {
            moves: false,
            ..Fake::new(true)
        });
        let look = |id| Order {
            id,
            operation: Operation::Preflight,
            ticket: None,
        };

        cloud.order(look(1));

        let news = next(&mut answers);
        let CloudInput::Capabilities(found) = news else {
            panic!("{news:?}");
        };
        assert!(found.moves);
        for id in [1, 2] {
            let answer = next(&mut answers);
            let is_answer = matches!(answer, CloudInput::Answer { order, .. } if order == id);
            assert!(is_answer, "{answer:?}");
            cloud.order(look(id + 1));
        }
    }

    #[test]
    fn how_we_stand_with_the_provider_is_told_when_it_has_answered() {
        let (cloud, mut answers) = start();
        cloud.set_authority(authority(1));
        let look = |id| Order {
            id,
            operation: Operation::Observe,
            ticket: None,
        };
        for id in [1, 2] {
            // Its credentials last less long each time; only looks are answered.
            cloud.order(order(id, 1));
            let answer = next(&mut answers);
            assert!(matches!(answer, CloudInput::Answer { .. }), "{answer:?}");
            cloud.order(look(id));
            let news = next(&mut answers);
            assert!(matches!(news, CloudInput::Standing(_)), "{news:?}");
            let answer = next(&mut answers);
            assert!(matches!(answer, CloudInput::Answer { .. }), "{answer:?}");
        }
    }

    #[test]
    fn an_order_whose_reason_has_ended_is_not_sent() {
        let (cloud, mut answers) = start();
        cloud.set_authority(authority(2));

        cloud.order(order(1, 1));

        let CloudInput::Answer {
            answer: Err(error), ..
        } = next(&mut answers)
        else {
            panic!("sent");
        };
        assert_eq!(error.class, ErrorClass::Fenced);
        assert_eq!(error.message, "the route to 10.77.60.10 has changed");
    }

    #[test]
    fn a_reason_that_ends_while_the_provider_works_ends_the_work() {
        let (sender, started) = std::sync::mpsc::channel();
        let told = sender;
        let (cloud, mut answers) = start_with(Fake {
            told,
            ..Fake::new(true)
        });
        cloud.set_authority(authority(1));
        let slow = Order {
            operation: Operation::Strip {
                nic: sam_capture::provider::NicId("nic-b".into()),
                addresses: BTreeSet::from([ADDRESS]),
                version: None,
            },
            ..order(1, 1)
        };
        cloud.order(slow);
        started.recv().expect("it works until it may not any more");
        cloud.set_authority(authority(2));

        let CloudInput::Answer {
            answer: Err(error), ..
        } = next(&mut answers)
        else {
            panic!("done");
        };
        assert_eq!(error.class, ErrorClass::Fenced);
    }

    #[test]
    fn a_capture_that_no_mark_tells_of_is_not_sent() {
        for (marks, full, sent) in [
            (false, true, false),
            (true, true, true),
            (false, false, true),
        ] {
            let folder = std::env::temp_dir();
            let name = format!("samctl-mark-{}-{marks}-{full}", std::process::id());
            let path = folder.join(name);
            let (mut journal, _) = CaptureJournal::open(&path).expect("a journal");
            if full {
                journal.fill_the_disk();
            }
            let (mut cloud, mut answers) = start_on(Some(journal), Fake::new(marks));
            cloud.set_authority(authority(1));
            let news = cloud.record(&Record::Mark {
                addresses: [ADDRESS].into(),
            });
            assert_eq!(news.is_some(), full);

            cloud.order(order(1, 1));

            let CloudInput::Answer { answer, .. } = next(&mut answers) else {
                panic!("no answer");
            };
            let class = answer.map_err(|error| error.class);
            let expected = if sent {
                Ok(Outcome::Done { request_id: None })
            } else {
                Err(ErrorClass::Unavailable)
            };
            assert_eq!(class, expected, "{marks} {full}");
            std::fs::remove_file(&path).expect("ours");
        }
    }

    #[test]
    fn without_a_client_the_reason_is_told() {
        let (_cloud, mut answers) =
            Cloud::spawn(Err("no client".to_owned()), None, Prior::default()).expect("a mailbox");

        let told = answers.blocking_recv();

        let told = told.expect("a reason");
        assert!(matches!(&told, CloudInput::Unavailable { reason } if reason == "no client"));
    }

    /// Does everything at once, but strips for as long as it may, and says that it has begun.
    struct Fake {
        told: std::sync::mpsc::Sender<()>,
        marks: bool,
        moves: bool,
        standing: Standing,
    }

    impl Fake {
        fn new(marks: bool) -> Self {
            let told = std::sync::mpsc::channel().0;
            Self {
                told,
                marks,
                moves: true,
                standing: Standing {
                    credentials: Some(Duration::from_secs(60)),
                    ..Standing::default()
                },
            }
        }
    }

    impl Provider for Fake {
        fn capabilities(&self) -> Capabilities {
            Capabilities {
                moves: self.moves,
                batch: 8,
                marks: self.marks,
            }
        }

        fn standing(&self) -> Standing {
            self.standing
        }

        fn perform(
            &mut self,
            operation: &Operation,
            fence: &dyn Fence,
        ) -> Result<Outcome, ProviderError> {
            let left = self.standing.credentials.expect("some");
            self.standing.credentials = Some(left.saturating_sub(Duration::from_secs(1)));
            if *operation == Operation::Observe {
                self.standing.answered = Some(Instant::now());
            }
            if *operation == Operation::Preflight {
                self.moves = true;
                return Ok(Outcome::Permissions(Vec::new()));
            }
            if !matches!(operation, Operation::Strip { .. }) {
                return Ok(Outcome::Done { request_id: None });
            }
            // Nobody listens in tests that do not strip.
            self.told.send(()).ok();
            while fence.is_current() {
                std::thread::yield_now();
            }
            Err(ProviderError {
                class: ErrorClass::Fenced,
                code: "given-up".to_owned(),
                message: "given up".to_owned(),
                request_id: None,
                unclassified: false,
            })
        }
    }

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 60, 10);

    fn start() -> (Cloud, Answers) {
        start_with(Fake::new(true))
    }

    fn start_with(fake: Fake) -> (Cloud, Answers) {
        start_on(None, fake)
    }

    fn start_on(journal: Option<CaptureJournal>, fake: Fake) -> (Cloud, Answers) {
        let (cloud, mut answers) =
            Cloud::spawn(Ok(Box::new(fake)), journal, Prior::default()).expect("a thread");
        assert!(matches!(
            answers.blocking_recv(),
            Some(CloudInput::Ready { .. })
        ));
        (cloud, answers)
    }

    fn next(answers: &mut Answers) -> CloudInput {
        answers.blocking_recv().expect("an answer")
    }

    fn wants(sequence: u32) -> BTreeMap<Ipv4Addr, Want> {
        let signature = PathSignature {
            address: ADDRESS,
            owner: NodeId(9),
            site: "hq".into(),
            next_hop: [10, 99, 0, 9].into(),
            sequence,
        };
        BTreeMap::from([(ADDRESS, Want::Capture(signature))])
    }

    fn authority(sequence: u32) -> Authority {
        Authority {
            generation: 1,
            wants: wants(sequence),
            gone: BTreeSet::new(),
            restores: false,
        }
    }

    fn order(id: u64, sequence: u32) -> Order {
        Order {
            id,
            operation: Operation::Assign {
                addresses: BTreeSet::from([ADDRESS]),
                version: None,
            },
            ticket: Some(Ticket {
                generation: 1,
                wants: wants(sequence),
                gone: BTreeSet::new(),
                not_after: Instant::now() + Duration::from_secs(60),
            }),
        }
    }
}
