//! Which module may use what. The rules of the house, as data.

use crate::source::Mention;

/// What a module may use.
pub struct Rule {
    /// Path in the crate, `autoscaling::decision`. The longest one that fits a file holds.
    pub module: &'static str,
    /// Whether it is pure: no I/O, no clock, no runtime, no client.
    pub pure: bool,
    /// Modules of this crate that it may use, besides itself; of some, only a type.
    modules: &'static str,
    /// Other crates that it may use, or parts of them. `std` goes without saying.
    crates: &'static str,
}

impl Rule {
    /// Modules of this crate that it may use.
    pub fn modules(&self) -> impl Iterator<Item = &'static str> {
        self.modules.split_whitespace()
    }

    /// Other crates, or parts of them, that it may use.
    pub fn crates(&self) -> impl Iterator<Item = &'static str> {
        self.crates.split_whitespace()
    }
}

const fn pure(module: &'static str, modules: &'static str, crates: &'static str) -> Rule {
    Rule { module, pure: true, modules, crates }
}

const fn shell(module: &'static str, modules: &'static str, crates: &'static str) -> Rule {
    Rule { module, pure: false, modules, crates }
}

/// From the outside in: a module uses what stands below it.
pub const TABLE: &[Rule] = &[
    shell("", "", "mimalloc scalekit"),
    shell(
        "cli",
        "settings commands report cluster event catalog images::Architecture plan platform",
        "clap clap_complete clap_mangen open rustls tokio tokio_util tracing tracing_subscriber",
    ),
    shell(
        "report",
        "alerting commands autoscaling::explain autoscaling::api catalog event health images object plan readiness yaml",
        "anstream anstyle comfy_table indicatif kube::core serde serde_json similar terminal_size tracing",
    ),
    shell(
        "commands",
        "additions settings install preflight cluster prometheus images samples support autoscaling::controller \
         autoscaling::api autoscaling::explain alerting catalog causes plan readiness platform health event object yaml",
        "bytes futures getrandom http jiff k8s_openapi kube serde serde_json thiserror tokio tokio_util tracing",
    ),
    shell(
        "settings",
        "additions cluster catalog duration images::Architecture images::Reference platform quantity yaml",
        "jiff serde serde_json strsim thiserror",
    ),
    shell(
        "install",
        "cluster catalog plan readiness lease event object",
        "futures jiff k8s_openapi kube serde serde_json thiserror tokio tracing",
    ),
    shell(
        "preflight",
        "cluster catalog health object plan platform yaml",
        "futures http jiff k8s_openapi kube reqwest serde serde_json tokio",
    ),
    shell(
        "autoscaling::controller",
        "cluster prometheus metrics autoscaling::api autoscaling::policy autoscaling::explain autoscaling::replay \
         autoscaling::look_back autoscaling::decision lease catalog event object quantity",
        "axum bytes fastrand futures http jiff k8s_openapi kube prometheus_client serde serde_json thiserror \
         tokio tokio_util tower tracing",
    ),
    shell(
        "cluster",
        "prometheus object",
        "bytes futures http http_body_util hyper hyper_rustls hyper_util k8s_openapi kube rustls::pki_types serde_json \
         thiserror tokio tokio_util tower tower_http tracing",
    ),
    shell("metrics", "quantity query", "http jiff kube serde serde_json thiserror tokio"),
    shell("prometheus", "causes query", "bytes futures http reqwest serde serde_json thiserror tokio"),
    shell(
        "images",
        "causes event hex",
        "base64 bytes flate2 futures http http_body_util hyper::body oci_spec reqwest serde serde_json sha2 tar thiserror tokio",
    ),
    shell("support", "support::redaction", "flate2 tar"),
    pure("support::redaction", "", "base64 kube::core serde_json"),
    shell("samples", "", "axum prometheus_client serde thiserror tokio tokio_util tracing"),
    pure("autoscaling", "", ""),
    pure("autoscaling::policy", "autoscaling::api autoscaling::decision quantity", "jiff kube::core thiserror"),
    // Of kube the derive macros and their trait: types and their schema, no client.
    pure(
        "autoscaling::api",
        "quantity",
        "k8s_openapi kube::CustomResource kube::CustomResourceExt kube::KubeSchema kube::core::Rule schemars serde",
    ),
    pure("autoscaling::explain", "autoscaling::decision", "jiff serde serde_json"),
    pure("autoscaling::replay", "autoscaling::decision", "jiff"),
    pure("autoscaling::look_back", "duration", ""),
    pure("autoscaling::decision", "", "jiff serde"),
    pure("alerting", "catalog", "jiff serde serde_json"),
    pure("event", "health object", "serde"),
    // Of prometheus what an answer says about the scrape targets: values, no client.
    pure(
        "health",
        "plan catalog readiness platform object quantity prometheus::Target prometheus::TargetHealth \
         prometheus::Sample prometheus::Runtime prometheus::Tsdb",
        "jiff k8s_openapi kube::core serde serde_json",
    ),
    pure("plan", "catalog hex object", "k8s_openapi kube::core serde serde_json similar thiserror"),
    pure(
        "catalog",
        "additions hex object platform quantity yaml",
        "include_dir k8s_openapi kube::core serde serde_json sha2 thiserror",
    ),
    pure("additions", "duration yaml", "promql_parser::parser serde serde_json"),
    pure("readiness", "object platform", "jiff k8s_openapi kube::core serde serde_json"),
    pure("platform", "", "k8s_openapi serde_json thiserror"),
    pure("object", "", "kube::core serde serde_json"),
    pure("lease", "", "jiff k8s_openapi"),
    pure("causes", "", ""),
    pure("duration", "", ""),
    pure("hex", "", ""),
    pure("query", "", ""),
    pure("quantity", "", "thiserror"),
    pure("yaml", "", "serde serde_yaml thiserror"),
];

