//! Checks types, vectors and values that come from the network or from the log, because DuckDB's functions take their
//! forms for granted. It makes values flat and clears what lies beneath a NULL.

#include "value_check.hpp"

#include "value_form.hpp"
#include "variant_form.hpp"
#include "duckdb/catalog/catalog_entry/duck_table_entry.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/common/types/cast_helpers.hpp"
#include "duckdb/common/types/hugeint.hpp"
#include "duckdb/common/vector/array_vector.hpp"
#include "duckdb/common/vector/dictionary_vector.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/common/vector/list_vector.hpp"
#include "duckdb/common/vector/map_vector.hpp"
#include "duckdb/common/vector/sequence_vector.hpp"
#include "duckdb/common/vector/struct_vector.hpp"
#include "duckdb/common/vector/union_vector.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"

#include <algorithm>
#include <limits>

using namespace duckdb;

namespace quack {

[[noreturn]] static void RefuseType(const LogicalType &type, const char *wrong) {
	throw InvalidInputException("Malformed type %s: %s", LogicalTypeIdToString(type.id()), wrong);
}

static void CheckChildren(const LogicalType &type) {
	auto &children = StructType::GetChildTypes(type);
	if (children.empty()) {
		RefuseType(type, "it has no members");
	}
	for (auto &child : children) {
		CheckType(child.second);
	}
}

void CheckType(const LogicalType &type) {
	switch (type.id()) {
	case LogicalTypeId::SQLNULL:
	case LogicalTypeId::BOOLEAN:
	case LogicalTypeId::TINYINT:
	case LogicalTypeId::SMALLINT:
	case LogicalTypeId::INTEGER:
	case LogicalTypeId::BIGINT:
	case LogicalTypeId::HUGEINT:
	case LogicalTypeId::UTINYINT:
	case LogicalTypeId::USMALLINT:
	case LogicalTypeId::UINTEGER:
	case LogicalTypeId::UBIGINT:
	case LogicalTypeId::UHUGEINT:
	case LogicalTypeId::FLOAT:
	case LogicalTypeId::DOUBLE:
	case LogicalTypeId::DATE:
	case LogicalTypeId::TIME:
	case LogicalTypeId::TIME_NS:
	case LogicalTypeId::TIME_TZ:
	case LogicalTypeId::TIMESTAMP_SEC:
	case LogicalTypeId::TIMESTAMP_MS:
	case LogicalTypeId::TIMESTAMP:
	case LogicalTypeId::TIMESTAMP_NS:
	case LogicalTypeId::TIMESTAMP_TZ:
	case LogicalTypeId::TIMESTAMP_TZ_NS:
	case LogicalTypeId::INTERVAL:
	case LogicalTypeId::VARCHAR:
	case LogicalTypeId::BLOB:
	case LogicalTypeId::BIT:
	case LogicalTypeId::BIGNUM:
	case LogicalTypeId::UUID:
	case LogicalTypeId::GEOMETRY:
		return;
	case LogicalTypeId::DECIMAL:
		if (!type.HasParameters()) {
			RefuseType(type, "it has no width");
		}
		return;
	case LogicalTypeId::ENUM: {
		if (!type.HasParameters()) {
			RefuseType(type, "it has no values");
		}
		auto texts = FlatVector::GetData<string_t>(EnumType::GetValuesInsertOrder(type));
		for (idx_t i = 0; i < EnumType::GetSize(type); i++) {
			// Casts make texts of them.
			if (auto wrong = WrongText(texts[i])) {
				RefuseType(type, wrong);
			}
		}
		return;
	}
	case LogicalTypeId::STRUCT:
	case LogicalTypeId::TUPLE:
		if (!type.HasParameters()) {
			RefuseType(type, "it has no members");
		}
		return CheckChildren(type);
	case LogicalTypeId::UNION: {
		if (!type.HasParameters()) {
			RefuseType(type, "it has no members");
		}
		CheckChildren(type);
		auto &members = StructType::GetChildTypes(type);
		if (members.size() < 2 || members.size() > UnionType::MAX_UNION_MEMBERS + 1 ||
		    members[0].second.id() != LogicalTypeId::UTINYINT) {
			RefuseType(type, "its members are not a tag and what that tells apart");
		}
		return;
	}
	case LogicalTypeId::LIST:
		if (!type.HasParameters()) {
			RefuseType(type, "it has no elements");
		}
		return CheckType(ListType::GetChildType(type));
	case LogicalTypeId::MAP: {
		if (!type.HasParameters()) {
			RefuseType(type, "it has no entries");
		}
		auto &entries = ListType::GetChildType(type);
		if (entries.id() != LogicalTypeId::STRUCT && entries.id() != LogicalTypeId::TUPLE) {
			RefuseType(type, "its entries are not of a key and a value");
		}
		CheckType(entries);
		if (StructType::GetChildCount(entries) != 2) {
			RefuseType(type, "its entries are not of a key and a value");
		}
		return;
	}
	case LogicalTypeId::ARRAY:
		if (!type.HasParameters() || ArrayType::GetSize(type) == 0 ||
		    ArrayType::GetSize(type) > ArrayType::MAX_ARRAY_SIZE) {
			RefuseType(type, "it has no such size");
		}
		return CheckType(ArrayType::GetChildType(type));
	case LogicalTypeId::VARIANT:
		if (type != LogicalType::VARIANT()) {
			RefuseType(type, "its parts are not those of a VARIANT");
		}
		return;
	default:
		RefuseType(type, "no column has it");
	}
}

template <class T>
static bool FitsSequence(int64_t start, int64_t last) {
	return start >= std::numeric_limits<T>::min() && start <= std::numeric_limits<T>::max() &&
	       last >= std::numeric_limits<T>::min() && last <= std::numeric_limits<T>::max();
}

static bool FitsSequence(const Vector &vector) {
	int64_t start, increment, last;
	SequenceVector::GetSequence(vector, start, increment);
	auto steps = vector.size() == 0 ? 0 : static_cast<int64_t>(vector.size()) - 1;
	if (__builtin_mul_overflow(increment, steps, &last) || __builtin_add_overflow(start, last, &last)) {
		return false;
	}
	auto of_type = [&](auto fits) { return fits(start, last) && fits(start, increment); };
	switch (vector.GetType().id()) {
	case LogicalTypeId::TINYINT:
		return of_type(FitsSequence<int8_t>);
	case LogicalTypeId::SMALLINT:
		return of_type(FitsSequence<int16_t>);
	case LogicalTypeId::INTEGER:
		return of_type(FitsSequence<int32_t>);
	case LogicalTypeId::BIGINT:
		return true;
	default:
		return false;
	}
}

void CheckVector(const Vector &vector) {
	switch (vector.GetVectorType()) {
	case VectorType::DICTIONARY_VECTOR:
		return CheckVector(DictionaryVector::Child(vector));
	case VectorType::SEQUENCE_VECTOR:
		if (!FitsSequence(vector)) {
			throw InvalidInputException("Malformed sequence: its numbers are not those of its type");
		}
		return;
	case VectorType::FLAT_VECTOR:
	case VectorType::CONSTANT_VECTOR:
		break;
	default:
		// One that is shredded among them, whose parts refer to one another: what is written is made flat before.
		throw InvalidInputException("Malformed vector: it is in a form in which rows do not travel");
	}
	switch (vector.GetType().InternalType()) {
	case PhysicalType::STRUCT:
		for (auto &entry : StructVector::GetEntries(vector)) {
			CheckVector(entry);
		}
		return;
	case PhysicalType::LIST:
		return CheckVector(ListVector::GetChild(vector));
	case PhysicalType::ARRAY:
		return CheckVector(ArrayVector::GetChild(vector));
	default:
		return;
	}
}

//! Whether a type has values that are looked at: all others have a value for all bits that they may be.
static bool NeedsCheck(const LogicalType &type, Checked checked) {
	return TypeVisitor::Contains(type, [&](const LogicalType &part) {
		if (part.id() == LogicalTypeId::VARIANT) {
			return true;
		}
		if (checked == Checked::WHAT_IS_FOLLOWED) {
			return false;
		}
		switch (part.id()) {
		case LogicalTypeId::TINYINT:
		case LogicalTypeId::SMALLINT:
		case LogicalTypeId::INTEGER:
		case LogicalTypeId::BIGINT:
		case LogicalTypeId::HUGEINT:
		case LogicalTypeId::UTINYINT:
		case LogicalTypeId::USMALLINT:
		case LogicalTypeId::UINTEGER:
		case LogicalTypeId::UBIGINT:
		case LogicalTypeId::UHUGEINT:
		case LogicalTypeId::FLOAT:
		case LogicalTypeId::DOUBLE:
		case LogicalTypeId::TIMESTAMP_NS:
		case LogicalTypeId::TIMESTAMP_TZ_NS:
		case LogicalTypeId::INTERVAL:
		case LogicalTypeId::BLOB:
		case LogicalTypeId::UUID:
			return false;
		default:
			return true;
		}
	});
}

namespace {

//! The check of one column.
class ColumnCheck {
public:
	ColumnCheck(const DuckTableEntry &table, idx_t column, Checked checked)
	    : table(table), column(column), checked(checked) {
	}

