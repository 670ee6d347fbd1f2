//! Translates between row ids and places (the position of a row in its table), and writes and reads places as bytes.
//! RowCheck sums hashes of rows, so that the applier finds places that name other rows.

#include "row_places.hpp"

#include "row_identity.hpp"
#include "duckdb/storage/table/scan_state.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

//! So many columns are read of every row: the first ones of a fixed size.
constexpr idx_t COLUMNS_CHECKED = 4;
//! One of so many rows is read whole.
constexpr uint64_t ROWS_PER_WHOLE = 4096;

RowPlaces::RowPlaces(ClientContext &context, DataTable &storage) {
	auto &transaction = DuckTransaction::Get(context, storage.db);
	vector<StorageIndex> columns {StorageIndex(COLUMN_IDENTIFIER_ROW_ID)};
	TableScanState scan;
	storage.InitializeScan(context, transaction, scan, columns);
	DataChunk rows;
	rows.Initialize(Allocator::Get(storage.db), {LogicalType::ROW_TYPE});
	while (true) {
		rows.Reset();
		storage.Scan(transaction, rows, scan);
		if (rows.size() == 0) {
			return;
		}
		rows.data[0].Flatten();
		Add(FlatVector::GetData<row_t>(rows.data[0]), rows.size());
	}
}

void RowPlaces::Add(const row_t *ids, idx_t length) {
	if (ids[length - 1] - ids[0] == NumericCast<row_t>(length) - 1) {
		auto follows = !pieces.empty() && pieces.back().gaps == NO_GAPS &&
		               pieces.back().id + NumericCast<row_t>(pieces.back().length) == ids[0];
		if (follows) {
			pieces.back().length += length;
			pieces.back().last_id = ids[length - 1];
		} else {
			pieces.push_back(Piece {count, ids[0], ids[length - 1], length, NO_GAPS});
		}
		count += length;
		return;
	}
	Gaps found;
	found.present.fill(0);
	for (idx_t i = 0; i < length; i++) {
		auto offset = NumericCast<idx_t>(ids[i] - ids[0]);
		if (offset >= STANDARD_VECTOR_SIZE) {
			throw InternalException("rows of several vectors come from one scan");
		}
		found.present[offset / WORD_BITS] |= uint64_t(1) << (offset % WORD_BITS);
	}
	uint16_t before = 0;
	for (idx_t word = 0; word < WORDS; word++) {
		found.before[word] = before;
		before += static_cast<uint16_t>(__builtin_popcountll(found.present[word]));
	}
	pieces.push_back(Piece {count, ids[0], ids[length - 1], length, gaps.size()});
	gaps.push_back(found);
	count += length;
}

uint64_t RowPlaces::PlaceOf(row_t id) {
	auto is_in = [&](const Piece &piece) {
		return id >= piece.id && id <= piece.last_id;
	};
	if (last >= pieces.size() || !is_in(pieces[last])) {
		auto next = std::upper_bound(pieces.begin(), pieces.end(), id,
		                             [](row_t sought, const Piece &piece) { return sought < piece.id; });
		last = next == pieces.begin() ? 0 : NumericCast<idx_t>(next - pieces.begin()) - 1;
	}
	if (last < pieces.size() && is_in(pieces[last])) {
		auto &piece = pieces[last];
		auto offset = NumericCast<idx_t>(id - piece.id);
		if (piece.gaps == NO_GAPS) {
			return piece.place + offset;
		}
		auto &found = gaps[piece.gaps];
		auto word = offset / WORD_BITS;
		auto bit = uint64_t(1) << (offset % WORD_BITS);
		if (found.present[word] & bit) {
			return piece.place + found.before[word] +
			       static_cast<uint64_t>(__builtin_popcountll(found.present[word] & (bit - 1)));
		}
	}
	throw InternalException("a row that a statement changes has no place in its table");
}

const RowPlaces::Piece &RowPlaces::PieceAt(uint64_t place) {
	auto is_in = [&](idx_t index) {
		return index < pieces.size() && place >= pieces[index].place && place < pieces[index].place + pieces[index].length;
	};
	if (!is_in(last)) {
		last++;
	}
	if (!is_in(last)) {
		auto next = std::upper_bound(pieces.begin(), pieces.end(), place,
		                             [](uint64_t sought, const Piece &piece) { return sought < piece.place; });
		last = NumericCast<idx_t>(next - pieces.begin()) - 1;
	}
	return pieces[last];
}

void RowPlaces::Unfold(const Piece &piece) {
	if (unfolded == piece.gaps) {
		return;
	}
	unfolded = piece.gaps;
	idx_t row = 0;
	for (idx_t word = 0; word < WORDS; word++) {
		for (auto left = gaps[piece.gaps].present[word]; left != 0; left &= left - 1) {
			offsets[row++] = static_cast<uint16_t>(word * WORD_BITS + static_cast<idx_t>(__builtin_ctzll(left)));
		}
	}
}

