//! One number for everything that a store holds, to compare nodes by: every byte that a client can see, and nothing that
//! is a node's own, as what it calls the catalog, where checkpoints have left the rows, or its settings.

#include "applier.hpp"
#include "compat.hpp"
#include "definition_format.hpp"
#include "error.hpp"
#include "rows.hpp"
#include "table_entry.hpp"

#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/type_catalog_entry.hpp"
#include "duckdb/catalog/catalog_set.hpp"
#include "duckdb/catalog/dependency_manager.hpp"
#include "duckdb/common/type_visitor.hpp"
#include "duckdb/parser/parsed_data/create_view_info.hpp"
#include "duckdb/storage/data_table.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

#include <algorithm>

using namespace duckdb;

namespace quack {

namespace {

//! A view of the store in one transaction of the applier's kind of connection: it sees the position.
class StateHasher {
public:
	explicit StateHasher(Store &store) : store(store), connection(store.Connect(true)), context(*connection->context) {
		context.registered_state->Insert(ApplierMark::KEY, make_shared_ptr<ApplierMark>());
		connection->BeginTransaction();
		// The states of sequences belong to no transaction: they are taken at the moment of the snapshot.
		auto &catalog = store.Catalog();
		lock_guard<mutex> guard(catalog.sequences.commit_lock);
		DuckTransaction::Get(context, *store.db);
		ScanSequences(catalog, [&](SequenceCatalogEntry &sequence) {
			sequences[{PathOf(sequence.ParentSchema()), sequence.name.GetIdentifierName()}] =
			    StateForLog(sequence.GetData());
		});
	}
	string Hash();
	uint64_t Position();

private:
	void Mix(const string &text);
	void Describe(CatalogEntry &entry, const string &schema);
	void DescribeTable(DuckTableEntry &table, const string &schema);
	void DescribeDependencies();
	void MixCatalog();
	void MixSequences();
	void MixTables();
	string WithoutCatalog(const string &text) const;