	void Check(Vector &values, idx_t count) const {
		if (values.GetVectorType() != VectorType::FLAT_VECTOR || values.size() < count) {
			Refuse(values, "it has fewer values than rows");
		}
		switch (values.GetType().InternalType()) {
		case PhysicalType::STRUCT:
			CheckStruct(values, count);
			return;
		case PhysicalType::LIST:
			CheckList(values, count);
			return;
		case PhysicalType::ARRAY:
			LetNullsReachDown(values, count);
			Check(ArrayVector::GetChildMutable(values), count * ArrayType::GetSize(values.GetType()));
			return;
		default:
			if (checked == Checked::ALL) {
				CheckPlain(values, count);
			}
			return;
		}
	}

private:
	[[noreturn]] void Refuse(const Vector &values, const char *wrong) const {
		throw InvalidInputException("Malformed value for column \"%s\" of table \"%s\": %s: %s",
		                            table.GetColumns().GetColumn(PhysicalIndex(column)).Name().GetIdentifierName(),
		                            table.name.GetIdentifierName(), LogicalTypeIdToString(values.GetType().id()), wrong);
	}

	template <class T, class WRONG>
	void CheckEach(const Vector &values, idx_t count, WRONG &&wrong_of) const {
		auto data = reinterpret_cast<const T *>(FlatVector::GetData(values));
		auto &validity = FlatVector::Validity(values);
		auto can_have_null = !validity.CannotHaveNull();
		for (idx_t i = 0; i < count; i++) {
			if (can_have_null && !validity.RowIsValid(i)) {
				continue;
			}
			if (auto wrong = wrong_of(data[i])) {
				Refuse(values, wrong);
			}
		}
	}

