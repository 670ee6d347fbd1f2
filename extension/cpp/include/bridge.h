//! The border between C++ and Rust: every symbol that crosses it, in both directions.
//!
//! `quack_rs_*` is implemented in Rust (extension/src), `quack_cpp_*` in C++ (this folder). Only plain data and
//! opaque handles cross. Nothing throws or panics across the border: a failure is written to a `QuackError`.
//! Every handle has one owner and one function that ends it.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

//! Bytes borrowed for the duration of the call. Text is UTF-8 without a terminating zero.
struct QuackBytes {
	const uint8_t *data;
	size_t length;
};

//! A failure. `kind` is the number of DuckDB's ExceptionType, -1 when there is no failure.
//! `message` comes from `quack_cpp_copy_text` and is freed with `quack_cpp_free`.
struct QuackError {
	int32_t kind;
	char *message;
};

//! The table that rows belong to, see `Rows` in proto/quack/log/v1/entry.proto.
struct QuackTable {
	QuackBytes schema;
	QuackBytes name;
	uint64_t shape;
	uint64_t number;
};

//! Rows of a table by their places, see `Places` in proto/quack/log/v1/entry.proto.
struct QuackPlaces {
	uint64_t revision;
	QuackBytes runs;
	const uint32_t *columns;
	size_t column_count;
	uint64_t check;
	bool in_place;
};

//! When rows were changed last, and which tables have their rows in an order of each node's own, see
//! crates/apply/src/revisions.rs.
struct QuackRevisions {
	uint64_t last;
	const uint64_t *unordered;
	size_t unordered_count;
	uint64_t unordered_below;
};

//! A sequence, as a statement means it, see `Meant` in crates/apply/src/stock.rs.
struct QuackSequence {
	QuackBytes schema;
	QuackBytes name;
	uint64_t entry;
	uint64_t sets;
};

//! Where a sequence is, and how it goes on, see crates/apply/src/sequence.rs.
struct QuackSequenceState {
	uint64_t usage_count;
	int64_t counter;
	int64_t last_value;
	int64_t increment;
	int64_t minimum;
	int64_t maximum;
	bool has_last_value;
	bool cycle;
};

//! Receives bytes that the other side made.
struct QuackSink {
	void *context;
	void (*take)(void *context, QuackBytes bytes);
};

//! Receives a row of a result as text; a null `data` is NULL.
struct QuackRowSink {
	void *context;
	void (*take)(void *context, const QuackBytes *values, size_t count);
};

//! Receives the names of lanes, in ascending order of their bytes, each with the number of tables that need it.
struct QuackPlacementSink {
	void *context;
	void (*take)(void *context, QuackBytes name, uint32_t tables);
};

//! Says whether the statement that waits has been interrupted.
struct QuackInterrupt {
	void *context;
	bool (*interrupted)(void *context);
};

//! Arguments of `quack_serve`; an empty text means "not given".
struct QuackServeArguments {
	QuackBytes uri;
	QuackBytes token;
	//! Holds the token, instead of `token`.
	QuackBytes token_file;
	QuackBytes node_id;
	QuackBytes data_dir;
	QuackBytes catalog;
	const QuackBytes *peers;
	size_t peers_count;
	//! Of the process, besides those of every DuckDB; see `Member` in proto/quack/log/v1/entry.proto.
	const QuackBytes *extensions;
	size_t extensions_count;
	QuackBytes cert_file;
	QuackBytes key_file;
	QuackBytes client_ca_file;
	bool allow_other_hostname;
	//! Checked to be a level of consistency, if given.
	QuackBytes consistency;
	bool allow_host_access;
	//! Pages of these origins may use the server.
	const QuackBytes *allow_origins;
	size_t allow_origins_count;
	//! Clients of this machine speak TLS, too.
	bool require_tls;
	//! Most sessions of clients, and how many seconds one may be silent, and with a transaction open; 0 for the defaults.
	uint32_t max_connections;
	uint32_t idle_connection_timeout_secs;
	uint32_t idle_transaction_timeout_secs;
};

// ---------------------------------------------------------------------------------------------------------------
// Implemented in Rust
// ---------------------------------------------------------------------------------------------------------------

//! Lets the extension log to standard error, if the environment asks for it. Again and again is as good as once.
void quack_rs_start_logging(QuackError *error);

//! One per DuckDB instance: its servers. Freed with `quack_rs_host_close`.
void *quack_rs_host_open(void *host);
//! Stops every server of the instance and frees the host.
void quack_rs_host_close(void *rust_host);
//! Stops every server of the process, before it exits.
void quack_rs_process_exit(void);
//! Calls `each` with every descriptor that a forked child must not keep open; takes no lock and no memory.
void quack_rs_each_unshared(void (*each)(void *target, int descriptor), void *target);

