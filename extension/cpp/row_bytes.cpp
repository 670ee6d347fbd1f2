//! Counts the bytes that the rows of a chunk hold, and cuts chunks into ranges of bounded size.

#include "row_bytes.hpp"

#include "duckdb/common/type_visitor.hpp"
#include "duckdb/common/vector/array_vector.hpp"
#include "duckdb/common/vector/flat_vector.hpp"
#include "duckdb/common/vector/list_vector.hpp"
#include "duckdb/common/vector/struct_vector.hpp"
#include "duckdb/common/vector/unified_vector_format.hpp"
#include "duckdb/common/vector_operations/vector_operations.hpp"

#include <numeric>

using namespace duckdb;

namespace quack {

namespace {

//! Adds the bytes of each value up.
class ByteCounter {
public:
	//! `text_only`: without what the columns of a table hold of a fixed size.
	explicit ByteCounter(bool text_only) : text_only(text_only) {
	}

	//! Adds the bytes of value i to `sizes[i]`.
	void Add(const Vector &values, idx_t count, vector<idx_t> &sizes) const;
	bool Counts(const LogicalType &type) const {
		return !text_only || TypeVisitor::Contains(type, [](const LogicalType &part) {
			return part.InternalType() == PhysicalType::VARCHAR;
		});
	}

private:
	void AddFixed(idx_t width, idx_t count, vector<idx_t> &sizes) const {
		for (idx_t i = 0; i < count && !text_only; i++) {
			sizes[i] += width;
		}
	}
	void AddTexts(const Vector &values, idx_t count, vector<idx_t> &sizes) const;
	void AddLists(const Vector &values, idx_t count, vector<idx_t> &sizes) const;
	void AddArrays(const Vector &values, idx_t count, vector<idx_t> &sizes) const;

