//! Keeps the consistency level of each connection.
//!
//! The last choice of a connection counts: an ATTACH with CONSISTENCY for its catalog, a SET for all catalogs. The global
//! setting of the process counts for connections that have chosen nothing.

#include "consistency.hpp"

#include "catalog.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/client_config.hpp"
#include "duckdb/main/config.hpp"

using namespace duckdb;

namespace quack {

static const char *NameOf(Consistency level) {
	switch (level) {
	case Consistency::LOCAL:
		return "local";
	case Consistency::SESSION:
		return "session";
	default:
		return "linearizable";
	}
}

Consistency ParseConsistency(const string &text) {
	for (auto level : {Consistency::LOCAL, Consistency::SESSION, Consistency::LINEARIZABLE}) {
		if (StringUtil::CIEquals(text, NameOf(level))) {
			return level;
		}
	}
	throw BinderException("consistency '%s' is not known: it is 'local', 'session' or 'linearizable'", text);
}

static idx_t IndexOfSetting(ClientContext &context) {
	ExtensionOption option;
	if (!DBConfig::GetConfig(context).TryGetExtensionOption(CONSISTENCY_SETTING, option)) {
		throw InternalException("the setting %s is not registered", CONSISTENCY_SETTING);
	}
	return option.setting_index.GetIndex();
}

namespace {

//! What a connection's ATTACHs have asked for. The connection's own setting is DuckDB's to keep.
class Levels : public ClientContextState {
public:
	static constexpr const char *KEY = "quack_consistency";

	explicit Levels(ClientContext &context) : setting_index(IndexOfSetting(context)) {
	}

	static Levels &Get(ClientContext &context) {
		return *context.registered_state->GetOrCreate<Levels>(KEY, context);
	}

	void Attach(idx_t database, Consistency level) {
		lock_guard<mutex> guard(lock);
		attached[database] = level;
	}
	void Forget() {
		lock_guard<mutex> guard(lock);
		attached.clear();
	}
	bool TryGet(idx_t database, Consistency &level) {
		lock_guard<mutex> guard(lock);
		auto found = attached.find(database);
		if (found == attached.end()) {
			return false;
		}
		level = found->second;
		return true;
	}

	//! Sets the connection's level to what its server has for its clients.
	void Begin(ClientContext &context) {
		ClientConfig::GetConfig(context).user_settings.SetUserSetting(setting_index, Value(initial));
	}
	void QueryEnd(ClientContext &context, optional_ptr<ErrorData>) override {
		if (was_reset && !initial.empty()) {
			// DuckDB 2.0.1 clears the connection's setting after it has called `OnSet`.
			Begin(context);
		}
		was_reset = false;
	}

	const idx_t setting_index;
	//! What RESET comes back to; empty for what the process says.
	string initial;
	//! Whether the running statement is a RESET.
	bool was_reset = false;

private:
	mutex lock;
	//! By the database's number, which no other one gets.
	unordered_map<idx_t, Consistency> attached;
};

struct ConsistencySetting : public ExtensionOptionInfo {
	void OnSet(ClientContext &context, SetScope scope, Value &value, bool is_reset) const override {
		if (value.IsNull()) {
			throw InvalidInputException("%s cannot be NULL: it is 'local', 'session' or 'linearizable'",
			                            CONSISTENCY_SETTING);
		}
		value = Value(NameOf(ParseConsistency(value.ToString())));
		if (scope == SetScope::GLOBAL) {
			return;
		}
		auto &levels = Levels::Get(context);
		levels.Forget();
		if (!is_reset) {
			return;
		}
		levels.was_reset = true;
		Value global;
		if (DBConfig::GetConfig(context).user_settings.TryGetSetting(levels.setting_index, global)) {
			value = global;
		}
	}
};

} // namespace

void RegisterConsistency(DatabaseInstance &instance) {
	ExtensionOption option("How much of the cluster reads of a replicated catalog must have seen: local, session, or "
	                       "linearizable",
	                       LogicalType::VARCHAR, nullptr, Value(NameOf(Consistency::SESSION)), SetScope::SESSION, false,
	                       false);
	option.info = make_shared_ptr<ConsistencySetting>();
	DBConfig::GetConfig(instance).AddExtensionOption(CONSISTENCY_SETTING, std::move(option));
}

static idx_t NumberOf(QuackCatalog &catalog) {
	return catalog.GetOid();
}

void AttachWith(ClientContext &context, QuackCatalog &catalog, Consistency level) {
	Levels::Get(context).Attach(NumberOf(catalog), level);
}

void ConnectWith(ClientContext &context, Consistency level) {
	auto &levels = Levels::Get(context);
	levels.initial = NameOf(level);
	levels.Begin(context);
}

bool ReadsLinearizably(ClientContext &context, QuackCatalog &catalog) {
	auto &levels = Levels::Get(context);
	auto level = Consistency::SESSION;
	if (!levels.TryGet(NumberOf(catalog), level)) {
		Value setting;
		if (context.TryGetCurrentUserSetting(levels.setting_index, setting)) {
			// One that was given before the extension was loaded has not been checked yet.
			level = ParseConsistency(setting.ToString());
		}
	}
	// A node answers a write when it has applied it, so that 'local' and 'session' are the same for the clients of one.
	return level == Consistency::LINEARIZABLE;
}

} // namespace quack