	Store &store;
	HeldConnection connection;
	ClientContext &context;
	//! What the catalog holds, but for sequences' values.
	vector<string> definitions;
	//! By schema and name.
	map<pair<string, string>, QuackSequenceState> sequences;
	map<pair<string, string>, reference<DuckTableEntry>> tables;
	//! Two lanes of FNV-1a with different offsets: 128 bits, so that no two states meet by accident.
	uint64_t lanes[2] = {0xcbf29ce484222325ULL, 0x84222325cbf29ce4ULL};
};

void StateHasher::Mix(const string &text) {
	for (auto &lane : lanes) {
		for (auto c : text) {
			lane = (lane ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
		}
		lane = (lane ^ 0xff) * 0x100000001b3ULL;
	}
}

uint64_t StateHasher::Position() {
	auto &applied = Catalog::GetEntry<TableCatalogEntry>(context, NameIn(store.CatalogName(), INTERNAL_SCHEMA, "applied"));
	uint64_t position = 0;
	ScanRows(context, applied.Cast<DuckTableEntry>(), {StorageIndex(0)}, [&](DataChunk &rows) {
		rows.data[0].Flatten();
		auto indexes = FlatVector::GetData<uint64_t>(rows.data[0]);
		position = MaxValue(position, *std::max_element(indexes, indexes + rows.size()));
	});
	return position;
}

//! What a node calls the catalog is its own, and what all of them call it is in definitions: `name.` goes wherever it
//! qualifies something.
string StateHasher::WithoutCatalog(const string &text) const {
	set<string> names;
	for (auto &name : {store.CatalogName(), store.Catalog().SharedName().GetIdentifierName()}) {
		names.insert(StringUtil::Lower(name));
		names.insert(StringUtil::Lower(SQLIdentifier::ToString(name)));
	}
	auto is_part = [](char c) { return StringUtil::CharacterIsAlphaNumeric(c) || c == '_' || (c & 0x80); };
	auto length = [&](idx_t at) {
		for (auto &name : names) {
			auto end = at + name.size();
			if (end < text.size() && text[end] == '.' && StringUtil::Lower(text.substr(at, name.size())) == name) {
				return name.size() + 1;
			}
		}
		return idx_t(0);
	};
	string result;
	idx_t at = 0;
	while (at < text.size()) {
		auto begins = at == 0 || (!is_part(text[at - 1]) && text[at - 1] != '.' && text[at - 1] != '"');
		if (text[at] == '\'') {
			// A text is as it is.
			auto end = text.find('\'', at + 1);
			end = end == string::npos ? text.size() : end + 1;
			result += text.substr(at, end - at);
			at = end;
		} else if (begins && length(at) > 0) {
			at += length(at);
		} else {
			result += text[at++];
		}
	}
	return result;
}

static string TagsOf(const InsertionOrderPreservingMap<string> &tags) {
	map<string, string> sorted;
	for (auto &tag : tags) {
		sorted[tag.first] = tag.second;
	}
	string result;
	for (auto &tag : sorted) {
		result += SQLString::ToString(tag.first) + SQLString::ToString(tag.second);
	}
	return result;
}

//! A type with what the names in it stand for.
static string FullType(const LogicalType &type) {
	auto full = TypeVisitor::VisitReplace(type, [](const LogicalType &part) { return part.WithAlias(string()); });
	return type.ToString() + " is " + full.ToString();
}

void StateHasher::Describe(CatalogEntry &entry, const string &schema) {
	if (entry.internal) {
		return;
	}
	vector<string> parts = {CatalogTypeToString(entry.type), schema, entry.name.GetIdentifierName(),
	                        entry.comment.IsNull() ? string() : "comment " + entry.comment.ToString(), TagsOf(entry.tags)};
	if (entry.type == CatalogType::TYPE_ENTRY) {
		parts.push_back(WithoutCatalog(FullType(entry.Cast<TypeCatalogEntry>().user_type)));
	} else if (entry.type != CatalogType::SEQUENCE_ENTRY && entry.type != CatalogType::SCHEMA_ENTRY) {
		parts.push_back(WithoutCatalog(entry.ToSQL()));
	}
	if (entry.type == CatalogType::VIEW_ENTRY) {
		map<string, string> comments;
		auto info = entry.GetInfo();
		for (auto &comment : info->Cast<CreateViewInfo>().column_comments_map) {
			comments[comment.first.GetIdentifierName()] = comment.second.ToString();
		}
		for (auto &comment : comments) {
			parts.push_back(comment.first + " comment " + comment.second);
		}
	}
	definitions.push_back(StringUtil::Join(parts, string(1, '\0')));
}

void StateHasher::DescribeTable(DuckTableEntry &table, const string &schema) {
	Describe(table, schema);
	for (auto &column : table.GetColumns().Logical()) {
		vector<string> parts = {"column",
		                        schema,
		                        table.name.GetIdentifierName(),
		                        std::to_string(column.Logical().index),
		                        column.Name().GetIdentifierName(),
		                        WithoutCatalog(FullType(column.Type())),
		                        column.Comment().IsNull() ? string() : "comment " + column.Comment().ToString(),
		                        TagsOf(column.Tags()),
		                        CompressionTypeToString(column.CompressionType())};
		definitions.push_back(StringUtil::Join(parts, string(1, '\0')));
	}
	auto triggers = TriggersOf(table);
	if (triggers) {
		triggers->Scan(table.ParentCatalog().GetCatalogTransaction(context),
		               [&](CatalogEntry &trigger) { Describe(trigger, schema); });
	}
	tables.emplace(make_pair(schema, table.name.GetIdentifierName()), table);
}

//! They decide what a DROP or an ALTER does.
void StateHasher::DescribeDependencies() {
	store.Catalog().GetDependencyManager()->Scan(
	    context, [&](CatalogEntry &object, CatalogEntry &dependent, const DependencyDependentFlags &flags) {
		    vector<string> parts = {"dependency", PlaceOf(object), PlaceOf(dependent), flags.ToString()};
		    definitions.push_back(StringUtil::Join(parts, string(1, '\0')));
	    });
}

void StateHasher::MixCatalog() {
	store.Catalog().DuckCatalog::ScanSchemas(context, [&](SchemaCatalogEntry &schema) {
		if (schema.name == INTERNAL_SCHEMA) {
			return;
		}
		auto path = PathOf(schema);
		Describe(schema, path);
		for (auto type : {CatalogType::INDEX_ENTRY, CatalogType::SEQUENCE_ENTRY, CatalogType::TYPE_ENTRY,
		                  CatalogType::MACRO_ENTRY, CatalogType::TABLE_MACRO_ENTRY}) {
			schema.Scan(context, type, [&](CatalogEntry &entry) {
				// Functions of other kinds, which are DuckDB's own, are in the same set.
				if (entry.type == type) {
					Describe(entry, path);
				}
			});
		}
		schema.Scan(context, CatalogType::TABLE_ENTRY, [&](CatalogEntry &entry) {
			if (entry.type == CatalogType::TABLE_ENTRY) {
				DescribeTable(entry.Cast<DuckTableEntry>(), path);
			} else {
				Describe(entry, path);
			}
		});
	});
	DescribeDependencies();
	std::sort(definitions.begin(), definitions.end());
	for (auto &definition : definitions) {
		Mix(definition);
	}
}

void StateHasher::MixSequences() {
	// Without its first value, which DuckDB does not keep, and the last one, which it does not keep in every format of
	// the file.
	for (auto &sequence : sequences) {
		auto &state = sequence.second;
		Mix(sequence.first.first + "." + sequence.first.second);
		Mix(StringUtil::Format("%llu,%lld,%lld,%lld,%lld,%s", state.usage_count, state.counter, state.minimum, state.maximum,
		                       state.increment, state.cycle ? "cycle" : ""));
	}
}

void StateHasher::MixTables() {
	for (auto &table : tables) {
		auto bag = BagOf(context, table.second);
		Mix(table.first.first);
		Mix(table.first.second);
		Mix(StringUtil::Format("%llu,%llu,%llu", bag.count, bag.sum.lanes[0], bag.sum.lanes[1]));
	}
}

string StateHasher::Hash() {
	MixCatalog();
	MixSequences();
	MixTables();
	return StringUtil::Format("%016llx%016llx", lanes[0], lanes[1]);
}

} // namespace

} // namespace quack

extern "C" void *quack_cpp_state_hasher_open(void *store, uint64_t *position, QuackError *error) {
	void *result = nullptr;
	quack::Guard(error, [&]() {
		auto hasher = duckdb::make_uniq<quack::StateHasher>(*static_cast<quack::Store *>(store));
		*position = hasher->Position();
		result = hasher.release();
	});
	return result;
}

extern "C" void quack_cpp_state_hasher_run(void *hasher, QuackSink hash, QuackError *error) {
	quack::Guard(error, [&]() {
		auto text = static_cast<quack::StateHasher *>(hasher)->Hash();
		hash.take(hash.context, quack::Bytes(text));
	});
}

extern "C" void quack_cpp_state_hasher_close(void *hasher) {
	QuackError error = quack::NoError();
	quack::Guard(&error, [&]() { delete static_cast<quack::StateHasher *>(hasher); });
	if (error.kind != quack::NO_ERROR) {
		quack_cpp_free(error.message);
	}
}
