use std::{fs::File, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    fake::{FakeRegistry, Fault, USER},
    *,
};

fn patience() -> Patience {
    Patience { attempts: 3, first: Duration::ZERO, longest: Duration::ZERO }
}

fn anonymous() -> Registry {
    Registry::new(Credentials::default(), patience()).unwrap()
}

/// As who `docker login` would have left it.
fn as_user(registry: &FakeRegistry, password: &str) -> Registry {
    let folder = tempfile::tempdir().unwrap();
    let auth = STANDARD.encode(format!("{}:{password}", USER.0));
    let config = json!({"auths": {registry.address.to_string(): {"auth": auth}}});
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    Registry::new(Credentials::read(folder.path()).unwrap(), patience()).unwrap()
}

#[tokio::test]
async fn the_digest_is_the_registrys_and_one_token_serves_a_repository() {
    let fake = FakeRegistry::start().await;
    let expected = fake.has_manifest("a/b", "1", MANIFEST_TYPES[0], &json!({"manifests": []}));
    let registry = anonymous();
    let reference = fake.at("a/b:1");
    assert_eq!(registry.digest(&reference).await.unwrap(), expected);
    assert_eq!(registry.digest(&reference).await.unwrap(), expected);
    let manifest = registry.manifest(&reference.pinned(&expected)).await.unwrap();
    assert_eq!((manifest.digest, manifest.media_type.as_str()), (expected, MANIFEST_TYPES[0]));
    assert_eq!(fake.asked("/token"), 1);
    assert_eq!(fake.asked("GET /v2/"), 1, "a digest costs a HEAD, which no registry counts as a pull");
}

#[tokio::test]
async fn a_no_is_told_in_the_registrys_words() {
    let fake = FakeRegistry::start().await;
    let error = anonymous().digest(&fake.at("a/b:2")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("127.0.0.1") && text.contains("a/b:2") && text.contains("404"), "{text}");
    assert!(text.contains("MANIFEST_UNKNOWN: manifest unknown"), "{text}");

    let error = as_user(&fake, "wrong").digest(&fake.at("private/b:1")).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("401") && text.contains("incorrect username or password"), "{text}");
    assert!(error.is_about_access() && error.hint().unwrap().contains("docker login"));
    assert!(!format!("{error:?}").contains("wrong"));
}

