//! Functions that list the groups of tables and switch the use of groups on and off. The node also asks here which lanes
//! the tables of its catalog need.

#include "groups.hpp"

#include "applier.hpp"
#include "catalog.hpp"
#include "error.hpp"
#include "table_entry.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/execution/expression_executor_state.hpp"
#include "duckdb/function/scalar_function.hpp"
#include "duckdb/function/table_function.hpp"
#include "duckdb/main/client_data.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! The lanes that tables need, by name, with the number of tables.
map<string, uint32_t> NeededLanes(ClientContext &context, QuackCatalog &catalog) {
	map<string, uint32_t> result;
	if (!catalog.places_tables) {
		return result;
	}
	ForEachTable(context, catalog, [&](SchemaCatalogEntry &, DuckTableEntry &table) {
		auto &placement = QuackTableEntry::PlacementOf(table);
		if (!placement.group.empty()) {
			result[placement.group]++;
		}
		for (uint32_t shard = 0; shard < placement.groups; shard++) {
			result[ShardName(shard)]++;
		}
	});
	return result;
}

struct TableGroupsData : public TableFunctionData {
	string catalog;
};

struct TableGroupsState : public GlobalTableFunctionState {
	vector<vector<Value>> rows;
	idx_t next = 0;
};

unique_ptr<FunctionData> BindTableGroups(ClientContext &context, TableFunctionBindInput &input,
                                         vector<LogicalType> &types, vector<Identifier> &names) {
	if (input.inputs[0].IsNull()) {
		throw BinderException("the arguments must not be NULL");
	}
	auto data = make_uniq<TableGroupsData>();
	data->catalog = input.inputs[0].ToString();
	for (auto &column : vector<pair<const char *, LogicalType>> {{"schema_name", LogicalType::VARCHAR},
	                                                             {"table_name", LogicalType::VARCHAR},
	                                                             {"shard_key", LogicalType::VARCHAR},
	                                                             {"shard", LogicalType::UINTEGER},
	                                                             {"group_name", LogicalType::VARCHAR},
	                                                             {"group_id", LogicalType::UBIGINT},
	                                                             {"epoch", LogicalType::UBIGINT}}) {
		names.emplace_back(column.first);
		types.push_back(column.second);
	}
	return std::move(data);
}

QuackCatalog &ReplicatedCatalog(ClientContext &context, const string &name) {
	auto catalog = Catalog::GetCatalogEntry(context, Identifier(name));
	if (!catalog || !QuackCatalog::Is(*catalog)) {
		throw BinderException("\"%s\" is no replicated catalog of this process. CALL quack_server_list() names those there are",
		                      name);
	}
	return reinterpret_cast<QuackCatalog &>(*catalog);
}

void AddTable(QuackCatalog &catalog, SchemaCatalogEntry &schema, DuckTableEntry &table, vector<vector<Value>> &rows) {
	auto &placement = QuackTableEntry::PlacementOf(table);
	auto add = [&](Value key, Value shard, const string &group) {
		rows.push_back({Value(schema.name.GetIdentifierName()), Value(table.name.GetIdentifierName()), std::move(key),
		                std::move(shard), Value(group), Value::UBIGINT(catalog.GroupId(group)), Value::UBIGINT(placement.epoch)});
	};
	Value no_key(LogicalType::VARCHAR);
	Value no_shard(LogicalType::UINTEGER);
	if (placement.shard_key.empty()) {
		add(no_key, no_shard, placement.group.empty() ? DEFAULT_GROUP : placement.group);
		return;
	}
	for (uint32_t shard = 0; shard < placement.groups; shard++) {
		add(Value(placement.shard_key), Value::UINTEGER(shard), ShardName(shard));
	}
}

unique_ptr<GlobalTableFunctionState> InitTableGroups(ClientContext &context, TableFunctionInitInput &input) {
	auto state = make_uniq<TableGroupsState>();
	auto &catalog = ReplicatedCatalog(context, input.bind_data->Cast<TableGroupsData>().catalog);
	ForEachTable(context, catalog, [&](SchemaCatalogEntry &schema, DuckTableEntry &table) {
		AddTable(catalog, schema, table, state->rows);
	});
	return std::move(state);
}

void RunTableGroups(ClientContext &, TableFunctionInput &input, DataChunk &output) {
	auto &state = input.global_state->Cast<TableGroupsState>();
	idx_t count = 0;
	for (; state.next < state.rows.size() && count < STANDARD_VECTOR_SIZE; state.next++, count++) {
		for (idx_t c = 0; c < output.ColumnCount(); c++) {
			output.data[c].Append(state.rows[state.next][c]);
		}
	}
	output.SetChildCardinality(count);
}

//! The catalog that a call without a name means: the one in use, or the only one that is served.
string CatalogInUse(ClientContext &context) {
	auto &name = ClientData::Get(context).catalog_search_path->GetDefault().GetCatalog();
	auto catalog = Catalog::GetCatalogEntry(context, name);
	return catalog && QuackCatalog::Is(*catalog) ? name.GetIdentifierName() : string();
}

void SetEnabled(Host &host, DataChunk &args, ExpressionState &state, Vector &result) {
	auto count = args.size();
	result.SetVectorType(VectorType::FLAT_VECTOR);
	auto writer = FlatVector::Writer<bool>(result, count);
	for (idx_t i = 0; i < count; i++) {
		auto enabled = args.GetValue(0, i);
		auto named = args.ColumnCount() > 1;
		if (enabled.IsNull() || (named && args.GetValue(1, i).IsNull())) {
			throw InvalidInputException("the arguments must not be NULL: write quack_multiraft_sql_set_enabled(true)");
		}
		auto catalog = named ? args.GetValue(1, i).ToString() : CatalogInUse(state.GetContext());
		QuackError error = NoError();
		quack_rs_set_groups_enabled(host.rust, Bytes(catalog), enabled.GetValue<bool>(), &error);
		ThrowIfError(error);
		writer.WriteValue(enabled.GetValue<bool>());
	}
}

} // namespace

void RegisterGroups(ExtensionLoader &loader, Host &host) {
	ScalarFunctionSet switches("quack_multiraft_sql_set_enabled");
	for (auto &arguments : vector<vector<LogicalType>> {{LogicalType::BOOLEAN}, {LogicalType::BOOLEAN, LogicalType::VARCHAR}}) {
		ScalarFunction function(arguments, LogicalType::BOOLEAN, [&host](DataChunk &args, ExpressionState &state, Vector &result) {
			SetEnabled(host, args, state, result);
		});
		function.SetVolatile();
		function.SetFallible();
		function.SetNullHandling(FunctionNullHandling::SPECIAL_HANDLING);
		switches.AddFunction(std::move(function));
	}
	loader.RegisterFunction(std::move(switches));
	loader.RegisterFunction(
	    TableFunction("quack_table_groups", {LogicalType::VARCHAR}, RunTableGroups, BindTableGroups, InitTableGroups));
}

void Applier::Placements(QuackPlacementSink sink) {
	for (auto &lane : NeededLanes(context, store.Catalog())) {
		sink.take(sink.context, Bytes(lane.first), lane.second);
	}
}

} // namespace quack

extern "C" void quack_cpp_applier_placements(void *applier, QuackPlacementSink sink, QuackError *error) {
	quack::Guard(error, [&]() { static_cast<quack::Applier *>(applier)->Placements(sink); });
}
