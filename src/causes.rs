//! An error with all that lies behind it, in one clause.

use std::error::Error;

/// The chain of causes, each behind a colon: reqwest's own text stops at «error sending request».
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("the file was not read")]
    struct Unread(#[source] io::Error);

    #[test]
    fn what_lies_behind_an_error_follows_it() {
        let error = Unread(io::Error::other("the disk is gone"));
        assert_eq!(super::causes(&error), "the file was not read: the disk is gone");
        assert_eq!(super::causes(&io::Error::other("alone")), "alone");
    }
}
