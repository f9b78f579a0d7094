//! Manifests without a cluster.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Stdio};

use kube::core::DynamicObject;
use scalekit::yaml;

use super::home::{Home, RENDER};

#[test]
fn render_needs_no_cluster_and_keeps_the_budget() {
    let ran = Home::new().run(RENDER).exits(0).says("kubectl create secret generic grafana-admin -n monitoring");
    assert_eq!(Home::new().run(RENDER.into_iter().chain(["-q"])).exits(0).stderr, "");
    let objects: Vec<DynamicObject> = yaml::parse_all(&ran.stdout).unwrap();
    assert!((20..=45).contains(&objects.len()), "{} objects", objects.len());
    let images: BTreeSet<String> = objects
        .iter()
        .filter_map(|object| object.data.pointer("/spec/template/spec/containers")?.as_array())
        .flatten()
        .map(|container| container["image"].as_str().unwrap().to_owned())
        .collect();
    assert!(images.len() == 5 && images.contains("example.org/scalekit:1"), "{images:?}");
    for object in &objects {
        let types = object.types.as_ref().unwrap();
        assert!(!types.kind.is_empty() && object.metadata.name.is_some(), "{object:?}");
        let secret = types.kind == "Secret";
        assert!(!secret, "a password has no place in a repository: {:?}", object.metadata.name);
    }
    let claims: Vec<&DynamicObject> =
        objects.iter().filter(|object| object.types.as_ref().unwrap().kind == "PersistentVolumeClaim").collect();
    assert!(!claims.is_empty());
    assert!(claims.iter().all(|claim| claim.data["spec"]["storageClassName"] == "standard"), "{claims:?}");
}

/// The scaler alone has neither a volume nor a password.
#[test]
fn the_scaler_alone_is_rendered_without_a_class_and_without_a_word_about_grafana() {
    let home = Home::new();
    let alone = [
        "render",
        "--platform",
        "kind",
        "--image",
        "scaler=example.org/scalekit:1",
        "--prometheus-url",
        "http://p:9090",
    ];
    let ran = home.run(alone).exits(0);
    let said = [ran.stdout, ran.stderr].concat();
    assert!(said.contains("--prometheus-url=http://p:9090") && !said.to_lowercase().contains("grafana"), "{said}");
    home.run(alone.into_iter().chain(["--prometheus-secret", "access"])).exits(0).says("not among them: Secret access");
}

/// Whoever applies manifests sends no image to the nodes: what runs there has to be named.
#[test]
fn render_needs_an_image_that_nodes_can_pull() {
    let home = Home::new();
    let without = ["render", "--platform", "kind", "--storage-class", "standard"];
    let into = without.into_iter().chain(["--output-dir", "manifests"]);
    home.run(into).exits(2).says("hint: add --image scaler=REF").says("scalekit images push").prints_nothing();
    assert!(!home.0.path().join("manifests").exists(), "something was written");
    // Before any cluster is asked.
    home.run(["render"]).exits(2).says("--image scaler=REF").prints_nothing();
    home.file("scalekit.yaml", "images: {scaler: 'example.org/scalekit:1'}\n");
    assert!(home.run(without).exits(0).stdout.contains("image: example.org/scalekit:1"));
}

#[test]
fn render_says_the_same_every_time() {
    assert_eq!(Home::new().run(RENDER).exits(0).stdout, Home::new().run(RENDER).exits(0).stdout);
}

#[test]
fn references_by_tag_and_digest_are_rendered_as_they_are() {
    let home = Home::new();
    let digest = format!("r.example/grafana:1@sha256:{}", "0".repeat(64));
    home.file("scalekit.yaml", &format!("images: {{grafana: '{digest}'}}\n"));
    let rendered = home.run(RENDER).exits(0).stdout;
    let objects: Vec<DynamicObject> = yaml::parse_all(&rendered).unwrap();
    let image = |object: &DynamicObject| object.data.pointer("/spec/template/spec/containers/0/image").cloned();
    assert!(objects.iter().filter_map(image).any(|image| image == digest.as_str()), "{rendered}");
}

