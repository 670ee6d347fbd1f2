//! Checks that the parts of a VARIANT fit together: its keys, its tree of values, and the bytes of each value.

#include "variant_form.hpp"

#include "value_form.hpp"
#include "duckdb/common/types/cast_helpers.hpp"
#include "duckdb/common/types/decimal.hpp"
#include "duckdb/common/types/hugeint.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/common/vector/list_vector.hpp"
#include "duckdb/common/vector/variant_vector.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

using namespace duckdb;

namespace quack {

idx_t FixedSizeOf(VariantLogicalType type) {
	switch (type) {
	case VariantLogicalType::INT8:
	case VariantLogicalType::UINT8:
		return 1;
	case VariantLogicalType::INT16:
	case VariantLogicalType::UINT16:
		return 2;
	case VariantLogicalType::INT32:
	case VariantLogicalType::UINT32:
	case VariantLogicalType::FLOAT:
	case VariantLogicalType::DATE:
		return 4;
	case VariantLogicalType::INT64:
	case VariantLogicalType::UINT64:
	case VariantLogicalType::DOUBLE:
	case VariantLogicalType::TIME_MICROS:
	case VariantLogicalType::TIME_NANOS:
	case VariantLogicalType::TIMESTAMP_SEC:
	case VariantLogicalType::TIMESTAMP_MILIS:
	case VariantLogicalType::TIMESTAMP_MICROS:
	case VariantLogicalType::TIMESTAMP_NANOS:
	case VariantLogicalType::TIME_MICROS_TZ:
	case VariantLogicalType::TIMESTAMP_MICROS_TZ:
	case VariantLogicalType::TIMESTAMP_NANOS_TZ:
		return 8;
	case VariantLogicalType::INT128:
	case VariantLogicalType::UINT128:
	case VariantLogicalType::UUID:
	case VariantLogicalType::INTERVAL:
		return 16;
	case VariantLogicalType::VARIANT_NULL:
	case VariantLogicalType::BOOL_TRUE:
	case VariantLogicalType::BOOL_FALSE:
		return 0;
	default:
		throw InternalException("the size of a VARIANT's value is not known");
	}
}

namespace {

//! The bytes from a value's beginning to the end of the row's.
class Payload {
public:
	Payload(const string_t &blob, idx_t offset)
	    : data(const_data_ptr_cast(blob.GetData()) + offset), left(blob.GetSize() - offset) {
	}

	bool Number(uint32_t &number) {
		uint64_t value = 0;
		for (idx_t shift = 0; shift < 35; shift += 7) {
			if (left == 0) {
				return false;
			}
			auto byte = *data;
			Skip(1);
			value |= static_cast<uint64_t>(byte & 0x7f) << shift;
			if ((byte & 0x80) == 0) {
				number = static_cast<uint32_t>(value);
				return value <= std::numeric_limits<uint32_t>::max();
			}
		}
		return false;
	}
	bool Text(string_t &text) {
		uint32_t length;
		if (!Number(length) || length > left) {
			return false;
		}
		text = string_t(const_char_ptr_cast(data), length);
		return true;
	}
	bool Has(idx_t size) const {
		return size <= left;
	}
	template <class T>
	T Value() const {
		T value;
		std::memcpy(&value, data, sizeof(value));
		return value;
	}

private:
	void Skip(idx_t size) {
		data += size;
		left -= size;
	}

