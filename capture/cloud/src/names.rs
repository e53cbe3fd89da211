//! Names of hosts: looked up for each call, and the last good answer when nobody can say.
//!
//! A provider's addresses hardly ever change, while the way to the name server may be what has just failed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// A resolver that remembers.
#[derive(Debug, Default)]
pub(crate) struct LastGoodResolver<R> {
    inner: R,
    known: Mutex<BTreeMap<String, Vec<SocketAddr>>>,
}

/// Names that are remembered; a provider has one or two.
const MAX_NAMES: usize = 16;

impl<R: Resolver> Resolver for LastGoodResolver<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let name = uri.authority().map(ToString::to_string).unwrap_or_default();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match self.inner.resolve(uri, config, timeout) {
            Ok(found) => {
                if known.len() < MAX_NAMES || known.contains_key(&name) {
                    known.insert(name, found.iter().copied().collect());
                }
                Ok(found)
            }
            Err(error) => {
                let former = known.get(&name).ok_or(error)?;
                let mut addresses = self.empty();
                for address in former {
                    addresses.push(*address);
                }
                Ok(addresses)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Broken(AtomicBool);

    impl Resolver for Broken {
        fn resolve(
            &self,
            _: &Uri,
            _: &Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, Error> {
            if self.0.load(Ordering::Relaxed) {
                return Err(Error::HostNotFound);
            }
            let mut found = self.empty();
            found.push(SocketAddr::from(([192, 0, 2, 1], 443)));
            Ok(found)
        }
    }

    #[test]
    fn the_last_good_answer_serves_while_nobody_can_say() {
        let resolver = LastGoodResolver::<Broken>::default();
        let ask = |host: &str| {
            let uri: Uri = format!("https://{host}/").parse().expect("a URL");
            let found = resolver.resolve(&uri, &Config::default(), NextTimeout::default());
            found.map(|found| found.iter().copied().collect::<Vec<_>>())
        };
        let good = ask("known.example").expect("an answer");
        resolver.inner.0.store(true, Ordering::Relaxed);
        assert_eq!(ask("known.example").expect("the former answer"), good);
        assert!(matches!(ask("new.example"), Err(Error::HostNotFound)));
    }
}
