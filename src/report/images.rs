//! Images in words, and as a part of a settings file.

use std::{fmt::Write, io};

use super::{
    data, document,
    progress::severity_mark,
    text::{plain_table, trimmed},
};
use crate::{
    catalog::Component,
    commands::{ListedImage, Lock},
    health::Severity,
    images::{Pushed, Saved, megabytes},
};

/// Prints which images the stack uses.
///
/// # Errors
///
/// When stdout takes no more.
pub fn images(listed: &[ListedImage]) -> io::Result<()> {
    let mut table = plain_table(&["COMPONENT", "IMAGE"]);
    for image in listed {
        table.add_row([image.component.name(), &image.reference]);
    }
    document(&format!("{}\n", trimmed(&table)))
}

/// Prints the images as `scalekit.yaml` takes them, and says on stderr which are not fixed, and why.
///
/// # Errors
///
/// When stdout takes no more.
pub fn lock(lock: &Lock) -> io::Result<()> {
    document(&block(lock))
}

/// Says which images are not fixed, and why.
pub fn unlocked(lock: &Lock) {
    for image in &lock.unlocked {
        anstream::eprintln!("{} {} is not fixed: {}", severity_mark(Severity::Error), image.reference, image.why);
        if let Some(hint) = &image.hint {
            anstream::eprintln!("  hint: {hint}");
        }
    }
}

fn block(lock: &Lock) -> String {
    let mut text = String::from("images:\n");
    for ListedImage { component, reference, side_loaded } in &lock.images {
        if *side_loaded {
            let _ = writeln!(text, "  # {component}: {reference} is made from this program: there is nothing to fix");
        } else {
            let _ = writeln!(text, "  {component}: {reference}");
        }
    }
    text
}

/// Says what is in an archive.
pub fn saved(saved: &Saved) {
    let mut text = String::new();
    for name in &saved.names {
        let _ = writeln!(text, "{name}");
    }
    data(&text);
    anstream::eprintln!("{} names, {}, {}", saved.names.len(), saved.platform, megabytes(saved.size));
}

/// Says what the nodes have now.
pub fn loaded(names: &[String]) {
    data(&names.iter().fold(String::new(), |text, name| text + name + "\n"));
}

/// Says what a registry has now, and how `up` takes it from there.
pub fn pushed(pushed: &[Pushed], registry: &str) {
    let mut text = String::new();
    for image in pushed {
        let _ = writeln!(text, "{}  {}", image.to, image.digest);
    }
    data(&text);
    let own = pushed.iter().find(|image| image.from.starts_with("scalekit.local/scalekit:"));
    let all = pushed.len() > 1;
    let registry = if all { format!(" --registry {registry}") } else { String::new() };
    let image = own.map(|own| format!(" --image {}={}", Component::Scaler, own.to)).unwrap_or_default();
    anstream::eprintln!("\nnext:\n  scalekit up{registry}{image}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_a_part_of_a_settings_file() {
        let image = |component, reference: &str, side_loaded| ListedImage {
            component,
            reference: reference.to_owned(),
            side_loaded,
        };
        let digest = format!("quay.io/prometheus/prometheus:v3@sha256:{}", "0".repeat(64));
        let lock = Lock {
            images: vec![
                image(Component::Prometheus, &digest, false),
                image(Component::Scaler, "scalekit.local/scalekit:1", true),
            ],
            unlocked: Vec::new(),
        };
        let text = block(&lock);
        let file: crate::settings::FileSettings = crate::yaml::parse(&text).unwrap();
        assert_eq!(file.images, [("prometheus".to_owned(), digest)].into());
        assert!(text.contains("  # scaler: scalekit.local/scalekit:1 "), "{text}");
    }
}
