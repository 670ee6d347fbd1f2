//! Which lanes the entries of a table take: the options of WITH and SET, and the tags that keep them.
#pragma once

#include "duckdb.hpp"
#include "duckdb/common/insertion_order_preserving_map.hpp"
#include "duckdb/parser/column_list.hpp"
#include "duckdb/parser/parsed_data/alter_table_info.hpp"
#include "duckdb/parser/parsed_data/create_table_info.hpp"

namespace quack {

class QuackCatalog;

//! The options, as users write them. The tags of a table have the same names.
constexpr const char *GROUP_OPTION = "quack_group";
constexpr const char *SHARD_KEY_OPTION = "quack_shard_key";
constexpr const char *GROUPS_OPTION = "quack_initial_groups";
//! Counts the changes of a table's placement. Only a tag: it is not for users to set.
constexpr const char *EPOCH_TAG = "quack_epoch";

//! Names the default group in statements and listings.
constexpr const char *DEFAULT_GROUP = "default";
//! Every node takes part in each lane, and applies all entries in one order regardless of the number of lanes: more lanes than
//! this only cost messages.
constexpr int64_t GROUPS_MAX = 256;
//! What `quack_shard_key` alone means. A few lanes already bring a table's writes to where applying is the limit.
constexpr int64_t GROUPS_DEFAULT = 4;
//! What fits into a DuckDB identifier, a file name and a label of a metric.
constexpr duckdb::idx_t GROUP_NAME_BYTES_MAX = 63;

using Options = duckdb::case_insensitive_map_t<duckdb::unique_ptr<duckdb::ParsedExpression>>;
using Tags = duckdb::InsertionOrderPreservingMap<duckdb::string>;

//! Where the entries of a table go. It is a hint: every lane leads to the one order.
struct Placement {
	//! The named group; empty for the default group, and for a table with a shard key.
	duckdb::string group;
	//! The column whose values decide; empty when the table has no shard key.
	duckdb::string shard_key;
	//! The number of lanes `shard-0`, `shard-1` and so on; 0 without a shard key.
	uint32_t groups = 0;
	uint64_t epoch = 1;

	bool IsDefault() const {
		return group.empty() && shard_key.empty();
	}
	bool LeadsWhere(const Placement &other) const {
		return group == other.group && shard_key == other.shard_key && groups == other.groups;
	}

	static Placement OfTags(const Tags &tags);
	void ToTags(Tags &tags) const;
	Options ToOptions() const;

	//! What CREATE TABLE says; throws when it makes no sense. Without options the tags count: a table that was copied
	//! from another database may have them.
	static Placement OfCreate(const duckdb::CreateTableInfo &info);
	//! What SET and RESET make of this placement; throws when they make no sense.
	Placement With(const Options &options, const duckdb::ColumnList &columns) const;
	Placement Without(const duckdb::identifier_set_t &options) const;
};

//! The name of a lane of the pool that all sharded tables share.
duckdb::string ShardName(uint32_t shard);

//! Whether ALTER TABLE is one that changes the placement.
bool IsPlacementChange(const duckdb::AlterInfo &info);
//! What such a statement makes of a placement.
Placement ChangedPlacement(const Placement &before, const duckdb::AlterInfo &info, const duckdb::ColumnList &columns);

//! Refuses what places a table while the cluster's switch is off.
void RequirePlacementPermitted(const QuackCatalog &catalog, const Placement &before, const Placement &after);

} // namespace quack
