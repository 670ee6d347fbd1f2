//! ATTACH: the store of a server of this process, or, later, a server elsewhere.

#include "host.hpp"

#include "catalog.hpp"
#include "compat.hpp"
#include "error.hpp"
#include "transaction_manager.hpp"
#include "duckdb/main/attached_database.hpp"
#include "duckdb/main/database_manager.hpp"
#include "duckdb/main/secret/secret_manager.hpp"
#include "duckdb/parser/parsed_data/alter_database_info.hpp"
#include "duckdb/parser/parsed_data/attach_info.hpp"

using namespace duckdb;

namespace quack {

static unique_ptr<Catalog> AttachStore(Host &host, AttachedDatabase &db, AttachOptions &options) {
	auto key = options.options[STORE_KEY_OPTION].ToString();
	options.options.erase(STORE_KEY_OPTION);
	lock_guard<mutex> guard(host.opening_lock);
	auto entry = host.opening.find(key);
	if (entry == host.opening.end()) {
		throw BinderException("the option %s is reserved", STORE_KEY_OPTION);
	}
	auto node = entry->second;
	host.opening.erase(entry);
	return make_uniq<QuackCatalog>(db, node);
}

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

//! What a client asks of a catalog.
struct Contract {
	string token;
	bool linearizable = false;
};

static bool IsLinearizable(const string &consistency) {
	auto level = StringUtil::Lower(consistency);
	if (level != "local" && level != "session" && level != "linearizable") {
		throw BinderException("consistency '%s' is not known: it is 'local', 'session' or 'linearizable'", consistency);
	}
	// A node answers a write when it has applied it, so that 'local' and 'session' are the same for the clients of one.
	return level == "linearizable";
}

//! Takes the options that a client gives; every other one is refused by name.
static Contract TakeContract(ClientContext &context, const string &uri, AttachOptions &options) {
	Contract contract;
	for (auto &option : options.options) {
		auto value = option.second.ToString();
		if (option.first == "token") {
			contract.token = value;
		} else if (option.first == "consistency") {
			contract.linearizable = IsLinearizable(value);
		} else if (option.first == "cert_file" || option.first == "key_file" || option.first == "client_ca_file") {
			// The way to a server of this process is no network; but what is asked for must be there.
			if (!FileSystem::GetFileSystem(context).FileExists(value)) {
				throw IOException("%s: there is no file '%s'", option.first, value);
			}
		} else {
			throw BinderException("Unrecognized option for attach \"%s\": a quack catalog takes TOKEN, CONSISTENCY, "
			                      "CERT_FILE, KEY_FILE and CLIENT_CA_FILE",
			                      option.first);
		}
	}
	options.options.clear();
	if (contract.token.empty()) {
		contract.token = TokenFromSecret(context, uri);
	}
	return contract;
}

//! The catalog of an ATTACH that found its store attached already: empty, hidden, and never looked at.
static unique_ptr<Catalog> Placeholder(AttachedDatabase &db, AttachInfo &info) {
	static atomic<idx_t> count {0};
	db.SetName(Identifier(StringUtil::Format("quack_attached_%llu", ++count)));
	HideDatabase(db);
	info.path = IN_MEMORY_PATH;
	return make_uniq<DuckCatalog>(db);
}

static unique_ptr<Catalog> Attach(optional_ptr<StorageExtensionInfo> storage_info, ClientContext &context,
                                  AttachedDatabase &db, const string &name, AttachInfo &info, AttachOptions &options) {
	auto &host = Host::Get(storage_info);
	if (options.options.count(STORE_KEY_OPTION) > 0) {
		return AttachStore(host, db, options);
	}
	auto uri = StringUtil::StartsWith(info.path, "quack:") ? info.path : "quack:" + info.path;
	if (options.access_mode == AccessMode::READ_ONLY) {
		throw NotImplementedException("READ_ONLY is not supported for a catalog that this process serves");
	}
	auto contract = TakeContract(context, uri, options);
	string catalog;
	QuackSink sink {&catalog, [](void *target, QuackBytes bytes) { *static_cast<string *>(target) = Text(bytes); }};
	QuackError error = NoError();
	QuackInterrupt interrupt {
	    &context, [](void *waiting) { return static_cast<ClientContext *>(waiting)->IsInterrupted(); }};
	quack_rs_attach_local(host.rust, Bytes(uri), Bytes(contract.token), interrupt, sink, &error);
	ThrowIfError(error);
	if (catalog.empty()) {
		throw NotImplementedException("no server of this process listens at %s, and attaching to a server of another "
		                              "process is not supported yet; the quack extension that DuckDB 1.5 ships can",
		                              uri);
	}
	// The server has attached its store under its own name: it gets the name that is asked for.
	if (Identifier(catalog) != Identifier(name)) {
		RenameDatabaseInfo rename(Identifier(catalog), Identifier(name), OnEntryNotFound::THROW_EXCEPTION);
		DatabaseManager::Get(context).Alter(context, rename);
	}
	auto attached = DatabaseManager::Get(context).GetDatabase(context, Identifier(name));
	if (attached && QuackCatalog::Is(attached->GetCatalog())) {
		reinterpret_cast<QuackCatalog &>(attached->GetCatalog()).linearizable = contract.linearizable;
	}
	return Placeholder(db, info);
}

static unique_ptr<TransactionManager> CreateTransactionManager(optional_ptr<StorageExtensionInfo> storage_info,
                                                               AttachedDatabase &db, Catalog &catalog) {
	if (QuackCatalog::Is(catalog)) {
		return make_uniq<QuackTransactionManager>(db, Host::Get(storage_info).gate);
	}
	return make_uniq<DuckTransactionManager>(db);
}

shared_ptr<Host> RegisterStorage(DatabaseInstance &db) {
	auto host = make_shared_ptr<Host>(db);
	auto extension = make_shared_ptr<StorageExtension>();
	extension->attach = Attach;
	extension->create_transaction_manager = CreateTransactionManager;
	extension->storage_info = host;
	StorageExtension::Register(DBConfig::GetConfig(db), "quack", std::move(extension));
	return host;
}

} // namespace quack
