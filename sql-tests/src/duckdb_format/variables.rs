//! The names that stand for something else in a file: loops, the environment, folders.

use std::collections::BTreeMap;
use std::path::Path;

/// The value of a loop's variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// `i`, or `a,b` for two at once.
    pub name: String,
    /// `3`, or `x,y`.
    pub value: String,
}

/// What is replaced everywhere in a file, loops aside.
#[derive(Clone, Debug)]
pub struct Variables {
    /// Texts and what stands for them, in the order in which they are replaced.
    fixed: Vec<(String, String)>,
    /// What `require-env` and `test-env` have defined.
    environment: BTreeMap<String, String>,
}

impl Variables {
    /// `test` is the file's own empty folder, `working` the folder of the processes, `data` the common data,
    /// `name` the file's name with its folder.
    pub fn new(test: &Path, working: &Path, data: &Path, name: &str) -> Self {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let fixed = [
            ("__TEST_DIR__", path(test)),
            ("{TEST_DIR}", path(test)),
            ("__WORKING_DIRECTORY__", path(working)),
            ("{WORKING_DIRECTORY}", path(working)),
            ("{DATA_DIR}", path(data)),
            ("{TEST_NAME}", name.to_owned()),
            ("{BASE_TEST_NAME}", name.replace('/', "_")),
        ];
        let fixed = fixed.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Self { fixed, environment: BTreeMap::new() }
    }

    /// Makes `${name}` and `{name}` stand for `value`.
    ///
    /// Fails when the name is taken.
    pub fn define(&mut self, name: &str, value: &str) -> Result<(), String> {
        match self.environment.insert(name.to_owned(), value.to_owned()) {
            None => Ok(()),
            Some(_) => Err(format!("the variable \"{name}\" is defined already")),
        }
    }

    /// `text` with everything replaced; the loops from the outermost to the innermost.
    ///
    /// Fails when a loop over several names meets a value with another number of parts.
    pub fn replace(&self, text: &str, loops: &[Binding]) -> Result<String, String> {
        let mut text = self.replace_fixed(text);
        for binding in loops {
            let value = self.replace_fixed(&binding.value);
            let names: Vec<&str> = binding.name.split(',').collect();
            let values: Vec<&str> = if names.len() > 1 { value.split(',').collect() } else { vec![&value] };
            if names.len() != values.len() {
                return Err(format!(
                    "the loop over {} takes {} values at a time, and \"{value}\" has {}",
                    binding.name,
                    names.len(),
                    values.len()
                ));
            }
            for (name, value) in names.iter().zip(values) {
                text = text.replace(&format!("${{{name}}}"), value);
            }
        }
        Ok(text)
    }

    fn replace_fixed(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if !text.contains(['{', '_']) {
            return text;
        }
        for (name, value) in &self.environment {
            text = text.replace(&format!("${{{name}}}"), value).replace(&format!("{{{name}}}"), value);
        }
        for (key, value) in &self.fixed {
            text = text.replace(key, value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        Variables::new(Path::new("/t"), Path::new("/w"), Path::new("/d"), "area/file")
    }

    fn binding(name: &str, value: &str) -> Binding {
        Binding { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn folders_are_named_in_both_ways() {
        let text = "'__TEST_DIR__/a' '{TEST_DIR}' '__WORKING_DIRECTORY__' '{DATA_DIR}' {BASE_TEST_NAME}";
        assert_eq!(variables().replace(text, &[]).unwrap(), "'/t/a' '/t' '/w' '/d' area_file");
    }

    #[test]
    fn the_environment_is_defined_once() {
        let mut variables = variables();
        variables.define("X", "{TEST_DIR}/1").unwrap();
        assert_eq!(variables.replace("${X} {X} {'X': 1} ${Y}", &[]).unwrap(), "/t/1 /t/1 {'X': 1} ${Y}");
        assert!(variables.define("X", "2").unwrap_err().contains("\"X\""));
    }

    #[test]
    fn loops_take_one_name_or_several() {
        let loops = [binding("i", "7"), binding("a,b", "x,y")];
        assert_eq!(variables().replace("${i} ${a}-${b} {i}", &loops).unwrap(), "7 x-y {i}");
        assert_eq!(variables().replace("${l}", &[binding("l", "1,2")]).unwrap(), "1,2");
        assert!(variables().replace("", &[binding("a,b", "x")]).is_err());
    }
}
