//! Options of a server that all nodes of a cluster must share, and how nodes compare them.
//!
//! A token is never sent. A node sends a keyed hash of a salt, with its token as the key: who has the same token sees
//! that it is, and a hash that was overheard says nothing about another salt.

use std::fmt;
use std::sync::atomic::Ordering;

use quack_proto::peer::v1::{self as proto, Hello};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::cluster::Cluster;
use crate::error::Error;
use crate::roster::Member;

const SALT_BYTES: usize = 16;
/// What the hash is of, before the salt.
const PURPOSE: &[u8] = b"quack: the token of a cluster";

/// Options that all nodes must share.
#[derive(Clone)]
pub struct Shared {
    /// Name of the catalog.
    pub catalog: String,
    /// What clients show.
    pub token: String,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}

impl Shared {
    /// As it is sent; `None` when the operating system has no randomness to give.
    pub fn to_proto(&self) -> Option<proto::Shared> {
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).ok()?;
        let digest = hmac::sign(&self.key(), &message(&salt));
        Some(proto::Shared {
            catalog: self.catalog.clone(),
            salt: salt.to_vec().into(),
            token_digest: digest.as_ref().to_vec().into(),
        })
    }

    /// What `said`, by a peer, differs in, in words that follow its name; `None` when nothing does.
    pub(crate) fn difference(&self, said: Option<&proto::Shared>) -> Option<String> {
        let Some(said) = said else {
            return Some("it does not say which catalog and token it was started with".to_owned());
        };
        if !said.catalog.eq_ignore_ascii_case(&self.catalog) {
            return Some(format!(
                "it was started with catalog := '{}', this node with catalog := '{}': all nodes of a cluster have the \
                 same",
                said.catalog, self.catalog
            ));
        }
        if said.salt.len() != SALT_BYTES
            || hmac::verify(&self.key(), &message(&said.salt), &said.token_digest).is_err()
        {
            return Some(
                "it was started with another token than this node: all nodes of a cluster have the same"
                    .to_owned(),
            );
        }
        None
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.token.as_bytes())
    }
}

fn message(salt: &[u8]) -> Vec<u8> {
    [PURPOSE, salt].concat()
}

impl Cluster {
    /// Whether this node may let clients in: no member that does so was started otherwise, and a quorum was started alike.
    ///
    /// A node that is started with another value finds those that serve, and waits. Nodes that are all started with a new
    /// one find no such, and serve when the quorum is there.
    ///
    /// # Errors
    /// What the node waits for, in words.
    pub fn require_agreement(&self) -> Result<(), Error> {
        // One that is to be a voter has no vote before it has joined, and need not be there until then.
        let membership = self.running().map(|running| running.node.membership());
        let votes = |member: &Member| {
            membership.as_ref().map_or(member.voter, |membership| membership.is_voter(member.raft_id()))
        };
        let members = self.roster.members();
        let voters = members.iter().filter(|member| votes(member)).count();
        let (mut alike, mut silent, mut different) = (0, Vec::new(), Vec::new());
        for (member, said) in self.ask_all(&members) {
            let Some(said) = said else {
                alike += usize::from(votes(member));
                continue;
            };
            match said.map(|hello| (self.settings.shared.difference(hello.shared.as_ref()), hello.serves)) {
                Err(error) => silent.push(error),
                Ok((None, _)) => alike += usize::from(votes(member)),
                Ok((Some(difference), true)) => {
                    let message = format!(
                        "node '{}' serves this cluster already: {difference}. Stop this server, and start it as the \
                         others are",
                        member.node
                    );
                    return Err(Error::Disagreement(message));
                }
                Ok((Some(difference), false)) => {
                    different.push(format!("node '{}' differs: {difference}", member.node));
                }
            }
        }
        if alike > voters / 2 {
            return Ok(());
        }
        let what = "a quorum that was started like this node";
        if different.is_empty() {
            return Err(Error::Change(format!("{what}: {}", silent.join("; "))));
        }
        different.extend(silent);
        Err(Error::Disagreement(format!("it waits for {what}: {}", different.join("; "))))
    }

    /// What the members say, at the same time; nothing for this node itself.
    pub(crate) fn ask_all<'a>(
        &self,
        members: &'a [Member],
    ) -> Vec<(&'a Member, Option<Result<Hello, String>>)> {
        let asked = |member: &'a Member| {
            let is_own = member.node == self.settings.own;
            (member, (!is_own).then(|| self.ask(member)))
        };
        std::thread::scope(|scope| {
            let asking: Vec<_> = members.iter().map(|member| scope.spawn(move || asked(member))).collect();
            asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
        })
    }

    /// What all must share, as this node says it. Without it a peer says that it is missing.
    pub(crate) fn shared(&self) -> Option<proto::Shared> {
        self.settings.shared.to_proto()
    }

    /// The node lets clients in from now on, with what it was started with.
    pub fn serves(&self) {
        self.serving.store(true, Ordering::Release);
    }
}
