//! Rows as bytes, by DuckDB's serializer.

#include "chunk.hpp"

#include "duckdb/common/serializer/binary_deserializer.hpp"
#include "duckdb/common/serializer/binary_serializer.hpp"
#include "duckdb/common/storage_compatibility.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"
#include "duckdb/main/client_context.hpp"

using namespace duckdb;

namespace quack {

//! Release whose serialization the log uses: every later DuckDB reads it.
constexpr const char *LOG_VERSION = "v2.0.0";
//! Release whose serialization clients of protocol 1 read.
constexpr const char *CLIENT_VERSION = "v1.5.0";

static SerializationOptions OptionsFor(const char *version) {
	SerializationOptions options;
	options.storage_compatibility = StorageCompatibility::FromString(version);
	return options;
}

static unique_ptr<MemoryStream> Serialize(DataChunk &chunk, const SerializationOptions &options) {
	auto stream = make_uniq<MemoryStream>();
	BinarySerializer serializer(*stream, options);
	serializer.Begin();
	chunk.Serialize(serializer);
	serializer.End();
	return stream;
}

unique_ptr<MemoryStream> SerializeChunk(DataChunk &chunk) {
	static const auto OPTIONS = OptionsFor(LOG_VERSION);
	return Serialize(chunk, OPTIONS);
}

unique_ptr<MemoryStream> SerializeChunkForClient(DataChunk &chunk) {
	static const auto OPTIONS = OptionsFor(CLIENT_VERSION);
	return Serialize(chunk, OPTIONS);
}

unique_ptr<MemoryStream> SerializeTypeForClient(const LogicalType &type) {
	static const auto OPTIONS = OptionsFor(CLIENT_VERSION);
	auto stream = make_uniq<MemoryStream>();
	BinarySerializer serializer(*stream, OPTIONS);
	serializer.Begin();
	type.Serialize(serializer);
	serializer.End();
	return stream;
}

void DeserializeChunk(ClientContext &context, QuackBytes bytes, DataChunk &chunk) {
	MemoryStream stream(const_cast<data_ptr_t>(bytes.data), bytes.length);
	BinaryDeserializer deserializer(stream);
	deserializer.Set<ClientContext &>(context);
	deserializer.Set<DatabaseInstance &>(*context.db);
	deserializer.Begin();
	chunk.Deserialize(deserializer);
	deserializer.End();
}

unique_ptr<DataChunk> SliceOf(DataChunk &chunk, idx_t begin, idx_t end) {
	// Copied, not referenced: a slice of lists would drag the elements of all rows along.
	auto slice = make_uniq<DataChunk>();
	slice->Initialize(Allocator::DefaultAllocator(), chunk.GetTypes(), end - begin);
	for (idx_t i = 0; i < chunk.ColumnCount(); i++) {
		VectorOperations::Copy(chunk.data[i], slice->data[i], end, begin, 0);
	}
	slice->SetChildCardinality(end - begin);
	return slice;
}

} // namespace quack
