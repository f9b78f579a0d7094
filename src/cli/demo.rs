//! `scalekit demo`: samples that scale.

use std::sync::Arc;

use super::{
    args::{CommonArgs, StackArgs},
    dispatch::{connection, resolved, stack_settings, unprintable},
    sub_verbs::{DemoArgs, DemoCommand, DemoDownArgs, DemoLoadArgs, DemoUpArgs},
};
use crate::{
    catalog::{self, Component},
    cluster::{Interruption, connect},
    commands::{self, CommandError, Consent, Wish},
    event::Reporter,
    report::{self, Phases},
};

/// Namespace of the samples where no other is asked for.
const NAMESPACE: &str = "demo";

pub(super) async fn demo(
    common: &CommonArgs,
    command: DemoCommand,
    reporter: Arc<dyn Reporter>,
    interruption: &Interruption,
) -> Result<(), CommandError> {
    let namespace = |demo: &DemoArgs| demo.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned());
    match command {
        DemoCommand::List => report::demos(&catalog::demos()).map_err(unprintable)?,
        DemoCommand::Up(DemoUpArgs { demo, images, containerd_socket, timeout }) => {
            let stack = StackArgs { images, containerd_socket, timeout, ..StackArgs::default() };
            let settings = resolved(common, stack, false)?;
            let cluster = connect(&settings.connection).await?.interrupted_by(interruption);
            let image = settings.options.images.get(&Component::Scaler).cloned();
            let done = commands::demo_up(
                &demo.name,
                &namespace(&demo),
                image,
                settings.containerd_socket,
                settings.timeout,
                &cluster,
                reporter.as_ref(),
            )
            .await?;
            drop(reporter);
            report::demo_up(&done);
        }
        DemoCommand::Load(DemoLoadArgs { demo, tasks, set, finish }) => {
            let wish = match (tasks, set, finish) {
                (Some(tasks), _, _) => Wish::Add(tasks),
                (_, Some(set), _) => Wish::SetTo(set),
                (_, _, finish) => Wish::Finish(finish.unwrap_or_default()),
            };
            let cluster = connect(&connection(common)).await?;
            let done = commands::demo_load(&demo.name, &namespace(&demo), wish, &cluster, reporter.as_ref()).await?;
            drop(reporter);
            report::demo_loaded(&done);
        }
        DemoCommand::Down(DemoDownArgs { demo, timeout }) => {
            let stack = StackArgs { timeout, ..StackArgs::default() };
            let (settings, cluster) = stack_settings(common, stack, false).await?;
            let reporter = Phases::around(reporter);
            let done = commands::demo_down(
                &demo.name,
                &namespace(&demo),
                Consent::Given,
                settings.timeout,
                &cluster,
                &reporter,
            )
            .await?;
            report::downed(&done, &demo.name, &reporter.into_words());
        }
    }
    Ok(())
}
