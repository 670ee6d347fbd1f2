//! What a cluster may be asked to apply: no more than its oldest member can.
//!
//! Every member's versions are in the log (`Member`), recorded by the leader, so that each node knows them also of
//! members that it cannot reach. A member whose versions are not recorded yet may be of any release: what depends on
//! them waits, and is refused when they do not become known.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use quack_node::Membership;
use quack_types::NodeId;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::roster::{Member, Release};

/// How long a statement waits for versions to become known: a new leader records them at once.
const KNOWN_TIME: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// The format of the oldest release whose log this one reads. What it carries, every member can apply.
const OLDEST: u32 = 5;

/// Something that is written into the log, and what a node must be to apply it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feature {
    /// Short name.
    pub name: &'static str,
    /// What users write.
    pub statements: &'static str,
    /// Smallest `Entry.version` that carries it.
    pub entry_version: u32,
    /// Whether all members must run the same DuckDB: the text of a statement, or a hash of what is stored, must mean
    /// the same to all of them.
    pub one_duckdb: bool,
}

impl Feature {
    /// Changes of rows, as values.
    pub const ROWS: Self = Self {
        name: "rows",
        statements: "INSERT, UPDATE, DELETE, TRUNCATE, MERGE, COPY ... FROM",
        entry_version: OLDEST,
        one_duckdb: false,
    };
    /// Changes of the catalog, as text.
    pub const SCHEMA: Self = Self {
        name: "schema",
        statements: "CREATE, ALTER, DROP, COMMENT",
        entry_version: OLDEST,
        one_duckdb: true,
    };
    /// Values of sequences, which are drawn through the log.
    pub const SEQUENCES: Self = Self {
        name: "sequences",
        statements: "nextval and setval, also in DEFAULT",
        entry_version: OLDEST,
        one_duckdb: false,
    };
    /// Groups beside the default one.
    pub const GROUPS: Self = Self {
        name: "groups",
        statements: "quack_multiraft_sql_set_enabled, and what it enables",
        entry_version: OLDEST,
        one_duckdb: true,
    };
    /// Changes of the members.
    pub const MEMBERS: Self = Self {
        name: "members",
        statements: "quack_add_node, quack_remove_node, and nodes that come back with an empty disk",
        entry_version: OLDEST,
        one_duckdb: false,
    };
    /// Comparisons of the nodes. What is hashed may change with the entry version.
    pub const VERIFICATION: Self =
        Self { name: "verification", statements: "quack_verify", entry_version: OLDEST, one_duckdb: true };

    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::ROWS, Self::SCHEMA, Self::SEQUENCES, Self::GROUPS, Self::MEMBERS, Self::VERIFICATION];
}

/// Why a feature is not to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fence {
    /// A member's versions are not recorded yet.
    Unknown(String),
    /// A member could not apply it.
    Refused(String),
}

impl Fence {
    /// In words.
    pub fn text(&self) -> &str {
        match self {
            Self::Unknown(text) | Self::Refused(text) => text,
        }
    }
}

/// The versions of the nodes that apply the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contract {
    known: BTreeMap<NodeId, Release>,
    unknown: Vec<NodeId>,
    /// The node has not learned yet who the members are: it starts, or joins.
    members_unknown: bool,
}

impl Contract {
    /// Of a node that is alone.
    pub fn alone(node: NodeId, entry_version: u32, duckdb_version: &str) -> Self {
        let release =
            Release { entry_version, duckdb_version: duckdb_version.to_owned(), extensions: Vec::new() };
        let known = BTreeMap::from([(node, release)]);
        Self { known, ..Self::default() }
    }

    fn of(membership: &Membership, members: Vec<Member>) -> Self {
        let mut contract = Self { members_unknown: membership.is_empty(), ..Self::default() };
        let members = members.into_iter().filter(|member| membership.is_member(member.raft_id()));
        for member in members {
            match member.release {
                Some(release) => {
                    contract.known.insert(member.node, release);
                }
                None => contract.unknown.push(member.node),
            }
        }
        contract
    }

    /// The newest entry version that all nodes read; `None` while some are not known.
    pub fn entry_version(&self) -> Option<u32> {
        let versions = self.known.values().map(|release| release.entry_version);
        versions.min().filter(|_| self.require_known().is_ok())
    }

