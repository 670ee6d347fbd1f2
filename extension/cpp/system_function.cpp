//! Finds and replaces functions of DuckDB's system catalog, for code that puts a check of ours before them.

#include "system_function.hpp"

#include "duckdb/catalog/catalog.hpp"
#include "duckdb/catalog/catalog_entry/scalar_function_catalog_entry.hpp"
#include "duckdb/catalog/catalog_entry/schema_catalog_entry.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/parser/parsed_data/create_scalar_function_info.hpp"

using namespace duckdb;

namespace quack {

optional_ptr<CatalogEntry> SystemFunction(ExtensionLoader &loader, CatalogType type, const char *name) {
	auto &instance = loader.GetDatabaseInstance();
	auto transaction = CatalogTransaction::GetSystemTransaction(instance);
	auto &schema = Catalog::GetSystemCatalog(instance).GetSchema(transaction, Identifier::DefaultSchema());
	return schema.GetEntry(transaction, type, Identifier(name));
}

void ChangeScalar(ExtensionLoader &loader, const char *name, const std::function<void(ScalarFunction &function)> &change) {
	auto entry = SystemFunction(loader, CatalogType::SCALAR_FUNCTION_ENTRY, name);
	if (!entry) {
		return;
	}
	auto info = InfoOf<CreateScalarFunctionInfo>(entry->Cast<ScalarFunctionCatalogEntry>());
	info.functions.ApplyToFunctions(change);
	loader.RegisterFunction(std::move(info));
}

namespace {

//! What DuckDB binds a function with, behind a check of ours.
struct NativeBinding : public ScalarFunctionInfo {
	explicit NativeBinding(bind_scalar_function_t bind) : bind(bind) {
	}
	bind_scalar_function_t bind;
};

} // namespace

unique_ptr<FunctionData> BindNatively(BindScalarFunctionInput &input) {
	auto bind = input.GetBoundFunction().GetExtraFunctionInfo().Cast<NativeBinding>().bind;
	return bind ? bind(input) : nullptr;
}

void CheckBefore(ExtensionLoader &loader, const char *name, bind_scalar_function_t check) {
	ChangeScalar(loader, name, [&](ScalarFunction &function) {
		D_ASSERT(!function.HasExtraFunctionInfo());
		function.SetExtraFunctionInfo(make_shared_ptr<NativeBinding>(function.GetBindCallback()));
		function.SetBindCallback(check);
	});
}

} // namespace quack
