//! The command line of `quackd`.

use std::path::PathBuf;

use quack_admin::config::{AdminFace, Configuration, Secret};
use quack_types::NodeId;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: quackd serve --config FILE
       quackd --data-dir FOLDER [--listen URI] [--token-file FILE | --token TOKEN] [--node-id NAME] [--catalog NAME]
              [--admin-port PORT] [--extension FILE]

  serve --config FILE a node's configuration, as docs/configuration.md describes it (default: $CONFIG_FILE);
                      `quackctl cp-metadata validate-config` checks it

  --data-dir FOLDER   where the node keeps its log and its tables; made if absent
  --listen URI        quack:host:port (default quack:localhost:9494; port 0 takes a free one)
  --token-file FILE   holds what clients must show, at least 16 characters (default: a random token, printed at start);
                      only this user may read the file
  --token TOKEN       the same in the command line, where every user of the machine can read it: for trying
  --node-id NAME      name of the node (default n0)
  --catalog NAME      name of the catalog in SQL (default cp)
  --admin-port PORT   health and metrics at http://127.0.0.1:PORT (default: none; 0 takes a free one)
  --extension FILE    quack.duckdb_extension (default: beside this program, or ../extension/)";

/// Where the node listens when the command line does not say.
const LISTEN: &str = "quack:localhost:9494";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// To print the usage.
    Help,
    /// To serve what a file says.
    File(PathBuf),
    /// To serve what the command line says.
    Flags(Box<Configuration>),
}

/// The flags, as they were written.
#[derive(Default)]
struct Flags {
    data_dir: Option<String>,
    listen: Option<String>,
    token: Option<String>,
    token_file: Option<String>,
    node_id: Option<String>,
    catalog: Option<String>,
    admin_port: Option<String>,
    extension: Option<String>,
}

impl Command {
    /// Reads the arguments behind the program's name. `config_file` is the environment's default for `--config`.
    pub fn parse(
        arguments: impl IntoIterator<Item = String>,
        config_file: Option<String>,
    ) -> Result<Self, String> {
        let mut arguments = arguments.into_iter().peekable();
        if arguments.peek().map(String::as_str) == Some("serve") {
            arguments.next();
            return parse_serve(arguments, config_file);
        }
        let mut flags = Flags::default();
        while let Some(name) = arguments.next() {
            let target = match name.as_str() {
                "--help" | "-h" => return Ok(Self::Help),
                "--data-dir" => &mut flags.data_dir,
                "--listen" => &mut flags.listen,
                "--token" => &mut flags.token,
                "--token-file" => &mut flags.token_file,
                "--node-id" => &mut flags.node_id,
                "--catalog" => &mut flags.catalog,
                "--admin-port" => &mut flags.admin_port,
                "--extension" => &mut flags.extension,
                _ => return Err(format!("unknown argument '{name}'")),
            };
            take(&name, target, arguments.next())?;
        }
        flags.into_configuration().map(Box::new).map(Self::Flags)
    }
}

fn parse_serve(
    mut arguments: impl Iterator<Item = String>,
    config_file: Option<String>,
) -> Result<Command, String> {
    let mut file = None;
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--help" | "-h" => return Ok(Command::Help),
            "--config" => take(&name, &mut file, arguments.next())?,
            _ => return Err(format!("unknown argument '{name}'")),
        }
    }
    let file = file.or(config_file).ok_or("--config is missing: name the node's configuration")?;
    Ok(Command::File(file.into()))
}

fn take(name: &str, target: &mut Option<String>, value: Option<String>) -> Result<(), String> {
    let value = value.ok_or_else(|| format!("{name} needs a value"))?;
    match target.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is given twice")),
    }
}

impl Flags {
    fn into_configuration(self) -> Result<Configuration, String> {
        let data_dir = self.data_dir.ok_or("--data-dir is missing")?;
        let listen = self.listen.as_deref().unwrap_or(LISTEN);
        let listen = listen.parse().map_err(|error| format!("--listen: {error}"))?;
        let mut configuration = Configuration::new(data_dir.into(), listen);
        configuration.token = match (self.token, self.token_file) {
            (Some(_), Some(_)) => {
                return Err("--token and --token-file are both given: leave one out".to_owned());
            }
            (token, None) => token.map(Secret::new),
            (None, Some(file)) => {
                let token = quack_net::read_token(file.as_ref());
                Some(Secret::new(token.map_err(|error| format!("--token-file: {error}"))?))
            }
        };
        let node_id = self.node_id.map(NodeId::new).transpose();
        configuration.node_id = node_id.map_err(|error| format!("--node-id: {error}"))?;
        configuration.catalog = self.catalog;
        configuration.extension = self.extension.map(PathBuf::from);
        if let Some(port) = self.admin_port {
            let port =
                port.parse().map_err(|_| format!("--admin-port '{port}' is not a port: give 0 to 65535"))?;
            configuration.admin = Some(AdminFace { port, ..AdminFace::default() });
        }
        Ok(configuration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quack_admin::serve_statement;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(str::to_owned), None)
    }

    #[test]
    fn every_flag_reaches_the_statement_quoted() {
        let line = "--data-dir /d --listen quack:h:1 --token o'k1 --node-id n1 --catalog c --admin-port 0";
        let Command::Flags(configuration) = parse(line).unwrap() else { panic!("flags were given") };
        let expected = "CALL quack_serve('quack:h:1', data_dir := '/d', token := 'o''k1', node_id := 'n1', catalog := 'c')";
        assert_eq!(serve_statement(&configuration), expected);
        assert_eq!(configuration.admin.unwrap().port, 0);
    }

    #[test]
    fn a_file_is_named_by_the_flag_or_the_environment() {
        assert_eq!(parse("serve --config a.yaml"), Ok(Command::File("a.yaml".into())));
        let from_environment = Command::parse(["serve".to_owned()], Some("e.yaml".to_owned()));
        assert_eq!(from_environment, Ok(Command::File("e.yaml".into())));
    }

    #[test]
    fn a_wrong_command_line_is_refused_by_name() {
        for (line, message) in [
            ("", "--data-dir is missing"),
            ("--data-dir", "--data-dir needs a value"),
            ("--data-dir a --data-dir b", "--data-dir is given twice"),
            ("--data-dir a --bogus", "unknown argument '--bogus'"),
            ("--data-dir a --admin-port x", "--admin-port 'x' is not a port: give 0 to 65535"),
            (
                "--data-dir a --token x --token-file y",
                "--token and --token-file are both given: leave one out",
            ),
            ("serve", "--config is missing: name the node's configuration"),
            ("serve --config", "--config needs a value"),
            ("serve --data-dir a", "unknown argument '--data-dir'"),
        ] {
            assert_eq!(parse(line).unwrap_err(), message);
        }
        assert!(parse("--data-dir a --listen h").unwrap_err().starts_with("--listen: "));
        let error = parse("--data-dir a --token-file /dev/null/nothing").unwrap_err();
        assert!(error.starts_with("--token-file: cannot read"), "{error}");
        assert!(parse("--data-dir a --node-id a/b").unwrap_err().starts_with("--node-id: "));
        assert_eq!(parse("--data-dir a --help"), Ok(Command::Help));
        assert_eq!(parse("serve --help"), Ok(Command::Help));
    }
}