#[tokio::test]
async fn what_passes_is_asked_again_and_what_stays_is_told() {
    let fake = FakeRegistry::start().await;
    let expected = fake.has_manifest("a/b", "1", MANIFEST_TYPES[2], &json!({"layers": []}));
    for status in [429, 500, 503] {
        fake.spoil("HEAD", Fault::Status(status, "later"));
        assert_eq!(anonymous().digest(&fake.at("a/b:1")).await.unwrap(), expected);
    }
    for _ in 0..6 {
        fake.spoil("/v2/", Fault::Status(429, "toomanyrequests"));
    }
    let error = anonymous().manifest(&fake.at("a/b:1")).await.unwrap_err().to_string();
    assert!(error.contains("429") && error.contains("toomanyrequests"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_told_with_the_host() {
    super::fake::provider();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = anonymous().digest(&format!("{address}/a:1").parse().unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("127.0.0.1") && error.to_string().contains("refused"), "{error}");
    assert!(error.is_about_access());
}

#[tokio::test]
async fn a_manifest_that_is_another_is_refused() {
    let fake = FakeRegistry::start().await;
    let digest = fake.has_manifest("a/b", "1", MANIFEST_TYPES[2], &json!({"layers": []}));
    for reference in [fake.at("a/b:1"), fake.at("a/b:1").pinned(&digest)] {
        fake.spoil("GET /v2/a/b/manifests", Fault::Status(401, "so that the token comes first"));
        fake.spoil("GET /v2/a/b/manifests", Fault::Change);
        let registry = anonymous();
        registry.digest(&reference).await.unwrap();
        let error = registry.manifest(&reference).await;
        let error = match error {
            Err(error @ RegistryError::Refused { .. }) => {
                assert!(error.to_string().contains("401"));
                registry.manifest(&reference).await.unwrap_err()
            }
            other => other.unwrap_err(),
        };
        assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    }
}

async fn fetched(registry: &Registry, fake: &FakeRegistry, digest: &str, size: u64) -> Result<Vec<u8>, RegistryError> {
    let (mut sink, mut seen) = (Vec::new(), 0);
    registry.blob(&fake.at("a/b:1"), digest, size, &mut sink, &mut |bytes| seen += bytes).await?;
    assert_eq!(seen, sink.len() as u64);
    Ok(sink)
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off_and_is_checked() {
    let fake = FakeRegistry::start().await;
    let bytes: Vec<u8> = (0..100_000_u32).map(|number| (number % 251) as u8).collect();
    let digest = fake.has_blob("a/b", bytes.clone());
    let registry = anonymous();
    assert_eq!(fetched(&registry, &fake, &digest, 100_000).await.unwrap(), bytes);

    fake.spoil("GET /v2/a/b/blobs", Fault::BreakOff(30_000));
    fake.spoil("GET /v2/a/b/blobs", Fault::BreakOff(10_000));
    assert_eq!(fetched(&registry, &fake, &digest, 100_000).await.unwrap(), bytes);

    fake.spoil("GET /v2/a/b/blobs", Fault::Change);
    let error = fetched(&registry, &fake, &digest, 100_000).await.unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    let error = fetched(&registry, &fake, &digest, 99_999).await.unwrap_err();
    assert!(error.to_string().contains("more than 99999 bytes"), "{error}");
    for _ in 0..3 {
        fake.spoil("GET /v2/a/b/blobs", Fault::BreakOff(0));
    }
    let error = fetched(&registry, &fake, &digest, 100_000).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_blob_is_sent_once_from_memory_or_from_a_file() {
    let fake = FakeRegistry::start().await;
    let registry = as_user(&fake, USER.1);
    let reference = fake.at("a/b:1");
    let bytes = vec![7_u8; 600_000];
    let digest = format!("sha256:{}", sha256(&bytes));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, [b"before".to_vec(), bytes.clone(), b"behind".to_vec()].concat()).unwrap();
    let content = Content::File { file: Arc::new(File::open(path).unwrap()), offset: 6, size: 600_000 };

    fake.spoil("PUT /v2/a/b/blobs", Fault::Status(503, "busy"));
    assert!(registry.put_blob(&reference, &digest, &content).await.unwrap());
    assert!(!registry.put_blob(&reference, &digest, &Content::from(bytes.clone())).await.unwrap());
    assert_eq!(fake.kept().blobs[&("a/b".to_owned(), digest.clone())], bytes);

    let text = json!({"config": {"digest": digest}, "layers": []}).to_string();
    let manifest = Manifest {
        digest: format!("sha256:{}", sha256(text.as_bytes())),
        media_type: MANIFEST_TYPES[2].to_owned(),
        bytes: text.into(),
    };
    registry.put_manifest(&reference, &manifest).await.unwrap();
    assert_eq!(registry.digest(&reference).await.unwrap(), manifest.digest);
}

#[tokio::test]
async fn who_may_not_push_is_told_so() {
    let fake = FakeRegistry::start().await;
    let content = Content::from(&b"x"[..]);
    let digest = format!("sha256:{}", sha256(b"x"));
    let error = anonymous().put_blob(&fake.at("a/b:1"), &digest, &content).await.unwrap_err();
    assert!(error.is_about_access() && error.hint().unwrap().contains("docker login"), "{error}");
}

#[tokio::test]
async fn the_place_of_an_upload_is_not_told_who_we_are() {
    let fake = FakeRegistry::start().await;
    let other = FakeRegistry::start().await;
    fake.kept().elsewhere = Some(format!("http://{}", other.address));
    let registry = as_user(&fake, USER.1);
    let digest = format!("sha256:{}", sha256(b"x"));
    let error = registry.put_blob(&fake.at("a/b:1"), &digest, &Content::from(&b"x"[..])).await.unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
    let log = other.kept().log.clone();
    assert!(log.len() == 1 && log[0].starts_with("PUT") && log[0].ends_with(' '), "no authorization: {log:?}");
}
