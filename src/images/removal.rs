//! Takes our images off the nodes again.

use std::path::Path;

use futures::{StreamExt, stream};

use super::{
    Removed,
    deliver::{AT_ONCE, LIMIT, run},
    executable::REPOSITORY,
    plan::{AIR_GAP_PREFIX, Command, FILE_PREFIX, LOADED, Removal, UNPINNED, file_name, removals},
    route::Route,
};

/// Removes what the route leads to. What cannot be removed is told, and hinders nothing else.
pub(super) async fn remove(route: &Route, keep: Option<&str>) -> Removed {
    let mut removed: Removed = stream::iter(removals(route))
        .map(async |removal| match &removal {
            Removal::Ctr { place, list, remove, label } => {
                let outcome = from_containerd(list, remove, label, keep).await;
                outcome.map_err(|error| format!("{place}: {error}"))
            }
            Removal::Folder { place, folder } => {
                from_folder(folder, keep).await.map_err(|error| format!("{place}: {}: {error}", folder.display()))
            }
        })
        .buffer_unordered(AT_ONCE)
        .fold(Removed::default(), async |mut removed, outcome| {
            match outcome {
                Ok(count) => removed.count += count,
                Err(why) => removed.left.push(why),
            }
            removed
        })
        .await;
    if let Route::MicroK8s { nodes, .. } = route
        && nodes.len() > 1
    {
        removed.left.push("MicroK8s: only this node's images can be removed from here".to_owned());
    }
    removed.left.sort();
    removed
}

async fn from_containerd(
    list: &Command,
    remove: &Command,
    label: &Command,
    keep: Option<&str>,
) -> Result<usize, super::deliver::CommandError> {
    let table = run(list, None, LIMIT).await?;
    if keep.is_none() {
        for name in loaded(&table) {
            let mut unpin = label.clone();
            unpin.arguments.push(name.to_owned());
            unpin.arguments.extend(UNPINNED.map(str::to_owned));
            run(&unpin, None, LIMIT).await?;
        }
    }
    let found = records(&table, keep);
    if found.is_empty() {
        return Ok(0);
    }
    let count = found.iter().filter(|name| is_ours(name)).count();
    let mut remove = remove.clone();
    remove.arguments.extend(found);
    run(&remove, None, LIMIT).await?;
    Ok(count)
}

/// The records to remove, from the table that `ctr images ls` prints: name, type, digest, and more.
///
/// An image has several records in containerd: its name, the `sha256:…` of its configuration that the
/// CRI plugin adds, and with `--digests` one `import-<date>@sha256:…`. Its content stays as long as one
/// of them does. A name that somebody else gave to the same image is theirs, and stays.
fn records(table: &str, keep: Option<&str>) -> Vec<String> {
    let rows: Vec<(&str, &str)> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?, columns.nth(1)?))
        })
        .collect();
    let kept = rows.iter().find(|(name, _)| Some(*name) == keep).map(|(_, digest)| *digest);
    let of_ours: Vec<&str> = rows.iter().filter(|(name, _)| is_ours(name)).map(|(_, digest)| *digest).collect();
    rows.iter()
        .filter(|(name, digest)| {
            let nameless = name.starts_with("sha256:") || (name.starts_with("import-") && name.contains("@sha256:"));
            let named = is_ours(name) && Some(*name) != keep;
            named || (nameless && of_ours.contains(digest) && Some(*digest) != kept)
        })
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

/// Images of `images load` that are not ours: with our mark, in the last column.
fn loaded(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| {
        let mut columns = line.split_whitespace();
        let name = columns.next()?;
        let marked = columns.next_back()?.split(',').any(|label| label == LOADED);
        (marked && !is_ours(name)).then_some(name)
    })
}

fn is_ours(name: &str) -> bool {
    name.strip_prefix(REPOSITORY).is_some_and(|rest| rest.starts_with(':'))
}