//! Starts a server; the row holds listen_uri, listen_url, auth_token.
void quack_rs_serve(void *rust_host, const QuackServeArguments *arguments, QuackRowSink rows, QuackError *error);
//! Stops a server; the row holds a status text.
void quack_rs_stop(void *rust_host, QuackBytes uri, QuackRowSink rows, QuackError *error);
void quack_rs_server_list(void *rust_host, QuackRowSink rows, QuackError *error);
//! The sessions of clients, of all servers of the process.
void quack_rs_active_connections(void *rust_host, QuackRowSink rows, QuackError *error);
void quack_rs_close_connection(void *rust_host, QuackBytes uri, uint64_t number, QuackRowSink rows, QuackError *error);
void quack_rs_raft_status(void *rust_host, QuackRowSink rows, QuackError *error);
//! One row for each of the last entries that the servers have applied.
void quack_rs_outcomes(void *rust_host, QuackRowSink rows, QuackError *error);
//! One row for each series that the servers measure.
void quack_rs_metrics(void *rust_host, QuackRowSink rows, QuackError *error);
//! One row a server: catalog, applied index, hash of the state at that index.
void quack_rs_state_hash(void *rust_host, QuackRowSink rows, QuackError *error);
//! Finds the server of this process that listens at `uri`, checks the token, and waits until its node is ready. Emits
//! the name of its catalog, or nothing when no server of this process listens there.
void quack_rs_attach_local(void *rust_host, QuackBytes uri, QuackBytes token, QuackInterrupt interrupt, QuackSink catalog,
                           QuackError *error);
//! One row a member of the cluster that `catalog` is of.
void quack_rs_nodes(void *rust_host, QuackBytes catalog, QuackRowSink rows, QuackError *error);
//! What each served catalog takes, and what its cluster cannot apply now; one row a feature.
void quack_rs_contract_status(void *rust_host, QuackRowSink rows, QuackError *error);
//! Compares the nodes of the cluster that `catalog` is of; one row a member.
void quack_rs_verify(void *rust_host, QuackBytes catalog, QuackRowSink rows, QuackError *error);
//! Writes a backup of the cluster that `catalog` is of into a new or an empty folder; one row.
void quack_rs_backup(void *rust_host, QuackBytes catalog, QuackBytes folder, QuackRowSink rows, QuackError *error);
//! Changes the members of the cluster that `catalog` is of: `what` is put, remove or lead.
void quack_rs_change_members(void *rust_host, QuackBytes catalog, QuackBytes what, QuackBytes argument, QuackRowSink rows,
                             QuackError *error);

//! Gives back the reference to a node that `quack_cpp_store_open` took.
void quack_rs_node_release(const void *node);

//! Whether the node has met no error of its own, and has room on its disk.
bool quack_rs_node_serves(const void *node);
//! Whether an error has latched the node: it stores nothing any more.
bool quack_rs_node_has_failed(const void *node);
//! An error when the disk has no room for a checkpoint.
void quack_rs_node_require_room(const void *node, QuackError *error);
//! Says before a checkpoint how many the store has seen, and after it, its number. An error where that cannot be noted.
void quack_rs_node_begin_checkpoint(const void *node, uint64_t count, QuackError *error);
void quack_rs_node_end_checkpoint(const void *node, uint64_t count);
//! An error when the node does not serve. Where reads are linearizable, returns when everything that was acknowledged
//! anywhere in the cluster before the call is applied here.
void quack_rs_node_admit(const void *node, bool linearizable, QuackInterrupt interrupt, QuackError *error);

//! Tells the node of an error that its store does not survive: it serves no client from now on.
void quack_rs_node_fail(const void *node, QuackBytes error);

//! Whether the cluster lets tables be placed in groups.
bool quack_rs_node_groups_enabled(const void *node);
//! An error when a member of the cluster could not apply what places a table.
void quack_rs_node_require_groups(const void *node, QuackError *error);
//! An error when a member of the cluster does not have one of DuckDB's extensions.
void quack_rs_node_require_extension(const void *node, QuackBytes name, QuackError *error);
//! The id of a group by its name; 0 when there is no such lane.
uint64_t quack_rs_node_group_id(const void *node, QuackBytes name);
//! Lets tables be placed in groups, or not any more. An empty name is that of the only catalog that is served.
void quack_rs_set_groups_enabled(void *rust_host, QuackBytes catalog, bool enabled, QuackError *error);
//! One row a group of the cluster that `catalog` is of.
void quack_rs_group_status(void *rust_host, QuackBytes catalog, QuackRowSink rows, QuackError *error);

