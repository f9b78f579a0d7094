//! `scalekit alert explain`: what an alert means, for whom it woke. It asks no cluster.

use super::CommandError;
use crate::{alerting::Runbook, catalog, settings::nearest};

/// One alert, or all that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExplainedAlert {
    /// What was asked about.
    One {
        /// What is known of it.
        runbook: Runbook,
        /// `critical` or `warning`.
        severity: String,
        /// How long its expression has to hold; none where once is enough.
        after: Option<String>,
        /// In PromQL.
        expression: String,
    },
    /// Each alert.
    All(Vec<Runbook>),
}

/// What there is to say about an alert, or a list of all of them.
///
/// # Errors
///
/// [`CommandError::UnknownAlert`] when there is none of this name: the user's own have no runbook here.
pub fn alert_explain(name: Option<&str>) -> Result<ExplainedAlert, CommandError> {
    let Some(name) = name else { return Ok(ExplainedAlert::All(Runbook::all().collect())) };
    let found = Runbook::of(name).and_then(|runbook| Some((runbook, catalog::alert_rule(runbook.alert)?)));
    let Some((runbook, rule)) = found else {
        let asked = name.to_lowercase();
        let alerts = || Runbook::all().map(|runbook| runbook.alert);
        let mut alike: Vec<&str> = alerts().filter(|alert| alert.to_lowercase().contains(&asked)).collect();
        if alike.is_empty() {
            alike.extend(nearest(name, alerts()));
        }
        let alike = alike.into_iter().map(str::to_owned).collect();
        return Err(CommandError::UnknownAlert { name: name.to_owned(), alike });
    };
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Ok(ExplainedAlert::One {
        runbook,
        severity: text(&rule["labels"]["severity"]).unwrap_or_default(),
        after: text(&rule["for"]),
        expression: text(&rule["expr"]).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alert_is_explained_by_its_rule_and_its_runbook() {
        let Ok(ExplainedAlert::All(all)) = alert_explain(None) else { panic!("a list") };
        for runbook in all {
            let Ok(ExplainedAlert::One { severity, expression, .. }) = alert_explain(Some(runbook.alert)) else {
                panic!("{} is explained", runbook.alert)
            };
            assert!(!severity.is_empty() && !expression.is_empty(), "{}", runbook.alert);
        }
    }

    #[test]
    fn one_that_is_not_known_is_answered_with_those_that_it_may_be() {
        let error = alert_explain(Some("crashloop")).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(error.hint().as_deref(), Some("is it PodCrashLooping?"));
        for slip in ["PodCrashLoping", "podcrashloping"] {
            let error = alert_explain(Some(slip)).unwrap_err();
            assert_eq!(error.hint().as_deref(), Some("is it PodCrashLooping?"), "{slip}");
        }
        let error = alert_explain(Some("MyOwn")).unwrap_err();
        assert!(error.hint().unwrap().contains("`scalekit alert explain` lists"), "{:?}", error.hint());
    }
}