	void CheckPlain(const Vector &values, idx_t count) const {
		switch (values.GetType().id()) {
		case LogicalTypeId::SQLNULL:
			return CheckEach<int32_t>(values, count, [](int32_t) { return "it is not NULL"; });
		case LogicalTypeId::BOOLEAN:
			return CheckEach<uint8_t>(values, count, [](uint8_t value) { return WrongBoolean(value); });
		case LogicalTypeId::DATE:
			return CheckEach<int32_t>(values, count, [](int32_t value) { return WrongDate(value); });
		case LogicalTypeId::TIME:
			return CheckEach<int64_t>(values, count, [](int64_t value) { return WrongTime(value); });
		case LogicalTypeId::TIME_NS:
			return CheckEach<int64_t>(values, count, [](int64_t value) { return WrongTimeNanos(value); });
		case LogicalTypeId::TIME_TZ:
			return CheckEach<uint64_t>(values, count, [](uint64_t value) { return WrongTimeTz(value); });
		case LogicalTypeId::TIMESTAMP_SEC:
			return CheckEach<int64_t>(values, count, [](int64_t value) { return WrongTimestampSeconds(value); });
		case LogicalTypeId::TIMESTAMP_MS:
			return CheckEach<int64_t>(values, count, [](int64_t value) { return WrongTimestampMillis(value); });
		case LogicalTypeId::TIMESTAMP:
		case LogicalTypeId::TIMESTAMP_TZ:
			return CheckEach<int64_t>(values, count, [](int64_t value) { return WrongTimestampMicros(value); });
		case LogicalTypeId::DECIMAL:
			return CheckDecimals(values, count);
		case LogicalTypeId::ENUM:
			return CheckEnums(values, count);
		case LogicalTypeId::VARCHAR:
			return CheckEach<string_t>(values, count, [](const string_t &value) { return WrongText(value); });
		case LogicalTypeId::BIT:
			return CheckEach<string_t>(values, count, [](const string_t &value) { return WrongBit(value); });
		case LogicalTypeId::BIGNUM:
			return CheckEach<string_t>(values, count, [](const string_t &value) { return WrongBignum(value); });
		case LogicalTypeId::GEOMETRY:
			return CheckEach<string_t>(values, count, [](const string_t &value) { return WrongGeometry(value); });
		default:
			return;
		}
	}