//! A transaction being written for the log of `node`. Ended by commit or abort, which free it.
void *quack_rs_writer_open(const void *node, QuackError *error);
void quack_rs_writer_deleted(void *writer, QuackTable table, QuackBytes chunk, uint32_t count, QuackError *error);
void quack_rs_writer_inserted(void *writer, QuackTable table, QuackBytes chunk, uint32_t count, QuackError *error);
void quack_rs_writer_updated(void *writer, QuackTable table, QuackBytes chunk, uint32_t count, QuackError *error);
//! Rows that are deleted, or updated where there are columns: `chunk` has their new values. The transaction has no others.
void quack_rs_writer_places(void *writer, QuackTable table, QuackPlaces places, QuackBytes chunk, uint32_t count,
                            QuackError *error);
//! Rows that follow take effect after all that came before.
void quack_rs_writer_begin_statement(void *writer);
void quack_rs_writer_ddl(void *writer, QuackBytes text, QuackBytes definition, QuackError *error);
//! So many bytes of what was written belong to a group: its entries go to the groups' lanes, to each as often as its share. An empty name is
//! that of the default group.
void quack_rs_writer_weigh(void *writer, QuackBytes group, uint64_t bytes);
//! How far a sequence is that the transaction has created.
void quack_rs_writer_sequence(void *writer, QuackBytes schema, QuackBytes name, const QuackSequenceState *state,
                              QuackError *error);
//! Proposes, waits until the outcome is known at this node, and frees the writer. Once `handed_over` has been called the
//! write may take effect, and an error of the kind CONNECTION says that the outcome is unknown.
void quack_rs_writer_commit(void *writer, QuackInterrupt interrupt, void (*handed_over)(void *context), QuackError *error);
void quack_rs_writer_abort(void *writer);

//! Fills in the next `count` values of a sequence, and waits for the log where the node has none left; then `range` of
//! them are reserved at once, or as many as it takes.
void quack_rs_sequence_draw(const void *node, QuackSequence sequence, uint64_t range, QuackInterrupt interrupt,
                            int64_t *values, size_t count, QuackError *error);
//! The value that the node has given out last, where that and not the state of the sequence counts.
bool quack_rs_sequence_last(const void *node, QuackSequence sequence, uint64_t range, int64_t *value);
//! Lets a sequence go on from another value.
void quack_rs_sequence_set(const void *node, QuackBytes schema, QuackBytes name, int64_t value, bool is_called,
                           QuackInterrupt interrupt, QuackError *error);

// ---------------------------------------------------------------------------------------------------------------
// Implemented in C++
// ---------------------------------------------------------------------------------------------------------------

//! Registers everything with the instance behind DuckDB's `ExtensionLoader`.
void quack_cpp_register(void *loader);
void *quack_cpp_copy_text(QuackBytes text);
void quack_cpp_free(void *pointer);
//! Sees to it that `quack_rs_process_exit` is called when the process exits, and that a child that it forks lets go of what
//! belongs to its servers. Called again and again: it registers with
//! the main thread too, once it is called there.
void quack_cpp_stop_at_exit(void);
//! Whether this extension is the only one that still holds the DuckDB instance.
bool quack_cpp_host_abandoned(void *host);

//! Attaches the store at `path` as `catalog`. The returned store keeps DuckDB's database alive; ended by
//! `quack_cpp_store_close`. Takes over one reference to `node` and releases it when DuckDB has closed the file.
void *quack_cpp_store_open(void *host, QuackBytes path, QuackBytes catalog, const void *node, QuackError *error);
//! From now on every write to the catalog is refused with `reason`.
void quack_cpp_store_seal(void *store, QuackBytes reason);
//! Detaches the catalog; returns false when a running statement still holds it.
bool quack_cpp_store_close(void *store);
//! Emits the name under which the store is attached now.
void quack_cpp_store_catalog(void *store, QuackSink name);
//! Writes a checkpoint of the store; readers and the applier go on. Made on the thread that calls.
void quack_cpp_store_checkpoint(void *store, QuackError *error);
//! How many checkpoints its file has seen.
uint64_t quack_cpp_store_checkpoints(void *store);
//! Takes a snapshot of the store, at `position`, to hash the catalog and all rows as of then; ended by
//! `quack_cpp_state_hasher_close`.
void *quack_cpp_state_hasher_open(void *store, uint64_t *position, QuackError *error);
//! Emits the hash, once: equal for equal contents, regardless of the history that led to them.
void quack_cpp_state_hasher_run(void *hasher, QuackSink hash, QuackError *error);
void quack_cpp_state_hasher_close(void *hasher);

