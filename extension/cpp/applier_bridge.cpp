//! The applier, as Rust calls it.

#include "applier.hpp"

#include "error.hpp"
#include "transaction_manager.hpp"

using quack::Applier;
using quack::Guard;

//! A step of an entry. Where DuckDB cannot move to files what has no room in memory, memory is what is missing.
template <class BODY>
static void Step(void *applier_p, QuackError *error, BODY &&body) {
	auto &applier = *static_cast<Applier *>(applier_p);
	Guard(error, [&]() {
		try {
			body(applier);
		} catch (std::exception &ex) {
			duckdb::ErrorData data(ex);
			if (applier.IsForWantOfMemory(data)) {
				throw duckdb::OutOfMemoryException(data.RawMessage());
			}
			throw;
		}
	});
}

extern "C" void *quack_cpp_applier_open(void *store, QuackError *error) {
	void *result = nullptr;
	Guard(error, [&]() { result = new Applier(*static_cast<quack::Store *>(store)); });
	return result;
}

extern "C" void quack_cpp_applier_close(void *applier) {
	delete static_cast<Applier *>(applier);
}

extern "C" void quack_cpp_applier_claim(void *applier, QuackBytes owner, bool foreign, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->Claim(quack::Text(owner), foreign); });
}

extern "C" void quack_cpp_applier_position(void *applier, uint64_t *index, QuackSink state, QuackError *error) {
	Guard(error, [&]() {
		duckdb::string text;
		static_cast<Applier *>(applier)->Position(*index, text);
		state.take(state.context, quack::Bytes(text));
	});
}

extern "C" void quack_cpp_applier_begin(void *applier, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->Begin(); });
}

extern "C" void quack_cpp_applier_commit(void *applier, uint64_t index, QuackBytes state, QuackError *error) {
	Guard(error, [&]() { static_cast<Applier *>(applier)->Commit(index, quack::Text(state)); });
}

extern "C" void quack_cpp_applier_rollback(void *applier) {
	QuackError error = quack::NoError();
	Guard(&error, [&]() { static_cast<Applier *>(applier)->Rollback(); });
	if (error.kind != quack::NO_ERROR) {
		quack_cpp_free(error.message);
	}
}

extern "C" bool quack_cpp_applier_find(void *applier, QuackTable table, QuackBytes chunk, bool search,
                                       QuackError *error) {
	bool result = false;
	Step(applier, error, [&](Applier &of) { result = of.Find(table, chunk, search); });
	return result;
}

extern "C" void quack_cpp_applier_change_found(void *applier, QuackError *error) {
	Step(applier, error, [](Applier &of) { of.ChangeFound(); });
}

extern "C" void quack_cpp_applier_forget_found(void *applier) {
	static_cast<Applier *>(applier)->ForgetFound();
}

extern "C" bool quack_cpp_applier_has_key(void *applier, QuackTable table, QuackError *error) {
	bool result = false;
	Step(applier, error, [&](Applier &of) { result = of.HasKey(table); });
	return result;
}

extern "C" void quack_cpp_applier_change_places(void *applier, QuackTable table, QuackPlaces places, QuackBytes chunk,
                                                uint32_t count, QuackError *error) {
	Step(applier, error, [&](Applier &of) { of.ChangePlaces(table, places, chunk, count); });
}

extern "C" void quack_cpp_applier_reached(void *applier, QuackRevisions revisions) {
	static_cast<Applier *>(applier)->Reached(revisions);
}

extern "C" void quack_cpp_applier_insert(void *applier, QuackTable table, QuackBytes chunk, QuackError *error) {
	Step(applier, error, [&](Applier &of) { of.Insert(table, chunk); });
}

extern "C" int32_t quack_cpp_applier_clear_way(void *applier, int32_t error_kind, QuackError *error) {
	auto result = quack::ClearedWay::NOTHING_WAS_THERE;
	Guard(error, [&]() {
		result = static_cast<Applier *>(applier)->ClearWay(static_cast<duckdb::ExceptionType>(error_kind));
	});
	return static_cast<int32_t>(result);
}

extern "C" void quack_cpp_applier_ddl(void *applier, QuackBytes definition, QuackError *error) {
	Step(applier, error, [&](Applier &of) { of.Ddl(definition); });
}

extern "C" bool quack_cpp_applier_sequence(void *applier, QuackBytes schema, QuackBytes name,
                                           QuackSequenceState *state, QuackError *error) {
	bool result = false;
	Guard(error, [&]() {
		result = static_cast<Applier *>(applier)->Sequence(quack::Text(schema), quack::Text(name), *state);
	});
	return result;
}

extern "C" void quack_cpp_applier_move_sequence(void *applier, QuackBytes schema, QuackBytes name,
                                                const QuackSequenceState *state, bool is_set, QuackError *error) {
	Guard(error, [&]() {
		static_cast<Applier *>(applier)->MoveSequence(quack::Text(schema), quack::Text(name), *state, is_set);
	});
}
