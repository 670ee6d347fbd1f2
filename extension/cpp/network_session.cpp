//! Decides what a session that is served over the network may do. It refuses statements, settings and functions that
//! reach the process or its other databases, and filters what DuckDB lists of them.

#include "network_session.hpp"

#include "catalog.hpp"
#include "compat.hpp"
#include "host_files.hpp"
#include "system_function.hpp"
#include "duckdb/catalog/catalog_entry/table_function_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/sequence_catalog_entry.hpp"
#include "duckdb/catalog/catalog_search_path.hpp"
#include "duckdb/common/vector_operations/unary_executor.hpp"
#include "duckdb/execution/operator/helper/physical_set.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/main/settings.hpp"
#include "duckdb/parser/parsed_data/alter_info.hpp"
#include "duckdb/parser/parsed_data/create_table_function_info.hpp"
#include "duckdb/parser/parsed_data/drop_info.hpp"
#include "duckdb/parser/statement/pragma_statement.hpp"
#include "duckdb/planner/binder.hpp"
#include "duckdb/planner/expression/bound_columnref_expression.hpp"
#include "duckdb/planner/expression/bound_function_expression.hpp"
#include "duckdb/planner/operator/logical_alter.hpp"
#include "duckdb/planner/operator/logical_drop.hpp"
#include "duckdb/planner/operator/logical_filter.hpp"
#include "duckdb/planner/operator/logical_get.hpp"
#include "duckdb/planner/operator/logical_pragma.hpp"
#include "duckdb/planner/operator/logical_reset.hpp"
#include "duckdb/planner/operator/logical_secure_view.hpp"
#include "duckdb/planner/operator/logical_set.hpp"
#include "duckdb/transaction/meta_transaction.hpp"

using namespace duckdb;

