//! All clouds of a scenario behind one address, with what goes wrong on order.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::aws::Ec2;
use crate::azure::Arm;
use crate::cloud::Cloud;
use crate::control;
use crate::fault::{Fault, Faults, Target, Troubles};
use crate::http::{Delivery, Reply, Request, Response};
use crate::ledger::{CallRecord, Log};
use crate::oci::Core;
use crate::route::{Metadata, Route, route};
use crate::scenario::{Scenario, ScenarioError};
use crate::seal::Seal;
use crate::settings::milliseconds;
use crate::wire::{Call, Denial, Principal, Problem, Question, Wire, reads};
use crate::{Provider, Time};

/// The clouds of a scenario.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) clouds: BTreeMap<Provider, Cloud>,
    pub(crate) faults: Faults,
    pub(crate) calls: Log<CallRecord>,
    seal: Seal,
    requests: u64,
}

/// A request that has arrived and waits for its effect.
#[derive(Debug)]
pub struct Admission {
    /// How long from arrival to effect.
    pub wait: TimeDelta,
    route: Route,
    troubles: Troubles,
    operation: String,
    caller: Result<Principal, Denial>,
}

impl World {
    /// Makes a world.
    ///
    /// `entropy` is what its secrets follow from, unless the scenario has a seed.
    ///
    /// # Errors
    /// All mistakes in the scenario.
    pub fn new(
        scenario: &Scenario,
        entropy: [u8; 32],
        now: Time,
    ) -> Result<Self, Vec<ScenarioError>> {
        let clouds = scenario.build(now)?;
        let seed = scenario
            .seed
            .map_or_else(|| entropy.to_vec(), |seed| seed.to_be_bytes().to_vec());
        let seal = Seal::new(&seed);
        let chance = seed.iter().rev().zip(0..8);
        let chance = chance.fold(0, |sum, (byte, place)| {
            sum | u64::from(*byte) << (8 * place)
        });
        let mut faults = Faults::new(chance);
        for fault in &scenario.faults {
            faults.add(fault.clone());
        }
        Ok(Self {
            clouds: clouds
                .into_iter()
                .map(|cloud| (cloud.provider, cloud))
                .collect(),
            faults,
            calls: Log::default(),
            seal,
            requests: 0,
        })
    }

    /// Returns the part of a provider.
    #[must_use]
    pub fn cloud(&self, provider: Provider) -> Option<&Cloud> {
        self.clouds.get(&provider)
    }

    /// Orders a fault, and returns its number; `None` when there are too many.
    pub fn add_fault(&mut self, fault: Fault) -> Option<u32> {
        self.faults.add(fault)
    }

    /// Starts or stops an instance, and tells whether there is one of that name.
    pub fn set_running(&mut self, id: &str, running: bool) -> bool {
        let mut clouds = self.clouds.values_mut();
        let instance = clouds.find_map(|cloud| cloud.instances.get_mut(id));
        instance
            .map(|instance| instance.running = running)
            .is_some()
    }

    /// Takes a request in: who asks, for what, and what will go wrong with it.
    pub fn admit(&mut self, request: &Request, now: Time) -> Admission {
        let route = route(&self.clouds, request);
        let mut operation = String::new();
        let mut caller = Err(Denial::Anonymous);
        let mut wait = TimeDelta::zero();
        match &route {
            Route::Api(provider) => {
                let wire = wire(*provider);
                operation = wire.operation(request);
                if let Some(cloud) = self.clouds.get(provider) {
                    caller = wire.authenticate(cloud, &self.seal, request, now);
                    let latency = cloud.settings.latency;
                    let takes = if reads(&operation) {
                        latency.read_ms
                    } else {
                        latency.write_ms
                    };
                    wait = milliseconds(takes);
                }
            }
            Route::Metadata(asked) => {
                "Metadata".clone_into(&mut operation);
                caller = Ok(Principal {
                    name: asked.instance.clone(),
                    role: String::new(),
                });
            }
            Route::Control(_) | Route::Nowhere => {}
        }
        let troubles = self.troubles(&route, &operation, &caller, request);
        Admission {
            wait: wait + troubles.before,
            route,
            troubles,
            operation,
            caller,
        }
    }

    fn troubles(
        &mut self,
        route: &Route,
        operation: &str,
        caller: &Result<Principal, Denial>,
        request: &Request,
    ) -> Troubles {
        let provider = match route {
            Route::Api(provider) => *provider,
            Route::Metadata(asked) => asked.provider,
            Route::Control(_) | Route::Nowhere => return Troubles::default(),
        };
        let name = caller.as_ref().map_or("", |caller| caller.name.as_str());
        self.faults.strike(&Target {
            provider,
            operation,
            principal: name,
            request,
        })
    }

