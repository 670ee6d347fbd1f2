//! Runs nextval, currval and setval of replicated catalogs through the log, and keeps the states of sequences in step
//! with the rows.
//!
//! DuckDB's own functions stay in its catalog; they run the code here when the sequence is one of a replicated catalog.
//! This holds for every expression that draws a value, however it was bound: in a query, a column's default, an appender,
//! a macro, or a plan that was serialized.

#include "sequence.hpp"

#include "catalog.hpp"
#include "compat.hpp"
#include "error.hpp"
#include "network_session.hpp"
#include "rows.hpp"
#include "statement.hpp"
#include "system_function.hpp"
#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/execution/expression_executor_state.hpp"
#include "duckdb/function/scalar/sequence_utils.hpp"
#include "duckdb/parser/parsed_data/create_scalar_function_info.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/transaction/duck_transaction.hpp"

using namespace duckdb;

namespace quack {

//! How many values a node reserves at a time, at least.
constexpr const char *RANGE_SETTING = "quack_sequence_range";
//! `SEQUENCE_VALUES_MAX` in crates/types.
constexpr uint64_t RANGE_MAX = 1000000;
//! In a checkpoint alone: the value that a sequence was made to start with. DuckDB stores the next one in its place, and a
//! node that has been restarted would tell another one than the others.
constexpr const char *START_TAG = "quack_start_value";

namespace {

enum class SequenceCall { NEXT, CURRENT, SET };

//! What DuckDB's function does; beside it, what ours does.
struct LedFunction : public ScalarFunctionInfo {
	LedFunction(SequenceCall call, const ScalarFunction &native)
	    : call(call), native(native.GetFunctionCallback()), init_native(native.GetInitStateCallback()) {
	}
	SequenceCall call;
	scalar_function_t native;
	init_local_state_t init_native;
};

//! The sequence of a call, if it is one of a replicated catalog.
optional_ptr<SequenceCatalogEntry> ReplicatedSequence(optional_ptr<FunctionData> bind_data) {
	if (!bind_data) {
		return nullptr;
	}
	auto &sequence = bind_data->Cast<NextvalBindData>().sequence;
	return QuackCatalog::Is(sequence.ParentCatalog()) ? &sequence : nullptr;
}

//! A call on one sequence.
class Drawer {
public:
	Drawer(ClientContext &context, SequenceCatalogEntry &sequence)
	    : context(context), sequence(sequence), catalog(sequence.ParentCatalog().Cast<QuackCatalog>()),
	      schema(PathOf(sequence.ParentSchema())), name(sequence.name.GetIdentifierName()) {
		if (ApplierMark::IsSet(context)) {
			// Each node would come to values of its own.
			throw NotImplementedException("a statement that changes the replicated catalog cannot use a value of the "
			                              "sequence \"%s\": run it without, and write the values with INSERT or UPDATE",
			                              name);
		}
	}

	void Next(int64_t *values, idx_t count) {
		if (IsOwnSequence(context, sequence)) {
			auto &transaction = DuckTransaction::Get(context, catalog);
			for (idx_t i = 0; i < count; i++) {
				values[i] = sequence.NextValue(transaction);
			}
			return;
		}
		QuackError error = NoError();
		quack_rs_sequence_draw(catalog.Node(), Meant(), Range(), Interrupt(), values, count, &error);
		ThrowIfError(error);
	}

	int64_t Current() {
		int64_t value;
		if (!IsOwnSequence(context, sequence) && quack_rs_sequence_last(catalog.Node(), Meant(), Range(), &value)) {
			return value;
		}
		return sequence.CurrentValue();
	}

	int64_t Set(int64_t value, bool is_called) {
		if (IsOwnSequence(context, sequence)) {
			return sequence.SetValue(DuckTransaction::Get(context, catalog), value, is_called);
		}
		QuackError error = NoError();
		quack_rs_sequence_set(catalog.Node(), Bytes(schema), Bytes(name), value, is_called, Interrupt(), &error);
		ThrowIfError(error);
		return value;
	}

private:
	QuackSequence Meant() const {
		return QuackSequence {Bytes(schema), Bytes(name), sequence.oid, catalog.sequences.sets};
	}
	uint64_t Range() const {
		uint64_t range = 1;
		context.TryGetCurrentSetting(RANGE_SETTING, range);
		return range;
	}
	QuackInterrupt Interrupt() const {
		return QuackInterrupt {&context, [](void *waiting) {
			                       return IsInterrupted(*static_cast<ClientContext *>(waiting));
		                       }};
	}