namespace quack {

NetworkSession::NetworkSession(idx_t database, bool allow_host_access)
    : allow_host_access(allow_host_access), database(database) {
}

void NetworkSession::Mark(ClientContext &context, shared_ptr<NetworkSession> session) {
	if (!session->allow_host_access) {
		HideHostFiles(context);
	}
	context.registered_state->Insert(KEY, std::move(session));
}

void NetworkSession::Mark(ClientContext &context, QuackCatalog &catalog, bool allow_host_access) {
	Mark(context, make_shared_ptr<NetworkSession>(catalog.GetOid(), allow_host_access));
}

void NetworkSession::MarkLike(ClientContext &context, ClientContext &other) {
	auto session = Get(context);
	if (session) {
		Mark(other, make_shared_ptr<NetworkSession>(session->database, session->allow_host_access));
	}
}

shared_ptr<NetworkSession> NetworkSession::Get(ClientContext &context) {
	return context.registered_state->Get<NetworkSession>(KEY);
}

static PermissionException Refused(const string &what, const string &instead) {
	return PermissionException("%s: this session is served over the network, and changes nothing of the process that "
	                           "serves it. %s",
	                           what, instead);
}

//! Settings of a session that make the process write into files, or to its own output.
constexpr const char *SETTINGS_WITH_OUTPUT[] = {"enable_profiling", "profiling_output", "profile_output", "profiling_mode",
                                                "log_query_path", "enable_progress_bar", "enable_progress_bar_print",
                                                "progress_bar_time"};
//! With it a transaction commits what a refused statement has done.
constexpr const char *FAILED_STATEMENTS_STAY = "default_transaction_invalidation_policy";
//! PRAGMAs that concern the session alone.
constexpr const char *SESSION_PRAGMAS[] = {"disable_profile", "disable_profiling", "enable_verification",
                                           "disable_verification", "enable_object_cache", "disable_object_cache"};

template <class LIST>
static bool IsIn(const LIST &names, const string &name) {
	for (auto known : names) {
		if (StringUtil::CIEquals(known, name)) {
			return true;
		}
	}
	return false;
}

//! The scope that a SET or RESET of a session means: where DuckDB would choose the process, the session is meant if it
//! can have a value of its own.
static SetScope ScopeOf(ClientContext &context, const Identifier &name, SetScope scope) {
	auto option = DBConfig::GetOptionByName(name);
	if (option) {
		if (scope == SetScope::AUTOMATIC && option->default_value && option->scope == SettingScopeTarget::GLOBAL_DEFAULT) {
			return SetScope::SESSION;
		}
		return PhysicalSet::GetSettingScope(*option, scope);
	}
	ExtensionOption extension_option;
	if (!DBConfig::GetConfig(context).TryGetExtensionOption(name, extension_option)) {
		// DuckDB would load an extension that has such a setting, in any of its threads.
		throw Catalog::UnrecognizedConfigurationError(context, name);
	}
	if (scope == SetScope::AUTOMATIC && extension_option.supports_session) {
		return SetScope::SESSION;
	}
	return extension_option.ResolveScope(name, scope);
}

//! Whether a setting holds what its owner tells others not: what proves who one is to a proxy or an object store.
static bool HoldsSecret(const string &setting) {
	auto name = StringUtil::Lower(setting);
	auto held = {"proxy", "password", "passphrase", "access_key", "token", "credential", "connection_string", "account_key"};
	return std::any_of(held.begin(), held.end(), [&](const char *word) { return StringUtil::Contains(name, word); });
}

static string CanonicalName(const Identifier &name) {
	auto option = DBConfig::GetOptionByName(name);
	return option ? string(option->name) : name.GetIdentifierName();
}

static SetScope CheckSetting(ClientContext &context, const Identifier &name, SetScope scope) {
	auto resolved = ScopeOf(context, name, scope);
	auto canonical = CanonicalName(name);
	auto quoted = StringUtil::Format("the setting \"%s\"", canonical);
	if (resolved == SetScope::GLOBAL) {
		throw Refused(quoted + " is one of the whole process",
		              "Set it in that process; with SET SESSION it can be set here if it is one of a session, too");
	}
	if (IsIn(SETTINGS_WITH_OUTPUT, canonical) || IsIn(SETTINGS_WITH_OUTPUT, name.GetIdentifierName())) {
		throw Refused(quoted + " makes the process write", "EXPLAIN ANALYZE answers to the client");
	}
	if (StringUtil::CIEquals(canonical, FAILED_STATEMENTS_STAY)) {
		throw Refused(quoted + " lets a transaction go on after a refused statement", "End the transaction, and begin another one");
	}
	if (StringUtil::StartsWith(StringUtil::Lower(canonical), "debug_")) {
		throw Refused(quoted + " is one for tests of DuckDB", "Set it in that process");
	}
	return resolved;
}

//! A client that may nest expressions deeper than the process allows may end it: its stack is not made for that.
static void CheckDepth(ClientContext &context, const LogicalSet &set) {
	if (CanonicalName(set.name) != MaxExpressionDepthSetting::Name) {
		return;
	}
	auto depth = set.value.DefaultCastAs(LogicalType::UBIGINT);
	auto limit = Settings::Get<MaxExpressionDepthSetting>(DBConfig::GetConfig(context));
	if (!depth.IsNull() && depth.GetValue<uint64_t>() > limit) {
		throw Refused(StringUtil::Format("max_expression_depth is %llu at most", limit), "Set it globally in that process");
	}
}

static bool IsOwn(NetworkSession &session, AttachedDatabase &db) {
	return db.IsSystem() || db.IsTemporary() || db.GetCatalog().GetOid() == session.database;
}

static bool IsOwn(NetworkSession &session, ClientContext &context, const Identifier &database) {
	if (database == TEMP_CATALOG || database == SYSTEM_CATALOG) {
		return true;
	}
	auto db = DatabaseManager::Get(context).GetDatabase(database);
	return db && IsOwn(session, *db);
}

static PermissionException RefusedDatabase(const Identifier &database) {
	return Refused(StringUtil::Format("the database \"%s\" is one of the process itself", database.GetIdentifierName()),
	               "Attach it in the client, or serve with allow_host_access := true");
}

//! Without a path of its own a session searches the process's default database.
static PermissionException RefusedReset(const string &setting) {
	return Refused(StringUtil::Format("without a value of \"%s\" names mean the database of the process itself", setting),
	               "USE the catalog, or one of its schemas");
}

//! USE, SET schema, SET search_path.
static void CheckSearchPath(NetworkSession &session, ClientContext &context, const LogicalSet &set) {
	auto name = CanonicalName(set.name);
	if (name != SchemaSetting::Name && name != SearchPathSetting::Name) {
		return;
	}
	auto entries = set.value.IsNull() ? vector<CatalogSearchEntry>() : CatalogSearchEntry::ParseList(set.value.ToString());
	if (entries.empty()) {
		throw RefusedReset(name);
	}
	for (auto &entry : entries) {
		auto database = entry.GetCatalog();
		if (database.empty()) {
			if (Catalog::GetSchema(context, Identifier(), entry.GetSchema(), OnEntryNotFound::RETURN_NULL)) {
				continue;
			}
			database = entry.GetSchema();
		}
		if (DatabaseManager::Get(context).GetDatabase(database) && !IsOwn(session, context, database)) {
			throw RefusedDatabase(database);
		}
	}
}

static void CheckSet(NetworkSession &session, ClientContext &context, LogicalSet &set) {
	if (set.scope == SetScope::VARIABLE) {
		return;
	}
	set.scope = CheckSetting(context, set.name, set.scope);
	CheckDepth(context, set);
	if (!session.allow_host_access) {
		CheckSearchPath(session, context, set);
	}
}

static void CheckReset(NetworkSession &session, ClientContext &context, LogicalReset &reset) {
	if (reset.scope == SetScope::VARIABLE) {
		return;
	}
	reset.scope = CheckSetting(context, reset.name, reset.scope);
	auto name = CanonicalName(reset.name);
	if (!session.allow_host_access && (name == SchemaSetting::Name || name == SearchPathSetting::Name)) {
		throw RefusedReset(name);
	}
}

static void CheckOperator(NetworkSession &session, ClientContext &context, LogicalOperator &op) {
	switch (op.type) {
	case LogicalOperatorType::LOGICAL_SET:
		CheckSet(session, context, op.Cast<LogicalSet>());
		break;
	case LogicalOperatorType::LOGICAL_RESET:
		CheckReset(session, context, op.Cast<LogicalReset>());
		break;
	case LogicalOperatorType::LOGICAL_PRAGMA: {
		auto name = op.Cast<LogicalPragma>().info->function.name.GetIdentifierName();
		if (!IsIn(SESSION_PRAGMAS, name)) {
			throw Refused("PRAGMA " + name, "Run it in that process");
		}
		break;
	}
	case LogicalOperatorType::LOGICAL_ATTACH:
	case LogicalOperatorType::LOGICAL_DETACH:
		throw Refused("ATTACH and DETACH", "Attach databases in the client");
	case LogicalOperatorType::LOGICAL_CREATE_SECRET:
		throw Refused("CREATE SECRET", "Create the secret in the client");
	case LogicalOperatorType::LOGICAL_LOAD:
	case LogicalOperatorType::LOGICAL_UPDATE_EXTENSIONS:
		throw Refused("LOAD, INSTALL and UPDATE EXTENSIONS", "Load extensions in that process");
	case LogicalOperatorType::LOGICAL_CONNECT:
	case LogicalOperatorType::LOGICAL_DISCONNECT:
	case LogicalOperatorType::LOGICAL_EXTERNAL_RESOURCE:
		throw Refused("CONNECT, DISCONNECT and EXTERNAL RESOURCE", "Use them in the client");
	case LogicalOperatorType::LOGICAL_DROP: {
		auto type = op.Cast<LogicalDrop>().info->type;
		if (type == CatalogType::SECRET_ENTRY) {
			throw Refused("DROP SECRET", "Drop the secret in that process");
		}
		if (type == CatalogType::DATABASE_ENTRY) {
			throw Refused("DROP DATABASE", "Drop the database in that process");
		}
		break;
	}
	case LogicalOperatorType::LOGICAL_ALTER:
		if (op.Cast<LogicalAlter>().info->type == AlterType::ALTER_DATABASE) {
			throw Refused("ALTER DATABASE", "A catalog has one name for all who use the process");
		}
		break;
	case LogicalOperatorType::LOGICAL_EXPORT:
	case LogicalOperatorType::LOGICAL_COPY_TO_FILE:
		if (!session.allow_host_access) {
			throw Refused("COPY TO and EXPORT DATABASE",
			              "Write the file where the client is, or serve with allow_host_access := true");
		}
		break;
	default:
		break;
	}
	for (auto &child : op.children) {
		if (child) {
			CheckOperator(session, context, *child);
		}
	}
}

//! Refuses tables of other databases, no matter where in the statement, in a view or in a macro they are named.
static void CheckDatabases(NetworkSession &session, const StatementProperties &properties) {
	auto check = [&](const Identifier &name, const StatementProperties::CatalogIdentity &identity) {
		if (identity.catalog_oid != session.database && name != TEMP_CATALOG && name != SYSTEM_CATALOG) {
			throw RefusedDatabase(name);
		}
	};
	for (auto &read : properties.read_databases) {
		check(read.first, read.second);
	}
	for (auto &modified : properties.modified_databases) {
		check(modified.first, modified.second.identity);
	}
}

//! Refuses macros, types and sequences of other databases: all that the statement has looked up by the name of one.
static void CheckLookups(NetworkSession &session, ClientContext &context) {
	for (auto &db : DatabasesOf(MetaTransaction::Get(context))) {
		if (!IsOwn(session, *db)) {
			throw RefusedDatabase(db->GetName());
		}
	}
}

//! What DuckDB lists of the process it reads in all databases: the next statement of the transaction has not named them.
void NetworkSession::ForgetLists(ClientContext &context) {
	is_bound = false;
	named.clear();
	if (allow_host_access || !context.transaction.HasActiveTransaction()) {
		return;
	}
	auto &transaction = MetaTransaction::Get(context);
	for (auto &db : DatabasesOf(transaction)) {
		if (!IsOwn(*this, *db)) {
			Forget(transaction, *db);
			listed.push_back(db);
		}
	}
}

void NetworkSession::TransactionRollback(MetaTransaction &transaction, ClientContext &) {
	Note(transaction);
	listed.clear();
}

void NetworkSession::Note(MetaTransaction &transaction) {
	if (is_bound || allow_host_access) {
		return;
	}
	for (auto &db : DatabasesOf(transaction)) {
		// To suggest names DuckDB reads all databases.
		if (!IsOwn(*this, *db) && StringUtil::Contains(text, StringUtil::Lower(db->GetName().GetIdentifierName()))) {
			named = db->GetName();
		}
	}
}

void NetworkSession::RequireOwnError(ClientContext &context) {
	if (context.transaction.HasActiveTransaction()) {
		Note(MetaTransaction::Get(context));
	}
	if (!named.empty()) {
		throw RefusedDatabase(named);
	}
}

void RequireOwnSequence(ClientContext &context, SequenceCatalogEntry &sequence) {
	auto session = NetworkSession::Get(context);
	auto &db = sequence.ParentCatalog().GetAttached();
	if (session && !session->allow_host_access && !IsOwn(*session, db)) {
		throw RefusedDatabase(db.GetName());
	}
}

void RequireOwnMatter(ClientContext &context, const SQLStatement &statement) {
	auto session = NetworkSession::Get(context);
	if (!session || session->allow_host_access) {
		return;
	}
	session->ForgetLists(context);
	session->text = StringUtil::Lower(statement.query);
	auto copies = statement.type == StatementType::COPY_DATABASE_STATEMENT ||
	              (statement.type == StatementType::PRAGMA_STATEMENT &&
	               statement.Cast<PragmaStatement>().info->name == "copy_database");
	if (copies) {
		// One of the two databases is not the session's.
		throw Refused("COPY FROM DATABASE", "Attach the databases in the client, or serve with allow_host_access := true");
	}
}

namespace {

//! Which rows of a list a client sees: those with one of the names, or those without a name that holds a secret.
struct ListedData : public FunctionData {
	explicit ListedData(identifier_set_t names) : names(std::move(names)) {
	}
	unique_ptr<FunctionData> Copy() const override {
		return make_uniq<ListedData>(names);
	}
	bool Equals(const FunctionData &other) const override {
		return names == other.Cast<ListedData>().names;
	}