//! The store's only writer. Not thread-safe. Ended by `quack_cpp_applier_close`.
void *quack_cpp_applier_open(void *store, QuackError *error);
void quack_cpp_applier_close(void *applier);
//! Makes a new store `owner`'s, or one that came from another node as a snapshot (`foreign`); throws when it is
//! another's, or not a store at all.
void quack_cpp_applier_claim(void *applier, QuackBytes owner, bool foreign, QuackError *error);
//! Reads the position and the state that the last committed transaction has written; index 0 in a new store.
void quack_cpp_applier_position(void *applier, uint64_t *index, QuackSink state, QuackError *error);
void quack_cpp_applier_begin(void *applier, QuackError *error);
//! Writes the position and the state in the same transaction and commits.
void quack_cpp_applier_commit(void *applier, uint64_t index, QuackBytes state, QuackError *error);
void quack_cpp_applier_rollback(void *applier);
//! Looks up the rows of a `deleted` or `updated` chunk and remembers them for `quack_cpp_applier_change_found`.
//! Returns false when a row is not there. Without `search` only the row id hints are followed.
bool quack_cpp_applier_find(void *applier, QuackTable table, QuackBytes chunk, bool search, QuackError *error);
//! Deletes or updates the rows that were found since the last call.
void quack_cpp_applier_change_found(void *applier, QuackError *error);
void quack_cpp_applier_forget_found(void *applier);
//! Whether no two rows of the table can be the same.
bool quack_cpp_applier_has_key(void *applier, QuackTable table, QuackError *error);
//! Deletes or updates rows of which the places travel. The transaction changes nothing else.
void quack_cpp_applier_change_places(void *applier, QuackTable table, QuackPlaces places, QuackBytes chunk, uint32_t count,
                                     QuackError *error);
//! What was committed last has led to these revisions.
void quack_cpp_applier_reached(void *applier, QuackRevisions revisions);
void quack_cpp_applier_insert(void *applier, QuackTable table, QuackBytes chunk, QuackError *error);
//! After an error of this kind, with everything rolled back: ends the clients' transactions that may be its cause.
//! Returns 0 when there were none, 1 when they are gone, 2 when one of them cannot be ended yet.
int32_t quack_cpp_applier_clear_way(void *applier, int32_t error_kind, QuackError *error);
void quack_cpp_applier_ddl(void *applier, QuackBytes definition, QuackError *error);
//! Emits the lanes that the catalog's tables need, as the running transaction sees them.
void quack_cpp_applier_placements(void *applier, QuackPlacementSink sink, QuackError *error);
//! Numbers the tables that have no number, counting on from `last`; returns the last number given.
uint64_t quack_cpp_applier_number_tables(void *applier, uint64_t last, QuackError *error);
//! Reads where a sequence is; returns whether it is there.
bool quack_cpp_applier_sequence(void *applier, QuackBytes schema, QuackBytes name, QuackSequenceState *state,
                                QuackError *error);
//! Moves a sequence with the running transaction. With `is_set`, what was reserved of it before is void.
void quack_cpp_applier_move_sequence(void *applier, QuackBytes schema, QuackBytes name, const QuackSequenceState *state,
                                     bool is_set, QuackError *error);

//! A client's session: one DuckDB connection with the store as its default database, and `consistency` unless that is
//! empty. With `allow_host_access` it may use files and the other databases of the process.
void *quack_cpp_session_open(void *store, QuackBytes consistency, bool allow_host_access, QuackError *error);
void quack_cpp_session_close(void *session);
//! May be called from any thread while another runs the session.
void quack_cpp_session_interrupt(void *session);
//! Whether it has a transaction open, or a result that is not read to its end.
bool quack_cpp_session_in_transaction(void *session);
//! Runs a text of one or more statements; the first that returns rows is the result. Emits a serialized LogicalType
//! to `types` and a name to `names` for each column.
void quack_cpp_session_query(void *session, QuackBytes sql, QuackSink types, QuackSink names, QuackError *error);
//! Emits up to `chunks_max` serialized chunks of the result; returns whether there may be more.
bool quack_cpp_session_fetch(void *session, size_t chunks_max, QuackSink chunks, QuackError *error);
//! Inserts the rows of a serialized chunk.
void quack_cpp_session_append(void *session, QuackBytes schema, QuackBytes table, QuackBytes chunk, QuackError *error);
}
