//! The table functions: servers, their status, and the members of their clusters.

#include "consistency.hpp"
#include "error.hpp"
#include "host.hpp"
#include "shared_extensions.hpp"
#include "duckdb/function/table_function.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! Fills in the rows of a call: `quack_rs_*` makes them.
using Produce = std::function<void(QuackRowSink, QuackError *)>;
using Plan = Produce (*)(Host &host, TableFunctionBindInput &input);

struct Column {
	const char *name;
	LogicalType type;
};

struct FunctionInfo : public TableFunctionInfo {
	FunctionInfo(Host &host, Plan plan, vector<Column> columns)
	    : host(host), plan(plan), columns(std::move(columns)) {
	}
	Host &host;
	Plan plan;
	vector<Column> columns;
};

struct FunctionData : public TableFunctionData {
	Produce produce;
	vector<LogicalType> types;
};

struct FunctionState : public GlobalTableFunctionState {
	vector<vector<Value>> rows;
	bool produced = false;
	idx_t next = 0;
	optional_ptr<const vector<LogicalType>> types;
};

unique_ptr<FunctionData> Bind(ClientContext &context, TableFunctionBindInput &input, vector<LogicalType> &return_types,
                              vector<Identifier> &names) {
	// Statements are bound on the thread of the caller, and may run on any: this is where the main thread is met.
	quack_cpp_stop_at_exit();
	auto &info = input.info->Cast<FunctionInfo>();
	auto data = make_uniq<FunctionData>();
	for (auto &column : info.columns) {
		names.emplace_back(column.name);
		return_types.push_back(column.type);
	}
	data->types = return_types;
	data->produce = info.plan(info.host, input);
	return data;
}

unique_ptr<duckdb::FunctionData> BindFunction(ClientContext &context, TableFunctionBindInput &input,
                                              vector<LogicalType> &return_types, vector<Identifier> &names) {
	return Bind(context, input, return_types, names);
}

unique_ptr<GlobalTableFunctionState> Init(ClientContext &context, TableFunctionInitInput &input) {
	auto state = make_uniq<FunctionState>();
	state->types = input.bind_data->Cast<FunctionData>().types;
	return std::move(state);
}

void TakeRow(void *target, const QuackBytes *values, size_t count) {
	auto &state = *static_cast<FunctionState *>(target);
	vector<Value> row;
	for (size_t i = 0; i < count; i++) {
		auto &type = (*state.types)[i];
		row.push_back(values[i].data ? Value(Text(values[i])).DefaultCastAs(type) : Value(type));
	}
	state.rows.push_back(std::move(row));
}

void Run(ClientContext &context, TableFunctionInput &input, DataChunk &output) {
	auto &state = input.global_state->Cast<FunctionState>();
	if (!state.produced) {
		state.produced = true;
		QuackError error = NoError();
		input.bind_data->Cast<FunctionData>().produce(QuackRowSink {&state, TakeRow}, &error);
		ThrowIfError(error);
	}
	idx_t count = 0;
	for (; state.next < state.rows.size() && count < STANDARD_VECTOR_SIZE; state.next++, count++) {
		for (idx_t c = 0; c < output.ColumnCount(); c++) {
			output.data[c].Append(state.rows[state.next][c]);
		}
	}
	output.SetChildCardinality(count);
}

constexpr int64_t MAX_CONNECTIONS = 65536;
//! A year.
constexpr int64_t MAX_TIMEOUT_SECONDS = 31536000;

//! A named parameter; empty when it is not given.
string Named(TableFunctionBindInput &input, const char *name) {
	auto entry = input.named_parameters.find(name);
	if (entry == input.named_parameters.end() || entry->second.IsNull()) {
		return string();
	}
	auto value = entry->second.ToString();
	if (value.empty()) {
		throw InvalidInputException("%s must not be empty: give a value, or leave the parameter out", name);
	}
	return value;
}

//! A named parameter that is a list, or one text with commas.
vector<string> NamedList(TableFunctionBindInput &input, const char *name) {
	vector<string> result;
	auto entry = input.named_parameters.find(name);
	if (entry == input.named_parameters.end() || entry->second.IsNull()) {
		return result;
	}
	auto &value = entry->second;
	if (value.type().id() != LogicalTypeId::LIST) {
		result.push_back(value.ToString());
		return result;
	}
	for (auto &item : ListValue::GetChildren(value)) {
		result.push_back(item.ToString());
	}
	return result;
}