	identifier_set_t names;
};

void IsListed(DataChunk &args, ExpressionState &state, Vector &result) {
	auto &names = state.expr.Cast<BoundFunctionExpression>().BindInfo()->Cast<ListedData>().names;
	UnaryExecutor::Execute<string_t, bool>(args.data[0], result, args.size(), [&](string_t name) {
		return names.empty() ? !HoldsSecret(name.GetString()) : names.count(Identifier(name.GetString())) > 0;
	});
}

} // namespace

//! Filters a list of a system function by one of its columns; nothing happens to one without the column.
static void FilterList(unique_ptr<LogicalOperator> &op, const char *column, identifier_set_t names) {
	auto &get = op->Cast<LogicalGet>();
	auto found = std::find(get.names.begin(), get.names.end(), Identifier(column));
	if (found == get.names.end()) {
		return;
	}
	auto position = get.AddColumnId(NumericCast<column_t>(found - get.names.begin()));
	ScalarFunction function("quack_is_listed", {LogicalType::VARCHAR}, LogicalType::BOOLEAN, IsListed);
	vector<unique_ptr<Expression>> arguments;
	arguments.push_back(
	    make_uniq<BoundColumnRefExpression>(LogicalType::VARCHAR, ColumnBinding(get.table_index, position)));
	auto filter = make_uniq<LogicalFilter>(make_uniq<BoundFunctionExpression>(
	    BoundScalarFunction(function), std::move(arguments), make_uniq<ListedData>(std::move(names))));
	filter->children.push_back(std::move(op));
	// Nothing of the client's own that could tell of a row is evaluated before the filter.
	op = make_uniq<LogicalSecureView>("what the client may see", std::move(filter));
}

//! Leaves out of what DuckDB lists of the process what is in its other databases, and settings that hold secrets.
static void FilterLists(const identifier_set_t &own, unique_ptr<LogicalOperator> &op) {
	for (auto &child : op->children) {
		if (child) {
			FilterLists(own, child);
		}
	}
	if (op->type != LogicalOperatorType::LOGICAL_GET || op->Cast<LogicalGet>().GetTable()) {
		return;
	}
	auto name = op->Cast<LogicalGet>().function.GetName().GetIdentifierName();
	if (name == "duckdb_settings") {
		FilterList(op, "name", {});
	} else if (StringUtil::StartsWith(name, "duckdb_") || StringUtil::StartsWith(name, "pragma_")) {
		FilterList(op, "database_name", own);
	}
}

static identifier_set_t OwnNames(NetworkSession &session, ClientContext &context) {
	identifier_set_t names {Identifier(TEMP_CATALOG), Identifier(SYSTEM_CATALOG)};
	for (auto &db : DatabaseManager::Get(context).GetDatabases(context)) {
		if (IsOwn(session, *db)) {
			names.insert(db->GetName());
		}
	}
	return names;
}

void RequireOwnMatter(ClientContext &context, Binder &binder, BoundStatement &statement) {
	auto session = NetworkSession::Get(context);
	if (!session) {
		return;
	}
	CheckOperator(*session, context, *statement.plan);
	if (!session->allow_host_access) {
		CheckDatabases(*session, binder.GetStatementProperties());
		CheckLookups(*session, context);
		FilterLists(OwnNames(*session, context), statement.plan);
		session->is_bound = true;
	}
}

namespace {

//! Functions that change the process, tell what others do in it, print, or run statements in a connection of their own. Those that
//! only use files are not among them (host_files.cpp); those that take addresses cannot be called from SQL.
constexpr const char *GUARDED[] = {"enable_logging", "disable_logging", "truncate_duckdb_logs", "duckdb_logs",
                                   "duckdb_log_contexts", "duckdb_secrets", "which_secret", "duckdb_external_file_cache",
                                   "duckdb_temporary_files", "duckdb_extensions", "enable_profiling",
                                   "register_external_resource", "register_external_resource_type",
                                   "create_external_resource", "deregister_external_resource",
                                   "destroy_external_resource", "json_execute_serialized_sql", "quack_serve",
                                   "quack_stop", "quack_backup", "quack_active_connections", "quack_close_connection"};
//! Functions that do something to the database that they name.
constexpr const char *OF_DATABASES[] = {"checkpoint", "force_checkpoint", "pragma_metadata_info"};
//! Scalar functions that write into the process's log; that read bytes and call themselves as those say, which DuckDB does not
//! check; that bind statements, in several threads at a time, in the connection that waits for them.
constexpr const char *OF_HOST_ALONE[] = {"write_log", "variant_bytes_to_variant", "json_serialize_plan"};
//! Functions that open a database file.
constexpr const char *OF_FILES[] = {"read_duckdb"};

struct GuardedInfo : public TableFunctionInfo {
	explicit GuardedInfo(const TableFunction &function)
	    : name(function.name.GetIdentifierName()), native(function.function_info), bind(function.bind),
	      bind_replace(function.bind_replace), bind_operator(function.bind_operator) {
	}