	template <class T>
	void CheckBelow(const Vector &values, idx_t count, T limit) const {
		CheckEach<T>(values, count, [&](const T &value) {
			return value > -limit && value < limit ? nullptr : "it has more digits than its type";
		});
	}

	void CheckDecimals(const Vector &values, idx_t count) const {
		auto width = DecimalType::GetWidth(values.GetType());
		switch (values.GetType().InternalType()) {
		case PhysicalType::INT16:
			return CheckBelow(values, count, static_cast<int16_t>(NumericHelper::POWERS_OF_TEN[width]));
		case PhysicalType::INT32:
			return CheckBelow(values, count, static_cast<int32_t>(NumericHelper::POWERS_OF_TEN[width]));
		case PhysicalType::INT64:
			return CheckBelow(values, count, NumericHelper::POWERS_OF_TEN[width]);
		default:
			return CheckBelow(values, count, Hugeint::POWERS_OF_TEN[width]);
		}
	}

	template <class T>
	void CheckCodes(const Vector &values, idx_t count) const {
		auto size = EnumType::GetSize(values.GetType());
		CheckEach<T>(values, count, [&](T code) { return code < size ? nullptr : "its type has no such value"; });
	}

	void CheckEnums(const Vector &values, idx_t count) const {
		switch (values.GetType().InternalType()) {
		case PhysicalType::UINT8:
			return CheckCodes<uint8_t>(values, count);
		case PhysicalType::UINT16:
			return CheckCodes<uint16_t>(values, count);
		default:
			return CheckCodes<uint32_t>(values, count);
		}
	}

	//! Makes everything NULL that belongs to a NULL.
	static void LetNullsReachDown(Vector &values, idx_t count) {
		auto &validity = FlatVector::Validity(values);
		if (validity.CannotHaveNull()) {
			return;
		}
		for (idx_t i = 0; i < count; i++) {
			if (!validity.RowIsValid(i)) {
				FlatVector::SetNull(values, i, true);
			}
		}
	}

	void CheckStruct(Vector &values, idx_t count) const {
		LetNullsReachDown(values, count);
		for (auto &entry : StructVector::GetEntries(values)) {
			Check(entry, count);
		}
		if (values.GetType().id() == LogicalTypeId::VARIANT) {
			if (auto wrong = WrongVariant(values, count)) {
				Refuse(values, wrong);
			}
		} else if (values.GetType().id() == LogicalTypeId::UNION && checked == Checked::ALL) {
			CheckUnions(values, count);
		}
	}

	void CheckUnions(Vector &values, idx_t count) const {
		switch (UnionVector::CheckUnionValidity(values, count, *FlatVector::IncrementalSelectionVector())) {
		case UnionInvalidReason::VALID:
			return;
		case UnionInvalidReason::NULL_TAG:
			Refuse(values, "its tag is NULL");
		case UnionInvalidReason::TAG_OUT_OF_RANGE:
			Refuse(values, "its tag is that of no member");
		case UnionInvalidReason::VALIDITY_OVERLAP:
			Refuse(values, "more than one member has a value");
		default:
			Refuse(values, "another member than that of its tag has a value");
		}
	}

