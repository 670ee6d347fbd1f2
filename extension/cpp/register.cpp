//! What LOAD does.

#include "after_binding.hpp"
#include "client_listing.hpp"
#include "compat.hpp"
#include "consistency.hpp"
#include "error.hpp"
#include "group_statement.hpp"
#include "groups.hpp"
#include "host.hpp"
#include "host_extensions.hpp"
#include "join_faults.hpp"
#include "nesting.hpp"
#include "network_session.hpp"
#include "sequence.hpp"
#include "settings.hpp"
#include "shard.hpp"
#include "union_casts.hpp"
#include "duckdb/main/extension/extension_loader.hpp"

extern "C" void quack_cpp_register(void *loader_p) {
	quack::RequireBuiltFor(QUACK_DUCKDB_VERSION);
	auto error = quack::NoError();
	quack_rs_start_logging(&error);
	quack::ThrowIfError(error);
	auto &loader = *static_cast<duckdb::ExtensionLoader *>(loader_p);
	loader.SetDescription("A strongly consistent cluster of DuckDB processes");
	auto host = quack::RegisterStorage(loader.GetDatabaseInstance());
	quack::RegisterConsistency(loader.GetDatabaseInstance());
	quack::RegisterAfterBinding(loader.GetDatabaseInstance());
	quack::RegisterJoinFaults(loader.GetDatabaseInstance());
	quack::RegisterSequences(loader);
	quack::RegisterSecret(loader);
	quack::RegisterFunctions(loader, host);
	quack::RegisterGroupStatements(loader.GetDatabaseInstance());
	quack::RegisterGroups(loader, *host);
	quack::RegisterShard(loader);
	quack::RegisterClientListing(loader);
	quack::RegisterSettings(loader);
	quack::GuardFunctions(loader);
	quack::GuardExtensions(loader.GetDatabaseInstance());
	quack::LimitNesting(loader);
	quack::ProvideUnionCasts(loader);
}