	//! Throws if the connection may not call the function; else calls it with what it knows of itself.
	template <class CALL>
	static auto Pass(ClientContext &context, TableFunctionBindInput &input, CALL &&call)
	    -> decltype(call(std::declval<const GuardedInfo &>())) {
		auto &info = input.info->Cast<GuardedInfo>();
		auto session = NetworkSession::Get(context);
		if (session) {
			info.Check(*session, context, input);
		}
		auto guarded = input.info;
		input.info = info.native.get();
		auto result = call(info);
		// DuckDB may go on with another of the three.
		input.info = guarded;
		return result;
	}

	void Check(NetworkSession &session, ClientContext &context, TableFunctionBindInput &input) const {
		if (IsIn(GUARDED, name)) {
			throw Refused(name, "Call it in that process");
		}
		if (IsIn(OF_FILES, name)) {
			if (!session.allow_host_access) {
				throw Refused(name, "Attach the file in the client, or serve with allow_host_access := true");
			}
			return;
		}
		auto is_named = !input.inputs.empty() && !input.inputs[0].IsNull();
		auto database = is_named ? Identifier(input.inputs[0].ToString()) : DatabaseManager::GetDefaultDatabase(context);
		auto db = DatabaseManager::Get(context).GetDatabase(database);
		if (database == TEMP_CATALOG || database == SYSTEM_CATALOG || (db && db->IsSystem())) {
			// DuckDB fails an assertion there, and ends.
			throw Refused(StringUtil::Format("%s of the database \"%s\"", name, database.GetIdentifierName()),
			              "Name the catalog");
		}
		if (!session.allow_host_access && !(db && IsOwn(session, *db))) {
			throw RefusedDatabase(database);
		}
	}

