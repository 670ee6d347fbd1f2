//! Runs a client's ATTACH.
//!
//! The store of a server is attached by the server (storage.cpp), once, under one name for the whole process. A client's
//! ATTACH shows the token, gives the catalog its name if it is the first one, and sets the consistency of the connection.

#include "attach.hpp"

#include "catalog.hpp"
#include "consistency.hpp"
#include "error.hpp"
#include "host.hpp"
#include "duckdb/execution/physical_operator.hpp"
#include "duckdb/execution/physical_plan_generator.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/main/database_path_and_type.hpp"
#include "duckdb/main/secret/secret_manager.hpp"
#include "duckdb/parser/parsed_data/alter_database_info.hpp"
#include "duckdb/parser/parsed_data/attach_info.hpp"
#include "duckdb/planner/operator/logical_attach.hpp"
#include "duckdb/planner/operator/logical_extension_operator.hpp"

using namespace duckdb;

namespace quack {

static string TokenFromSecret(ClientContext &context, const string &uri) {
	auto transaction = CatalogTransaction::GetSystemCatalogTransaction(context);
	auto match = SecretManager::Get(context).LookupSecret(transaction, uri, "quack");
	if (!match.HasMatch()) {
		return string();
	}
	auto &secret = match.GetSecret();
	auto &key_value = reinterpret_cast<const KeyValueSecret &>(secret);
	auto token = key_value.TryGetValue("token");
	return token.IsNull() ? string() : token.ToString();
}

namespace {

//! What a client asks of a catalog.
struct Contract {
	string token;
	bool has_consistency = false;
	Consistency consistency = Consistency::SESSION;
};

} // namespace

//! `true` in READ_ONLY, or `false` in READ_WRITE.
static void RequireReadWrite(const string &option, const Value &value) {
	auto is_read_only = option == "read_only" || option == "readonly";
	if (BooleanValue::Get(value.DefaultCastAs(LogicalType::BOOLEAN)) == is_read_only) {
		throw NotImplementedException("READ_ONLY is not supported for a catalog that this process serves");
	}
}

//! Takes the options that a client gives; every other one is refused by name.
static Contract TakeContract(ClientContext &context, const string &uri, const AttachInfo &info) {
	Contract contract;
	for (auto &option : info.options) {
		auto name = StringUtil::Lower(option.first);
		auto value = option.second.ToString();
		if (name == "type") {
			continue;
		}
		if (name == "token") {
			contract.token = value;
		} else if (name == "consistency") {
			contract.has_consistency = true;
			contract.consistency = ParseConsistency(value);
		} else if (name == "cert_file" || name == "key_file" || name == "client_ca_file") {
			// The way to a server of this process is no network; but what is asked for must be there.
			if (!FileSystem::GetFileSystem(context).FileExists(value)) {
				throw IOException("%s: there is no file '%s'", name, value);
			}
		} else if (name == "read_only" || name == "readonly" || name == "read_write" || name == "readwrite") {
			RequireReadWrite(name, option.second);
		} else {
			throw BinderException("Unrecognized option for attach \"%s\": a quack catalog takes TOKEN, CONSISTENCY, "
			                      "CERT_FILE, KEY_FILE and CLIENT_CA_FILE",
			                      name);
		}
	}
	if (contract.token.empty()) {
		contract.token = TokenFromSecret(context, uri);
	}
	return contract;
}

//! The name of the catalog of the server at `uri`, as soon as it is ready; empty when no server of this process is there.
static string CatalogAt(ClientContext &context, Host &host, const string &uri, const string &token) {
	string catalog;
	QuackSink sink {&catalog, [](void *target, QuackBytes bytes) { *static_cast<string *>(target) = Text(bytes); }};
	QuackError error = NoError();
	QuackInterrupt interrupt {
	    &context, [](void *waiting) { return static_cast<ClientContext *>(waiting)->IsInterrupted(); }};
	quack_rs_attach_local(host.rust, Bytes(uri), Bytes(token), interrupt, sink, &error);
	ThrowIfError(error);
	return catalog;
}

static QuackCatalog &CatalogNamed(DatabaseManager &databases, const Identifier &name) {
	auto db = databases.GetDatabase(name);
	if (!db || !QuackCatalog::Is(db->GetCatalog())) {
		throw ConnectionException("the server of the catalog %s is being stopped", name);
	}
	// The server holds the database, and the thread that stops the server waits for the statements that use it.
	return reinterpret_cast<QuackCatalog &>(db->GetCatalog());
}

//! The first ATTACH gives the catalog the name that it wants. From then on connections rely on it.
static void Name(ClientContext &context, QuackCatalog &catalog, const Identifier &present, const Identifier &wanted,
                 const string &uri) {
	if (wanted != present) {
		if (catalog.is_named) {
			throw BinderException("Cannot attach %s as %s: this process has attached it as %s already, and it has one "
			                      "name for all connections. Use it under that name: an ATTACH AS %s succeeds, too",
			                      uri, wanted, present, present);
		}
		RequireNotReserved(wanted);
		auto &databases = DatabaseManager::Get(context);
		if (databases.GetDatabase(wanted)) {
			throw BinderException("Failed to attach database: database with name %s already exists, and is not the "
			                      "catalog at %s",
			                      wanted, uri);
		}
		RenameDatabaseInfo rename(present, wanted, OnEntryNotFound::THROW_EXCEPTION);
		databases.Alter(context, rename);
	}
	catalog.is_named = true;
}

static void Attach(ClientContext &context, const AttachInfo &info, const string &uri) {
	auto &host = Host::Get(context);
	auto contract = TakeContract(context, uri, info);
	if (CatalogAt(context, host, uri, contract.token).empty()) {
		throw NotImplementedException("no server of this process listens at %s, and attaching to a server of another "
		                              "process is not supported yet; the quack extension that DuckDB 1.5 ships can",
		                              uri);
	}
	lock_guard<mutex> guard(host.naming_lock);
	// Another ATTACH may have named it while this one waited.
	Identifier present(CatalogAt(context, host, uri, contract.token));
	auto &catalog = CatalogNamed(DatabaseManager::Get(context), present);
	Name(context, catalog, present, info.name.empty() ? present : info.name, uri);
	if (contract.has_consistency) {
		AttachWith(context, catalog, contract.consistency);
	}
}

namespace {

class PhysicalAttachServed : public PhysicalOperator {
public:
	PhysicalAttachServed(PhysicalPlan &plan, vector<LogicalType> types, shared_ptr<AttachInfo> info, string uri)
	    : PhysicalOperator(plan, PhysicalOperatorType::EXTENSION, std::move(types), 1), info(std::move(info)),
	      uri(std::move(uri)) {
	}

