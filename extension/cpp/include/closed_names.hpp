//! Names in definitions: what they refer to is settled where a statement runs, once.
#pragma once

#include "catalog.hpp"
#include "duckdb.hpp"
#include "duckdb/catalog/catalog_entry_retriever.hpp"
#include "duckdb/parser/parsed_expression.hpp"
#include "duckdb/parser/query_node.hpp"
#include "duckdb/parser/tableref.hpp"

namespace quack {

//! Rewrites the names in a definition, so that they mean the same on every node and under every setting, and refuses what
//! a name must not refer to: another database, a temporary object, a function that this process alone has.
//!
//! Something in the replicated catalog gets its full name, which begins with the name that all nodes have given the catalog
//! (`QuackCatalog::SharedName`), not with the name that this process has for it. DuckDB's own functions and types lose their qualification.
class NameCloser {
public:
	//! How much of a definition is settled.
	enum class Reach {
		//! All of it: every node evaluates the expression for itself.
		EVALUATED,
		//! Names as written with a qualification. DuckDB resolves the others when the definition is used, by the search path
		//! of its user; they must not refer to another database now.
		QUALIFIED,
		//! None: DuckDB resolves them by the search path of the definition, which begins in its own catalog, and has taken
		//! the catalog's name away. They must not refer to another database now.
		CHECKED
	};

	//! `clause` is what errors call the definition.
	NameCloser(duckdb::ClientContext &context, QuackCatalog &catalog, Reach reach, duckdb::string clause);

	//! Names are looked for in this schema first, as DuckDB does for views and defaults. What lies in it and was written
	//! without a qualification stays so, unless the schema is within another one.
	void SearchFirst(const duckdb::SchemaCatalogEntry &schema);

	void Close(duckdb::ParsedExpression &expression);
	void Close(duckdb::QueryNode &node);

	//! A name of the statement's own, as WITH gives them.
	void Know(const duckdb::Identifier &name) {
		with_names.insert(name);
	}

private:
	//! False when there is no such entry.
	bool CloseName(duckdb::CatalogType type, duckdb::QualifiedName &name);
	void CloseFunction(duckdb::FunctionExpression &function);
	void CloseTableFunction(duckdb::FunctionExpression &function);
	//! Text in an argument that DuckDB reads as a name or as a query.
	void CloseArgument(duckdb::FunctionExpression &function);
	//! Refuses what DuckDB finds among the variables of the process.
	void RequireNoVariable(const duckdb::QualifiedName &name);
	void CloseTable(duckdb::QualifiedName &name);
	void CollectWithNames(duckdb::QueryNode &node);
	void CollectWithNames(duckdb::ParsedExpression &expression);
	duckdb::optional_ptr<duckdb::CatalogEntry> Find(duckdb::CatalogType type, const duckdb::QualifiedName &name);
	//! Refuses an entry that the definition must not depend on.
	void Require(const duckdb::CatalogEntry &entry);
	duckdb::QualifiedName FullName(duckdb::CatalogEntry &entry, const duckdb::QualifiedName &written) const;
	void Deepen();

	duckdb::ClientContext &context;
	QuackCatalog &catalog;
	Reach reach;
	duckdb::string clause;
	duckdb::CatalogEntryRetriever retriever;
	duckdb::optional_ptr<const duckdb::SchemaCatalogEntry> first;
	//! Names that WITH gives: a table of such a name is not looked up.
	duckdb::identifier_set_t with_names;
	idx_t depth = 0;
};

//! Takes the catalog's name from the names in an expression that was closed, for a text that another catalog reads.
void OpenNames(duckdb::ParsedExpression &expression, const duckdb::Identifier &catalog);
//! The same for all expressions of a definition.
void OpenNames(duckdb::CreateInfo &info, const duckdb::Identifier &catalog);

//! Refuses a function or type of DuckDB's system catalog that the process has made itself.
void RequireNotOwn(const duckdb::CatalogEntry &entry, const duckdb::string &clause);

} // namespace quack
