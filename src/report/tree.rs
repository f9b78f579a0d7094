//! What is waited for, as a tree: a line a component, with what each of its objects waits for.

use std::collections::BTreeMap;

use crate::{catalog::Component, object::ObjectRef};

/// Rows that a terminal surely has besides what else stands there.
const ROWS: usize = 10;

/// Components that are waited for, or were in this step.
#[derive(Default)]
pub(super) struct Tree {
    /// In the order in which they came.
    components: Vec<(String, BTreeMap<ObjectRef, String>)>,
}

/// One row of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// What is waited for, and why.
    Waiting { name: String, why: String },
    /// Nothing is waited for any more.
    Ready { name: String },
    /// Others, for which there is no room.
    More { count: usize },
}

impl Tree {
    /// An object is not yet what it should be.
    pub(super) fn waiting(&mut self, object: ObjectRef, why: String) {
        let name = component(&object);
        match self.components.iter_mut().find(|(known, _)| *known == name) {
            Some((_, objects)) => {
                objects.insert(object, why);
            }
            None => self.components.push((name, [(object, why)].into())),
        }
    }

    /// It is, or it is gone. What was never waited for has no row.
    pub(super) fn over(&mut self, object: &ObjectRef) {
        for (_, objects) in &mut self.components {
            objects.remove(object);
        }
    }

    /// A step is over.
    pub(super) fn clear(&mut self) {
        self.components.clear();
    }

    /// The rows: where there are too many, those that are ready go first.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |(name, objects): &(String, BTreeMap<ObjectRef, String>)| {
            let name = name.clone();
            let why: Vec<String> =
                objects.iter().map(|(object, why)| format!("{}: {why}", object.kind.to_lowercase())).collect();
            if why.is_empty() { Row::Ready { name } } else { Row::Waiting { name, why: why.join("; ") } }
        };
        let mut rows: Vec<Row> = self.components.iter().map(row).collect();
        if rows.len() > ROWS {
            rows.retain(|row| matches!(row, Row::Waiting { .. }));
        }
        if rows.len() > ROWS {
            let count = rows.len() - (ROWS - 1);
            rows.truncate(ROWS - 1);
            rows.push(Row::More { count });
        }
        rows
    }
}

/// The component that an object belongs to: its name begins with the component's. Else the object itself.
fn component(object: &ObjectRef) -> String {
    Component::ALL
        .into_iter()
        .map(Component::name)
        .find(|name| object.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
        .map_or_else(|| object.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, name: &str) -> ObjectRef {
        ObjectRef::new("v1", kind, Some("monitoring"), name)
    }

    fn waiting(name: &str, why: &str) -> Row {
        Row::Waiting { name: name.to_owned(), why: why.to_owned() }
    }

    #[test]
    fn a_component_has_one_row_with_all_that_it_waits_for() {
        let mut tree = Tree::default();
        tree.waiting(object("StatefulSet", "prometheus"), "0 of 1 ready".to_owned());
        tree.waiting(object("Deployment", "grafana"), "pulling".to_owned());
        tree.waiting(object("PersistentVolumeClaim", "prometheus-data"), "no volume yet".to_owned());
        tree.waiting(object("Deployment", "web"), "new".to_owned());
        let expected = [
            waiting("prometheus", "persistentvolumeclaim: no volume yet; statefulset: 0 of 1 ready"),
            waiting("grafana", "deployment: pulling"),
            waiting("deployment/web -n monitoring", "deployment: new"),
        ];
        assert_eq!(tree.rows(), expected);
        tree.over(&object("Deployment", "grafana"));
        tree.over(&object("Service", "kube-state-metrics"));
        assert_eq!(tree.rows()[1], Row::Ready { name: "grafana".to_owned() });
        assert_eq!(tree.rows().len(), 3);
        tree.clear();
        assert!(tree.rows().is_empty());
    }

    #[test]
    fn of_many_those_that_wait_are_shown() {
        let mut tree = Tree::default();
        for number in 0..20 {
            tree.waiting(object("Deployment", &format!("web{number:02}")), "new".to_owned());
        }
        assert_eq!(tree.rows().len(), ROWS);
        assert_eq!(tree.rows().last(), Some(&Row::More { count: 11 }));
        (0..15).for_each(|number| tree.over(&object("Deployment", &format!("web{number:02}"))));
        assert_eq!(tree.rows().len(), 5);
        assert!(tree.rows().iter().all(|row| matches!(row, Row::Waiting { .. })));
    }
}
