//! Lets this program's DuckDB open the extension's file. From 2.0.1 on a program says itself who opens libraries: DuckDB's own
//! part for that (`loadable_extensions`) is not in each static library of it, and would also install extensions from the
//! network, which a server must not do.

#include <cstdint>

#if QUACK_DUCKDB_PATCH >= 1

#include "duckdb.hpp"
#include "duckdb/main/extension/external_extension_provider.hpp"
#include "duckdb_static_extension.h"

#include <dlfcn.h>

namespace {

class LibraryOpener : public duckdb::ExternalExtensionProvider {
public:
	duckdb::string GetName() const override {
		return "quackd";
	}

	bool SupportsExternalExtensions() const override {
		return true;
	}

	void *OpenLibrary(const duckdb::string &filename, const duckdb::string &) override {
		auto library = dlopen(filename.c_str(), RTLD_NOW | RTLD_LOCAL);
		if (!library) {
			throw duckdb::IOException("the extension '%s' cannot be loaded: %s", filename, GetLibraryError());
		}
		return library;
	}

	void *TryLoadFunction(void *library, const duckdb::string &function_name) override {
		return dlsym(library, function_name.c_str());
	}

	duckdb::string GetLibraryError() override {
		auto error = dlerror();
		return error ? error : "";
	}
};

void Offer(duckdb::DatabaseInstance &db) {
	db.config.SetExternalExtensionProvider(duckdb::make_shared_ptr<LibraryOpener>());
}

int32_t Describe(duckdb_extension_descriptor *descriptor) {
	constexpr uint32_t CAPABILITIES = 2;
	if (descriptor->version < CAPABILITIES) {
		descriptor->set_error(descriptor, "this DuckDB takes no capabilities of its program");
		return 1;
	}
	descriptor->version = CAPABILITIES;
	descriptor->name = "quackd_libraries";
	descriptor->database_callback = reinterpret_cast<void (*)(void)>(Offer);
	return 0;
}

} // namespace

//! For every database that is opened from now on. Returns 0 when that is so.
extern "C" int32_t quackd_open_libraries() {
	return duckdb_register_static_extension(Describe);
}

#else

extern "C" int32_t quackd_open_libraries() {
	return 0;
}

#endif
