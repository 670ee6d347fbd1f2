//! Keeps DuckDB from installing and loading extensions in a thread that serves a client of the network. A check stands
//! before DuckDB's own extension provider.

#include "host_extensions.hpp"

#include "compat.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/extension/external_extension_provider.hpp"
#include "duckdb/main/extension_install_info.hpp"

using namespace duckdb;

namespace quack {

namespace {

thread_local idx_t clients_served = 0;

//! DuckDB asks whether extensions can be loaded before it looks for one, and in most cases does nothing else before.
class GuardedProvider : public ExternalExtensionProvider {
public:
	explicit GuardedProvider(shared_ptr<ExternalExtensionProvider> native) : native(std::move(native)) {
	}

	string GetName() const override {
		return native->GetName();
	}
	bool SupportsExternalExtensions() const override {
		RequireHost();
		return native->SupportsExternalExtensions();
	}
	unique_ptr<ExtensionInstallInfo> Install(DatabaseInstance &db, FileSystem &fs, const string &local_path,
	                                         const string &extension, ExtensionInstallOptions &options,
	                                         optional_ptr<ClientContext> context) override {
		RequireHost();
		return native->Install(db, fs, local_path, extension, options, context);
	}
	void *OpenLibrary(const string &filename, const string &filebase) override {
		RequireHost();
		return native->OpenLibrary(filename, filebase);
	}
	void *TryLoadFunction(void *library, const string &function_name) override {
		return native->TryLoadFunction(library, function_name);
	}
	string GetLibraryError() override {
		return native->GetLibraryError();
	}

private:
	static void RequireHost() {
		if (clients_served > 0) {
			throw PermissionException("the statement needs an extension that is not loaded: this session is served over the "
			                          "network, and loads nothing into the process that serves it. LOAD it in that process");
		}
	}

	shared_ptr<ExternalExtensionProvider> native;
};

} // namespace

ServesClient::ServesClient() {
	clients_served++;
}

ServesClient::~ServesClient() {
	clients_served--;
}

void GuardExtensions(DatabaseInstance &instance) {
	auto &provider = ProviderOf(DBConfig::GetConfig(instance));
	provider = make_shared_ptr<GuardedProvider>(provider);
}

} // namespace quack
