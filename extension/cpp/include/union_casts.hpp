//! Casts to UNION, as the settings of a connection have them.
#pragma once

namespace duckdb {
class ExtensionLoader;
}

namespace quack {

void ProvideUnionCasts(duckdb::ExtensionLoader &loader);

} // namespace quack