/// The part of std that a pure module has no business with.
const IMPURE: [&str; 15] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::path::Path::exists",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
    "jiff::tz::TimeZone::system",
    "k8s_openapi::jiff::Timestamp::now",
    "kube::core::subresource",
];

/// Calls that change the cluster, with the number of arguments that sets them apart from `str::replace` and its like.
const WRITES: [(&str, usize); 14] = [
    ("create", 2),
    ("create_subresource", 4),
    ("delete", 2),
    ("delete_collection", 2),
    ("evict", 2),
    ("patch", 3),
    ("patch_metadata", 3),
    ("patch_scale", 3),
    ("patch_status", 3),
    ("patch_subresource", 4),
    ("replace", 3),
    ("replace_scale", 3),
    ("replace_status", 3),
    ("restart", 1),
];

/// What those calls are given.
const WRITE_PARAMETERS: [&str; 5] = [
    "kube::api::DeleteParams",
    "kube::api::EvictParams",
    "kube::api::Patch",
    "kube::api::PatchParams",
    "kube::api::PostParams",
];

/// The only modules that write to the cluster.
const WRITERS: [&str; 2] = ["install", "autoscaling::controller"];

/// What breaks a rule: what was used, and the rule in words.
pub type Broken = (String, String);

/// The rule that holds for a module.
pub fn rule_for(module: &str) -> Option<&'static Rule> {
    TABLE
        .iter()
        .filter(|rule| is_within(module, rule.module) || (rule.module.is_empty() && module.is_empty()))
        .max_by_key(|rule| rule.module.len())
}

/// Judges one mention in a module.
pub fn judge(module: &str, mention: &Mention) -> Option<Broken> {
    let Some(rule) = rule_for(module) else {
        return Some((module.to_owned(), "every module stands in the table of tests/architecture/table.rs".to_owned()));
    };
    match mention {
        Mention::Path(path) => {
            let text = path.join("::");
            judge_path(rule, &text)
                .or_else(|| prints(rule, &text))
                .or_else(|| writes(rule, &text))
                .map(|rule| (text, rule))
        }
        Mention::Method(name, arguments) => {
            let writes = WRITES.contains(&(name.as_str(), *arguments)) && !may_write(rule);
            // A review of rights is a POST that stores nothing.
            let review = rule.module == "preflight" && name == "create";
            if writes && !review {
                return Some((format!(".{name}(…)"), only_writers(rule)));
            }
            let clock = name == "elapsed" && rule.pure;
            clock.then(|| (".elapsed()".to_owned(), is_pure(rule)))
        }
        Mention::Macro(name) => {
            let prints = ["print", "println", "eprint", "eprintln", "dbg"].contains(&name.as_str());
            (prints && rule.module != "report").then(|| (format!("{name}!"), "only report prints".to_owned()))
        }
    }
}

fn judge_path(rule: &Rule, path: &str) -> Option<String> {
    if rule.pure && IMPURE.iter().any(|impure| is_within(path, impure)) {
        return Some(is_pure(rule));
    }
    if let Some(inside) = path.strip_prefix("crate") {
        let inside = inside.trim_start_matches("::");
        let own = rule_for(inside).is_some_and(|target| target.module == rule.module);
        // What lies on the way to something that may be used; what it leads to is a mention of its own.
        let on_the_way = inside.is_empty()
            || is_within(rule.module, inside)
            || rule.modules().any(|used| is_type(used) && is_within(used, inside));
        let allowed = rule.modules().any(|module| is_within(inside, module));
        return (!own && !allowed && !on_the_way)
            .then(|| format!("{} may use of this crate only: {}", name_of(rule), listed(rule.modules)));
    }
    if ["std", "core", "alloc"].iter().any(|library| is_within(path, library)) {
        return None;
    }
    let allowed = rule.crates().any(|part| is_within(path, part) || is_within(part, path));
    (!allowed).then(|| {
        let pure = if rule.pure { "is pure, and " } else { "" };
        format!("{} {pure}may use of other crates only: {}", name_of(rule), listed(rule.crates))
    })
}

/// Whether a path ends in a type, which brings nothing of its module with it but values.
pub fn is_type(path: &str) -> bool {
    path.rsplit("::").next().is_some_and(|name| name.starts_with(char::is_uppercase))
}

fn prints(rule: &Rule, path: &str) -> Option<String> {
    let prints = is_within(path, "anstream") || is_within(path, "std::io::stdout");
    (prints && rule.module != "report").then(|| "only report prints".to_owned())
}

fn writes(rule: &Rule, path: &str) -> Option<String> {
    let writes = WRITE_PARAMETERS.iter().any(|parameter| is_within(path, parameter)) && !may_write(rule);
    let review = rule.module == "preflight" && path == "kube::api::PostParams";
    let review = review || (rule.module == "preflight" && path.starts_with("kube::api::PostParams::"));
    (writes && !review).then(|| only_writers(rule))
}

fn may_write(rule: &Rule) -> bool {
    WRITERS.contains(&rule.module)
}

fn only_writers(rule: &Rule) -> String {
    format!("{} does not write to the cluster, only {} do", name_of(rule), WRITERS.join(" and "))
}

fn is_pure(rule: &Rule) -> String {
    format!("{} is pure: no I/O, no clock", name_of(rule))
}

fn name_of(rule: &Rule) -> &'static str {
    if rule.module.is_empty() { "the root" } else { rule.module }
}

fn listed(names: &'static str) -> &'static str {
    if names.is_empty() { "nothing" } else { names }
}

/// Whether a path is another one or lies below it.
pub fn is_within(path: &str, outer: &str) -> bool {
    !outer.is_empty() && (path == outer || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with("::")))
}