//! A named parameter that is false when it is not given.
bool Flag(TableFunctionBindInput &input, const char *name) {
	auto entry = input.named_parameters.find(name);
	return entry != input.named_parameters.end() && !entry->second.IsNull() && entry->second.GetValue<bool>();
}

//! A named parameter from 1 to `max`; 0 when it is not given.
uint32_t Number(TableFunctionBindInput &input, const char *name, int64_t max) {
	auto entry = input.named_parameters.find(name);
	if (entry == input.named_parameters.end() || entry->second.IsNull()) {
		return 0;
	}
	auto value = entry->second.GetValue<int64_t>();
	if (value < 1 || value > max) {
		throw InvalidInputException("%s := %lld is not allowed: give a number from 1 to %lld", name, value, max);
	}
	return NumericCast<uint32_t>(value);
}

string UriOf(TableFunctionBindInput &input, const char *fallback) {
	if (input.inputs.empty()) {
		return fallback;
	}
	if (input.inputs[0].IsNull()) {
		throw BinderException("the URI must not be NULL: write 'quack:host:port'");
	}
	return input.inputs[0].ToString();
}

vector<QuackBytes> AllBytes(const vector<string> &texts) {
	vector<QuackBytes> result;
	for (auto &text : texts) {
		result.push_back(Bytes(text));
	}
	return result;
}

Produce PlanServe(Host &host, TableFunctionBindInput &input) {
	auto uri = UriOf(input, "quack:localhost");
	auto token = Named(input, "token");
	auto node_id = Named(input, "node_id");
	auto data_dir = Named(input, "data_dir");
	auto catalog = Named(input, "catalog");
	RequireNotReserved(Identifier(catalog));
	auto cert_file = Named(input, "cert_file");
	auto key_file = Named(input, "key_file");
	auto client_ca_file = Named(input, "client_ca_file");
	auto token_file = Named(input, "token_file");
	auto peers = NamedList(input, "peers");
	auto allow_origins = NamedList(input, "allow_origins");
	auto consistency = Named(input, "consistency");
	if (!consistency.empty()) {
		ParseConsistency(consistency);
	}
	auto allow_other_hostname = Flag(input, "allow_other_hostname");
	auto allow_host_access = Flag(input, "allow_host_access");
	auto require_tls = Flag(input, "require_tls");
	auto max_connections = Number(input, "max_connections", MAX_CONNECTIONS);
	auto idle_connection = Number(input, "idle_connection_timeout_secs", MAX_TIMEOUT_SECONDS);
	auto idle_transaction = Number(input, "idle_transaction_timeout_secs", MAX_TIMEOUT_SECONDS);
	auto extensions = DeclaredExtensions(*host.Instance());
	return [&host, uri, token, token_file, node_id, data_dir, catalog, cert_file, key_file, client_ca_file, peers, extensions,
	        allow_other_hostname, consistency, allow_host_access, allow_origins, require_tls,
	        max_connections, idle_connection, idle_transaction](QuackRowSink rows, QuackError *error) {
		auto peer_bytes = AllBytes(peers);
		auto origin_bytes = AllBytes(allow_origins);
		auto extension_bytes = AllBytes(extensions);
		QuackServeArguments arguments {Bytes(uri),
		                               Bytes(token),
		                               Bytes(token_file),
		                               Bytes(node_id),
		                               Bytes(data_dir),
		                               Bytes(catalog),
		                               peer_bytes.data(),
		                               peer_bytes.size(),
		                               extension_bytes.data(),
		                               extension_bytes.size(),
		                               Bytes(cert_file),
		                               Bytes(key_file),
		                               Bytes(client_ca_file),
		                               allow_other_hostname,
		                               Bytes(consistency),
		                               allow_host_access,
		                               origin_bytes.data(),
		                               origin_bytes.size(),
		                               require_tls,
		                               max_connections,
		                               idle_connection,
		                               idle_transaction};
		quack_rs_serve(host.rust, &arguments, rows, error);
	};
}

Produce PlanStop(Host &host, TableFunctionBindInput &input) {
	auto uri = UriOf(input, "quack:localhost");
	return [&host, uri](QuackRowSink rows, QuackError *error) { quack_rs_stop(host.rust, Bytes(uri), rows, error); };
}

Produce PlanServerList(Host &host, TableFunctionBindInput &input) {
	return [&host](QuackRowSink rows, QuackError *error) { quack_rs_server_list(host.rust, rows, error); };
}

Produce PlanActiveConnections(Host &host, TableFunctionBindInput &input) {
	return [&host](QuackRowSink rows, QuackError *error) { quack_rs_active_connections(host.rust, rows, error); };
}

