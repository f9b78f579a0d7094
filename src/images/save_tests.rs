use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    super::{
        Credentials, Executable, Patience, build,
        executable::fixture,
        push,
        registry::fake::{FakeRegistry, Fault, USER},
    },
    *,
};
use crate::event::Silent;

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn registry(fake: &FakeRegistry) -> Registry {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let folder = tempfile::tempdir().unwrap();
    let auth = STANDARD.encode(format!("{}:{}", USER.0, USER.1));
    let config = json!({"auths": {fake.address.to_string(): {"auth": auth}}});
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let patience = Patience { attempts: 2, first: std::time::Duration::ZERO, longest: std::time::Duration::ZERO };
    Registry::new(Credentials::read(folder.path()).unwrap(), patience).unwrap()
}

/// An image with these layers, under its digest alone; gives its entry in an index.
fn image(fake: &FakeRegistry, repository: &str, architecture: &str, layers: &[&str]) -> Value {
    let config =
        json!({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).to_string();
    let descriptor = |kind: &str, text: &str| json!({"mediaType": kind, "size": text.len(), "digest": fake.has_blob(repository, text.to_owned())});
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
    let config = descriptor("application/vnd.oci.image.config.v1+json", &config);
    let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPES[2], "config": config, "layers": layers});
    let digest = fake.has_manifest(repository, architecture, MANIFEST_TYPES[2], &manifest);
    json!({"mediaType": MANIFEST_TYPES[2], "digest": digest, "size": manifest.to_string().len(),
        "platform": {"os": "linux", "architecture": architecture}})
}

/// `a/b:1` for two processors, `c/d:2` for one; both have a layer in common.
fn stocked(fake: &FakeRegistry) -> String {
    let several = json!({"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "manifests": [
        image(fake, "a/b", "arm64", &["common", "arm"]),
        image(fake, "a/b", "amd64", &["common", "intel"]),
    ]});
    let one = image(fake, "c/d", "amd64", &["common", "more"]);
    let kept = fake.kept().manifests[&("c/d".to_owned(), one["digest"].as_str().unwrap().to_owned())].clone();
    fake.kept().manifests.insert(("c/d".to_owned(), "2".to_owned()), kept);
    fake.has_manifest("a/b", "1", MANIFEST_TYPES[0], &several)
}

