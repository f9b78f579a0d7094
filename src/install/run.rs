//! Where a run of writes stands: what may go next, what has failed, and in which order it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kube::api::DynamicObject;

use super::{
    Failure, InstallError,
    apply::{NOT_ESTABLISHED, NOT_GONE},
};
use crate::{
    cluster,
    event::{Action, Event, Reporter},
    object::{ByName, ObjectRef},
    plan::{self, Change, ChangeSet, dependencies, in_order},
};

/// What became of one write.
pub(super) enum Outcome {
    Applied(Box<DynamicObject>),
    Failed(cluster::Error),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Waiting,
    InFlight,
    Done,
    Failed,
}

/// Where a run of writes stands.
pub(super) struct Run {
    pub(super) references: Vec<ObjectRef>,
    changes: Vec<Option<Change>>,
    needs: Vec<Vec<usize>>,
    /// Needs before what needs them.
    order: Vec<usize>,
    /// Those that others wait for.
    needed: BTreeSet<usize>,
    /// Those that go before all others, which wait until each of these that can go has gone.
    first: Vec<usize>,
    rest: Vec<usize>,
    state: Vec<Progress>,
    pub(super) uids: BTreeMap<ObjectRef, String>,
    failures: Vec<(ObjectRef, cluster::Error)>,
    /// The order in which objects are told, whenever their answers come: needs before what needs them. What is to be told
    /// yet is its end.
    untold: VecDeque<usize>,
}

impl Run {
    pub(super) fn new(desired: &[DynamicObject], changes: &ChangeSet) -> Self {
        let references: Vec<ObjectRef> = desired.iter().map(ObjectRef::of).collect();
        let by_object: BTreeMap<&ObjectRef, &Change> =
            changes.items.iter().map(|item| (&item.object, &item.change)).collect();
        let changes: Vec<Option<Change>> =
            references.iter().map(|object| by_object.get(object).map(|&change| change.clone())).collect();
        let state: Vec<Progress> = changes
            .iter()
            .map(|change| match change {
                Some(change) if change.is_write() => Progress::Waiting,
                _ => Progress::Done,
            })
            .collect();
        let needs = dependencies(desired);
        let needed: BTreeSet<usize> = needs.iter().flatten().copied().collect();
        let order = in_order(&needs);
        let untold = order.iter().copied().filter(|&position| state[position] == Progress::Waiting).collect();
        let (first, rest) = {
            let first = plan::first(desired, &needs);
            (0..desired.len()).partition::<Vec<usize>, _>(|&position| first[position])
        };
        Self {
            needs,
            order,
            needed,
            first,
            rest,
            references,
            changes,
            state,
            uids: BTreeMap::new(),
            failures: Vec::new(),
            untold,
        }
    }

    /// Whether another object can only be written once this one is there.
    pub(super) fn is_needed(&self, position: usize) -> bool {
        self.needed.contains(&position)
    }

    pub(super) fn settle(&mut self, position: usize, outcome: Outcome) {
        let object = self.references[position].clone();
        match outcome {
            Outcome::Applied(live) => {
                self.uids.extend(live.metadata.uid.map(|uid| (object, uid)));
                self.state[position] = Progress::Done;
            }
            Outcome::Failed(error) => {
                self.state[position] = Progress::Failed;
                self.failures.push((object, error));
            }
        }
    }

    /// Tells of what was written, in an order that does not depend on which answer comes first: up to the first object
    /// that is under way, or, at the end, of all.
    pub(super) fn tell(&mut self, reporter: &dyn Reporter, all: bool) {
        while let Some(&position) = self.untold.front() {
            match self.state[position] {
                Progress::Waiting | Progress::InFlight if !all => return,
                Progress::Done => {
                    let anew = matches!(self.changes[position], Some(Change::Create | Change::Recreate { .. }));
                    let action = if anew { Action::Created } else { Action::Configured };
                    let object = self.references[position].clone();
                    reporter.report(Event::Object { object, action, why: None });
                }
                // The error at the end, and the list of what was skipped, tell of these.
                _ => {}
            }
            self.untold.pop_front();
        }
    }

