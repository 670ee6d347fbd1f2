//! Cuts the rows of an INSERT into ranges in which no row refers to an earlier row of its range by a foreign key.

#include "self_reference.hpp"

#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/parser/constraints/foreign_key_constraint.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

namespace {

//! One foreign key of a table to itself, over the rows of a chunk.
class References {
public:
	References(const ForeignKeyInfo &info, DataChunk &rows)
	    : referred(HashOf(info.pk_keys, rows)), referring(HashOf(info.fk_keys, rows)), compares_bytes(ComparesBytes(info, rows)) {
	}

	//! Whether a row may refer to one since the last call of `Begin`.
	bool MayReferBack(idx_t row) const {
		return !compares_bytes || keys.count(FlatVector::GetData<hash_t>(referring)[row]) > 0;
	}
	void Add(idx_t row) {
		keys.insert(FlatVector::GetData<hash_t>(referred)[row]);
	}
	void Begin() {
		keys.clear();
	}

private:
	static Vector HashOf(const vector<PhysicalIndex> &columns, DataChunk &rows) {
		vector<idx_t> ids;
		for (auto &column : columns) {
			ids.push_back(column.index);
		}
		Vector result(LogicalType::HASH);
		rows.Hash(ids, result);
		result.Flatten();
		return result;
	}
	//! Where a collation makes different texts equal, their hashes tell nothing.
	static bool ComparesBytes(const ForeignKeyInfo &info, DataChunk &rows) {
		auto has_collation = [&](const PhysicalIndex &column) {
			auto type = rows.data[column.index].GetType();
			return type.id() == LogicalTypeId::VARCHAR && !StringType::GetCollation(type).empty();
		};
		return std::none_of(info.pk_keys.begin(), info.pk_keys.end(), has_collation) &&
		       std::none_of(info.fk_keys.begin(), info.fk_keys.end(), has_collation);
	}

	Vector referred;
	Vector referring;
	const bool compares_bytes;
	unordered_set<hash_t> keys;
};

} // namespace

vector<RowRange> CutAtReferences(const DuckTableEntry &table, DataChunk &rows) {
	vector<References> all;
	for (auto &constraint : table.GetConstraints()) {
		if (constraint->type != ConstraintType::FOREIGN_KEY) {
			continue;
		}
		auto &info = constraint->Cast<ForeignKeyConstraint>().info;
		if (info.type == ForeignKeyType::FK_TYPE_SELF_REFERENCE_TABLE) {
			all.emplace_back(info, rows);
		}
	}
	if (all.empty()) {
		return {{0, rows.size()}};
	}
	vector<RowRange> ranges;
	idx_t begin = 0;
	for (idx_t row = 0; row < rows.size(); row++) {
		auto refers_back =
		    row > begin && std::any_of(all.begin(), all.end(), [&](const References &key) { return key.MayReferBack(row); });
		if (refers_back) {
			ranges.push_back({begin, row});
			begin = row;
			for (auto &key : all) {
				key.Begin();
			}
		}
		for (auto &key : all) {
			key.Add(row);
		}
	}
	ranges.push_back({begin, rows.size()});
	return ranges;
}

} // namespace quack
