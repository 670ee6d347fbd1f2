//! Which lane a row of a table with a shard key takes.
#pragma once

#include "placement.hpp"

namespace quack {

//! The hash of a value: FNV-1a (64 bits) over the bytes of its text. It is documented and never changes: clients may
//! count on it to send rows of one lane together.
uint64_t ShardHash(const char *text, duckdb::idx_t length);

//! The way of a table's rows.
class Route {
public:
	Route(const Placement &placement, const duckdb::ColumnList &columns);

	//! Divides the size of some rows among the groups that they belong to; `rows` begins with the table's physical
	//! columns. `take` gets a group's name, empty for the default group, and its bytes.
	void Weigh(duckdb::DataChunk &rows, uint64_t bytes,
	           const std::function<void(const duckdb::string &, uint64_t)> &take) const;

	//! The same for rows of which only their places are known.
	void WeighEvenly(uint64_t bytes, const std::function<void(const duckdb::string &, uint64_t)> &take) const;

private:
	duckdb::string group;
	uint32_t groups = 0;
	duckdb::idx_t key_column = 0;
};

//! Registers `quack_shard(value, groups)`.
void RegisterShard(duckdb::ExtensionLoader &loader);

} // namespace quack