    /// The next object whose needs are all there.
    pub(super) fn next(&mut self) -> Option<usize> {
        let ready = |&position: &usize| {
            self.state[position] == Progress::Waiting
                && self.needs[position].iter().all(|&needed| self.state[needed] == Progress::Done)
        };
        let urgent = self.first.iter().copied().find(ready);
        let position = match urgent {
            None if !self.one_of_the_first_will_go() => self.rest.iter().copied().find(ready),
            urgent => urgent,
        }?;
        self.state[position] = Progress::InFlight;
        Some(position)
    }

    /// Whether one of those that go before all others waits for nothing but answers that are on their way.
    fn one_of_the_first_will_go(&self) -> bool {
        let mut comes = vec![false; self.state.len()];
        for &position in &self.order {
            comes[position] = match self.state[position] {
                // What has to go before it can come may take its time.
                Progress::InFlight => !matches!(self.changes[position], Some(Change::Recreate { .. })),
                Progress::Done => true,
                Progress::Failed => false,
                Progress::Waiting => self.needs[position].iter().all(|&needed| comes[needed]),
            };
        }
        self.first.iter().any(|&position| self.state[position] == Progress::Waiting && comes[position])
    }

    /// What was not tried, and what of its needs is not there.
    pub(super) fn skipped(&self) -> Vec<(ObjectRef, String)> {
        let waiting = (0..self.state.len()).filter(|&position| self.state[position] == Progress::Waiting);
        waiting
            .map(|position| {
                let needs = self.needs[position].iter().filter(|&&needed| self.state[needed] != Progress::Done);
                let names: Vec<String> = needs.map(|&needed| self.references[needed].to_string()).collect();
                (self.references[position].clone(), format!("it needs {}", names.join(", ")))
            })
            .collect()
    }

    pub(super) fn verdict(&self, desired: &[DynamicObject], live: &ByName<'_>) -> Result<(), InstallError> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let skipped = self.skipped().into_iter().map(|(object, _)| object).collect();
        let failure = |(object, error): &(ObjectRef, cluster::Error)| Failure {
            object: object.clone(),
            why: match error {
                cluster::Error::Conflict { fields, .. } if !fields.is_empty() => {
                    let declared = desired.iter().find(|declared| ObjectRef::of(declared) == *object);
                    plan::in_words(&plan::conflicts(fields, declared, live.get(object)))
                }
                other => other.to_string(),
            },
            hint: match error {
                cluster::Error::Rejected { reason, .. } if reason == NOT_ESTABLISHED => {
                    Some("another definition may have its names: `kubectl get crds`; rename or remove that one")
                }
                cluster::Error::Rejected { reason, .. } if reason == NOT_GONE => {
                    Some("a finalizer goes when its controller has done its work: is that controller still running?")
                }
                _ => None,
            }
            .map(str::to_owned),
        };
        let only_conflicts = self
            .failures
            .iter()
            .all(|(_, error)| matches!(error, cluster::Error::Conflict { fields, .. } if !fields.is_empty()));
        let failures = self.failures.iter().map(failure).collect();
        Err(if only_conflicts {
            InstallError::Conflict { conflicts: failures }
        } else {
            let not_permitted = self.failures.iter().all(|(_, error)| error.is_about_access());
            InstallError::Apply { failures, skipped, not_permitted }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::plan::Inventory;

    #[derive(Default)]
    struct Told(Mutex<Vec<String>>);

    impl Reporter for Told {
        fn report(&self, event: Event) {
            let Event::Object { object, .. } = event else { panic!("{event:?}") };
            self.0.lock().unwrap().push(object.name);
        }
    }

    #[test]
    fn a_definition_is_needed_by_its_objects_alone() {
        let definition: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.x.dev"},
            "spec": {"group": "x.dev", "names": {"kind": "A"}}}))
        .unwrap();
        let own = serde_json::from_value(
            json!({"apiVersion": "x.dev/v1", "kind": "A", "metadata": {"name": "a", "namespace": "m"}}),
        )
        .unwrap();
        let is_needed = |objects: &[DynamicObject]| {
            let mut run = Run::new(objects, &plan::plan(objects, &[], &Inventory::default()));
            let first = run.next().unwrap();
            (run.references[first].name.clone(), run.is_needed(first))
        };
        let mut all = vec![definition];
        all.extend(objects());
        assert_eq!(is_needed(&all), ("as.x.dev".to_owned(), false));
        all.push(own);
        assert_eq!(is_needed(&all), ("as.x.dev".to_owned(), true));
    }