	ClientContext &context;
	SequenceCatalogEntry &sequence;
	QuackCatalog &catalog;
	string schema;
	const string &name;
};

void DrawChunk(SequenceCall call, Drawer &drawer, DataChunk &args, Vector &result) {
	auto count = args.size();
	result.SetVectorType(VectorType::FLAT_VECTOR);
	auto writer = FlatVector::Writer<int64_t>(result, count);
	if (count == 0) {
		return;
	}
	vector<int64_t> values(count);
	if (call == SequenceCall::NEXT) {
		// Once for all rows: a statement costs an entry of the log for every chunk.
		drawer.Next(values.data(), count);
	} else if (call == SequenceCall::CURRENT) {
		values.assign(count, drawer.Current());
	}
	for (idx_t i = 0; i < count; i++) {
		if (call != SequenceCall::SET) {
			writer.WriteValue(values[i]);
			continue;
		}
		auto value = args.GetValue(1, i);
		auto is_called = args.ColumnCount() > 2 ? args.GetValue(2, i) : Value::BOOLEAN(true);
		if (value.IsNull() || is_called.IsNull()) {
			writer.WriteNull();
		} else {
			writer.WriteValue(drawer.Set(value.GetValue<int64_t>(), is_called.GetValue<bool>()));
		}
	}
}

unique_ptr<FunctionLocalState> InitLed(ExpressionState &state, const BoundFunctionExpression &expr,
                                       FunctionData *bind_data) {
	if (ReplicatedSequence(bind_data)) {
		return nullptr;
	}
	return expr.Function().GetFunctionInfo()->Cast<LedFunction>().init_native(state, expr, bind_data);
}

//! As DuckDB's own, which makes the catalog the one that the transaction writes to. But nothing of the store changes
//! in the transaction itself: it must not keep checkpoints away.
void LedModifies(ClientContext &context, FunctionModifiedDatabasesInput &input) {
	if (!input.bind_data) {
		return;
	}
	auto &catalog = input.bind_data->Cast<NextvalBindData>().sequence.ParentCatalog();
	DatabaseModificationType modification;
	if (!QuackCatalog::Is(catalog)) {
		modification |= DatabaseModificationType::SEQUENCE;
	}
	input.properties.RegisterDBModify(catalog, context, modification);
}

void Lead(ExtensionLoader &loader, const char *name, SequenceCall call) {
	auto entry = SystemFunction(loader, CatalogType::SCALAR_FUNCTION_ENTRY, name);
	if (!entry) {
		throw InternalException("this DuckDB has no function \"%s\"", name);
	}
	auto functions = entry->Cast<ScalarFunctionCatalogEntry>().functions;
	functions.ApplyToFunctions([&](ScalarFunction &function) {
		auto led = make_shared_ptr<LedFunction>(call, function);
		function.SetExtraFunctionInfo(led);
		function.SetFunctionCallback([led](DataChunk &args, ExpressionState &state, Vector &result) {
			auto &bind_data = state.expr.Cast<BoundFunctionExpression>().BindInfo();
			auto sequence = ReplicatedSequence(bind_data.get());
			if (!sequence) {
				if (bind_data) {
					RequireOwnSequence(state.GetContext(), bind_data->Cast<NextvalBindData>().sequence);
				}
				led->native(args, state, result);
				return;
			}
			Drawer drawer(state.GetContext(), *sequence);
			DrawChunk(led->call, drawer, args, result);
		});
		function.SetInitStateCallback(InitLed);
		if (call != SequenceCall::CURRENT) {
			function.SetModifiedDatabasesCallback(LedModifies);
		}
	});
	loader.RegisterFunction(std::move(functions));
}

void CheckRange(ClientContext &context, SetScope scope, Value &parameter) {
	auto range = parameter.IsNull() ? 0 : parameter.GetValue<uint64_t>();
	if (range < 1 || range > RANGE_MAX) {
		throw InvalidInputException("%s is the number of values that a node reserves at a time: 1 to %llu", RANGE_SETTING,
		                            RANGE_MAX);
	}
}

} // namespace

void RegisterSequences(ExtensionLoader &loader) {
	DBConfig::GetConfig(loader.GetDatabaseInstance())
	    .AddExtensionOption(RANGE_SETTING, "Values of a sequence that a node of a replicated catalog reserves at a time",
	                        LogicalType::UBIGINT, Value::UBIGINT(1), CheckRange);
	Lead(loader, "nextval", SequenceCall::NEXT);
	Lead(loader, "currval", SequenceCall::CURRENT);
	Lead(loader, "setval", SequenceCall::SET);
}

bool IsOwnSequence(ClientContext &context, SequenceCatalogEntry &sequence) {
	auto own = DuckTransaction::Get(context, sequence.ParentCatalog()).GetTransactionId();
	optional_ptr<CatalogEntry> version = &sequence;
	while (version->timestamp == own) {
		// Below what was created there is nothing, or what says that nothing was there; below what was altered, the
		// version before.
		if (!version->HasChild() || version->Child().deleted) {
			return true;
		}
		version = &version->Child();
	}
	return false;
}

QuackSequenceState StateForLog(const SequenceData &data) {
	QuackSequenceState state;
	state.usage_count = data.usage_count;
	state.counter = data.counter;
	state.has_last_value = static_cast<bool>(data.last_value);
	state.last_value = data.last_value ? data.last_value.value() : 0;
	state.increment = data.increment;
	state.minimum = data.min_value;
	state.maximum = data.max_value;
	state.cycle = data.cycle;
	return state;
}

SequenceData SequenceMoves::StateOf(SequenceCatalogEntry &sequence) const {
	auto found = moved.find(sequence.oid);
	return found == moved.end() ? sequence.GetData() : found->second.data;
}

void SequenceMoves::Move(SequenceCatalogEntry &sequence, const QuackSequenceState &state, bool is_set) {
	auto data = sequence.GetData();
	data.usage_count = state.usage_count;
	data.counter = state.counter;
	data.last_value = state.has_last_value ? optional<int64_t>(state.last_value) : optional<int64_t>();
	moved.erase(sequence.oid);
	moved.emplace(sequence.oid, Moved {sequence, data});
	any_set = any_set || is_set;
}

void SequenceMoves::Publish(QuackCatalog &catalog) {
	for (auto &entry : moved) {
		MoveSequence(entry.second.sequence, entry.second.data);
	}
	if (any_set) {
		catalog.sequences.sets++;
	}
	Forget();
}

void SequenceMoves::Forget() {
	moved.clear();
	any_set = false;
}

void SequenceStates::Freeze(QuackCatalog &catalog) {
	if (frozen_by.load() == std::this_thread::get_id()) {
		return;
	}
	frozen.clear();
	ScanSequences(catalog, [&](SequenceCatalogEntry &sequence) { frozen.emplace(sequence.oid, sequence.GetData()); });
	frozen_by = std::this_thread::get_id();
}

void SequenceStates::Thaw() {
	frozen_by = std::thread::id();
	frozen.clear();
}

optional_ptr<const SequenceData> SequenceStates::Frozen(const SequenceCatalogEntry &sequence) const {
	if (frozen_by.load() != std::this_thread::get_id()) {
		return nullptr;
	}
	auto found = frozen.find(sequence.oid);
	return found == frozen.end() ? nullptr : &found->second;
}

QuackSequenceEntry::QuackSequenceEntry(Catalog &catalog, SchemaCatalogEntry &schema, CreateSequenceInfo &info)
    : SequenceCatalogEntry(catalog, schema, info) {
	auto start = tags.find(START_TAG);
	if (start == tags.end()) {
		return;
	}
	auto data = GetData();
	data.start_value = std::stoll(start->second);
	MoveSequence(*this, data);
	tags.erase(start);
}

unique_ptr<CatalogEntry> QuackSequenceEntry::Copy(ClientContext &context) const {
	auto info = SequenceCatalogEntry::GetInfo();
	auto result = make_uniq<QuackSequenceEntry>(catalog, schema, info->Cast<CreateSequenceInfo>());
	// A new entry would begin where this one is.
	MoveSequence(*result, GetData());
	return std::move(result);
}

unique_ptr<CreateInfo> QuackSequenceEntry::GetInfo() const {
	auto result = SequenceCatalogEntry::GetInfo();
	auto frozen = catalog.Cast<QuackCatalog>().sequences.Frozen(*this);
	if (frozen) {
		auto &info = result->Cast<CreateSequenceInfo>();
		info.usage_count = frozen->usage_count;
		info.start_value = frozen->counter;
		info.last_value = frozen->last_value;
		info.tags[START_TAG] = std::to_string(frozen->start_value);
	}
	return result;
}

void ScanSequences(QuackCatalog &catalog, const std::function<void(SequenceCatalogEntry &)> &callback) {
	catalog.DuckCatalog::ScanSchemas([&](SchemaCatalogEntry &schema) {
		schema.Scan(CatalogType::SEQUENCE_ENTRY,
		            [&](CatalogEntry &entry) { callback(entry.Cast<SequenceCatalogEntry>()); });
	});
}

} // namespace quack