	void CheckList(Vector &values, idx_t count) const {
		auto &child = ListVector::GetChildMutable(values);
		auto size = ListVector::GetListSize(values);
		auto entries = FlatVector::GetData<list_entry_t>(values);
		auto &validity = FlatVector::Validity(values);
		// As a rule the lists lie one behind the other.
		idx_t end = 0;
		auto in_order = true;
		for (idx_t i = 0; i < count; i++) {
			if (!validity.RowIsValid(i) || entries[i].length == 0) {
				continue;
			}
			if (entries[i].offset > size || entries[i].length > size - entries[i].offset) {
				Refuse(values, "it ends beyond its elements");
			}
			in_order = in_order && entries[i].offset == end;
			end = entries[i].offset + entries[i].length;
		}
		if (!in_order || end != size) {
			ForgetUnreferenced(child, size, EntriesOf(values, count));
		}
		Check(child, size);
		if (values.GetType().id() == LogicalTypeId::MAP && checked == Checked::ALL) {
			CheckKeys(values, count);
		}
	}

	static vector<list_entry_t> EntriesOf(const Vector &values, idx_t count) {
		auto entries = FlatVector::GetData<list_entry_t>(values);
		auto &validity = FlatVector::Validity(values);
		vector<list_entry_t> result;
		for (idx_t i = 0; i < count; i++) {
			if (validity.RowIsValid(i) && entries[i].length > 0) {
				result.push_back(entries[i]);
			}
		}
		return result;
	}

	//! Casts, for one, look at all elements, those of no list among them.
	static void ForgetUnreferenced(Vector &child, idx_t size, vector<list_entry_t> entries) {
		std::sort(entries.begin(), entries.end(),
		          [](const list_entry_t &left, const list_entry_t &right) { return left.offset < right.offset; });
		idx_t end = 0;
		auto forget_to = [&](idx_t next) {
			for (; end < next; end++) {
				FlatVector::SetNull(child, end, true);
			}
		};
		for (auto &entry : entries) {
			forget_to(entry.offset);
			end = MaxValue<idx_t>(end, entry.offset + entry.length);
		}
		forget_to(size);
	}

	void CheckKeys(const Vector &values, idx_t count) const {
		auto &keys = MapVector::GetKeys(values);
		auto &keys_are_there = FlatVector::Validity(keys);
		auto entries = FlatVector::GetData<list_entry_t>(values);
		auto &validity = FlatVector::Validity(values);
		Vector hashes(LogicalType::HASH, MaxValue<idx_t>(keys.size(), 1));
		VectorOperations::Hash(keys, hashes, keys.size());
		hashes.Flatten();
		auto hash_of = FlatVector::GetData<hash_t>(hashes);
		vector<hash_t> of_map;
		for (idx_t i = 0; i < count; i++) {
			if (!validity.RowIsValid(i)) {
				continue;
			}
			of_map.clear();
			for (idx_t k = entries[i].offset; k < entries[i].offset + entries[i].length; k++) {
				if (!keys_are_there.RowIsValid(k)) {
					Refuse(values, "a key is NULL");
				}
				of_map.push_back(hash_of[k]);
			}
			std::sort(of_map.begin(), of_map.end());
			if (std::adjacent_find(of_map.begin(), of_map.end()) == of_map.end()) {
				continue;
			}
			SelectionVector map(1);
			map.set_index(0, i);
			if (MapVector::CheckMapValidity(values, 1, map) != MapInvalidReason::VALID) {
				Refuse(values, "a key is there twice");
			}
		}
	}

	const DuckTableEntry &table;
	idx_t column;
	Checked checked;
};

} // namespace

void CheckColumn(const DuckTableEntry &table, idx_t column, Vector &values, idx_t count, Checked checked) {
	if (!NeedsCheck(values.GetType(), checked)) {
		return;
	}
	values.Flatten();
	ColumnCheck(table, column, checked).Check(values, count);
}

void CheckValues(const DuckTableEntry &table, DataChunk &rows, idx_t first_column, Checked checked) {
	for (idx_t i = 0; i < table.GetColumns().PhysicalColumnCount(); i++) {
		CheckColumn(table, i, rows.data[first_column + i], rows.size(), checked);
	}
}

} // namespace quack
