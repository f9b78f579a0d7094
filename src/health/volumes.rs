//! Do the volumes have the sizes that are wanted.

use super::{Finding, Severity};
use crate::catalog::{Options, OtherSize, retention};

const CHECK: &str = "volumes";

/// What is to be said of volumes that keep another size, and of what Prometheus is to keep on its own; nothing where all is
/// as it is wanted. `options` are those that were fitted.
pub fn volumes(options: &Options, others: &[OtherSize]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = others.iter().map(of_size).collect();
    let misfit = retention::misfit(&options.retention.size, &options.storage.prometheus);
    if let Some(misfit) = misfit.filter(|_| !findings.iter().any(|finding| finding.severity == Severity::Error)) {
        let hint = "a smaller `retention.size` in the settings file, or none: then it is what fits";
        findings.push(Finding::new(CHECK, Severity::Error, format!("retention.size: {misfit}")).hint(hint));
    }
    findings
}

fn of_size(other: &OtherSize) -> Finding {
    let OtherSize { claim, has, wanted, why, asked } = other;
    if *asked {
        let message = format!("persistentvolumeclaim/{claim} has {has} and cannot get {wanted}: {why}");
        Finding::new(CHECK, Severity::Error, message).hint(format!(
            "leave {has} in the settings file, or let the data go: `scalekit down --purge-data`, then `scalekit up`"
        ))
    } else {
        let message = format!("persistentvolumeclaim/{claim} keeps its {has} where the profile has {wanted}: {why}");
        Finding::new(CHECK, Severity::Info, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(asked: bool) -> OtherSize {
        let [has, wanted, why] = ["5Gi", "2Gi", "a volume does not shrink"].map(str::to_owned);
        OtherSize { claim: "prometheus-data", has, wanted, why, asked }
    }

    #[test]
    fn a_profile_that_gives_way_is_told_and_a_size_that_was_asked_for_is_refused() {
        let options = Options::new("secret", "0.1.0");
        let [given] = &volumes(&options, &[other(false)])[..] else { panic!() };
        assert_eq!(given.severity, Severity::Info);
        assert!(given.message.contains("keeps its 5Gi where the profile has 2Gi"), "{}", given.message);
        let [refused] = &volumes(&options, &[other(true)])[..] else { panic!() };
        assert_eq!(refused.severity, Severity::Error);
        assert_eq!(volumes(&options, &[]), []);
    }

    #[test]
    fn what_prometheus_is_to_keep_has_to_fit_onto_the_volume_that_there_is() {
        let mut options = Options::new("secret", "0.1.0");
        options.retention.size = "10GB".to_owned();
        assert_eq!(volumes(&options, &[])[0].severity, Severity::Error);
    }
}