    /// Lets a request have its effect, and answers it.
    pub fn answer(&mut self, request: &Request, admission: &Admission, now: Time) -> Reply {
        for cloud in self.clouds.values_mut() {
            cloud.advance(now);
        }
        let troubles = &admission.troubles;
        let delivery = if troubles.hang {
            Delivery::Silence
        } else if troubles.lose_request {
            Delivery::Closed
        } else {
            match &admission.route {
                Route::Nowhere => Delivery::Answer(Response::text(404, "no such resource\n")),
                Route::Control(path) => Delivery::Answer(control::answer(self, request, path, now)),
                Route::Metadata(asked) => self.metadata(request, asked, troubles, now),
                Route::Api(provider) => self.call(request, *provider, admission, now),
            }
        };
        Reply {
            wait: troubles.after,
            delivery,
        }
    }

    fn call(
        &mut self,
        request: &Request,
        provider: Provider,
        admission: &Admission,
        now: Time,
    ) -> Delivery {
        self.requests += 1;
        let id = self.seal.uuid(&format!("request {}", self.requests));
        let troubles = &admission.troubles;
        let wire = wire(provider);
        let Some(cloud) = self.clouds.get_mut(&provider) else {
            return Delivery::Closed;
        };
        let result = attempt(cloud, &self.seal, wire, request, admission, &id, now);
        let code = result.as_ref().err().map(|problem| problem.code.clone());
        let response = result.unwrap_or_else(|problem| wire.render(&problem, &id));
        let caller = admission.caller.as_ref();
        self.calls.push(CallRecord {
            at: now,
            provider,
            principal: caller.map_or_else(|_| String::new(), |caller| caller.name.clone()),
            operation: admission.operation.clone(),
            request: id,
            status: response.status,
            code: code.unwrap_or_default(),
            answered: !(troubles.lose_answer || troubles.cut_answer),
        });
        deliver(response, troubles)
    }

    fn metadata(
        &self,
        request: &Request,
        asked: &Metadata,
        troubles: &Troubles,
        now: Time,
    ) -> Delivery {
        let Some(cloud) = self.clouds.get(&asked.provider) else {
            return Delivery::Closed;
        };
        if let Some(refused) = &troubles.refusal {
            return Delivery::Answer(Response::empty(refused.status));
        }
        let instance = cloud.instances.get(&asked.instance);
        if !instance.is_some_and(|instance| instance.running) {
            return Delivery::Silence;
        }
        let limit = instance.map_or(u8::MAX, |instance| instance.hop_limit);
        if request.method == "PUT" && asked.hops > limit {
            // The answer's TTL runs out on the way back.
            return Delivery::Silence;
        }
        let lag = milliseconds(cloud.settings.lag.metadata_ms);
        let question = Question {
            request,
            instance: &asked.instance,
            path: &asked.path,
            seal: &self.seal,
            now,
            as_of: now - lag.max(troubles.stale),
        };
        let response = wire(asked.provider).metadata(cloud, &question);
        deliver(response, troubles)
    }
}

fn deliver(response: Response, troubles: &Troubles) -> Delivery {
    if troubles.lose_answer {
        Delivery::Closed
    } else if troubles.cut_answer {
        Delivery::Cut(response)
    } else {
        Delivery::Answer(response)
    }
}

const fn wire(provider: Provider) -> &'static dyn Wire {
    match provider {
        Provider::Aws => &Ec2,
        Provider::Azure => &Arm,
        Provider::Oci => &Core,
    }
}

/// Everything between a call and its effect: order of refusal, identity, rate, then the operation itself.
fn attempt(
    cloud: &mut Cloud,
    seal: &Seal,
    wire: &dyn Wire,
    request: &Request,
    admission: &Admission,
    id: &str,
    now: Time,
) -> Result<Response, Problem> {
    let troubles = &admission.troubles;
    if let Some(refused) = &troubles.refusal {
        let message = "refused on order of a fault";
        let mut problem = Problem::new(refused.status, &refused.code, message);
        problem.retry_after = refused.retry_after;
        return Err(problem);
    }
    let caller = admission.caller.as_ref();
    let principal = caller.map_err(|denial| wire.deny(denial))?;
    let writes = !reads(&admission.operation);
    let action = wire.throttled_action(&admission.operation, writes);
    let left = cloud.throttle.take(&principal.name, action, writes, now);
    let left = left.map_err(|wait| wire.deny(&Denial::Throttled(wait)))?;
    let lag = milliseconds(cloud.settings.lag.describe_ms);
    let call = Call {
        request,
        operation: &admission.operation,
        principal,
        seal,
        id,
        now,
        as_of: now - lag.max(troubles.stale),
        partial: troubles.partial,
        revoked: troubles.revoked,
        trouble: troubles.operation,
    };
    let response = wire.execute(cloud, &call)?;
    Ok(match left {
        Some(left) => wire.with_rest(response, writes, left),
        None => response,
    })
}
