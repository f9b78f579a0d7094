//! While this controller leads: one task that owns the schedule, takes in what the watches say, and starts a look at each
//! object when its time comes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Error, GRACE, Key, LONGEST_SLEEP,
    clock::until,
    http::Vitals,
    rivals::News,
    schedule::{Due, Schedule},
    tick::{Context, Kept, tick},
    words::watch_error,
};
use crate::autoscaling::api::Autoscaler;

/// How many objects are looked at at once. Each holds memory, and may hold a connection to the API server: while that or a
/// server of metrics is slow, thousands of objects that are due must wait for each other and not pile up.
const MOST_LOOKS: usize = 1024;
/// For how long a lead waits for the list of HPAs, where that fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// And where they may not be listed or are not served: the right may come a moment after the pod.
const PATIENCE_WITHOUT_A_RIGHT: Duration = Duration::from_secs(5);

/// How the loop ended when it was told to.
pub struct Stopped {
    /// Nothing that was begun goes on.
    pub all_looks_ended: bool,
}

/// Looks at every Autoscaler at its time, until `shutdown`; then lets running looks end for a moment.
///
/// # Errors
///
/// The watch of Autoscalers ended, which it never does by itself.
pub async fn reconcile(
    client: Client,
    context: Arc<Context>,
    vitals: &Vitals,
    shutdown: &CancellationToken,
) -> Result<Stopped, Error> {
    // An object that cannot be read must not hide the others.
    let autoscalers: Api<DeserializeGuard<Autoscaler>> = Api::all(client.clone());
    let watch = watcher::watcher(autoscalers, watcher::Config::default().page_size(500)).default_backoff();
    let mut watch = std::pin::pin!(watch);
    let mut hpas = context.hpas.watch(client);
    let mut schedule = Schedule::default();
    let mut looks: JoinSet<Looked> = JoinSet::new();
    // Before all are known, an older Autoscaler or an HPA of the same workload would go unnoticed.
    let (mut listed, mut hpas_listed) = (false, false);
    let patience = tokio::time::sleep(PATIENCE);
    let mut patience = std::pin::pin!(patience);
    loop {
        vitals.beat();
        context.objects.store(schedule.len(), Ordering::Relaxed);
        let now = context.clock.now();
        let begun = listed && hpas_listed;
        while begun
            && looks.len() < MOST_LOOKS
            && let Some(due) = schedule.take_due(now)
        {
            context.telemetry.late(now.duration_since(due.at));
            let context = context.clone();
            looks.spawn(async move {
                let kept = due.kept.clone();
                let (kept, wake) = tick(&context, &due.key, &due.object, kept, due.elder.as_ref()).await;
                context.telemetry.ended(context.clock.now().duration_since(due.at));
                Looked { due, kept, wake }
            });
        }
        // With all looks taken the next one is due when one of them ends.
        let next = schedule.next().filter(|_| begun && looks.len() < MOST_LOOKS);
        let sleep = next.map_or(LONGEST_SLEEP, |due| until(due, now).min(LONGEST_SLEEP));
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(looked) = looks.join_next() => match looked {
                Ok(looked) => ended(looked, &mut schedule, &context),
                // A look that panicked would leave its object without a next time, unnoticed.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            },
            event = watch.next() => match event {
                Some(Ok(event)) => {
                    listed |= matches!(event, Event::InitDone);
                    take(event, &mut schedule, &context, vitals);
                }
                Some(Err(error)) => {
                    tracing::warn!("Autoscalers cannot be watched, trying again: {}", watch_error(error));
                }
                None => return Err(Error::WatchEnded),
            },
            Some(news) = hpas.next() => match news {
                News::Listed => hpas_listed = true,
                News::Failed(why) => {
                    tracing::warn!("HorizontalPodAutoscalers cannot be watched, trying again: {why}");
                }
                News::Unlistable(why) => {
                    let soon = tokio::time::Instant::now() + PATIENCE_WITHOUT_A_RIGHT;
                    if patience.deadline() > soon {
                        patience.as_mut().reset(soon);
                    }
                    tracing::warn!(
                        "HorizontalPodAutoscalers cannot be listed, so one of the same workload goes unnoticed: {why}"
                    );
                }
            },
            () = &mut patience, if !hpas_listed => {
                hpas_listed = true;
                tracing::warn!(
                    "HorizontalPodAutoscalers are not known yet, so one of the same workload goes unnoticed"
                );
            }
            () = tokio::time::sleep(sleep) => {}
        }
    }
    let ended = tokio::time::timeout(GRACE, async { while looks.join_next().await.is_some() {} }).await;
    tracing::info!(all_looks_ended = ended.is_ok(), "the autoscaler stops");
    Ok(Stopped { all_looks_ended: ended.is_ok() })
}

