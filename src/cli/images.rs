//! `scalekit images`: what can be asked about the images of the stack.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};

use super::{
    args::{CommonArgs, OutputFormat, StackArgs},
    dispatch::{resolved, unprintable},
};
use crate::{
    catalog::Component,
    cluster::connect,
    commands::{self, CommandError},
    event::Reporter,
    images::Architecture,
    platform::PlatformKind,
    report,
    settings::{parse_image, parse_platform_of_images, parse_registry},
};

/// Images of the stack.
#[derive(Debug, Subcommand)]
pub enum ImagesCommand {
    /// Every image that the stack uses with these settings
    List(ImagesListArgs),
    /// Ask the registries for the digests, and print them for scalekit.yaml
    Lock(ImagesListArgs),
    /// Write every image into one file, for clusters without a registry
    Save(ImagesSaveArgs),
    /// Bring the images of such a file to the nodes
    Load(ImagesLoadArgs),
    /// Send scalekit's own image, or those of such a file, into a registry
    Push(ImagesPushArgs),
}

/// Which images.
#[derive(Clone, Debug, Default, Args)]
pub struct ImageArgs {
    /// Image of a component, as in grafana=registry/grafana:13.2.2; repeatable
    #[arg(long = "image", value_name = "COMPONENT=REF", value_parser = parse_image)]
    pub images: Vec<(Component, String)>,
    /// Registry in place of the images' own
    #[arg(long, env = "SCALEKIT_REGISTRY", value_name = "HOST")]
    pub registry: Option<String>,
    /// File with the URL of a Slack webhook that is told of alerts; without a receiver there is no Alertmanager
    #[arg(long, env = "SCALEKIT_SLACK_WEBHOOK_FILE", value_name = "FILE")]
    pub slack_webhook_file: Option<PathBuf>,
}

/// Flags of `images list` and `images lock`.
#[derive(Clone, Debug, Args)]
pub struct ImagesListArgs {
    /// Which.
    #[command(flatten)]
    pub images: ImageArgs,
    /// How to print
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: OutputFormat,
}

/// Flags of `images save`.
#[derive(Clone, Debug, Args)]
pub struct ImagesSaveArgs {
    /// The file to write
    pub file: PathBuf,
    /// linux/amd64 or linux/arm64 [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_parser = parse_platform_of_images)]
    pub platform: Option<Architecture>,
    /// Which.
    #[command(flatten)]
    pub images: ImageArgs,
}

/// Flags of `images load`.
#[derive(Clone, Debug, Args)]
pub struct ImagesLoadArgs {
    /// A file of `scalekit images save`
    pub file: PathBuf,
    /// Only into this node
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// kind, microk8s, k3s or generic; else detected
    #[arg(long, env = "SCALEKIT_PLATFORM", value_name = "NAME")]
    pub platform: Option<PlatformKind>,
    /// Socket of the containerd on this host that runs the cluster's pods
    #[arg(long, env = "SCALEKIT_CONTAINERD_SOCKET", value_name = "FILE")]
    pub containerd_socket: Option<PathBuf>,
}

/// Flags of `images push`.
#[derive(Clone, Debug, Args)]
pub struct ImagesPushArgs {
    /// The registry, as `up --registry` takes it: HOST, HOST:PORT or HOST/PATH
    #[arg(value_parser = parse_registry)]
    pub registry: String,
    /// Everything of a file of `scalekit images save`, in place of scalekit's own image
    #[arg(long, value_name = "FILE")]
    pub archive: Option<PathBuf>,
}

/// Does what was asked.
pub(super) async fn images(
    common: &CommonArgs,
    command: ImagesCommand,
    reporter: Arc<dyn Reporter>,
) -> Result<(), CommandError> {
    let settings = |ImageArgs { images, registry, slack_webhook_file }: ImageArgs| {
        let stack = StackArgs { images, registry, slack_webhook_file, ..StackArgs::default() };
        Ok::<_, CommandError>(resolved(common, stack, false)?.with_files()?)
    };
    match command {
        ImagesCommand::List(ImagesListArgs { images, output }) => {
            let listed = commands::images_list(&settings(images)?)?;
            match output {
                OutputFormat::Text => report::images(&listed),
                OutputFormat::Json => report::json(&listed),
            }
            .map_err(unprintable)?;
        }
        ImagesCommand::Lock(ImagesListArgs { images, output }) => {
            let lock = commands::images_lock(&settings(images)?, reporter.as_ref()).await?;
            drop(reporter);
            match output {
                OutputFormat::Text => report::lock(&lock),
                OutputFormat::Json => report::json(&lock),
            }
            .map_err(unprintable)?;
            report::unlocked(&lock);
            if !lock.unlocked.is_empty() {
                return Err(CommandError::Unlocked { count: lock.unlocked.len() });
            }
        }
        ImagesCommand::Save(ImagesSaveArgs { file, platform, images }) => {
            let saved = commands::images_save(&settings(images)?, &file, platform, reporter.as_ref()).await?;
            drop(reporter);
            report::saved(&saved);
        }
        ImagesCommand::Load(ImagesLoadArgs { file, node, platform, containerd_socket }) => {
            let stack = StackArgs { platform, containerd_socket, ..StackArgs::default() };
            let settings = resolved(common, stack, false)?;
            let cluster = connect(&settings.connection).await?;
            let names = commands::images_load(&file, node.as_deref(), &settings, &cluster, reporter.as_ref()).await?;
            drop(reporter);
            report::loaded(&names);
        }
        ImagesCommand::Push(ImagesPushArgs { registry, archive }) => {
            let pushed = commands::images_push(&registry, archive.as_deref(), reporter.as_ref()).await?;
            drop(reporter);
            report::pushed(&pushed, &registry);
        }
    }
    Ok(())
}