async fn from_folder(folder: &Path, keep: Option<&str>) -> std::io::Result<usize> {
    let kept = keep.map(file_name);
    let mut count = 0;
    let mut files = tokio::fs::read_dir(folder).await?;
    while let Some(file) = files.next_entry().await? {
        let name = file.file_name();
        let name = name.to_string_lossy();
        let ours = name.starts_with(FILE_PREFIX) && Some(&*name) != kept.as_deref();
        let loaded = keep.is_none() && name.starts_with(AIR_GAP_PREFIX);
        if (ours || loaded) && name.ends_with(".tar") {
            tokio::fs::remove_file(file.path()).await?;
            count += 1;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::fake::Fake, *};

    /// As containerd 1.6.20 prints it.
    const TABLE: &str = "\
REF                                         TYPE                                       DIGEST       SIZE    PLATFORMS   LABELS
docker.io/library/busybox:1.37              application/vnd.oci.image.manifest.v1+json sha256:bbbb  1.5 MiB linux/amd64 -
import-2026-11-25@sha256:1111               application/vnd.oci.image.manifest.v1+json sha256:1111  1.5 MiB linux/amd64 -
localhost:5000/scalekit:mine                application/vnd.oci.image.manifest.v1+json sha256:1111  1.5 MiB linux/amd64 -
scalekit.local/scalekit-other:1             application/vnd.oci.image.manifest.v1+json sha256:3333  1.5 MiB linux/amd64 -
scalekit.local/scalekit:0.1.0-111111111111  application/vnd.oci.image.manifest.v1+json sha256:1111  1.5 MiB linux/amd64 io.cri-containerd.pinned=pinned
scalekit.local/scalekit:0.2.0-222222222222  application/vnd.oci.image.manifest.v1+json sha256:2222  1.5 MiB linux/amd64 io.cri-containerd.pinned=pinned
sha256:c111                                 application/vnd.oci.image.manifest.v1+json sha256:1111  1.5 MiB linux/amd64 -
sha256:c222                                 application/vnd.oci.image.manifest.v1+json sha256:2222  1.5 MiB linux/amd64 -
sha256:cbbb                                 application/vnd.oci.image.manifest.v1+json sha256:bbbb  1.5 MiB linux/amd64 -
";

    #[test]
    fn all_records_of_our_images_go_and_nobody_elses() {
        let all = [
            "import-2026-11-25@sha256:1111",
            "scalekit.local/scalekit:0.1.0-111111111111",
            "scalekit.local/scalekit:0.2.0-222222222222",
            "sha256:c111",
            "sha256:c222",
        ];
        assert_eq!(records(TABLE, None), all);
    }

    #[test]
    fn the_one_to_keep_keeps_all_its_records() {
        let kept = records(TABLE, Some("scalekit.local/scalekit:0.2.0-222222222222"));
        let old = ["import-2026-11-25@sha256:1111", "scalekit.local/scalekit:0.1.0-111111111111", "sha256:c111"];
        assert_eq!(kept, old);
        // Built differently, called differently, the same bytes: nothing of it may go but the other name.
        let same = TABLE.replace("sha256:1111 ", "sha256:2222 ");
        let kept = records(&same, Some("scalekit.local/scalekit:0.2.0-222222222222"));
        assert_eq!(kept, ["scalekit.local/scalekit:0.1.0-111111111111"]);
    }

    #[test]
    fn an_empty_table_has_none() {
        assert!(records("", None).is_empty());
        assert!(records("REF TYPE DIGEST SIZE PLATFORMS LABELS\n", None).is_empty());
    }

    #[tokio::test]
    async fn containerd_is_asked_and_then_told_once() {
        let fake = Fake::new("k3s", &format!("case \"$*\" in *' ls') cat <<'END'\n{TABLE}END\n;; esac"));
        let route = Route::K3s { k3s: fake.program(), node: "pi".into() };
        let removed = remove(&route, Some("scalekit.local/scalekit:0.2.0-222222222222")).await;
        assert_eq!(removed, Removed { count: 1, left: Vec::new() });
        let expected = "ctr --namespace k8s.io images ls\n\
            ctr --namespace k8s.io images rm --sync import-2026-11-25@sha256:1111 \
            scalekit.local/scalekit:0.1.0-111111111111 sha256:c111\n";
        assert_eq!(fake.read("log"), expected);
    }

    #[tokio::test]
    async fn the_pin_is_taken_off_what_was_loaded_when_everything_goes_and_not_before() {
        let table = TABLE.replace(
            "1.5 MiB linux/amd64 -\nimport",
            "1.5 MiB linux/amd64 io.cri-containerd.pinned=pinned,scalekit.dev/loaded=true\nimport",
        );
        let fake = Fake::new("k3s", &format!("case \"$*\" in *' ls') cat <<'END'\n{table}END\n;; esac"));
        let route = Route::K3s { k3s: fake.program(), node: "pi".into() };
        remove(&route, Some("scalekit.local/scalekit:0.2.0-222222222222")).await;
        assert!(!fake.read("log").contains("label"), "{}", fake.read("log"));
        remove(&route, None).await;
        let expected = "images label docker.io/library/busybox:1.37 io.cri-containerd.pinned= scalekit.dev/loaded=\n";
        assert!(fake.read("log").contains(expected), "{}", fake.read("log"));
        assert!(!fake.read("log").contains("rm --sync docker.io"), "{}", fake.read("log"));
    }

    #[tokio::test]
    async fn nothing_is_told_where_nothing_is_ours() {
        let fake = Fake::new("microk8s", "echo REF TYPE DIGEST; echo docker.io/library/busybox:1 x sha256:bbbb");
        let nodes = vec!["edge-1".into(), "edge-2".into()];
        let removed = remove(&Route::MicroK8s { microk8s: fake.program(), nodes }, None).await;
        let left = vec!["MicroK8s: only this node's images can be removed from here".to_owned()];
        assert_eq!(removed, Removed { count: 0, left });
        assert_eq!(fake.read("log"), "ctr --namespace k8s.io images ls\n");
    }

    #[tokio::test]
    async fn archives_in_a_folder_go_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["scalekit-0.1.0-111111111111.tar", "scalekit-0.2.0-222222222222.tar", "k3s-airgap.tar", "x.txt"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let route = Route::K3sFolder { folder: folder.path().to_owned(), node: "pi".into() };
        let removed = remove(&route, Some("scalekit.local/scalekit:0.2.0-222222222222")).await;
        assert_eq!(removed, Removed { count: 1, left: Vec::new() });
        assert_eq!(remove(&route, None).await.count, 1);
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["k3s-airgap.tar", "x.txt"]);
    }

    #[tokio::test]
    async fn what_cannot_be_removed_is_told() {
        let route = Route::K3sFolder { folder: "/nowhere".into(), node: "pi".into() };
        let removed = remove(&route, None).await;
        assert!(removed.left[0].starts_with("node pi: /nowhere: No such file"), "{removed:?}");
        let route = Route::K3s { k3s: "/nowhere/k3s".into(), node: "pi".into() };
        assert_eq!(remove(&route, None).await.left, ["node pi: cannot start /nowhere/k3s"]);
    }
}
