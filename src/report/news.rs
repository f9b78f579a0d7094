//! What is said of a wait where there is no live line.

use std::collections::BTreeMap;

/// What is being waited for and has not been said yet, where there is no live line to show it in.
#[derive(Default)]
pub(super) struct News {
    /// What is waited for, and why; what came first is said first.
    unsaid: Vec<(String, String)>,
    said: BTreeMap<String, String>,
}

impl News {
    /// Takes why something is waited for. It is said unless it was the last that was said about it.
    pub(super) fn changed(&mut self, what: String, why: String) {
        let is_said = self.said.get(&what) == Some(&why);
        let place = self.unsaid.iter().position(|(known, _)| *known == what);
        match place {
            Some(place) if is_said => {
                self.unsaid.remove(place);
            }
            Some(place) => self.unsaid[place].1 = why,
            None if !is_said => self.unsaid.push((what, why)),
            None => {}
        }
    }

    /// Something is not waited for any more.
    pub(super) fn over(&mut self, what: &str) {
        self.unsaid.retain(|(known, _)| known != what);
    }

    /// Nothing is waited for any more.
    pub(super) fn all_over(&mut self) {
        self.unsaid.clear();
        self.said.clear();
    }

    /// The next line to say.
    pub(super) fn next(&mut self) -> Option<String> {
        if self.unsaid.is_empty() {
            return None;
        }
        let (what, why) = self.unsaid.remove(0);
        let line = format!("  … {what}: {why}");
        self.said.insert(what, why);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(news: &mut News) -> Vec<String> {
        std::iter::from_fn(|| news.next()).collect()
    }

    #[test]
    fn each_change_is_said_once() {
        let mut news = News::default();
        for why in ["a", "a", "b"] {
            news.changed("x".to_owned(), why.to_owned());
        }
        assert_eq!(said(&mut news), ["  … x: b"], "what has passed by is not said any more");
        news.changed("x".to_owned(), "b".to_owned());
        assert_eq!(said(&mut news), Vec::<String>::new());
        news.changed("x".to_owned(), "a".to_owned());
        assert_eq!(said(&mut news), ["  … x: a"]);
    }

    #[test]
    fn what_is_said_already_and_comes_back_is_not_said_again() {
        let mut news = News::default();
        news.changed("x".to_owned(), "a".to_owned());
        assert_eq!(said(&mut news).len(), 1);
        news.changed("x".to_owned(), "b".to_owned());
        news.changed("x".to_owned(), "a".to_owned());
        assert_eq!(said(&mut news), Vec::<String>::new());
    }

    #[test]
    fn what_came_first_is_said_first_and_what_is_over_not_at_all() {
        let mut news = News::default();
        for what in ["z", "y", "x"] {
            news.changed(what.to_owned(), "why".to_owned());
        }
        news.over("y");
        assert_eq!(said(&mut news), ["  … z: why", "  … x: why"]);
    }

    #[test]
    fn a_step_that_follows_says_it_anew() {
        let mut news = News::default();
        news.changed("x".to_owned(), "a".to_owned());
        assert_eq!(said(&mut news).len(), 1);
        news.all_over();
        news.changed("x".to_owned(), "a".to_owned());
        assert_eq!(said(&mut news).len(), 1);
    }
}