	bool text_only;
};

void ByteCounter::AddTexts(const Vector &values, idx_t count, vector<idx_t> &sizes) const {
	UnifiedVectorFormat format;
	values.ToUnifiedFormat(format);
	auto texts = UnifiedVectorFormat::GetData<string_t>(format);
	for (idx_t i = 0; i < count; i++) {
		auto index = format.sel->get_index(i);
		if (format.validity.RowIsValid(index) && !texts[index].IsInlined()) {
			sizes[i] += texts[index].GetSize();
		}
	}
}

void ByteCounter::AddLists(const Vector &values, idx_t count, vector<idx_t> &sizes) const {
	auto &child = ListVector::GetChild(values);
	auto elements = ListVector::GetListSize(values);
	vector<idx_t> element_sizes(elements, 0);
	Add(child, elements, element_sizes);
	// Bytes of all elements before one. Several lists may share elements.
	vector<idx_t> before(elements + 1, 0);
	std::partial_sum(element_sizes.begin(), element_sizes.end(), before.begin() + 1);
	auto lists = FlatVector::GetData<list_entry_t>(values);
	auto &validity = FlatVector::Validity(values);
	for (idx_t i = 0; i < count; i++) {
		if (validity.RowIsValid(i)) {
			sizes[i] += before[lists[i].offset + lists[i].length] - before[lists[i].offset];
		}
	}
}

void ByteCounter::AddArrays(const Vector &values, idx_t count, vector<idx_t> &sizes) const {
	auto size = ArrayType::GetSize(values.GetType());
	vector<idx_t> element_sizes(count * size, 0);
	Add(ArrayVector::GetChild(values), count * size, element_sizes);
	for (idx_t i = 0; i < count * size; i++) {
		sizes[i / size] += element_sizes[i];
	}
}

void ByteCounter::Add(const Vector &values, idx_t count, vector<idx_t> &sizes) const {
	auto &type = values.GetType();
	if (count == 0 || !Counts(type)) {
		return;
	}
	auto physical = type.InternalType();
	AddFixed(physical == PhysicalType::STRUCT || physical == PhysicalType::ARRAY ? 0 : GetTypeIdSize(physical), count, sizes);
	switch (physical) {
	case PhysicalType::VARCHAR:
		return AddTexts(values, count, sizes);
	case PhysicalType::LIST:
		values.Flatten();
		return AddLists(values, count, sizes);
	case PhysicalType::ARRAY:
		values.Flatten();
		return AddArrays(values, count, sizes);
	case PhysicalType::STRUCT:
		values.Flatten();
		for (auto &entry : StructVector::GetEntries(values)) {
			Add(entry, count, sizes);
		}
		return;
	default:
		if (!TypeIsConstantSize(physical)) {
			throw InternalException("a type holds its values in a way that is not known");
		}
	}
}

//! Whether a vector holds elements of lists that its own rows do not have: a slice of another one.
bool HoldsOthers(const Vector &values, idx_t count) {
	switch (values.GetType().InternalType()) {
	case PhysicalType::LIST: {
		values.Flatten();
		auto lists = FlatVector::GetData<list_entry_t>(values);
		auto &validity = FlatVector::Validity(values);
		idx_t own = 0;
		for (idx_t i = 0; i < count; i++) {
			own += validity.RowIsValid(i) ? lists[i].length : 0;
		}
		auto elements = ListVector::GetListSize(values);
		return own < elements || HoldsOthers(ListVector::GetChild(values), elements);
	}
	case PhysicalType::ARRAY:
		values.Flatten();
		return HoldsOthers(ArrayVector::GetChild(values), count * ArrayType::GetSize(values.GetType()));
	case PhysicalType::STRUCT:
		values.Flatten();
		for (auto &entry : StructVector::GetEntries(values)) {
			if (HoldsOthers(entry, count)) {
				return true;
			}
		}
		return false;
	default:
		return false;
	}
}

} // namespace

static vector<idx_t> SizesOf(const DataChunk &rows, const ByteCounter &counter) {
	vector<idx_t> sizes(rows.size(), 0);
	for (auto &column : rows.data) {
		counter.Add(column, rows.size(), sizes);
	}
	return sizes;
}

idx_t TextBytes(const DataChunk &rows) {
	ByteCounter counter(true);
	auto counts = [&](const Vector &column) { return counter.Counts(column.GetType()); };
	if (std::none_of(rows.data.begin(), rows.data.end(), counts)) {
		return 0;
	}
	auto sizes = SizesOf(rows, counter);
	return std::accumulate(sizes.begin(), sizes.end(), idx_t(0));
}

vector<RowRange> Cut(const DataChunk &rows, idx_t rows_max, idx_t bytes_max) {
	auto sizes = SizesOf(rows, ByteCounter(false));
	vector<RowRange> ranges;
	idx_t begin = 0;
	idx_t bytes = 0;
	for (idx_t i = 0; i < sizes.size(); i++) {
		if (i > begin && (i - begin == rows_max || bytes + sizes[i] > bytes_max)) {
			ranges.push_back({begin, i});
			begin = i;
			bytes = 0;
		}
		bytes += sizes[i];
	}
	if (begin < sizes.size()) {
		ranges.push_back({begin, sizes.size()});
	}
	return ranges;
}

unique_ptr<DataChunk> SliceOf(DataChunk &rows, const RowRange &range) {
	// Copied, not referenced: a slice of lists would drag the elements of all rows along.
	auto count = range.end - range.begin;
	auto slice = make_uniq<DataChunk>();
	slice->Initialize(Allocator::DefaultAllocator(), rows.GetTypes(), count);
	for (idx_t i = 0; i < rows.ColumnCount(); i++) {
		VectorOperations::Copy(rows.data[i], slice->data[i], range.end, range.begin, 0);
	}
	slice->SetChildCardinality(count);
	return slice;
}

unique_ptr<DataChunk> PieceOf(DataChunk &rows, const RowRange &range) {
	auto is_whole = range.begin == 0 && range.end == rows.size();
	for (idx_t i = 0; i < rows.ColumnCount() && is_whole; i++) {
		is_whole = !HoldsOthers(rows.data[i], rows.size());
	}
	if (!is_whole) {
		return SliceOf(rows, range);
	}
	auto piece = make_uniq<DataChunk>();
	piece->InitializeEmpty(rows.GetTypes());
	piece->Reference(rows);
	return piece;
}

} // namespace quack
