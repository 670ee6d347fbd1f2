//! Rows as bytes.
#pragma once

#include "bridge.h"
#include "duckdb.hpp"
#include "duckdb/common/serializer/memory_stream.hpp"

#include <functional>

namespace quack {

//! The types as `SerializeChunk` writes them: with the codes of ENUMs for the ENUMs, nested ones too. What the codes stand for
//! is the reader's to know (`ShapeOf`).
duckdb::vector<duckdb::LogicalType> WithCodes(const duckdb::vector<duckdb::LogicalType> &types);
//! DuckDB's own serialization of a chunk, but for the types (`WithCodes`). The bytes are `GetData()` up to `GetPosition()`.
duckdb::unique_ptr<duckdb::MemoryStream> SerializeChunk(duckdb::DataChunk &chunk);
//! A chunk with all of its types, in the form that a client of DuckDB 1.5 reads.
duckdb::unique_ptr<duckdb::MemoryStream> SerializeChunkForClient(duckdb::DataChunk &chunk);
duckdb::unique_ptr<duckdb::MemoryStream> SerializeTypeForClient(const duckdb::LogicalType &type);
//! Throws when a chunk of so many rows of these types is not one that is expected; returns the types that it is to have.
using AcceptTypes =
    std::function<duckdb::vector<duckdb::LogicalType>(duckdb::idx_t rows, const duckdb::vector<duckdb::LogicalType> &types)>;
//! Reads a chunk back; throws a SerializationException when the bytes are not one. `accept` comes before anything is made
//! of what the bytes say. The values are as they come: value_check.hpp.
void DeserializeChunk(duckdb::ClientContext &context, QuackBytes bytes, duckdb::DataChunk &chunk, const AcceptTypes &accept);

} // namespace quack