Produce PlanCloseConnection(Host &host, TableFunctionBindInput &input) {
	auto uri = UriOf(input, "quack:localhost");
	if (input.inputs[1].IsNull()) {
		throw BinderException("the number of a connection cannot be NULL: see FROM quack_active_connections()");
	}
	auto number = input.inputs[1].GetValue<uint64_t>();
	return [&host, uri, number](QuackRowSink rows, QuackError *error) {
		quack_rs_close_connection(host.rust, Bytes(uri), number, rows, error);
	};
}

Produce PlanRaftStatus(Host &host, TableFunctionBindInput &input) {
	return [&host](QuackRowSink rows, QuackError *error) { quack_rs_raft_status(host.rust, rows, error); };
}

Produce PlanContractStatus(Host &host, TableFunctionBindInput &input) {
	return [&host](QuackRowSink rows, QuackError *error) { quack_rs_contract_status(host.rust, rows, error); };
}

Produce PlanMetrics(Host &host, TableFunctionBindInput &input) {
	return [&host](QuackRowSink rows, QuackError *error) { quack_rs_metrics(host.rust, rows, error); };
}

Produce PlanOutcomes(Host &host, TableFunctionBindInput &input) {
	return [&host](QuackRowSink rows, QuackError *error) { quack_rs_outcomes(host.rust, rows, error); };
}

Produce PlanStateHash(Host &host, TableFunctionBindInput &input) {
	return [&host](QuackRowSink rows, QuackError *error) { quack_rs_state_hash(host.rust, rows, error); };
}

string TextAt(TableFunctionBindInput &input, idx_t index) {
	if (input.inputs.size() <= index || input.inputs[index].IsNull()) {
		throw BinderException("the arguments must not be NULL");
	}
	return input.inputs[index].ToString();
}

Produce PlanNodes(Host &host, TableFunctionBindInput &input) {
	auto catalog = TextAt(input, 0);
	return [&host, catalog](QuackRowSink rows, QuackError *error) {
		quack_rs_nodes(host.rust, Bytes(catalog), rows, error);
	};
}

Produce PlanVerify(Host &host, TableFunctionBindInput &input) {
	auto catalog = TextAt(input, 0);
	return [&host, catalog](QuackRowSink rows, QuackError *error) {
		quack_rs_verify(host.rust, Bytes(catalog), rows, error);
	};
}

Produce PlanGroupStatus(Host &host, TableFunctionBindInput &input) {
	auto catalog = TextAt(input, 0);
	return [&host, catalog](QuackRowSink rows, QuackError *error) {
		quack_rs_group_status(host.rust, Bytes(catalog), rows, error);
	};
}

Produce PlanChange(Host &host, TableFunctionBindInput &input, const char *what) {
	auto catalog = TextAt(input, 0);
	auto argument = TextAt(input, 1);
	return [&host, catalog, argument, what](QuackRowSink rows, QuackError *error) {
		quack_rs_change_members(host.rust, Bytes(catalog), Bytes(string(what)), Bytes(argument), rows, error);
	};
}

Produce PlanAddNode(Host &host, TableFunctionBindInput &input) {
	return PlanChange(host, input, "put");
}

Produce PlanRemoveNode(Host &host, TableFunctionBindInput &input) {
	return PlanChange(host, input, "remove");
}

Produce PlanTransferLeader(Host &host, TableFunctionBindInput &input) {
	return PlanChange(host, input, "lead");
}

Produce PlanBackup(Host &host, TableFunctionBindInput &input) {
	auto catalog = TextAt(input, 0);
	auto folder = TextAt(input, 1);
	return [&host, catalog, folder](QuackRowSink rows, QuackError *error) {
		quack_rs_backup(host.rust, Bytes(catalog), Bytes(folder), rows, error);
	};
}

TableFunction Make(const char *name, vector<LogicalType> arguments, Host &host, Plan plan, vector<Column> columns) {
	TableFunction function(name, std::move(arguments), Run, BindFunction, Init);
	function.function_info = make_shared_ptr<FunctionInfo>(host, plan, std::move(columns));
	return function;
}

} // namespace

