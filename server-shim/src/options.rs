//! The command line of `quackd`.

use std::path::PathBuf;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: quackd --data-dir FOLDER [--listen URI] [--token TOKEN] [--node-id NAME] [--catalog NAME] [--extension FILE]

  --data-dir FOLDER   where the node keeps its log and its tables; made if absent
  --listen URI        quack:host:port (default quack:localhost:9494; port 0 takes a free one)
  --token TOKEN       what clients must show, at least 4 characters (default: a random one, printed at start)
  --node-id NAME      name of the node (default n0)
  --catalog NAME      name of the catalog in SQL (default cp)
  --extension FILE    quack.duckdb_extension (default: beside this program, or ../extension/)";

/// A parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    data_dir: String,
    listen: Option<String>,
    token: Option<String>,
    node_id: Option<String>,
    catalog: Option<String>,
    extension: Option<String>,
}

/// A text as a SQL literal.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

impl Options {
    /// Reads the arguments behind the program's name; `None` when help is asked for.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut data_dir = None;
        let mut arguments = arguments.into_iter();
        while let Some(name) = arguments.next() {
            let target = match name.as_str() {
                "--help" | "-h" => return Ok(None),
                "--data-dir" => &mut data_dir,
                "--listen" => &mut options.listen,
                "--token" => &mut options.token,
                "--node-id" => &mut options.node_id,
                "--catalog" => &mut options.catalog,
                "--extension" => &mut options.extension,
                _ => return Err(format!("unknown argument '{name}'")),
            };
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            if target.replace(value).is_some() {
                return Err(format!("{name} is given twice"));
            }
        }
        options.data_dir = data_dir.ok_or("--data-dir is missing")?;
        Ok(Some(options))
    }

    /// The statement that loads the extension.
    pub fn load_statement(&self) -> Result<String, String> {
        let file = match &self.extension {
            Some(file) => PathBuf::from(file),
            None => find_extension()?,
        };
        Ok(format!("LOAD {}", quote(&file.to_string_lossy())))
    }

    /// The statement that starts the server.
    pub fn serve_statement(&self) -> String {
        let listen = self.listen.as_deref().unwrap_or("quack:localhost:9494");
        let mut arguments = vec![quote(listen), format!("data_dir := {}", quote(&self.data_dir))];
        for (name, value) in [("token", &self.token), ("node_id", &self.node_id), ("catalog", &self.catalog)]
        {
            if let Some(value) = value {
                arguments.push(format!("{name} := {}", quote(value)));
            }
        }
        format!("CALL quack_serve({})", arguments.join(", "))
    }
}

fn find_extension() -> Result<PathBuf, String> {
    let program =
        std::env::current_exe().map_err(|error| format!("cannot tell where this program is: {error}"))?;
    let folder = program.parent().unwrap_or(&program);
    let name = "quack.duckdb_extension";
    let places = [folder.join(name), folder.join("../extension").join(name)];
    let found = places.into_iter().find(|place| place.exists());
    found.ok_or_else(|| format!("{name} is not beside this program: name it with --extension"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn every_option_reaches_the_statement_quoted() {
        let options =
            parse("--data-dir /d --listen quack:h:1 --token o'k1 --node-id n1 --catalog c").unwrap().unwrap();
        let expected = "CALL quack_serve('quack:h:1', data_dir := '/d', token := 'o''k1', node_id := 'n1', catalog := 'c')";
        assert_eq!(options.serve_statement(), expected);
    }

    #[test]
    fn a_wrong_command_line_is_refused_by_name() {
        for (line, message) in [
            ("", "--data-dir is missing"),
            ("--data-dir", "--data-dir needs a value"),
            ("--data-dir a --data-dir b", "--data-dir is given twice"),
            ("--data-dir a --bogus", "unknown argument '--bogus'"),
        ] {
            assert_eq!(parse(line).unwrap_err(), message);
        }
        assert_eq!(parse("--data-dir a --help"), Ok(None));
    }
}
