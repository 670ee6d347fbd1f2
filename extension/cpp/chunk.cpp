//! Rows as bytes, by DuckDB's serializer.

#include "chunk.hpp"

#include "value_check.hpp"
#include "duckdb/common/serializer/binary_deserializer.hpp"
#include "duckdb/common/serializer/binary_serializer.hpp"
#include "duckdb/common/storage_compatibility.hpp"
#include "duckdb/common/type_visitor.hpp"
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

//! The type with the codes of ENUMs for the ENUMs, which a vector holds in the same way.
static LogicalType WithCodes(const LogicalType &type) {
	if (!TypeVisitor::Contains(type, LogicalTypeId::ENUM)) {
		return type;
	}
	return TypeVisitor::VisitReplace(type, [](const LogicalType &part) {
		if (part.id() != LogicalTypeId::ENUM) {
			return part;
		}
		switch (part.InternalType()) {
		case PhysicalType::UINT8:
			return LogicalType(LogicalTypeId::UTINYINT);
		case PhysicalType::UINT16:
			return LogicalType(LogicalTypeId::USMALLINT);
		default:
			return LogicalType(LogicalTypeId::UINTEGER);
		}
	});
}

vector<LogicalType> WithCodes(const vector<LogicalType> &types) {
	vector<LogicalType> result;
	for (auto &type : types) {
		result.push_back(WithCodes(type));
	}
	return result;
}

unique_ptr<MemoryStream> SerializeChunk(DataChunk &chunk) {
	static const auto OPTIONS = OptionsFor(LOG_VERSION);
	auto stream = make_uniq<MemoryStream>();
	BinarySerializer serializer(*stream, OPTIONS);
	// As `DataChunk::Serialize`, which would write all values of an ENUM with every chunk.
	serializer.Begin();
	serializer.WriteProperty<sel_t>(100, "rows", NumericCast<sel_t>(chunk.size()));
	serializer.WriteList(101, "types", chunk.ColumnCount(), [&](Serializer::List &list, idx_t i) {
		list.WriteElement(WithCodes(chunk.data[i].GetType()));
	});
	serializer.WriteList(102, "columns", chunk.ColumnCount(), [&](Serializer::List &list, idx_t i) {
		list.WriteObject([&](Serializer &object) {
			Vector column(chunk.data[i].GetType());
			column.Reference(chunk.data[i]);
			column.Serialize(object);
		});
	});
	serializer.End();
	return stream;
}

unique_ptr<MemoryStream> SerializeChunkForClient(DataChunk &chunk) {
	static const auto OPTIONS = OptionsFor(CLIENT_VERSION);
	auto stream = make_uniq<MemoryStream>();
	BinarySerializer serializer(*stream, OPTIONS);
	serializer.Begin();
	chunk.Serialize(serializer);
	serializer.End();
	return stream;
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

void DeserializeChunk(ClientContext &context, QuackBytes bytes, DataChunk &chunk, const AcceptTypes &accept) {
	MemoryStream stream(const_cast<data_ptr_t>(bytes.data), bytes.length);
	BinaryDeserializer deserializer(stream);
	deserializer.Set<ClientContext &>(context);
	deserializer.Set<DatabaseInstance &>(*context.db);
	// As `DataChunk::Deserialize`, but that accepts vectors of all types, and leaves the memory of those that do not come
	// uninitialized.
	deserializer.Begin();
	auto rows = deserializer.ReadProperty<sel_t>(100, "rows");
	vector<LogicalType> types;
	deserializer.ReadList(101, "types",
	                      [&](Deserializer::List &list, idx_t) { types.push_back(list.ReadElement<LogicalType>()); });
	types = accept(rows, types);
	chunk.Initialize(Allocator::DefaultAllocator(), types, MaxValue<idx_t>(rows, STANDARD_VECTOR_SIZE));
	idx_t columns = 0;
	deserializer.ReadList(102, "columns", [&](Deserializer::List &list, idx_t i) {
		if (i >= types.size()) {
			throw SerializationException("the chunk has more columns than types");
		}
		list.ReadObject([&](Deserializer &object) { chunk.data[i].Deserialize(object, rows); });
		columns++;
	});
	if (columns != types.size()) {
		throw SerializationException("the chunk has fewer columns than types");
	}
	deserializer.End();
	for (auto &column : chunk.data) {
		CheckVector(column);
	}
	chunk.SetChildCardinality(rows);
}

} // namespace quack
