//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quack_admin::certificate::{AUTHORITY_DAYS, NODE_DAYS};
use quack_admin::config::BASE_PORT;

/// Prepares and watches nodes, and works with their data folders: certificates, configurations, status, inspection, recovery, restoration,
/// export.
///
/// Exit codes: 0 done; 1 failed, or the node is not well, or its folder is damaged; 2 who asks is not known; 3 not found; 4 not permitted; 5 a rule
/// is broken; 6 the node does not answer.
#[derive(Parser)]
#[command(name = "quackctl", version, max_term_width = 110)]
pub struct Arguments {
    /// Print one JSON object instead of text
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Make and check certificates that satisfy the cluster's rule
    Cert {
        #[command(subcommand)]
        command: CertCommand,
    },
    /// Prepare and watch the replicated catalog of a cluster
    CpMetadata {
        #[command(subcommand)]
        command: CpMetadataCommand,
    },
    /// Say what a data folder is, while its node does not run: whose, how far, which members, what is damaged
    Inspect(DataFolder),
    /// Make a new cluster out of one data folder, when those of a majority are gone for ever
    Recover(Recover),
    /// Make a new cluster out of a backup that quack_backup has written
    Restore(Restore),
    /// Write the tables in a data folder into a DuckDB file, while its node does not run
    Export(Export),
}

#[derive(Args)]
pub struct DataFolder {
    /// The node's data folder; no process may work in it
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
}

#[derive(Subcommand)]
pub enum CertCommand {
    /// Make a development authority: ca.crt and ca.key
    Init(Init),
    /// Make certificates for nodes: <node>.crt and <node>.key, and a copy of ca.crt
    Issue(Issue),
    /// Check a node's files against the cluster's rule, and name each violation
    Check(Check),
}

#[derive(Args)]
pub struct Init {
    /// Folder for ca.crt and ca.key; made if absent
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Days that the authority is valid
    #[arg(long, default_value_t = AUTHORITY_DAYS)]
    pub days: u32,
    /// Replace files that exist; certificates of the old authority become worthless
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Issue {
    /// Folder with ca.crt and ca.key, as `cert init` made it
    #[arg(long, value_name = "DIR")]
    pub ca: PathBuf,
    /// A node's id; may be given several times
    #[arg(long, value_name = "NODE", required = true)]
    pub node: Vec<String>,
    /// Folder for the files; made if absent
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Days that the certificates are valid
    #[arg(long, default_value_t = NODE_DAYS)]
    pub days: u32,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Check {
    /// The cluster's authority, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: PathBuf,
    /// The node's certificate, PEM
    #[arg(long, value_name = "FILE")]
    pub cert: PathBuf,
    /// The node's key, PEM
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The node's id
    #[arg(long, value_name = "NODE")]
    pub node: String,
}

#[derive(Subcommand)]
pub enum CpMetadataCommand {
    /// Check the configurations of one or, better, all nodes of a cluster
    ValidateConfig {
        /// node.yaml files
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Write configurations and certificates for a cluster of processes on this machine
    GenerateLocalConfigs(GenerateLocalConfigs),
    /// Ask a node how it is
    Status(Status),
}

#[derive(Args)]
pub struct GenerateLocalConfigs {
    /// How many nodes
    #[arg(long, value_name = "N")]
    pub nodes: u16,
    /// Folder for the files; made if absent
    #[arg(long, value_name = "DIR", default_value = "quack-local")]
    pub out: PathBuf,
    /// Port of the first node; the others follow, and health and metrics 100 above
    #[arg(long, value_name = "P", default_value_t = BASE_PORT)]
    pub base_port: u16,
    /// Replace files that exist; data folders are never touched
    #[arg(long)]
    pub force: bool,
}

#[derive(Args)]
pub struct Status {
    /// The node's configuration, which names its admin address
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub config: Option<PathBuf>,
    /// The node's admin address (default http://127.0.0.1:8081)
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub timeout: u64,
}

#[derive(Args)]
pub struct Recover {
    /// The survivor's data folder; no process may work in it
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Confirm that the folder becomes that of another cluster, with this node as its only voter
    #[arg(long)]
    pub force_new_cluster: bool,
    /// A voter whose folder is gone for ever; given once for each. Without them the command names the voters it knows
    #[arg(long, value_name = "NODE")]
    pub lost: Vec<String>,
}

#[derive(Args)]
pub struct Restore {
    /// The backup's folder
    #[arg(long, value_name = "DIR")]
    pub from: PathBuf,
    /// Data folder of the new cluster's first node; made if absent
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The node's id (default: that of the node that has written the backup)
    #[arg(long, value_name = "NODE")]
    pub node_id: Option<String>,
    /// Where other nodes reach the node, quack:host:port (default: where the backed up cluster knew it)
    #[arg(long, value_name = "URI")]
    pub endpoint: Option<String>,
}

#[derive(Args)]
pub struct Export {
    /// The node's data folder; no process may work in it
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The DuckDB file, or the folder of Parquet files, which must not exist; beside it there must be room for a copy of the
    /// data folder
    #[arg(long, value_name = "PATH")]
    pub to: PathBuf,
    /// What to write: one DuckDB file, or a folder with a Parquet file for each table and the definitions as SQL
    #[arg(long, value_enum, default_value = "duckdb")]
    pub format: ExportFormat,
    /// quack.duckdb_extension (default: beside this program, or ../extension/)
    #[arg(long, value_name = "FILE")]
    pub extension: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    Duckdb,
    Parquet,
}
