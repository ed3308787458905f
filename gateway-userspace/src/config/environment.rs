//! The variables that a configuration may use: looked up by name, and listed where that is possible.

/// Variables, from the process or from a test.
pub struct Environment<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    names: Option<Vec<String>>,
}

impl<'a> Environment<'a> {
    /// Variables that can only be looked up: an override that names no setting is then not noticed.
    pub fn by_name(lookup: &'a dyn Fn(&str) -> Option<String>) -> Environment<'a> {
        Environment { lookup, names: None }
    }

    /// Variables whose names are known too.
    pub fn listed(lookup: &'a dyn Fn(&str) -> Option<String>, names: Vec<String>) -> Environment<'a> {
        Environment { lookup, names: Some(names) }
    }

    /// The variables of this process. One that is not UTF-8 counts as not set.
    pub fn of_process() -> Environment<'static> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
        Environment { lookup: &|name| std::env::var(name).ok(), names: Some(names) }
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    /// The names of all variables, if they are known.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }
}