fn own() -> Image {
    let (_folder, path) = fixture::static_executable(1000);
    build(&mut Executable::open(&path).unwrap(), "0.1.0").unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_archive_holds_every_image_once_and_its_bytes_depend_on_nothing_else() {
    let fake = FakeRegistry::start().await;
    stocked(&fake);
    let folder = tempfile::tempdir().unwrap();
    let references = [fake.at("a/b:1"), fake.at("c/d:2")];
    let mut all = Vec::new();
    for name in ["x.tar", "y.tar"] {
        let path = folder.path().join(name);
        let saved =
            save(&registry(&fake), &references, Some(&own()), Architecture::Amd64, &path, &Silent).await.unwrap();
        assert_eq!(saved.names[..2], [fake.at("a/b:1").to_string(), fake.at("c/d:2").to_string()]);
        assert_eq!(saved.size, fs::metadata(&path).unwrap().len());
        all.push(fs::read(&path).unwrap());
    }
    assert_eq!(all[0], all[1]);
    assert_eq!(files(folder.path()), ["x.tar", "y.tar"]);

    let archive = Archive::open(&folder.path().join("x.tar")).unwrap();
    let names: Vec<String> = archive.images.iter().map(|named| named.name.to_string()).collect();
    assert_eq!(names, [fake.at("a/b:1").to_string(), fake.at("c/d:2").to_string(), own().reference]);
    let layers = |named: usize| -> Vec<String> {
        let image = archive.image(&archive.images[named].target).unwrap();
        image.blobs[1..]
            .iter()
            .map(|(_, content)| String::from_utf8_lossy(&content.read().unwrap()).into_owned())
            .collect()
    };
    assert_eq!((layers(0), layers(1)), (vec!["common".into(), "intel".into()], vec!["common".into(), "more".into()]));

    let mut seen = BTreeMap::new();
    for entry in tar::Archive::new(all[0].as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        if let Some(digest) = path.strip_prefix("blobs/sha256/") {
            assert_eq!(super::super::digest::sha256(&bytes), digest);
        }
        assert!(seen.insert(path.clone(), bytes).is_none(), "{path} is there twice");
    }
    let docker: Value = serde_json::from_slice(&seen["manifest.json"]).unwrap();
    assert_eq!(docker[0]["RepoTags"], json!([fake.at("a/b:1").to_string()]));
    for image in docker.as_array().unwrap() {
        let paths = [&image["Config"]].into_iter().chain(image["Layers"].as_array().unwrap());
        assert!(paths.into_iter().all(|path| seen.contains_key(path.as_str().unwrap())), "{image}");
    }
    assert!(seen.contains_key("oci-layout"));
}

#[tokio::test]
async fn a_reference_by_digest_is_found_by_it() {
    let fake = FakeRegistry::start().await;
    let digest = stocked(&fake);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let reference = fake.at("a/b:1").pinned(&digest);
    save(&registry(&fake), std::slice::from_ref(&reference), None, Architecture::Arm64, &path, &Silent).await.unwrap();
    let archive = Archive::open(&path).unwrap();
    let names: Vec<String> = archive.images.iter().map(|named| named.name.to_string()).collect();
    assert_eq!(names, reference.names());
    for named in &archive.images {
        assert_eq!(named.target.digest, digest, "what the digest is of is there, byte for byte");
        assert_eq!(archive.image(&named.target).unwrap().blobs[2].1.read().unwrap(), "arm");
    }
}

#[tokio::test]
async fn what_fails_leaves_what_was_there_before() {
    let fake = FakeRegistry::start().await;
    stocked(&fake);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    fs::write(&path, "before").unwrap();
    let references = [fake.at("a/b:1"), fake.at("c/d:2")];
    let save_now = async || save(&registry(&fake), &references, None, Architecture::Amd64, &path, &Silent).await;
    // The third and the fourth blob: the configurations are fetched before a file is made.
    let layer = format!("blobs/sha256:{}", super::super::digest::sha256(b"more"));
    fake.spoil(Box::leak(layer.clone().into_boxed_str()), Fault::Change);
    let error = save_now().await.unwrap_err();
    assert!(matches!(error, TransferError::Registry(super::super::RegistryError::Digest { .. })), "{error}");
    assert_eq!((files(folder.path()), fs::read(&path).unwrap()), (vec!["x.tar".to_owned()], b"before".to_vec()));

    let error =
        save(&registry(&fake), &[fake.at("c/d:2")], None, Architecture::Arm64, &path, &Silent).await.unwrap_err();
    assert!(error.to_string().ends_with("is not there for linux/arm64, but for linux/amd64"), "{error}");
    let nowhere = folder.path().join("nowhere/x.tar");
    let error = save(&registry(&fake), &references, None, Architecture::Amd64, &nowhere, &Silent).await.unwrap_err();
    assert!(error.to_string().contains("nowhere/x.tar"), "{error}");
    save_now().await.unwrap();
    assert_ne!(fs::read(&path).unwrap(), b"before");
}

#[tokio::test]
async fn an_archive_comes_into_another_registry_as_it_was() {
    let (from, to) = (FakeRegistry::start().await, FakeRegistry::start().await);
    let digest = stocked(&from);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.tar");
    let references = [from.at("a/b:1").pinned(&digest), from.at("c/d:2")];
    save(&registry(&from), &references, Some(&own()), Architecture::Amd64, &path, &Silent).await.unwrap();
    let archive = Archive::open(&path).unwrap();
    let place = |name: &Reference| Reference { host: to.address.to_string(), ..name.clone() };
    let pushed = push(&registry(&to), &archive, &place, &Silent).await.unwrap();
    let names: Vec<&str> = pushed.iter().map(|pushed| pushed.to.as_str()).collect();
    let own_tag = own().reference.rsplit_once(':').unwrap().1.to_owned();
    let expected = [to.at("a/b:1"), to.at("c/d:2"), to.at(&format!("scalekit:{own_tag}"))];
    assert_eq!(names, expected.iter().map(ToString::to_string).collect::<Vec<_>>());
    for (pushed, reference) in pushed.iter().zip(&expected) {
        assert_eq!(registry(&to).digest(reference).await.unwrap(), pushed.digest);
    }
    let uploads = to.asked("PUT");
    push(&registry(&to), &archive, &place, &Silent).await.unwrap();
    assert_eq!(to.asked("PUT") - uploads, expected.len(), "manifests alone are sent again");
}