	const_data_ptr_t data;
	idx_t left;
};

constexpr const char *ENDS_EARLY = "a value inside reaches beyond its data";

template <class T>
const char *WrongDecimal(const Payload &payload, T limit) {
	if (!payload.Has(sizeof(T))) {
		return ENDS_EARLY;
	}
	auto value = payload.Value<T>();
	return value > -limit && value < limit ? nullptr : "a DECIMAL inside is wider than it says";
}

const char *WrongDecimal(Payload payload) {
	uint32_t width, scale;
	if (!payload.Number(width) || !payload.Number(scale)) {
		return ENDS_EARLY;
	}
	if (width > Decimal::MAX_WIDTH_DECIMAL || scale > width || width == 0) {
		return "a DECIMAL inside has no such width and scale";
	}
	if (width <= Decimal::MAX_WIDTH_INT16) {
		return WrongDecimal<int16_t>(payload, static_cast<int16_t>(NumericHelper::POWERS_OF_TEN[width]));
	}
	if (width <= Decimal::MAX_WIDTH_INT32) {
		return WrongDecimal<int32_t>(payload, static_cast<int32_t>(NumericHelper::POWERS_OF_TEN[width]));
	}
	if (width <= Decimal::MAX_WIDTH_INT64) {
		return WrongDecimal<int64_t>(payload, NumericHelper::POWERS_OF_TEN[width]);
	}
	return WrongDecimal<hugeint_t>(payload, Hugeint::POWERS_OF_TEN[width]);
}

const char *WrongString(VariantLogicalType type, Payload payload) {
	string_t text;
	if (!payload.Text(text)) {
		return ENDS_EARLY;
	}
	switch (type) {
	case VariantLogicalType::VARCHAR:
		return WrongText(text);
	case VariantLogicalType::BIGNUM:
		return WrongBignum(text);
	case VariantLogicalType::BITSTRING:
		return WrongBit(text);
	case VariantLogicalType::GEOMETRY:
		return WrongGeometry(text);
	default:
		return nullptr;
	}
}

const char *WrongFixed(VariantLogicalType type, const Payload &payload) {
	if (!payload.Has(FixedSizeOf(type))) {
		return ENDS_EARLY;
	}
	switch (type) {
	case VariantLogicalType::DATE:
		return WrongDate(payload.Value<int32_t>());
	case VariantLogicalType::TIME_MICROS:
		return WrongTime(payload.Value<int64_t>());
	case VariantLogicalType::TIME_NANOS:
		return WrongTimeNanos(payload.Value<int64_t>());
	case VariantLogicalType::TIME_MICROS_TZ:
		return WrongTimeTz(payload.Value<uint64_t>());
	case VariantLogicalType::TIMESTAMP_SEC:
		return WrongTimestampSeconds(payload.Value<int64_t>());
	case VariantLogicalType::TIMESTAMP_MILIS:
		return WrongTimestampMillis(payload.Value<int64_t>());
	case VariantLogicalType::TIMESTAMP_MICROS:
	case VariantLogicalType::TIMESTAMP_MICROS_TZ:
		return WrongTimestampMicros(payload.Value<int64_t>());
	default:
		return nullptr;
	}
}

//! A flat vector and which of its values are there.
template <class T>
struct Values {
	explicit Values(Vector &vector)
	    : data(FlatVector::GetData<T>(vector)), validity(FlatVector::Validity(vector)) {
	}
	bool IsNull(idx_t i) const {
		return !validity.RowIsValid(i);
	}
	const T *data;
	const ValidityMask &validity;
};

//! A vector of VARIANTs. Its values are a tree: each has a number; an array or object refers to a range of children, and
//! each of those, beside the number of its key, to a value.
class Variants {
public:
	explicit Variants(Vector &variants)
	    : keys(VariantVector::GetKeys(variants)), key_texts(ListVector::GetChildMutable(VariantVector::GetKeys(variants))),
	      children(VariantVector::GetChildren(variants)), child_keys(VariantVector::GetChildrenKeysIndex(variants)),
	      child_values(VariantVector::GetChildrenValuesIndex(variants)), values(VariantVector::GetValues(variants)),
	      types(VariantVector::GetValuesTypeId(variants)), offsets(VariantVector::GetValuesByteOffset(variants)),
	      blobs(VariantVector::GetData(variants)) {
	}

	const char *Wrong(idx_t row) {
		if (keys.IsNull(row) || children.IsNull(row) || values.IsNull(row) || blobs.IsNull(row)) {
			return "a part of it is NULL";
		}
		key_range = keys.data[row];
		child_range = children.data[row];
		value_range = values.data[row];
		for (idx_t i = 0; i < key_range.length; i++) {
			if (key_texts.IsNull(key_range.offset + i)) {
				return "a key inside is NULL";
			}
		}
		if (value_range.length == 0) {
			return "it has no value";
		}
		claimed = 0;
		nested.clear();
		for (idx_t value = 0; value < value_range.length; value++) {
			if (auto wrong = WrongValue(blobs.data[row], value)) {
				return wrong;
			}
		}
		return WrongLevels();
	}

private:
	struct Nested {
		idx_t value;
		idx_t first;
		idx_t count;
	};

