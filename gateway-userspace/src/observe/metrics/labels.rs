//! Names, each with a label for good.

use std::collections::HashMap;
use std::sync::Arc;

use super::Label;

/// Every name that was given a label. Each worker asks for all names of a configuration after each reload, between two
/// requests, so a name is looked up and not searched for.
pub struct Labels {
    /// By their labels.
    names: Vec<Arc<str>>,
    known: HashMap<Arc<str>, Label>,
}

impl Labels {
    /// Nothing but [`Label::NONE`].
    pub fn new() -> Labels {
        let none: Arc<str> = Arc::from("");
        Labels { names: vec![none.clone()], known: HashMap::from([(none, Label::NONE)]) }
    }

    /// The label of a name, made on first use.
    pub fn of(&mut self, name: &str) -> Label {
        if let Some(label) = self.known.get(name) {
            return *label;
        }
        let label =
            Label(u32::try_from(self.names.len()).expect("a configuration has fewer than 2^32 names"));
        let name: Arc<str> = Arc::from(name);
        self.names.push(name.clone());
        self.known.insert(name, label);
        label
    }

    /// All names, in the order of their labels.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.names.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_label_and_two_names_have_two() {
        let mut labels = Labels::new();
        let (users, orders) = (labels.of("users"), labels.of("orders"));
        assert_eq!([labels.of("orders"), labels.of("users"), labels.of("")], [orders, users, Label::NONE]);
        assert_eq!(labels.names(), ["", "users", "orders"].map(Arc::from));
        assert_ne!(users, orders);
    }
}