void RowPlaces::IdsFrom(uint64_t place, idx_t length, row_t *ids) {
	while (length > 0) {
		auto &piece = PieceAt(place);
		auto first = NumericCast<idx_t>(place - piece.place);
		auto here = MinValue<idx_t>(length, piece.length - first);
		if (piece.gaps == NO_GAPS) {
			for (idx_t i = 0; i < here; i++) {
				ids[i] = piece.id + NumericCast<row_t>(first + i);
			}
		} else {
			Unfold(piece);
			for (idx_t i = 0; i < here; i++) {
				ids[i] = piece.id + offsets[first + i];
			}
		}
		ids += here;
		place += here;
		length -= here;
	}
}

static void PutNumber(string &bytes, uint64_t number) {
	while (number >= 0x80) {
		bytes.push_back(static_cast<char>(0x80 | (number & 0x7f)));
		number >>= 7;
	}
	bytes.push_back(static_cast<char>(number));
}

void PlaceWriter::Add(uint64_t place, uint64_t length) {
	count += length;
	if (run_length > 0 && place == run_begin + run_length) {
		run_length += length;
		return;
	}
	Flush();
	if (place < end) {
		throw InternalException("places of rows are not in ascending order");
	}
	run_begin = place;
	run_length = length;
}

void PlaceWriter::Flush() {
	if (run_length == 0) {
		return;
	}
	PutNumber(bytes, run_begin - end);
	PutNumber(bytes, run_length);
	end = run_begin + run_length;
	run_length = 0;
}

string PlaceWriter::Finish() {
	Flush();
	end = count = 0;
	return std::move(bytes);
}

uint64_t PlaceReader::Number() {
	uint64_t number = 0;
	for (idx_t shift = 0; shift < 64; shift += 7) {
		if (at == bytes.size()) {
			break;
		}
		auto byte = static_cast<uint8_t>(bytes[at++]);
		auto bits = static_cast<uint64_t>(byte & 0x7f);
		if (bits << shift >> shift != bits) {
			break;
		}
		number |= bits << shift;
		if (byte < 0x80) {
			return number;
		}
	}
	throw InvalidInputException("places of rows cannot be read");
}

bool PlaceReader::Next(uint64_t &place, uint64_t &length) {
	if (at == bytes.size()) {
		return false;
	}
	auto gap = Number();
	length = Number();
	if (gap > MAX_ROW_ID - end || length == 0 || length > MAX_ROW_ID - end - gap) {
		throw InvalidInputException("places of rows are none");
	}
	place = end + gap;
	end = place + length;
	return true;
}

static vector<idx_t> ColumnsToCheck(DataTable &storage) {
	vector<idx_t> fixed, all;
	auto types = storage.GetTypes();
	for (idx_t i = 0; i < types.size(); i++) {
		all.push_back(i);
		if (TypeIsConstantSize(types[i].InternalType()) && fixed.size() < COLUMNS_CHECKED) {
			fixed.push_back(i);
		}
	}
	return fixed.empty() ? all : fixed;
}

RowCheck::RowCheck(DuckTransaction &transaction, DuckTableEntry &table)
    : some_columns(transaction, table.GetStorage(), ColumnsToCheck(table.GetStorage())),
      all_columns(transaction, table.GetStorage()) {
}

static uint64_t SumOf(const DataChunk &rows) {
	uint64_t sum = 0;
	for (auto &hash : RowBytes(rows, 0, rows.ColumnCount() - 1).Hash(rows.size())) {
		sum += hash.lanes[0];
	}
	return sum;
}

bool RowCheck::Add(const Vector &row_ids, idx_t count, bool are_all) {
	DataChunk found;
	some_columns.Read(row_ids, count, found);
	if (found.size() != count) {
		return false;
	}
	sum += SumOf(found);
	if (are_all) {
		return true;
	}
	auto first_whole = (ROWS_PER_WHOLE - rows % ROWS_PER_WHOLE) % ROWS_PER_WHOLE;
	rows += count;
	if (first_whole >= count) {
		return true;
	}
	Vector one(LogicalType::ROW_TYPE, 1);
	FlatVector::GetDataMutable<row_t>(one)[0] = FlatVector::GetData<row_t>(row_ids)[first_whole];
	FlatVector::SetSize(one, count_t(1));
	DataChunk whole;
	all_columns.Read(one, 1, whole);
	if (whole.size() != 1) {
		return false;
	}
	sum += SumOf(whole);
	return true;
}

uint64_t RowCheck::Finish() {
	auto result = sum;
	sum = rows = 0;
	return result;
}

} // namespace quack
