//! What a client of protocol 1 reads when it attaches a catalog: the tables, as statements that it runs in one of its own.
#pragma once

#include "duckdb.hpp"

namespace duckdb {
class ExtensionLoader;
}

namespace quack {

//! The query that answers what a client asks for, where that is the listing of tables as DuckDB 1.5 writes it; else empty.
//! Each table comes in a form that this client can run: it knows the functions and the tables of no other catalog, and the
//! types of its own release.
duckdb::string ListingFor(const duckdb::string &query);
void RegisterClientListing(duckdb::ExtensionLoader &loader);

} // namespace quack