void RegisterFunctions(ExtensionLoader &loader, shared_ptr<Host> host_p) {
	// The host lives as long as the instance, and with it these functions.
	auto &host = *host_p;
	vector<Column> serve_columns {
	    {"listen_uri", LogicalType::VARCHAR}, {"listen_url", LogicalType::VARCHAR}, {"auth_token", LogicalType::VARCHAR}};
	TableFunctionSet serve("quack_serve");
	for (auto &arguments : vector<vector<LogicalType>> {{}, {LogicalType::VARCHAR}}) {
		auto function = Make("quack_serve", arguments, host, PlanServe, serve_columns);
		for (auto name : {"token", "token_file", "node_id", "data_dir", "catalog", "cert_file", "key_file",
		                  "client_ca_file", "consistency"}) {
			function.GetSignature().AddKeywordOnly(name, LogicalType::VARCHAR, Value(LogicalType::VARCHAR));
		}
		// A list, or one text with commas.
		for (auto name : {"peers", "allow_origins"}) {
			function.GetSignature().AddKeywordOnly(name, LogicalType::ANY, Value(LogicalType::VARCHAR));
		}
		for (auto name : {"allow_other_hostname", "allow_host_access", "require_tls"}) {
			function.GetSignature().AddKeywordOnly(name, LogicalType::BOOLEAN, Value::BOOLEAN(false));
		}
		for (auto name : {"max_connections", "idle_connection_timeout_secs", "idle_transaction_timeout_secs"}) {
			function.GetSignature().AddKeywordOnly(name, LogicalType::BIGINT, Value(LogicalType::BIGINT));
		}
		serve.AddFunction(function);
	}
	loader.RegisterFunction(serve);

	loader.RegisterFunction(
	    Make("quack_stop", {LogicalType::VARCHAR}, host, PlanStop, {{"status", LogicalType::VARCHAR}}));
	loader.RegisterFunction(Make("quack_server_list", {}, host, PlanServerList,
	                             {{"listen_uri", LogicalType::VARCHAR},
	                              {"listen_url", LogicalType::VARCHAR},
	                              {"host", LogicalType::VARCHAR},
	                              {"port", LogicalType::USMALLINT},
	                              {"active_connections", LogicalType::UBIGINT},
	                              {"catalog", LogicalType::VARCHAR},
	                              {"node_id", LogicalType::VARCHAR},
	                              {"data_dir", LogicalType::VARCHAR},
	                              {"max_connections", LogicalType::UBIGINT},
	                              {"accepts_connections", LogicalType::BOOLEAN}}));
	loader.RegisterFunction(Make("quack_active_connections", {}, host, PlanActiveConnections,
	                             {{"server_id", LogicalType::VARCHAR},
	                              {"connection_id", LogicalType::UBIGINT},
	                              {"query", LogicalType::VARCHAR},
	                              {"state", LogicalType::VARCHAR},
	                              {"query_started_at", LogicalType::TIMESTAMP},
	                              {"client", LogicalType::VARCHAR},
	                              {"opened_at", LogicalType::TIMESTAMP},
	                              {"silent_for_s", LogicalType::UBIGINT}}));
	loader.RegisterFunction(Make("quack_close_connection", {LogicalType::VARCHAR, LogicalType::UBIGINT}, host,
	                             PlanCloseConnection, {{"status", LogicalType::VARCHAR}}));
	vector<LogicalType> two_texts {LogicalType::VARCHAR, LogicalType::VARCHAR};
	vector<Column> status_column {{"status", LogicalType::VARCHAR}};
	loader.RegisterFunction(Make("quack_add_node", two_texts, host, PlanAddNode, status_column));
	loader.RegisterFunction(Make("quack_remove_node", two_texts, host, PlanRemoveNode, status_column));
	loader.RegisterFunction(Make("quack_transfer_leader", two_texts, host, PlanTransferLeader, status_column));
	loader.RegisterFunction(Make("quack_backup", two_texts, host, PlanBackup,
	                             {{"folder", LogicalType::VARCHAR},
	                              {"position", LogicalType::UBIGINT},
	                              {"bytes", LogicalType::UBIGINT}}));
	loader.RegisterFunction(Make("quack_verify", {LogicalType::VARCHAR}, host, PlanVerify,
	                             {{"node_id", LogicalType::VARCHAR},
	                              {"hash", LogicalType::VARCHAR},
	                              {"state", LogicalType::VARCHAR},
	                              {"reason", LogicalType::VARCHAR}}));
	loader.RegisterFunction(Make("quack_nodes", {LogicalType::VARCHAR}, host, PlanNodes,
	                             {{"node_id", LogicalType::VARCHAR},
	                              {"address", LogicalType::VARCHAR},
	                              {"role", LogicalType::VARCHAR},
	                              {"leader", LogicalType::BOOLEAN},
	                              {"reachable", LogicalType::BOOLEAN},
	                              {"applied_index", LogicalType::UBIGINT},
	                              {"lag", LogicalType::UBIGINT},
	                              {"incarnation", LogicalType::UBIGINT},
	                              {"duckdb_version", LogicalType::VARCHAR},
	                              {"state", LogicalType::VARCHAR},
	                              {"reason", LogicalType::VARCHAR}}));
	loader.RegisterFunction(Make("quack_group_status", {LogicalType::VARCHAR}, host, PlanGroupStatus,
	                             {{"group_name", LogicalType::VARCHAR},
	                              {"group_id", LogicalType::UBIGINT},
	                              {"kind", LogicalType::VARCHAR},
	                              {"leader_id", LogicalType::VARCHAR},
	                              {"term", LogicalType::UBIGINT},
	                              {"commit_index", LogicalType::UBIGINT},
	                              {"ordered_index", LogicalType::UBIGINT},
	                              {"applied_index", LogicalType::UBIGINT},
	                              {"lag", LogicalType::UBIGINT},
	                              {"tables", LogicalType::UINTEGER},
	                              {"entries_per_s", LogicalType::DOUBLE},
	                              {"bytes", LogicalType::UBIGINT}}));
	loader.RegisterFunction(Make("quack_multiraft_sql_contract_status", {}, host, PlanContractStatus,
	                             {{"catalog", LogicalType::VARCHAR},
	                              {"feature", LogicalType::VARCHAR},
	                              {"statements", LogicalType::VARCHAR},
	                              {"state", LogicalType::VARCHAR},
	                              {"needed_entry_version", LogicalType::UINTEGER},
	                              {"entry_version", LogicalType::UINTEGER},
	                              {"needs_one_duckdb", LogicalType::BOOLEAN},
	                              {"duckdb_versions", LogicalType::LIST(LogicalType::VARCHAR)},
	                              {"reason", LogicalType::VARCHAR}}));
	loader.RegisterFunction(
	    Make("quack_state_hash", {}, host, PlanStateHash,
	         {{"catalog", LogicalType::VARCHAR}, {"applied_index", LogicalType::UBIGINT}, {"hash", LogicalType::VARCHAR}}));
	loader.RegisterFunction(Make("quack_metrics", {}, host, PlanMetrics,
	                             {{"node_id", LogicalType::VARCHAR},
	                              {"name", LogicalType::VARCHAR},
	                              {"kind", LogicalType::VARCHAR},
	                              {"labels", LogicalType::MAP(LogicalType::VARCHAR, LogicalType::VARCHAR)},
	                              {"value", LogicalType::DOUBLE},
	                              {"help", LogicalType::VARCHAR}}));
	loader.RegisterFunction(Make("quack_outcomes", {}, host, PlanOutcomes,
	                             {{"node_id", LogicalType::VARCHAR},
	                              {"group_id", LogicalType::UBIGINT},
	                              {"log_index", LogicalType::UBIGINT},
	                              {"origin", LogicalType::UBIGINT},
	                              {"boot", LogicalType::UBIGINT},
	                              {"sequence", LogicalType::UBIGINT},
	                              {"outcome", LogicalType::VARCHAR},
	                              {"repeated", LogicalType::BOOLEAN},
	                              {"error_type", LogicalType::UINTEGER},
	                              {"reason", LogicalType::VARCHAR},
	                              {"digest", LogicalType::VARCHAR},
	                              {"statements", LogicalType::VARCHAR}}));
	loader.RegisterFunction(Make("quack_raft_status", {}, host, PlanRaftStatus,
	                             {{"group_name", LogicalType::VARCHAR},
	                              {"group_id", LogicalType::UBIGINT},
	                              {"node_id", LogicalType::VARCHAR},
	                              {"role", LogicalType::VARCHAR},
	                              {"leader_id", LogicalType::VARCHAR},
	                              {"term", LogicalType::UBIGINT},
	                              {"last_index", LogicalType::UBIGINT},
	                              {"commit_index", LogicalType::UBIGINT},
	                              {"applied_index", LogicalType::UBIGINT},
	                              {"snapshot_index", LogicalType::UBIGINT},
	                              {"voters", LogicalType::LIST(LogicalType::VARCHAR)},
	                              {"learners", LogicalType::LIST(LogicalType::VARCHAR)},
	                              {"initialized", LogicalType::BOOLEAN},
	                              {"linearizable_read_safe", LogicalType::BOOLEAN},
	                              {"state", LogicalType::VARCHAR},
	                              {"reason", LogicalType::VARCHAR},
	                              {"log_held_by", LogicalType::VARCHAR}}));
}

} // namespace quack