struct Looked {
    due: Due,
    kept: Kept,
    wake: Option<jiff::Timestamp>,
}

fn ended(Looked { due, kept, wake }: Looked, schedule: &mut Schedule, context: &Context) {
    if !schedule.looked_at(&due, kept, wake, context.clock.now()) {
        // It went while it was looked at, and what that look told of it came after what was forgotten then.
        context.forget(&due.key);
    }
}

fn take(event: Event<DeserializeGuard<Autoscaler>>, schedule: &mut Schedule, context: &Context, vitals: &Vitals) {
    match event {
        Event::Init => schedule.list_begins(),
        Event::InitApply(object) | Event::Apply(object) => seen(object, schedule, context),
        Event::InitDone => {
            schedule.list_ends().iter().for_each(|key| context.forget(key));
            vitals.listed();
        }
        Event::Delete(object) => {
            let key = key(&object);
            schedule.remove(&key);
            context.forget(&key);
        }
    }
}

fn seen(object: DeserializeGuard<Autoscaler>, schedule: &mut Schedule, context: &Context) {
    let key = key(&object);
    match object.0 {
        Ok(mut autoscaler) => {
            // Most of an object's bytes, and of no use here; kubectl keeps a whole manifest in an annotation.
            autoscaler.metadata.managed_fields = None;
            autoscaler.metadata.annotations = None;
            autoscaler.metadata.labels = None;
            schedule.seen(key, autoscaler, &context.default_server, context.clock.now(), |object| {
                Kept::restored(object, context.clock)
            });
        }
        Err(invalid) => {
            tracing::warn!(autoscaler = %key, "the object cannot be read, it is not scaled: {invalid}");
            schedule.remove(&key);
            context.forget(&key);
        }
    }
}

fn key(object: &DeserializeGuard<Autoscaler>) -> Key {
    Key::new(&object.namespace().unwrap_or_default(), &object.name_any())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::{
        super::tests::fake::{Bench, spec},
        *,
    };

    type Seen = Event<DeserializeGuard<Autoscaler>>;

    fn guarded(object: &Value) -> DeserializeGuard<Autoscaler> {
        serde_json::from_value(object.clone()).expect("whatever it is")
    }

    fn deleted(object: &Value) -> Seen {
        Event::Delete(guarded(object))
    }

    /// As an older definition may have let it in.
    fn unreadable(object: &Value) -> Seen {
        let mut object = object.clone();
        object["spec"] = json!(3);
        Event::Apply(guarded(&object))
    }

    #[rstest]
    #[case::deleted(deleted)]
    #[case::unreadable(unreadable)]
    #[tokio::test]
    async fn of_an_object_that_goes_nothing_is_told_any_more(
        #[case] goes: fn(&Value) -> Seen,
        #[values(true, false)] while_it_is_looked_at: bool,
    ) {
        let bench = Bench::new(1, &spec(&json!({})), 25.0);
        let object = bench.api.cluster().autoscaler.clone();
        let context = bench.context;
        let (mut schedule, vitals) = (Schedule::default(), Vitals::new(context.clock));
        take(Event::Apply(guarded(&object)), &mut schedule, &context, &vitals);
        let due = schedule.take_due(context.clock.now()).expect("it is new");
        if while_it_is_looked_at {
            take(goes(&object), &mut schedule, &context, &vitals);
        }
        let (kept, wake) = tick(&context, &due.key, &due.object, due.kept.clone(), None).await;
        let key = due.key.clone();
        let told = || context.telemetry.text().contains("name=\"w\"") || context.history.explain(&key, None).is_some();
        assert!(told());
        ended(Looked { due, kept, wake }, &mut schedule, &context);
        if !while_it_is_looked_at {
            assert!(told());
            take(goes(&object), &mut schedule, &context, &vitals);
        }
        assert!(!told(), "{}", context.telemetry.text());
    }
}