    /// A service, and a workload with the ConfigMap that its pods need, in this order.
    fn with_pods() -> Run {
        let object = |kind: &str, name: &str, spec: serde_json::Value| -> DynamicObject {
            serde_json::from_value(json!({"apiVersion": "v1", "kind": kind, "spec": spec,
                "metadata": {"name": name, "namespace": "m"}}))
            .unwrap()
        };
        let pods = json!({"template": {"spec": {"volumes": [{"configMap": {"name": "b"}}]}}});
        let objects =
            [object("Service", "a", json!({})), object("ConfigMap", "b", json!({})), object("Deployment", "c", pods)];
        Run::new(&objects, &plan::plan(&objects, &[], &Inventory::default()))
    }

    #[test]
    fn what_makes_pods_has_gone_before_the_rest_goes() {
        let mut run = with_pods();
        assert_eq!((run.next(), run.next()), (Some(1), None), "the workload waits for an answer, and the rest for it");
        run.settle(1, Outcome::Applied(Box::new(objects().remove(0))));
        assert_eq!((run.next(), run.next(), run.next()), (Some(2), Some(0), None));
    }

    #[test]
    fn the_rest_does_not_wait_for_what_will_never_go() {
        let mut run = with_pods();
        assert_eq!(run.next(), Some(1));
        run.settle(1, Outcome::Failed(cluster::Error::Unreadable { cause: String::new() }));
        assert_eq!((run.next(), run.next()), (Some(0), None));
    }

    #[test]
    fn the_rest_does_not_wait_for_what_has_to_go_before_it_can_come() {
        let mut run = with_pods();
        run.changes[1] = Some(Change::Recreate { uid: "u".to_owned(), why: String::new() });
        assert_eq!((run.next(), run.next(), run.next()), (Some(1), Some(0), None));
    }

    fn objects() -> Vec<DynamicObject> {
        let object = |kind: &str, name: &str, namespace: Option<&str>| {
            serde_json::from_value(json!({"apiVersion": "v1", "kind": kind,
                "metadata": {"name": name, "namespace": namespace}}))
            .unwrap()
        };
        vec![
            object("ConfigMap", "a", Some("m")),
            object("Namespace", "m", None),
            object("ConfigMap", "b", Some("m")),
            object("ConfigMap", "c", Some("m")),
        ]
    }

    /// What is told when answers come in this order.
    fn told(answers: &[(usize, bool)]) -> (Vec<String>, Vec<String>) {
        let objects = objects();
        let changes = plan::plan(&objects, &[], &Inventory::default());
        let (mut run, told) = (Run::new(&objects, &changes), Told::default());
        for &(position, well) in answers {
            while run.next().is_some() {}
            let outcome = if well {
                Outcome::Applied(Box::new(objects[position].clone()))
            } else {
                Outcome::Failed(cluster::Error::Unreadable { cause: String::new() })
            };
            run.settle(position, outcome);
            run.tell(&told, false);
        }
        let on_the_way = told.0.lock().unwrap().clone();
        run.tell(&told, true);
        (on_the_way, told.0.into_inner().unwrap())
    }

    #[test]
    fn the_order_in_which_objects_are_told_is_not_that_of_the_answers() {
        let expected = ["m", "a", "b", "c"];
        assert_eq!(told(&[(1, true), (0, true), (2, true), (3, true)]).1, expected);
        assert_eq!(told(&[(1, true), (3, true), (2, true), (0, true)]).1, expected);
    }

    #[test]
    fn what_is_under_way_holds_the_news_of_those_behind_it_and_a_failure_does_not() {
        assert_eq!(told(&[(1, true), (2, true)]), (vec!["m".to_owned()], vec!["m".to_owned(), "b".to_owned()]));
        assert_eq!(told(&[(1, true), (0, false), (3, true), (2, true)]).0, ["m", "b", "c"]);
    }
}
