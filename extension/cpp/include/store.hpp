//! The DuckDB file of a node, attached.
#pragma once

#include "catalog.hpp"
#include "host.hpp"
#include "duckdb/main/attached_database.hpp"

namespace quack {

//! Keeps the file attached and the instance alive for as long as a server runs on it.
class Store {
public:
	Store(Host &host, duckdb::shared_ptr<duckdb::AttachedDatabase> db);

	QuackCatalog &Catalog() {
		return db->GetCatalog().Cast<QuackCatalog>();
	}
	duckdb::string CatalogName() const {
		return db->GetName().GetIdentifierName();
	}
	//! A connection with the store as its default database: a client's, or an `internal` one of the node itself.
	HeldConnection Connect(bool internal);

	Host &host;
	duckdb::shared_ptr<duckdb::DatabaseInstance> instance;
	duckdb::shared_ptr<duckdb::AttachedDatabase> db;
};

//! How many checkpoints the file of a store has seen, as DuckDB counts them in it.
uint64_t CheckpointCount(duckdb::AttachedDatabase &db);

//! Makes the store the default database of a connection.
void UseStore(duckdb::ClientContext &context, const duckdb::string &catalog);

} // namespace quack
