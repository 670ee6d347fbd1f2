//! Hashes the values of a shard key, and tells which lanes the rows of a table take.

#include "shard.hpp"

#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/execution/expression_executor_state.hpp"
#include "duckdb/function/scalar_function.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

using namespace duckdb;

namespace quack {

uint64_t ShardHash(const char *text, idx_t length) {
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (idx_t i = 0; i < length; i++) {
		hash = (hash ^ static_cast<uint8_t>(text[i])) * 0x100000001b3ULL;
	}
	return hash;
}

//! Passes on the hash of each value. Values are texts as DuckDB writes them with no settings of a session.
template <class TAKE>
static void HashValues(Vector &values, idx_t count, TAKE &&take) {
	if (count == 0) {
		return;
	}
	Vector texts(LogicalType::VARCHAR, count);
	auto is_text = values.GetType().id() == LogicalTypeId::VARCHAR;
	if (!is_text) {
		// What cannot be written as text hashes like NULL: it must have some lane, and any will do.
		string ignored;
		VectorOperations::DefaultTryCast(values, texts, count, &ignored);
	}
	UnifiedVectorFormat format;
	(is_text ? values : texts).ToUnifiedFormat(format);
	auto data = UnifiedVectorFormat::GetData<string_t>(format);
	for (idx_t i = 0; i < count; i++) {
		auto index = format.sel->get_index(i);
		if (format.validity.RowIsValid(index)) {
			take(i, ShardHash(data[index].GetData(), data[index].GetSize()));
		} else {
			take(i, ShardHash(nullptr, 0));
		}
	}
}

Route::Route(const Placement &placement, const ColumnList &columns) : group(placement.group) {
	Identifier key(placement.shard_key);
	if (!placement.shard_key.empty() && columns.ColumnExists(key) && !columns.GetColumn(key).Generated()) {
		groups = placement.groups;
		key_column = columns.GetColumn(key).Physical().index;
	}
}

void Route::Weigh(DataChunk &rows, uint64_t bytes, const std::function<void(const string &, uint64_t)> &take) const {
	auto count = rows.size();
	if (groups == 0 || count == 0) {
		take(group, bytes);
		return;
	}
	if (groups == 1) {
		take(ShardName(0), bytes);
		return;
	}
	vector<uint64_t> rows_of(groups, 0);
	HashValues(rows.data[key_column], count, [&](idx_t, uint64_t hash) { rows_of[hash % groups]++; });
	for (uint32_t shard = 0; shard < groups; shard++) {
		if (rows_of[shard] > 0) {
			take(ShardName(shard), MaxValue<uint64_t>(bytes * rows_of[shard] / count, 1));
		}
	}
}

void Route::WeighEvenly(uint64_t bytes, const std::function<void(const string &, uint64_t)> &take) const {
	if (groups == 0) {
		take(group, bytes);
		return;
	}
	for (uint32_t shard = 0; shard < groups; shard++) {
		take(ShardName(shard), bytes / groups + 1);
	}
}

//! The first argument's lane among as many as the second says.
static void ShardFunction(DataChunk &args, ExpressionState &state, Vector &result) {
	auto count = args.size();
	vector<uint64_t> hashes(count);
	HashValues(args.data[0], count, [&](idx_t row, uint64_t hash) { hashes[row] = hash; });
	UnifiedVectorFormat groups;
	args.data[1].ToUnifiedFormat(groups);
	auto numbers = UnifiedVectorFormat::GetData<int64_t>(groups);
	result.SetVectorType(VectorType::FLAT_VECTOR);
	auto writer = FlatVector::Writer<int32_t>(result, count);
	for (idx_t i = 0; i < count; i++) {
		auto index = groups.sel->get_index(i);
		if (!groups.validity.RowIsValid(index)) {
			writer.WriteNull();
			continue;
		}
		auto number = numbers[index];
		if (number < 1 || number > GROUPS_MAX) {
			throw InvalidInputException("quack_shard needs a number of groups from 1 to %lld, not %lld", GROUPS_MAX, number);
		}
		writer.WriteValue(static_cast<int32_t>(hashes[i] % static_cast<uint64_t>(number)));
	}
}

void RegisterShard(ExtensionLoader &loader) {
	ScalarFunction function("quack_shard", {LogicalType::ANY, LogicalType::BIGINT}, LogicalType::INTEGER, ShardFunction);
	// NULL has a lane, too.
	function.SetNullHandling(FunctionNullHandling::SPECIAL_HANDLING);
	function.SetFallible();
	loader.RegisterFunction(std::move(function));
}

} // namespace quack
