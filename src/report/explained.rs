//! A decision, for people.

use std::fmt::Write;

use super::progress::{bold, dim};
use crate::{autoscaling::explain::ExplainedMetric, commands::Explained};

pub(super) fn explained(explained: &Explained) -> String {
    let Explained { namespace, autoscaler, target, mode, others, notes, explanation } = explained;
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write!(text, "{}: ", bold(&format!("{namespace}/{target}")));
    // The bounds are known from the first decision on.
    let _ = if explanation.problem.is_some() && explanation.max_replicas == 0 {
        writeln!(text, "no decision yet")
    } else {
        writeln!(
            text,
            "{} ordered, {} right (between {} and {})",
            explanation.current_replicas,
            explanation.desired_replicas,
            explanation.min_replicas,
            explanation.max_replicas
        )
    };
    let when = if explanation.from == explanation.to {
        format!("at {}", explanation.to)
    } else {
        format!("from {} to {}", explanation.from, explanation.to)
    };
    let _ = writeln!(text, "{}", dim(&format!("Autoscaler {autoscaler}, mode {mode:?}, decided {when}")));
    for other in others {
        let _ = writeln!(text, "Autoscaler {other} has the same target: `scalekit explain as/{other} -n {namespace}`");
    }
    let _ = writeln!(text);
    for (number, step) in explanation.steps.iter().enumerate() {
        let _ = writeln!(text, "  {}. {step}", number + 1);
    }
    if !explanation.would_change.is_empty() {
        let _ = writeln!(text);
    }
    for change in &explanation.would_change {
        let _ = writeln!(text, "  → {change}");
    }
    for note in notes {
        let _ = writeln!(text, "\nnote: {note}");
    }
    if explanation.recomputed {
        let _ = writeln!(
            text,
            "\nrecomputed: nobody remembers this decision. It was made again from what Prometheus kept, with the \
             Autoscaler as it is now"
        );
        for ExplainedMetric { name, .. } in explanation.metrics.iter().filter(|metric| metric.value.is_none()) {
            let _ = writeln!(text, "  without {name}, which could not be read for that time");
        }
        for assumption in &explanation.assumed {
            let _ = writeln!(text, "  assumed: {assumption}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autoscaling::{api::ModeSpec, explain::Explanation};

    #[test]
    fn it_reads_from_top_to_bottom() {
        let told = Explained {
            namespace: "demo".to_owned(),
            autoscaler: "watcherbot".to_owned(),
            target: "Deployment/watcherbot".to_owned(),
            mode: ModeSpec::Auto,
            others: vec!["second".to_owned()],
            notes: vec!["it is paused".to_owned()],
            explanation: Explanation {
                from: "2026-11-25T14:05:07Z".parse().expect("an instant"),
                to: "2026-11-25T14:07:07Z".parse().expect("an instant"),
                current_replicas: 1,
                desired_replicas: 3,
                min_replicas: 1,
                max_replicas: 5,
                metrics: vec![ExplainedMetric {
                    name: "latency".to_owned(),
                    value: None,
                    target: None,
                    proposed_replicas: None,
                }],
                steps: vec!["ordered: 1, there: 1".to_owned(), "3 instead of 1 is ordered".to_owned()],
                chain: None,
                would_change: vec!["needs 31 tasks to reach 4".to_owned()],
                problem: None,
                recomputed: true,
                assumed: vec!["none was ending".to_owned()],
            },
        };
        let text = anstream::adapter::strip_str(&explained(&told)).to_string();
        assert_eq!(
            text,
            "demo/Deployment/watcherbot: 1 ordered, 3 right (between 1 and 5)\n\
             Autoscaler watcherbot, mode Auto, decided from 2026-11-25T14:05:07Z to 2026-11-25T14:07:07Z\n\
             Autoscaler second has the same target: `scalekit explain as/second -n demo`\n\
             \n  1. ordered: 1, there: 1\n  2. 3 instead of 1 is ordered\n\
             \n  → needs 31 tasks to reach 4\n\
             \nnote: it is paused\n\
             \nrecomputed: nobody remembers this decision. It was made again from what Prometheus kept, with the \
             Autoscaler as it is now\n  without latency, which could not be read for that time\n  assumed: none was ending\n"
        );
    }
}
