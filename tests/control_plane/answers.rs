//! What comes of what servers answer, over the wire: each trouble has a reason of its own and a count that stays, and whoever
//! asks a server that is well goes on.

use std::fs;

use serde_json::json;

use crate::{
    listener::AUTHORITY,
    prometheus::{Says, Servers},
    scaler::{Expected, Scaler, asks, begin, make, objects, orders, take_away, until, until_ordered, until_told},
    tanks::tank,
    world::World,
};

/// More than an answer to one number ever has.
const LONG: usize = 1_000_000;

/// Who says what, why there is no number in it, and words from what is told of that.
type Trouble = (&'static str, Says, &'static str, &'static str);

fn troubles(servers: &Servers) -> Vec<Trouble> {
    let page = |status| Says::This(status, "<!DOCTYPE html><html><body>Log in</body></html>".to_owned());
    let series = vec!["1"; LONG / 30];
    let mut all = vec![
        ("hangs", Says::Nothing, "PrometheusTimeout", "did not answer within 5s"),
        ("hangs-later", Says::OnlyThatItAnswers, "PrometheusTimeout", "did not answer within 5s"),
        ("hangs-up", Says::Half, "PrometheusUnreachable", "see whether spec.metrics[0].prometheus.serverAddress"),
        ("breaks", page(500), "PrometheusHttpError", "answered with HTTP 500"),
        ("starts", page(503), "PrometheusHttpError", "it does not serve yet"),
        ("has-too-much-to-do", page(429), "PrometheusHttpError", "raise spec.interval"),
        ("is-behind-a-gateway", page(502), "PrometheusHttpError", "what stands before it does not reach it"),
        ("lets-nobody-in", page(401), "PrometheusUnauthorized", "see what spec.metrics[0].prometheus.auth gives it"),
        ("wants-a-login", page(200), "NotPrometheus", "without a page for a login before it"),
        ("is-elsewhere", Says::Elsewhere(servers.url("elsewhere")), "NotPrometheus", "HTTP 302"),
        ("says-a-megabyte", Says::values(&series), "AnswerTooLarge", "longer than 524288 bytes"),
        ("refuses", Says::error(400, "bad_data"), "InvalidQuery", "correct the PromQL"),
        ("is-slow", Says::error(503, "timeout"), "QueryTimeout", "cheaper"),
        ("lost-a-store", Says::answer(&json!({"warnings": ["store a is gone"]}), &["5"]), "PartialAnswer", "store a"),
        ("lost-a-node", Says::answer(&json!({"isPartial": true}), &["5"]), "PartialAnswer", "isPartial"),
    ];
    let numbers: [(&str, &[&str], &str, &str); 6] = [
        ("divides-nothing", &["NaN"], "NotANumber", "guard the division"),
        ("divides-by-nothing", &["+Inf"], "InfiniteValue", "guard the division"),
        ("falls-for-ever", &["-Inf"], "InfiniteValue", "guard the division"),
        ("is-below-zero", &["-5"], "NegativeValue", "clamp_min"),
        ("has-several", &["1", "2"], "SeveralSeries", "spec.metrics[0].prometheus.reduce"),
        ("has-none", &[], "MetricAbsent", ""),
    ];
    all.extend(numbers.map(|(name, values, reason, says)| (name, Says::values(values), reason, says)));
    all
}

/// All at once, and one that is well beside them. What any of them would come to as a number is fewer than there are, and
/// nothing would hold that up.
pub async fn what_servers_answer_is_told_and_lowers_no_count(world: &World) {
    begin(world).await;
    let servers = Servers::start().await;
    let troubles = troubles(&servers);
    let of = |name: &str, server: &str| [tank(name, 4), asks(name, Some(&servers.url(server)), &json!({}))];
    for (name, says, ..) in &troubles {
        servers.say(name, says.clone());
        make(world, of(name, name)).await;
    }
    servers.say("is-well", Says::values(&["45"]));
    // With what is there it calls for more, whatever is missing.
    servers.say("lost-little", Says::answer(&json!({"warnings": ["store b is gone"]}), &["45"]));
    // One question is too slow for it; the other is answered.
    servers.say("answers-one", Says::NothingAbout("slow", "45"));
    for name in ["is-well", "lost-little", "answers-one"] {
        make(world, of(name, name)).await;
    }
    make(world, of("asks-what-is-slow", "answers-one")).await;

    let scaler = Scaler::start(world, &["--prometheus-url", &servers.url("of-nobody")]).await;
    let told = |(name, _, reason, says): &Trouble| -> Expected<'static> { (*name, "ScalingActive", *reason, *says) };
    let mut expected: Vec<Expected<'_>> = troubles.iter().map(told).collect();
    expected.push(("asks-what-is-slow", "ScalingActive", "PrometheusTimeout", "did not answer within 5s"));
    expected.push(("is-well", "ScalingActive", "ValidMetricFound", ""));
    until_told(world, &expected).await;
    until_ordered(world, &["is-well", "lost-little", "answers-one"].map(|name| (name, 5))).await;
    // While all the others are in trouble, up and down.
    servers.say("is-well", Says::values(&["25"]));
    servers.say("answers-one", Says::NothingAbout("slow", "25"));
    until_ordered(world, &[("is-well", 3), ("answers-one", 3)]).await;
    // What a server that is well answers is looked at again and again.
    let again = ["says-a-megabyte", "refuses", "lost-a-store", "divides-nothing", "divides-by-nothing", "has-none"];
    until("they are asked again", async || match again.iter().find(|name| servers.asked(name) < 4) {
        Some(name) => Err((*name).to_owned()),
        None => Ok(()),
    })
    .await;
    for name in troubles.iter().map(|(name, ..)| *name).chain(["asks-what-is-slow"]) {
        assert_eq!(orders(world, name).await, (1, 4), "{name} was ordered nothing");
    }
    assert_eq!(servers.asked("elsewhere"), 0, "what is shown to one is not shown to another");

    // What was wrong with an answer is over with the next, and one that starts is looked for.
    let back = ["starts", "says-a-megabyte", "divides-nothing", "lost-a-store", "has-several", "has-none"];
    for name in back {
        servers.say(name, Says::values(&["15"]));
    }
    until_ordered(world, &back.map(|name| (name, 2))).await;
    scaler.end(world).await;
}

/// As `up --prometheus-url … --prometheus-secret …` starts it: what the Secret holds lies in a folder.
pub async fn the_server_of_all_is_shown_the_token_that_it_wants_and_believed_by_its_authority(world: &World) {
    begin(world).await;
    let servers = Servers::start_guarded("sesame-of-today").await;
    servers.say("guarded", Says::values(&["25"]));
    make(world, [tank("guarded", 1), asks("guarded", None, &json!({}))]).await;
    let url = servers.url("guarded").replace("http:", "https:");
    let believes = |authority: &'static [u8], token: &str| {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), authority).unwrap();
        fs::write(folder.path().join("token"), token).unwrap();
        folder
    };
    let another: &[u8] = include_bytes!("../cli/other-authority.pem");
    let unauthorized = "see the Secret that `scalekit up --prometheus-secret` names";
    let unbelieved = "that ca.crt of the Secret that `scalekit up --prometheus-secret` names has signed";
    for (authority, token, reason, says, ordered) in [
        (AUTHORITY, "sesame-of-yesterday", "PrometheusUnauthorized", unauthorized, (1, 1)),
        (another, "sesame-of-today", "PrometheusUnreachable", unbelieved, (1, 1)),
        (AUTHORITY, "sesame-of-today", "ValidMetricFound", "", (2, 3)),
    ] {
        let folder = believes(authority, token);
        let shows = ["--prometheus-url", &url, "--prometheus-credentials", folder.path().to_str().unwrap()];
        let scaler = Scaler::start(world, &shows).await;
        until_told(world, &[("guarded", "ScalingActive", reason, says)]).await;
        until_ordered(world, &[("guarded", ordered.1)]).await;
        scaler.stop().await;
        assert_eq!(orders(world, "guarded").await, ordered, "{reason}");
        let told = objects(world, "Autoscaler").get("guarded").await.unwrap().data["status"].to_string();
        assert!(!told.contains("sesame"), "{told}");
    }
    take_away(world).await;
}