	string GetName() const override {
		return "QUACK_ATTACH";
	}
	bool IsSource() const override {
		return true;
	}

protected:
	SourceResultType GetDataInternal(ExecutionContext &context, DataChunk &, OperatorSourceInput &) const override {
		Attach(context.client, *info, uri);
		return SourceResultType::FINISHED;
	}

private:
	shared_ptr<AttachInfo> info;
	string uri;
};

class LogicalAttachServed : public LogicalExtensionOperator {
public:
	LogicalAttachServed(shared_ptr<AttachInfo> info, string uri) : info(std::move(info)), uri(std::move(uri)) {
	}

	PhysicalOperator &CreatePlan(ClientContext &, PhysicalPlanGenerator &planner) override {
		return planner.Make<PhysicalAttachServed>(types, info, uri);
	}
	vector<ColumnBinding> GetColumnBindings() override {
		return {ColumnBinding(TableIndex(0), ProjectionIndex(0))};
	}
	string GetExtensionName() const override {
		return "quack";
	}

protected:
	void ResolveTypes() override {
		types.emplace_back(LogicalType::BOOLEAN);
	}

private:
	shared_ptr<AttachInfo> info;
	string uri;
};

} // namespace

void LeadAttach(ClientContext &context, BoundStatement &statement) {
	if (statement.plan->type != LogicalOperatorType::LOGICAL_ATTACH) {
		return;
	}
	auto &info = *statement.plan->Cast<LogicalAttach>().info;
	string type;
	for (auto &option : info.options) {
		if (option.first == STORE_KEY_OPTION) {
			return;
		}
		if (StringUtil::CIEquals(option.first, "type")) {
			type = StringUtil::Lower(option.second.ToString());
		}
	}
	auto path = info.path;
	if (type.empty()) {
		DBPathAndType::ExtractExtensionPrefix(path, type);
	}
	if (type != "quack" || info.external_resource) {
		return;
	}
	auto uri = StringUtil::StartsWith(path, "quack:") ? path : "quack:" + path;
	statement.plan = make_uniq<LogicalAttachServed>(shared_ptr<AttachInfo>(info.Copy().release()), uri);
}

} // namespace quack
