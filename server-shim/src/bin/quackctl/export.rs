//! `quackctl export`.
//!
//! The folder stays as it is: a copy of it becomes a cluster of its own, which this process serves to itself, over loopback and
//! with a token that it draws, for as long as its tables are copied out.

use std::fs::{DirBuilder, File, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use quack_admin::config::Configuration;
use quack_admin::{Error, ExitCode, quote, serve_statement};
use quack_host::duckdb::Connection;
use quack_host::extension::load_statement;
use quack_offline::{Recovered, detached_copy};

use crate::arguments::{Export, ExportFormat};
use crate::output::{Output, group_json, group_line, left_out_json, left_out_line, line};
use crate::store;

/// Where the copy is served: at any port that is free.
const LISTEN: &str = "quack:127.0.0.1:0";
/// Only the user may look into what is unfinished.
const FOLDER_MODE: u32 = 0o700;

/// Writes the tables of a folder into a DuckDB file, or a folder of Parquet files.
pub fn export(arguments: &Export) -> Output {
    try_export(arguments).unwrap_or_else(|output| *output)
}

/// The folder of temporary files beside the file that is to be written; removed at the end, also after an error.
struct Unfinished(PathBuf);

impl Unfinished {
    fn create(to: &Path) -> Result<Self, Error> {
        let mut name = to.as_os_str().to_owned();
        name.push(".unfinished");
        let path = PathBuf::from(name);
        DirBuilder::new().mode(FOLDER_MODE).create(&path).map_err(|error| Error::of_file(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("quackctl: {} could not be removed: {error}", self.0.display());
        }
    }
}

fn try_export(arguments: &Export) -> Result<Output, Box<Output>> {
    let refuse = |error: Error| Box::new(Output::from(error));
    let failed = |error: String| Box::new(Output::done(error).ending(ExitCode::Failed));
    let to = &arguments.to;
    if to.exists() {
        let message = format!("{} exists already: name another one", to.display());
        return Err(Box::new(Output::invalid(message)));
    }
    let unfinished = Unfinished::create(to).map_err(refuse)?;
    let folder = unfinished.0.join("folder");
    let exported = Exported {
        file: unfinished.0.join("tables.duckdb"),
        parquet: (arguments.format == ExportFormat::Parquet).then(|| unfinished.0.join("tables")),
    };
    let recovered = detached_copy(&arguments.data_dir, &folder, store::read)
        .map_err(|error| Box::new(Output::from(error)))?;
    let tables = copy_out(&recovered, &folder, &exported, arguments.extension.as_deref()).map_err(failed)?;
    exported.publish(to).map_err(|error| refuse(Error::of_file(to, error)))?;
    Ok(describe(&recovered, arguments, tables))
}

/// What is written before it gets its name.
struct Exported {
    /// All tables, as DuckDB keeps them.
    file: PathBuf,
    /// A folder of Parquet files, where those are wanted.
    parquet: Option<PathBuf>,
}

/// Serves the copy and copies its catalog into a file; returns the number of its tables.
fn copy_out(
    recovered: &Recovered,
    folder: &Path,
    exported: &Exported,
    extension: Option<&Path>,
) -> Result<u64, String> {
    let connection = Connection::open()?;
    connection.execute(&load_statement(extension)?)?;
    let listen = LISTEN.parse().map_err(|error| format!("{LISTEN}: {error}"))?;
    let mut configuration = Configuration::new(folder.to_owned(), listen);
    configuration.node_id = Some(recovered.identity.node_id.clone());
    let rows = connection.query(&serve_statement(&configuration))?;
    let mut row = rows.into_iter().next().unwrap_or_default().into_iter().map(Option::unwrap_or_default);
    let (uri, _, token) = (row.next(), row.next(), row.next());
    let (uri, token) = (quote(&uri.unwrap_or_default()), quote(&token.unwrap_or_default()));
    connection.execute(&format!("ATTACH {uri} AS cp (TYPE quack, TOKEN {token})"))?;
    connection.execute(&format!("ATTACH {} AS exported", quote(&exported.file.to_string_lossy())))?;
    let copied = connection.execute("COPY FROM DATABASE cp TO exported").and_then(|()| {
        if let Some(folder) = &exported.parquet {
            let folder = quote(&folder.to_string_lossy());
            connection.execute(&format!("EXPORT DATABASE exported TO {folder} (FORMAT parquet)"))?;
        }
        connection.query("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'exported'")
    });
    // Also after an error: the file must be closed and the node must have ended before they are moved or removed.
    connection.execute("DETACH exported")?;
    connection.execute(&format!("CALL quack_stop({uri})"))?;
    let count = copied?.into_iter().flatten().flatten().next();
    count.and_then(|count| count.parse().ok()).ok_or_else(|| "DuckDB has counted no tables".to_owned())
}

impl Exported {
    /// Gives it its name, durably.
    fn publish(&self, to: &Path) -> std::io::Result<()> {
        let from = self.parquet.as_ref().unwrap_or(&self.file);
        if self.parquet.is_some() {
            for file in std::fs::read_dir(from)? {
                let file = file?.path();
                quack_node::make_private(&file)?;
                File::open(file)?.sync_all()?;
            }
            std::fs::set_permissions(from, Permissions::from_mode(FOLDER_MODE))?;
        } else {
            quack_node::make_private(from)?;
        }
        File::open(from)?.sync_all()?;
        std::fs::rename(from, to)?;
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

fn describe(recovered: &Recovered, arguments: &Export, tables: u64) -> Output {
    let (former, to) = (&recovered.former, &arguments.to);
    let what = match arguments.format {
        ExportFormat::Duckdb => "a DuckDB file",
        ExportFormat::Parquet => "a folder that IMPORT DATABASE reads",
    };
    let mut lines = vec![
        line("cluster", &format!("{:032x}", former.cluster_id)),
        line("node", &format!("{}, incarnation {}", former.node_id, former.incarnation)),
    ];
    lines.extend(recovered.groups.iter().map(group_line));
    lines.extend(recovered.left_out.as_ref().map(left_out_line));
    Output::done(format!("{tables} tables are in {}, {what}", to.display()))
        .lines(lines)
        .with("file", to.display().to_string().into())
        .with("tables", tables.into())
        .with("cluster_id", format!("{:032x}", former.cluster_id).into())
        .with("node_id", former.node_id.as_str().into())
        .with("incarnation", former.incarnation.into())
        .with("groups", recovered.groups.iter().map(group_json).collect())
        .with("left_out", left_out_json(recovered.left_out.as_ref()))
}
