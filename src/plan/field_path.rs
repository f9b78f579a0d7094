//! Looking a field up by the path with which the API server names it in a conflict.

use serde_json::Value;

/// The value at a path as structured-merge-diff writes it: `.spec.containers[name="a"].image`, `.data.a\.b`,
/// `.spec.finalizers[="x"]`, `.spec.list[0]`. `None` where there is nothing, or the path cannot be read.
pub fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = object;
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            // A name ends where the next selector begins; names with a dot in them are tried longest first.
            let (name, left) = named(value, after)?;
            value = value.get(name)?;
            rest = left;
        } else {
            let (selector, left) = rest.strip_prefix('[')?.split_once(']')?;
            value = selected(value, selector)?;
            rest = left;
        }
    }
    Some(value)
}

/// The longest key of the object with which the path goes on: keys may hold dots, and the API server does not quote
/// them.
fn named<'a, 'p>(value: &'a Value, path: &'p str) -> Option<(&'a str, &'p str)> {
    let keys = value.as_object()?.keys();
    let goes_on = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    keys.filter_map(|key| Some((key.as_str(), path.strip_prefix(key.as_str()).filter(|rest| goes_on(rest))?)))
        .max_by_key(|(key, _)| key.len())
}

fn selected<'a>(list: &'a Value, selector: &str) -> Option<&'a Value> {
    let list = list.as_array()?;
    if let Ok(position) = selector.parse::<usize>() {
        return list.get(position);
    }
    if let Some(wanted) = selector.strip_prefix('=') {
        let wanted: Value = serde_json::from_str(wanted).ok()?;
        return list.iter().find(|item| **item == wanted);
    }
    let wanted: Vec<(&str, Value)> = selector
        .split(',')
        .map(|pair| pair.split_once('=').and_then(|(key, value)| Some((key, serde_json::from_str(value).ok()?))))
        .collect::<Option<_>>()?;
    list.iter().find(|item| wanted.iter().all(|(key, value)| item.get(key) == Some(value)))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::a_field(".spec.replicas", Some(json!(3)))]
    #[case::a_key_with_dots(".data.prometheus.yml", Some(json!("x")))]
    #[case::an_item_by_key(r#".spec.containers[name="b"].image"#, Some(json!("i2")))]
    #[case::an_item_by_several_keys(r#".spec.ports[port=80,protocol="TCP"].name"#, Some(json!("http")))]
    #[case::an_item_by_value(r#".spec.set[="y"]"#, Some(json!("y")))]
    #[case::an_item_by_position(".spec.set[0]", Some(json!("x")))]
    #[case::not_there(".spec.paused", None)]
    #[case::no_such_item(r#".spec.containers[name="c"].image"#, None)]
    #[case::not_a_path("spec", None)]
    fn finds(#[case] path: &str, #[case] expected: Option<Value>) {
        let object = json!({"data": {"prometheus.yml": "x", "prometheus": "y"}, "spec": {"replicas": 3, "set": ["x", "y"],
            "containers": [{"name": "a", "image": "i1"}, {"name": "b", "image": "i2"}],
            "ports": [{"port": 80, "protocol": "UDP"}, {"port": 80, "protocol": "TCP", "name": "http"}]}});
        assert_eq!(at(&object, path), expected.as_ref());
    }
}