	const char *WrongValue(const string_t &blob, idx_t value) {
		auto place = value_range.offset + value;
		if (types.IsNull(place) || offsets.IsNull(place)) {
			return "a value inside has no type or no place";
		}
		if (types.data[place] >= static_cast<uint8_t>(VariantLogicalType::ENUM_SIZE)) {
			return "a value inside has a type that there is not";
		}
		if (offsets.data[place] > blob.GetSize()) {
			return ENDS_EARLY;
		}
		Payload payload(blob, offsets.data[place]);
		auto type = static_cast<VariantLogicalType>(types.data[place]);
		switch (type) {
		case VariantLogicalType::VARIANT_NULL:
			return value == 0 ? "it is a NULL in itself" : nullptr;
		case VariantLogicalType::OBJECT:
		case VariantLogicalType::ARRAY:
			return WrongNested(type, payload, value);
		case VariantLogicalType::VARCHAR:
		case VariantLogicalType::BLOB:
		case VariantLogicalType::BIGNUM:
		case VariantLogicalType::BITSTRING:
		case VariantLogicalType::GEOMETRY:
			return WrongString(type, payload);
		case VariantLogicalType::DECIMAL:
			return WrongDecimal(payload);
		default:
			return WrongFixed(type, payload);
		}
	}

	const char *WrongNested(VariantLogicalType type, Payload payload, idx_t value) {
		uint32_t count, first = 0;
		if (!payload.Number(count) || (count > 0 && !payload.Number(first))) {
			return ENDS_EARLY;
		}
		// Together no more than there are, so that many values with all children each are not worth looking at.
		claimed += count;
		if (claimed > child_range.length || static_cast<idx_t>(first) + count > child_range.length) {
			return "an array or object inside has children that there are not";
		}
		for (idx_t i = 0; i < count; i++) {
			auto child = child_range.offset + first + i;
			auto has_key = !child_keys.IsNull(child);
			if (has_key != (type == VariantLogicalType::OBJECT) ||
			    (has_key && child_keys.data[child] >= key_range.length)) {
				return "a child inside does not have the key that it needs";
			}
			if (child_values.IsNull(child) || child_values.data[child] >= value_range.length) {
				return "a child inside has a value that there is not";
			}
		}
		nested.push_back(Nested {value, child_range.offset + first, count});
		return nullptr;
	}

	//! Whether each value has one parent, and not too many above it. What nothing refers to has no level.
	const char *WrongLevels() {
		if (nested.empty()) {
			return nullptr;
		}
		levels.assign(value_range.length, 0);
		levels[0] = 1;
		// In the order of their values, so that the one of a value is found.
		vector<idx_t> open {0};
		while (!open.empty()) {
			auto value = open.back();
			open.pop_back();
			auto parent = std::lower_bound(nested.begin(), nested.end(), value,
			                               [](const Nested &entry, idx_t of) { return entry.value < of; });
			if (parent == nested.end() || parent->value != value) {
				continue;
			}
			if (levels[value] > LEVELS_MAX) {
				return "it is nested too deeply";
			}
			for (idx_t i = 0; i < parent->count; i++) {
				auto child = child_values.data[parent->first + i];
				if (levels[child] != 0) {
					return "a value inside has two parents";
				}
				levels[child] = levels[value] + 1;
				open.push_back(child);
			}
		}
		return nullptr;
	}

	Values<list_entry_t> keys;
	Values<string_t> key_texts;
	Values<list_entry_t> children;
	Values<uint32_t> child_keys;
	Values<uint32_t> child_values;
	Values<list_entry_t> values;
	Values<uint8_t> types;
	Values<uint32_t> offsets;
	Values<string_t> blobs;

	//! Of the row that is looked at.
	list_entry_t key_range;
	list_entry_t child_range;
	list_entry_t value_range;
	idx_t claimed = 0;
	vector<Nested> nested;
	//! 0: not reached yet.
	vector<idx_t> levels;
};

} // namespace

const char *WrongVariant(Vector &vector, idx_t count, idx_t first) {
	Variants variants(vector);
	auto &validity = FlatVector::Validity(vector);
	for (idx_t row = first; row < count; row++) {
		if (!validity.RowIsValid(row)) {
			continue;
		}
		if (auto wrong = variants.Wrong(row)) {
			return wrong;
		}
	}
	return nullptr;
}

} // namespace quack
