//! Hashes and compares rows by the bytes of their values. Two rows are the same when all their bytes are, with one NaN
//! for all.

#include "row_identity.hpp"

#include "variant_form.hpp"
#include "duckdb/common/types/variant.hpp"
#include "duckdb/common/vector/array_vector.hpp"
#include "duckdb/common/vector/list_vector.hpp"
#include "duckdb/common/vector/struct_vector.hpp"
#include "duckdb/function/scalar/variant_utils.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

using namespace duckdb;

namespace quack {

using Format = RecursiveUnifiedVectorFormat;

static void Read(const Vector &vector, Format &format) {
	auto &type = vector.GetType();
	if (type.id() == LogicalTypeId::VARIANT) {
		// However it is shredded, which depends on checkpoints.
		vector.Flatten();
		Vector::RecursiveToUnifiedFormat(vector, format);
		return;
	}
	vector.ToUnifiedFormat(format.unified);
	format.logical_type = type;
	switch (type.InternalType()) {
	case PhysicalType::LIST:
		format.children.emplace_back();
		Read(ListVector::GetChild(vector), format.children[0]);
		break;
	case PhysicalType::ARRAY:
		format.children.emplace_back();
		Read(ArrayVector::GetChild(vector), format.children[0]);
		break;
	case PhysicalType::STRUCT: {
		auto &entries = StructVector::GetEntries(vector);
		format.children.resize(entries.size());
		for (idx_t i = 0; i < entries.size(); i++) {
			Read(entries[i], format.children[i]);
		}
		break;
	}
	default:
		break;
	}
}

static void Put(string &bytes, const void *data, idx_t size) {
	bytes.append(static_cast<const char *>(data), size);
}

static void PutText(string &bytes, const string_t &text) {
	uint64_t length = text.GetSize();
	Put(bytes, &length, sizeof(length));
	Put(bytes, text.GetData(), length);
}

static const_data_ptr_t DataOf(const UnifiedVariantVectorData &variant, idx_t row, uint32_t value) {
	return const_data_ptr_cast(variant.GetData(row).GetData()) + variant.GetByteOffset(row, value);
}

//! All NaNs are one value, regardless of their bits.
template <class T>
static void PutFloating(string &bytes, const_data_ptr_t data) {
	T value;
	std::memcpy(&value, data, sizeof(value));
	if (std::isnan(value)) {
		value = std::numeric_limits<T>::quiet_NaN();
	}
	Put(bytes, &value, sizeof(value));
}

//! A VARIANT as it reads, regardless of the order of its keys and values inside.
static void PutVariant(string &bytes, const UnifiedVariantVectorData &variant, idx_t row, uint32_t value) {
	auto type = variant.GetTypeId(row, value);
	bytes.push_back(static_cast<char>(type));
	switch (type) {
	case VariantLogicalType::ARRAY:
	case VariantLogicalType::OBJECT: {
		auto nested = VariantUtils::DecodeNestedData(variant, row, value);
		vector<pair<string, uint32_t>> children;
		for (uint32_t i = 0; i < nested.child_count; i++) {
			auto child = nested.children_idx + i;
			string key;
			if (type == VariantLogicalType::OBJECT) {
				key = variant.GetKey(row, variant.GetKeysIndex(row, child)).GetString();
			}
			children.emplace_back(std::move(key), variant.GetValuesIndex(row, child));
		}
		if (type == VariantLogicalType::OBJECT) {
			std::sort(children.begin(), children.end());
		}
		Put(bytes, &nested.child_count, sizeof(nested.child_count));
		for (auto &child : children) {
			PutText(bytes, string_t(child.first));
			PutVariant(bytes, variant, row, child.second);
		}
		return;
	}
	case VariantLogicalType::VARCHAR:
	case VariantLogicalType::BLOB:
	case VariantLogicalType::BIGNUM:
	case VariantLogicalType::BITSTRING:
	case VariantLogicalType::GEOMETRY:
		PutText(bytes, VariantUtils::DecodeStringData(variant, row, value));
		return;
	case VariantLogicalType::DECIMAL: {
		auto decimal = VariantUtils::DecodeDecimalData(variant, row, value);
		Put(bytes, &decimal.width, sizeof(decimal.width));
		Put(bytes, &decimal.scale, sizeof(decimal.scale));
		Put(bytes, decimal.value_ptr, GetTypeIdSize(decimal.GetPhysicalType()));
		return;
	}
	case VariantLogicalType::FLOAT:
		PutFloating<float>(bytes, DataOf(variant, row, value));
		return;
	case VariantLogicalType::DOUBLE:
		PutFloating<double>(bytes, DataOf(variant, row, value));
		return;
	default:
		Put(bytes, DataOf(variant, row, value), FixedSizeOf(type));
		return;
	}
}

namespace {

//! Values of 16 bytes.
struct Wide {
	uint64_t low;
	uint64_t high;
	bool operator==(const Wide &other) const {
		return low == other.low && high == other.high;
	}
};

//! Values that are as they lie in memory.
template <class T>
struct Plain {
	explicit Plain(const Format &format) : data(reinterpret_cast<const T *>(format.unified.data)) {
	}
	T At(idx_t index) const {
		return data[index];
	}
	const T *data;
};

//! Floating-point numbers. All NaNs are one value, regardless of their bits: where a column holds only NaNs, a checkpoint of
//! DuckDB keeps the bits of one for all, and each node writes its checkpoints at other moments.
template <class T, class BITS>
struct Floating {
	explicit Floating(const Format &format) : data(reinterpret_cast<const T *>(format.unified.data)) {
	}
	BITS At(idx_t index) const {
		auto value = std::isnan(data[index]) ? std::numeric_limits<T>::quiet_NaN() : data[index];
		BITS bits;
		std::memcpy(&bits, &value, sizeof(bits));
		return bits;
	}
	const T *data;
};

//! Calls back with the type that a fixed-size value is compared as.
template <class CALLBACK>
void WithPlain(const Format &format, CALLBACK &&callback) {
	auto type = format.logical_type.InternalType();
	if (type == PhysicalType::FLOAT) {
		return callback(Floating<float, uint32_t>(format));
	}
	if (type == PhysicalType::DOUBLE) {
		return callback(Floating<double, uint64_t>(format));
	}
	switch (GetTypeIdSize(type)) {
	case 1:
		return callback(Plain<uint8_t>(format));
	case 2:
		return callback(Plain<uint16_t>(format));
	case 4:
		return callback(Plain<uint32_t>(format));
	case 8:
		return callback(Plain<uint64_t>(format));
	case 16:
		return callback(Plain<Wide>(format));
	default:
		throw InternalException("a value has a size that no type has");
	}
}

} // namespace

//! A value in a form that no other value of its type has, and that tells where it ends.
static void PutValue(string &bytes, const Format &format, idx_t row) {
	auto index = format.unified.sel->get_index(row);
	if (!format.unified.validity.RowIsValid(index)) {
		bytes.push_back(0);
		return;
	}
	bytes.push_back(1);
	if (format.logical_type.id() == LogicalTypeId::VARIANT) {
		PutVariant(bytes, UnifiedVariantVectorData(format), row, 0);
		return;
	}
	auto type = format.logical_type.InternalType();
	switch (type) {
	case PhysicalType::VARCHAR:
		PutText(bytes, format.unified.GetData<string_t>()[index]);
		break;
	case PhysicalType::LIST: {
		auto entry = format.unified.GetData<list_entry_t>()[index];
		Put(bytes, &entry.length, sizeof(entry.length));
		for (idx_t i = 0; i < entry.length; i++) {
			PutValue(bytes, format.children[0], entry.offset + i);
		}
		break;
	}
	case PhysicalType::ARRAY: {
		auto size = ArrayType::GetSize(format.logical_type);
		for (idx_t i = 0; i < size; i++) {
			PutValue(bytes, format.children[0], index * size + i);
		}
		break;
	}
	case PhysicalType::STRUCT:
		for (auto &child : format.children) {
			PutValue(bytes, child, index);
		}
		break;
	default:
		WithPlain(format, [&](auto plain) {
			auto value = plain.At(index);
			Put(bytes, &value, sizeof(value));
		});
		break;
	}
}

static bool IsNested(const Format &format) {
	switch (format.logical_type.InternalType()) {
	case PhysicalType::LIST:
	case PhysicalType::ARRAY:
	case PhysicalType::STRUCT:
		return true;
	default:
		return false;
	}
}

static void Absorb(RowHash &hash, uint64_t word) {
	auto &first = hash.lanes[0];
	first = (first ^ word) * 0x9e3779b97f4a7c15ULL;
	first ^= first >> 32;
	auto &second = hash.lanes[1];
	second = (second + word) * 0xc2b2ae3d27d4eb4fULL;
	second ^= second >> 29;
}

static void Absorb(RowHash &hash, const Wide &value) {
	Absorb(hash, value.low);
	Absorb(hash, value.high);
}

//! Another step than that of any value.
static void AbsorbNull(RowHash &hash) {
	hash.lanes[0] = (hash.lanes[0] ^ (hash.lanes[0] >> 31)) * 0xff51afd7ed558ccdULL + 1;
	hash.lanes[1] = (hash.lanes[1] ^ (hash.lanes[1] >> 33)) * 0xc4ceb9fe1a85ec53ULL + 1;
}

static void AbsorbBytes(RowHash &hash, const char *data, idx_t size) {
	Absorb(hash, size);
	while (size >= sizeof(uint64_t)) {
		uint64_t word;
		std::memcpy(&word, data, sizeof(word));
		Absorb(hash, word);
		data += sizeof(word);
		size -= sizeof(word);
	}
	if (size > 0) {
		uint64_t word = 0;
		std::memcpy(&word, data, size);
		Absorb(hash, word);
	}
}

static uint64_t Finish(uint64_t lane) {
	lane ^= lane >> 33;
	lane *= 0xff51afd7ed558ccdULL;
	lane ^= lane >> 33;
	lane *= 0xc4ceb9fe1a85ec53ULL;
	return lane ^ (lane >> 33);
}

RowBytes::RowBytes(const DataChunk &rows, idx_t first_column, idx_t column_count) : columns(column_count) {
	for (idx_t i = 0; i < column_count; i++) {
		Read(rows.data[first_column + i], columns[i]);
	}
}

RowBytes::RowBytes(const Vector &column) : columns(1) {
	Read(column, columns[0]);
}

vector<RowHash> RowBytes::Hash(idx_t count) const {
	vector<RowHash> hashes(count, RowHash {{0x243f6a8885a308d3ULL, 0x13198a2e03707344ULL}});
	string bytes;
	for (auto &column : columns) {
		auto &unified = column.unified;
		auto for_each = [&](auto &&absorb) {
			for (idx_t i = 0; i < count; i++) {
				auto index = unified.sel->get_index(i);
				if (unified.validity.RowIsValid(index)) {
					absorb(hashes[i], i, index);
				} else {
					AbsorbNull(hashes[i]);
				}
			}
		};
		if (IsNested(column)) {
			for_each([&](RowHash &hash, idx_t row, idx_t) {
				bytes.clear();
				PutValue(bytes, column, row);
				AbsorbBytes(hash, bytes.data(), bytes.size());
			});
		} else if (column.logical_type.InternalType() == PhysicalType::VARCHAR) {
			auto data = unified.GetData<string_t>();
			for_each([&](RowHash &hash, idx_t, idx_t index) {
				AbsorbBytes(hash, data[index].GetData(), data[index].GetSize());
			});
		} else {
			WithPlain(column, [&](auto plain) {
				for_each([&](RowHash &hash, idx_t, idx_t index) { Absorb(hash, plain.At(index)); });
			});
		}
	}
	for (auto &hash : hashes) {
		hash.lanes[0] = Finish(hash.lanes[0]);
		hash.lanes[1] = Finish(hash.lanes[1] ^ 0xa4093822299f31d0ULL);
	}
	return hashes;
}

vector<bool> RowBytes::Differ(const SelectionVector &own, const RowBytes &other, const SelectionVector &theirs,
                              idx_t count) const {
	vector<bool> differ(count, false);
	string left_bytes, right_bytes;
	for (idx_t c = 0; c < columns.size(); c++) {
		auto &left = columns[c];
		auto &right = other.columns[c];
		auto for_each = [&](auto &&is_same) {
			for (idx_t i = 0; i < count; i++) {
				auto left_row = own.get_index(i);
				auto right_row = theirs.get_index(i);
				auto left_index = left.unified.sel->get_index(left_row);
				auto right_index = right.unified.sel->get_index(right_row);
				auto left_valid = left.unified.validity.RowIsValid(left_index);
				if (left_valid != right.unified.validity.RowIsValid(right_index) ||
				    (left_valid && !is_same(left_row, right_row, left_index, right_index))) {
					differ[i] = true;
				}
			}
		};
		if (IsNested(left)) {
			for_each([&](idx_t left_row, idx_t right_row, idx_t, idx_t) {
				left_bytes.clear();
				right_bytes.clear();
				PutValue(left_bytes, left, left_row);
				PutValue(right_bytes, right, right_row);
				return left_bytes == right_bytes;
			});
		} else if (left.logical_type.InternalType() == PhysicalType::VARCHAR) {
			auto left_data = left.unified.GetData<string_t>();
			auto right_data = right.unified.GetData<string_t>();
			for_each([&](idx_t, idx_t, idx_t left_index, idx_t right_index) {
				return left_data[left_index] == right_data[right_index];
			});
		} else {
			WithPlain(left, [&](auto plain) {
				decltype(plain) right_plain(right);
				for_each([&](idx_t, idx_t, idx_t left_index, idx_t right_index) {
					return plain.At(left_index) == right_plain.At(right_index);
				});
			});
		}
	}
	return differ;
}

vector<bool> RowBytes::Differ(const RowBytes &other, idx_t count) const {
	auto &all = *FlatVector::IncrementalSelectionVector();
	return Differ(all, other, all, count);
}

bool IsSame(const Vector &left, const Vector &right, idx_t count) {
	auto differ = RowBytes(left).Differ(RowBytes(right), count);
	return std::find(differ.begin(), differ.end(), true) == differ.end();
}

} // namespace quack
