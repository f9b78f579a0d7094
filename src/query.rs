//! Query strings of URLs.

use std::fmt::Write as _;

/// Encodes names with their values, `application/x-www-form-urlencoded`. Names are taken as they are.
pub fn encode(pairs: &[(&str, &str)]) -> String {
    let mut encoded = String::new();
    for (name, value) in pairs {
        if !encoded.is_empty() {
            encoded.push('&');
        }
        encoded.push_str(name);
        encoded.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_means_something_in_a_query_is_encoded() {
        let pairs = [("query", "sum(a{b=\"c d\"}) + 1"), ("time", "1.5"), ("of", "ä&~")];
        assert_eq!(super::encode(&pairs), "query=sum%28a%7Bb%3D%22c%20d%22%7D%29%20%2B%201&time=1.5&of=%C3%A4%26~");
        assert_eq!(super::encode(&[]), "");
    }
}