#[test]
fn render_into_a_folder_writes_one_file_an_object() {
    let home = Home::new();
    let ran = home.run(RENDER.into_iter().chain(["--output-dir", "manifests"])).exits(0).prints_nothing();
    let files: Vec<PathBuf> =
        fs::read_dir(home.0.path().join("manifests")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(ran.stderr.contains(&format!("{} objects", files.len())), "{}", ran.stderr);
    let printed: Vec<DynamicObject> = yaml::parse_all(&home.run(RENDER).exits(0).stdout).unwrap();
    assert_eq!(files.len(), printed.len());
    for file in files {
        let object: DynamicObject = yaml::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        assert!(object.types.is_some(), "{}", file.display());
    }
}

#[test]
fn render_without_a_cluster_says_how_to_do_without_one() {
    let home = Home::new();
    let path = home.kubeconfig("https://127.0.0.1:9", None);
    let arguments = ["render", "--platform", "kind", "--image", "scaler=example.org/scalekit:1"];
    let ran = home.run(["--kubeconfig", path.to_str().unwrap()].into_iter().chain(arguments)).exits(4);
    ran.says("127.0.0.1:9").says("refused").says("--platform").says("--storage-class").prints_nothing();
}

#[test]
fn a_folder_keeps_no_manifest_of_another_time() {
    let home = Home::new();
    let into = |namespace: &'static str| RENDER.into_iter().chain(["--output-dir", "manifests", "-n", namespace]);
    home.run(into("before")).exits(0);
    let folder = home.0.path().join("manifests");
    fs::write(folder.join("kustomization.yaml"), "resources: []\n").unwrap();
    home.run(into("after")).exits(0).says("removed before-deployment-grafana.yaml");
    let names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!names.iter().any(|name| name.contains("before")), "{names:?}");
    assert!(names.contains(&"kustomization.yaml".to_owned()), "{names:?}");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let home = Home::new();
    for arguments in [&RENDER[..], &["completions", "bash"], &["man"], &["demo", "list"]] {
        let mut child =
            home.scalekit().arg("-q").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.is_empty(), "{arguments:?}: {}\n{stderr}", output.status);
    }
}

/// Of what to do in Argo CD and Flux, and of the Secret that has to be made by hand.
const ADVICE: [&str; 6] = [
    "kubectl apply --server-side -f …",
    "Argo CD: syncOptions [ServerSideApply=true]; Flux does.",
    "Argo CD: spec.ignoreDifferences: [{group: apps, kind: Deployment, managedFieldsManagers: [scalekit-autoscaler]}]",
    "and syncOptions: [RespectIgnoreDifferences=true]",
    "Flux:    nothing more",
    "left out: Secret grafana-admin, for a password must not lie in a repository",
];

#[test]
fn who_applies_by_another_tool_is_told_how_and_what_is_left_out() {
    let home = Home::new();
    let comments =
        |text: &str| -> String { text.lines().take_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n") };
    let stream = comments(&home.run(RENDER).exits(0).stdout);
    let into = || RENDER.into_iter().chain(["--output-dir", "manifests"]);
    let terminal = home.run(into()).exits(0).stderr;
    for advice in ADVICE {
        assert!(stream.contains(advice), "`{advice}` is not in:\n{stream}");
        assert_eq!(terminal.matches(advice).count(), 1, "`{advice}` in:\n{terminal}");
    }
    let files = fs::read_dir(home.0.path().join("manifests")).unwrap();
    let texts = files.map(|entry| comments(&fs::read_to_string(entry.unwrap().path()).unwrap()));
    assert_eq!(texts.filter(|text| !text.is_empty()).collect::<Vec<_>>(), [stream], "in one file");
    assert_eq!(home.run(into().chain(["-q"])).exits(0).stderr, "");
}
