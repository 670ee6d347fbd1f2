//! Casts to UNION, as the settings of a connection have them.
//!
//! DuckDB 2.0 chooses the member that a value is cast to by `old_implicit_casting` of the process and ignores the connection's
//! setting: the result of an entry would depend on each node's process. The set of casts here does not know the process.

#include "union_casts.hpp"

#include "compat.hpp"
#include "duckdb/function/cast/cast_function_set.hpp"
#include "duckdb/main/config.hpp"
#include "duckdb/main/extension/extension_loader.hpp"
#include "duckdb/main/settings.hpp"

using namespace duckdb;

namespace quack {

namespace {

//! The casts that extensions have registered, for a set that has none of its own.
struct OtherCasts : public BindCastInfo {
	explicit OtherCasts(CastFunctionSet &casts) : casts(casts) {
	}
	CastFunctionSet &casts;
};

BoundCastInfo BindRegistered(BindCastInput &input, const LogicalType &source, const LogicalType &target) {
	auto &registered = CastProvidersOf(input.info->Cast<OtherCasts>().casts);
	for (auto provider = registered.rbegin(); provider != registered.rend(); provider++) {
		BindCastInput own(input.function_set, provider->info.get(), input.context);
		own.query_location = input.query_location;
		auto bound = provider->function(own, source, target);
		if (bound.HasFunction()) {
			return bound;
		}
	}
	return BoundCastInfo(nullptr);
}

//! What a process would be configured with whose connections have set `old_implicit_casting`.
DBConfig &OldCasting() {
	static auto config = [] {
		auto made = make_uniq<DBConfig>();
		made->SetOptionByName("old_implicit_casting", Value::BOOLEAN(true));
		return made;
	}();
	return *config;
}

BoundCastInfo BindUnionCast(BindCastInput &input, const LogicalType &source, const LogicalType &target) {
	if (target.id() != LogicalTypeId::UNION || !input.context ||
	    ConfigOf(input.function_set) != &DBConfig::GetConfig(*input.context)) {
		return BoundCastInfo(nullptr);
	}
	CastFunctionSet casts;
	if (Settings::Get<OldImplicitCastingSetting>(*input.context)) {
		ConfigOf(casts) = OldCasting();
	}
	ShareCosts(input.function_set, casts);
	CastProvidersOf(casts).emplace_back(BindRegistered, make_uniq<OtherCasts>(input.function_set));
	BindCastInput own(casts, CastProvidersOf(casts).back().info.get(), input.context);
	own.query_location = input.query_location;
	// What others have registered for the two types goes before DuckDB's own: that of JSON reads the member from the text.
	auto registered = BindRegistered(own, source, target);
	return registered.HasFunction() ? std::move(registered) : DefaultCasts::GetDefaultCastFunction(own, source, target);
}

} // namespace

void ProvideUnionCasts(ExtensionLoader &loader) {
	CastProvidersOf(CastFunctionSet::Get(loader.GetDatabaseInstance())).emplace_back(BindUnionCast);
}

} // namespace quack
