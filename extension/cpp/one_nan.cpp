//! Gives every NaN in a chunk the same bits before the chunk is proposed, because DuckDB's checkpoints may change those
//! bits.

#include "one_nan.hpp"

#include "duckdb/common/type_visitor.hpp"
#include "duckdb/common/vector/array_vector.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/common/vector/list_vector.hpp"
#include "duckdb/common/vector/struct_vector.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace duckdb;

namespace quack {

static bool HasFloating(const LogicalType &type) {
	return TypeVisitor::Contains(type, [](const LogicalType &part) {
		return part.id() == LogicalTypeId::FLOAT || part.id() == LogicalTypeId::DOUBLE;
	});
}

template <class T>
static bool IsOther(T value) {
	auto nan = std::numeric_limits<T>::quiet_NaN();
	return std::isnan(value) && std::memcmp(&value, &nan, sizeof(nan)) != 0;
}

//! Whether a vector holds other bits than the one value has.
template <class T>
static bool HasOther(const Vector &values, idx_t count) {
	auto data = FlatVector::GetData<T>(values);
	for (idx_t i = 0; i < count; i++) {
		if (IsOther(data[i])) {
			return true;
		}
	}
	return false;
}

//! Calls `visit` with each flat vector of floating-point numbers within `values`, until it returns true; whether it has.
template <class VISIT>
static bool AnyFloating(const Vector &values, idx_t count, VISIT &&visit) {
	if (!HasFloating(values.GetType())) {
		return false;
	}
	values.Flatten();
	switch (values.GetType().InternalType()) {
	case PhysicalType::FLOAT:
	case PhysicalType::DOUBLE:
		return visit(values, count);
	case PhysicalType::LIST:
		return AnyFloating(ListVector::GetChild(values), ListVector::GetListSize(values), visit);
	case PhysicalType::ARRAY:
		return AnyFloating(ArrayVector::GetChild(values), count * ArrayType::GetSize(values.GetType()), visit);
	case PhysicalType::STRUCT: {
		auto &entries = StructVector::GetEntries(values);
		return std::any_of(entries.begin(), entries.end(),
		                   [&](const Vector &entry) { return AnyFloating(entry, count, visit); });
	}
	default:
		throw InternalException("a type holds floating-point numbers in a way that is not known");
	}
}

static bool HasOther(const Vector &column, idx_t count) {
	return AnyFloating(column, count, [](const Vector &values, idx_t size) {
		return values.GetType().InternalType() == PhysicalType::FLOAT ? HasOther<float>(values, size)
		                                                              : HasOther<double>(values, size);
	});
}

template <class T>
static void Unify(Vector &values, idx_t count) {
	auto data = FlatVector::GetDataMutable<T>(values);
	for (idx_t i = 0; i < count; i++) {
		if (IsOther(data[i])) {
			data[i] = std::numeric_limits<T>::quiet_NaN();
		}
	}
}

//! In a vector that nothing else refers to.
static void Unify(Vector &column, idx_t count) {
	AnyFloating(column, count, [](const Vector &values, idx_t size) {
		auto &own = const_cast<Vector &>(values);
		if (values.GetType().InternalType() == PhysicalType::FLOAT) {
			Unify<float>(own, size);
		} else {
			Unify<double>(own, size);
		}
		return false;
	});
}

void UnifyNans(DataChunk &rows) {
	for (auto &column : rows.data) {
		if (!HasOther(column, rows.size())) {
			continue;
		}
		// Others may refer to the values, DuckDB's own blocks among them.
		Vector copy(column.GetType(), MaxValue<idx_t>(rows.size(), 1));
		VectorOperations::Copy(column, copy, rows.size(), 0, 0);
		FlatVector::SetSize(copy, count_t(rows.size()));
		Unify(copy, rows.size());
		column.Reference(copy);
	}
}

} // namespace quack