    /// The DuckDB versions that the nodes run, each once.
    pub fn duckdb_versions(&self) -> Vec<String> {
        let mut versions: Vec<_> =
            self.known.values().map(|release| release.duckdb_version.clone()).collect();
        versions.sort();
        versions.dedup();
        versions
    }

    /// Why a feature is not to be used now.
    ///
    /// # Errors
    /// Some member cannot apply it, or may not be able to.
    pub fn permits(&self, feature: &Feature) -> Result<(), Fence> {
        let old = self.known.iter().find(|(_, release)| release.entry_version < feature.entry_version);
        if let Some((node, release)) = old {
            return Err(Fence::Refused(format!(
                "node '{node}' reads the log up to format {}, and '{}' needs format {}: install the newer release \
                 there first",
                release.entry_version, feature.name, feature.entry_version
            )));
        }
        if feature.one_duckdb && self.duckdb_versions().len() > 1 {
            let versions: Vec<_> = self
                .known
                .iter()
                .map(|(node, release)| format!("'{node}' runs {}", release.duckdb_version))
                .collect();
            return Err(Fence::Refused(format!(
                "the nodes run different DuckDB versions, which may not agree on its meaning: {}. Install the same \
                 release on all of them first",
                versions.join(", ")
            )));
        }
        if feature.one_duckdb || feature.entry_version > OLDEST { self.require_known() } else { Ok(()) }
    }

    /// Why not all nodes can evaluate what needs one of DuckDB's extensions.
    ///
    /// # Errors
    /// Some member does not have it, has another version of it, or may not have it.
    pub fn has_extension(&self, name: &str) -> Result<(), Fence> {
        let mut found = BTreeMap::new();
        for (node, release) in &self.known {
            let declared = release.extensions.iter().find(|said| said.split(' ').next() == Some(name));
            let Some(declared) = declared else {
                return Err(Fence::Refused(format!(
                    "node '{node}' did not have it when it began to serve: LOAD {name} there before quack_serve"
                )));
            };
            found.entry(declared).or_insert(node);
        }
        if found.len() > 1 {
            let found: Vec<_> = found.iter().map(|(said, node)| format!("'{node}' has {said}")).collect();
            return Err(Fence::Refused(format!(
                "the nodes have different versions of it: {}",
                found.join(", ")
            )));
        }
        self.require_known()
    }

    fn require_known(&self) -> Result<(), Fence> {
        if self.members_unknown {
            let text = "this node does not know the members yet: wait until it has caught up";
            return Err(Fence::Unknown(text.to_owned()));
        }
        if self.unknown.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.unknown.iter().map(|node| format!("'{node}'")).collect();
        Err(Fence::Unknown(format!(
            "the release of node {} is not known: start it, or remove it with CALL quack_remove_node(...)",
            names.join(", ")
        )))
    }
}

impl Cluster {
    /// The versions of the members that apply the log.
    pub fn contract(&self) -> Contract {
        let membership = self.running().map(|running| running.node.membership()).unwrap_or_default();
        Contract::of(&membership, self.roster.members())
    }

    /// Returns when all members can apply something; versions that are not recorded yet are waited for.
    ///
    /// # Errors
    /// Who cannot.
    pub fn require(&self, feature: &Feature) -> Result<(), Error> {
        self.wait_until_known(|contract| contract.permits(feature))
    }

    /// Returns when all members have one of DuckDB's extensions, by its name.
    ///
    /// # Errors
    /// Who has not.
    pub fn require_extension(&self, name: &str) -> Result<(), Error> {
        self.wait_until_known(|contract| contract.has_extension(name))
    }

