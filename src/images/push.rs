//! Sends the images of an archive into a registry.

use std::{collections::BTreeSet, time::Instant};

use super::{
    Archive,
    archive::{Named, Packed},
    megabytes,
    reference::Reference,
    registry::Registry,
    transfer::TransferError,
};
use crate::event::{Event, Reporter, Step};

/// An image that is in the registry now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pushed {
    /// Its name in the archive.
    pub from: String,
    /// Its name in the registry.
    pub to: String,
    /// Digest of its manifest there.
    pub digest: String,
}

/// Sends every image of the archive to where `to` says that its name leads.
///
/// An image of several platforms arrives as the one that is in the archive: under its tag, with the digest of that one.
/// A name by digest alone is sent by the digest of its manifest. What the registry has is not sent again.
///
/// # Errors
///
/// The registry's answer. Images that were sent before stay there; pushing again does no harm.
pub async fn push(
    registry: &Registry,
    archive: &Archive,
    to: &dyn Fn(&Reference) -> Reference,
    reporter: &dyn Reporter,
) -> Result<Vec<Pushed>, TransferError> {
    let began = Instant::now();
    let images = distinct(&archive.images)
        .into_iter()
        .map(|named| Ok((named, archive.image(&named.target)?)))
        .collect::<Result<Vec<(&Named, Packed)>, TransferError>>()?;
    let total = images.iter().flat_map(|(_, image)| &image.blobs).map(|(blob, _)| blob.size).sum();
    reporter.report(Event::StepStarted { step: Step::Upload, total: Some(images.len()) });
    let (mut done, mut sent) = (0, 0);
    let mut pushed = Vec::new();
    for (named, image) in images {
        let place = Reference { digest: None, ..to(&named.name) };
        for (blob, content) in &image.blobs {
            reporter.report(Event::Transfer { what: place.to_string(), bytes: done, total });
            if registry.put_blob(&place, &blob.digest, content).await? {
                sent += blob.size;
            }
            done += blob.size;
        }
        registry.put_manifest(&place, &image.manifest).await?;
        let digest = image.manifest.digest;
        let to = if place.tag.is_some() { place } else { place.pinned(&digest) };
        reporter.report(Event::Note { message: to.to_string() });
        pushed.push(Pushed { from: named.name.to_string(), to: to.to_string(), digest });
    }
    let summary = format!("{} images, {} sent", pushed.len(), megabytes(sent));
    reporter.report(Event::StepFinished { step: Step::Upload, took: began.elapsed(), summary });
    Ok(pushed)
}

/// The names without those by digest of what has a name by tag, too.
fn distinct(images: &[Named]) -> Vec<&Named> {
    let tagged: BTreeSet<(String, &str)> = images
        .iter()
        .filter(|named| named.name.tag.is_some())
        .map(|named| (named.name.name(), named.target.digest.as_str()))
        .collect();
    let again = |named: &&Named| tagged.contains(&(named.name.name(), named.target.digest.as_str()));
    images.iter().filter(|named| named.name.tag.is_some() || !again(named)).collect()
}
