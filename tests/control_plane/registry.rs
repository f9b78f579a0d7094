//! Images into a registry, and from there into what is installed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
};

use scalekit::yaml;
use serde_json::Value;

use crate::{
    in_memory::Registry,
    proxy::Plan,
    world::{Ended, World, answered, finished},
};

/// What a run says on stdout, where it ends well.
async fn stdout(world: &World, arguments: &[&str]) -> String {
    let mut run = world.command(world.binary());
    let output = run.args(arguments).spawn().unwrap().wait_with_output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The stand-ins of the stack's images lie in the registry under the paths of their own, are saved from there, and pushed
/// into another place of it.
pub async fn images_go_into_a_registry_and_up_takes_them_from_there(world: &World) {
    let registry = Registry::start(Ipv4Addr::LOCALHOST.into()).await;
    let mirror = format!("{}/mirror", registry.address);
    let listed: Vec<Value> = serde_json::from_str(&stdout(world, &["images", "list", "-o", "json"]).await).unwrap();
    let mut sources = Vec::new();
    for image in listed.iter().filter(|image| image["sideLoaded"] == false) {
        let (_, path) = image["reference"].as_str().unwrap().split_once('/').expect("a registry and a path");
        let (repository, tag) = path.rsplit_once(':').expect("a tag");
        registry.has(repository, tag);
        sources.push(format!("--image={}={}/{path}", image["component"].as_str().unwrap(), registry.address));
    }
    assert_eq!((sources.len(), listed.len()), (4, 5), "{listed:?}");
    let folder = tempfile::tempdir().unwrap();
    let archive = folder.path().join("stack.tar");
    let archive = archive.to_str().unwrap();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    stdout(world, &[&["images", "save", archive], sources.as_slice()].concat()).await;

    let push = ["images", "push", "--archive", archive, &mirror];
    let pushed = stdout(world, &push).await;
    let pushed: BTreeMap<&str, &str> = pushed.lines().filter_map(|line| line.split_once("  ")).collect();
    assert_eq!(pushed.len(), listed.len(), "{pushed:?}");
    // Two blobs of each: what was sent is not sent again.
    assert_eq!(registry.uploads(), 2 * listed.len());
    stdout(world, &push).await;
    assert_eq!(registry.uploads(), 2 * listed.len());

    let own = *pushed.keys().find(|name| name.starts_with(&format!("{mirror}/scalekit:"))).expect("our own");
    let scaler = format!("scaler={own}");
    let from = ["--registry", &mirror, "--image", &scaler];
    let locked = stdout(world, &[&["images", "lock"], &from[..]].concat()).await;
    let block: Value = yaml::parse(&locked).unwrap();
    let fixed: BTreeSet<String> =
        block["images"].as_object().unwrap().values().map(|image| image.as_str().unwrap().to_owned()).collect();
    let expected: BTreeSet<String> = pushed.iter().map(|(name, digest)| format!("{name}@{digest}")).collect();
    assert_eq!(fixed, expected);

    let settings = folder.path().join("locked.yaml");
    fs::write(&settings, &locked).unwrap();
    let mut up = world.command(world.binary());
    up.args(world.through_the_proxy()).arg("--config").arg(&settings).args(["up", "--no-wait", "-n", "in-mirrored"]);
    let ended = answered(async || {
        world.proxy.follow(Plan::default());
        finished(up.spawn().unwrap()).await
    })
    .await;
    assert!(matches!(ended, Ended::Exited(0, _)), "{ended:?}");
    let installed: BTreeSet<String> = world
        .found("in-mirrored")
        .await
        .into_values()
        .filter_map(|object| object.data.pointer("/spec/template/spec/containers/0/image")?.as_str().map(str::to_owned))
        .collect();
    assert_eq!(installed, expected);
    // The same by the tags.
    world.runs(&[&["up", "--no-wait", "-n", "in-mirrored"], &from[..]].concat()).await;
    let tagged = world.found("in-mirrored").await.into_values().filter_map(|object| {
        object.data.pointer("/spec/template/spec/containers/0/image")?.as_str().map(str::to_owned)
    });
    assert_eq!(tagged.collect::<BTreeSet<_>>(), pushed.keys().map(|&name| name.to_owned()).collect());
}