    fn wait_until_known(&self, look: impl Fn(&Contract) -> Result<(), Fence>) -> Result<(), Error> {
        let deadline = Instant::now() + KNOWN_TIME;
        loop {
            match look(&self.contract()) {
                Ok(()) => return Ok(()),
                Err(Fence::Unknown(_)) if Instant::now() < deadline && !self.is_stopped() => {
                    self.wait_a_moment(POLL);
                }
                Err(fence) => return Err(Error::Fenced(fence.text().to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract(nodes: &[(&str, u32, &str)], unknown: &[&str]) -> Contract {
        let id = |name: &str| NodeId::new(name).unwrap();
        let release = |entry_version, duckdb: &str| Release {
            entry_version,
            duckdb_version: duckdb.to_owned(),
            extensions: Vec::new(),
        };
        let known = nodes.iter().map(|(name, entry, duckdb)| (id(name), release(*entry, duckdb)));
        Contract {
            known: known.collect(),
            unknown: unknown.iter().map(|name| id(name)).collect(),
            members_unknown: false,
        }
    }

    #[test]
    fn an_extension_counts_when_all_have_the_same() {
        let with = |extensions: &[(&str, &[&str])], unknown: &[&str]| {
            let nodes: Vec<_> = extensions.iter().map(|(node, _)| (*node, OLDEST, "v2.0.0")).collect();
            let mut contract = contract(&nodes, unknown);
            for (release, (_, names)) in contract.known.values_mut().zip(extensions) {
                release.extensions = names.iter().map(|name| (*name).to_owned()).collect();
            }
            contract.has_extension("icu")
        };
        assert_eq!(with(&[("n0", &["icu v1", "spatial"]), ("n1", &["icu v1"])], &[]), Ok(()));
        let refused = |fence| {
            let Err(Fence::Refused(text)) = fence else { panic!("{fence:?}") };
            text
        };
        let missing = refused(with(&[("n0", &["icu v1"]), ("n1", &["icuous"])], &["n2"]));
        assert!(missing.contains("node 'n1' did not have it"), "{missing}");
        let other = refused(with(&[("n0", &["icu v1"]), ("n1", &["icu v2"])], &[]));
        assert!(other.contains("'n0' has icu v1, 'n1' has icu v2"), "{other}");
        let unknown = with(&[("n0", &["icu"])], &["n1"]);
        assert!(matches!(&unknown, Err(Fence::Unknown(text)) if text.contains("'n1'")), "{unknown:?}");
    }

    #[test]
    fn a_node_that_knows_no_members_vouches_for_nothing() {
        let contract = Contract::of(&Membership::default(), Vec::new());
        assert!(matches!(contract.has_extension("icu"), Err(Fence::Unknown(_))));
        assert!(matches!(contract.permits(&Feature::SCHEMA), Err(Fence::Unknown(_))));
        assert_eq!(contract.permits(&Feature::ROWS), Ok(()));
        assert_eq!(contract.entry_version(), None);
    }

    const NEWER: Feature =
        Feature { name: "lanes", statements: "", entry_version: OLDEST + 1, one_duckdb: false };

    #[test]
    fn one_release_everywhere_permits_all_that_it_knows() {
        let contract = contract(&[("n0", 5, "v2.0.0"), ("n1", 5, "v2.0.0")], &[]);
        assert!(Feature::ALL.iter().all(|feature| contract.permits(feature).is_ok()));
        assert_eq!(contract.entry_version(), Some(5));
    }

    #[test]
    fn the_oldest_member_decides_about_entries() {
        let mixed = contract(&[("n0", 6, "v2.0.0"), ("n1", 5, "v2.0.0")], &[]);
        let Err(Fence::Refused(text)) = mixed.permits(&NEWER) else { panic!("{mixed:?}") };
        assert!(text.contains("node 'n1' reads the log up to format 5"), "{text}");
        assert_eq!(mixed.entry_version(), Some(5));
        let upgraded = contract(&[("n0", 6, "v2.0.0"), ("n1", 6, "v2.0.0")], &[]);
        assert_eq!(upgraded.permits(&NEWER), Ok(()));
    }

    #[test]
    fn different_duckdb_versions_take_rows_but_no_text() {
        let mixed = contract(&[("n0", 6, "v2.0.0"), ("n1", 6, "v2.0.1")], &[]);
        assert_eq!(mixed.permits(&Feature::ROWS), Ok(()));
        assert_eq!(mixed.permits(&Feature::SEQUENCES), Ok(()));
        for feature in [Feature::SCHEMA, Feature::VERIFICATION] {
            let Err(Fence::Refused(text)) = mixed.permits(&feature) else { panic!("{feature:?}") };
            assert!(text.contains("'n0' runs v2.0.0, 'n1' runs v2.0.1"), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_trusted() {
        let unknown = contract(&[("n0", 6, "v2.0.0")], &["n1"]);
        assert_eq!(unknown.permits(&Feature::ROWS), Ok(()));
        assert_eq!(unknown.entry_version(), None);
        for feature in [Feature::SCHEMA, NEWER] {
            let Err(Fence::Unknown(text)) = unknown.permits(&feature) else { panic!("{feature:?}") };
            assert!(text.contains("'n1'"), "{text}");
        }
    }
}