	string name;
	shared_ptr<TableFunctionInfo> native;
	table_function_bind_t bind;
	table_function_bind_replace_t bind_replace;
	table_function_bind_operator_t bind_operator;
};

unique_ptr<FunctionData> GuardedBind(ClientContext &context, TableFunctionBindInput &input,
                                     vector<LogicalType> &return_types, vector<Identifier> &names) {
	return GuardedInfo::Pass(context, input, [&](const GuardedInfo &native) {
		return native.bind(context, input, return_types, names);
	});
}

unique_ptr<TableRef> GuardedBindReplace(ClientContext &context, TableFunctionBindInput &input) {
	return GuardedInfo::Pass(context, input,
	                         [&](const GuardedInfo &native) { return native.bind_replace(context, input); });
}

unique_ptr<LogicalOperator> GuardedBindOperator(ClientContext &context, TableFunctionBindInput &input,
                                                TableIndex bind_index, vector<Identifier> &return_names) {
	return GuardedInfo::Pass(context, input, [&](const GuardedInfo &native) {
		return native.bind_operator(context, input, bind_index, return_names);
	});
}

//! Of functions that would do something to the process, or to its other clients.
unique_ptr<FunctionData> BindOfHostAlone(BindScalarFunctionInput &input) {
	if (NetworkSession::Get(input.GetClientContext())) {
		throw Refused(input.GetBoundFunction().GetName().GetIdentifierName(), "Call it in that process");
	}
	return BindNatively(input);
}

unique_ptr<FunctionData> BindSetting(BindScalarFunctionInput &input) {
	auto session = NetworkSession::Get(input.GetClientContext());
	if (session && !session->allow_host_access) {
		auto name = input.GetNonNullConstant(0).ToString();
		if (HoldsSecret(name)) {
			throw Refused(StringUtil::Format("the setting \"%s\" holds a secret of the process", name), "Read it in that process");
		}
	}
	return BindNatively(input);
}

void GuardFunction(ExtensionLoader &loader, const char *name) {
	auto entry = SystemFunction(loader, CatalogType::TABLE_FUNCTION_ENTRY, name);
	if (!entry) {
		return;
	}
	CreateTableFunctionInfo info(entry->Cast<TableFunctionCatalogEntry>().functions);
	info.functions.ApplyToFunctions([&](TableFunction &function) {
		function.function_info = make_shared_ptr<GuardedInfo>(function);
		function.bind = function.bind ? GuardedBind : nullptr;
		function.bind_replace = function.bind_replace ? GuardedBindReplace : nullptr;
		function.bind_operator = function.bind_operator ? GuardedBindOperator : nullptr;
	});
	info.on_conflict = OnCreateConflict::REPLACE_ON_CONFLICT;
	loader.RegisterFunction(std::move(info));
}

} // namespace

void GuardFunctions(ExtensionLoader &loader) {
	for (auto name : GUARDED) {
		GuardFunction(loader, name);
	}
	for (auto name : OF_DATABASES) {
		GuardFunction(loader, name);
	}
	for (auto name : OF_FILES) {
		GuardFunction(loader, name);
	}
	for (auto name : OF_HOST_ALONE) {
		CheckBefore(loader, name, BindOfHostAlone);
	}
	CheckBefore(loader, "current_setting", BindSetting);
}

} // namespace quack
